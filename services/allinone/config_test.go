package main

import (
	"testing"

	"github.com/sluice-mail/sluice/pkg/env"
)

// Implicit TLS needs no certificate here: there is a self-signed one.
func TestTLSAddrAlone(t *testing.T) {
	var cfg config
	vars := map[string]string{"INGRESS_TLS_ADDR": "127.0.0.1:2465"}
	set := env.Set{Structs: []any{&cfg}, Defaults: defaults(), Lookup: func(name string) (string, bool) {
		value, ok := vars[name]
		return value, ok
	}}
	if err := set.Load(); err != nil {
		t.Errorf("INGRESS_TLS_ADDR alone: %v", err)
	}
	vars["INGRESS_TLS_CERT"] = "cert.pem"
	if err := set.Load(); err == nil {
		t.Error("a certificate without its key was taken")
	}
}
