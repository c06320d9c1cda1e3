package e2e

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/sluice-mail/sluice/services/e2e/fleet"
)

// A missing or wrong variable names itself, its value and what is allowed, and exits 1.
func TestWrongVariablesNameThemselves(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for _, tt := range []struct {
		name, program string
		env           []string
		want          []string
	}{
		{"required", "ingress", nil, []string{"INGRESS_DOMAINS", "required"}},
		{"number", "ingress", []string{"INGRESS_DOMAINS=*", "INGRESS_MAX_RCPTS=many"}, []string{"INGRESS_MAX_RCPTS", "many"}},
		{"too small", "ingress", []string{"INGRESS_DOMAINS=*", "INGRESS_MAX_RCPTS=5"}, []string{"INGRESS_MAX_RCPTS", "5", "100"}},
		{"size", "storer", []string{"STORER_BATCH_BYTES=lots"}, []string{"STORER_BATCH_BYTES", "lots", "25MiB"}},
		{"duration", "storer", []string{"STREAM_KEEP=3 days"}, []string{"STREAM_KEEP", "3 days"}},
		{"enum", "storer", []string{"STORER_CODEC=rar"}, []string{"STORER_CODEC", "rar", "zstd"}},
		{"networks", "ingress", []string{"INGRESS_DOMAINS=*", "INGRESS_TRUSTED_PROXIES=lan"}, []string{"INGRESS_TRUSTED_PROXIES", "lan", "10.0.0.0/8"}},
		{"misspelt", "ingress", []string{"INGRESS_DOMAINS=*", "INGRESS_MAX_RCPT=100"}, []string{"INGRESS_MAX_RCPT", "INGRESS_MAX_RCPTS"}},
		{"all at once", "ingress", []string{"INGRESS_MAX_RCPTS=many", "INGRESS_BARE_LF=maybe"}, []string{"INGRESS_DOMAINS", "INGRESS_MAX_RCPTS", "INGRESS_BARE_LF", "accept"}},
		{"log URL", "ingress", []string{"INGRESS_DOMAINS=*", "NATS_URL=http://[::"}, []string{"NATS_URL"}},
		{"DSN", "storer", []string{"MYSQL_DSN=nonsense"}, []string{"MYSQL_DSN"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			env := append([]string{"ADMIN_ADDR=off"}, tt.env...)
			_, err := (&fleet.Fleet{Binaries: binaries}).Command(ctx, env, tt.program)
			if err == nil {
				t.Fatal("it started")
			}
			if !strings.Contains(err.Error(), "exit status 1") {
				t.Errorf("not exit code 1: %v", err)
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q is not in: %v", want, err)
				}
			}
		})
	}
}

// Every program explains itself.
func TestHelpAndVersion(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for program, want := range map[string]string{
		"ingress": "INGRESS_DOMAINS", "storer": "STORER_CODEC", "cachewarmer": "MEMCACHED_ADDRS", "allinone": "SLUICE_DATA", "sluicectl": "audit",
	} {
		help, err := (&fleet.Fleet{Binaries: binaries}).Command(ctx, nil, program, "-help")
		if err != nil || !strings.Contains(help, want) {
			t.Errorf("%s -help: %v\n%s", program, err, help)
		}
		if version, err := (&fleet.Fleet{Binaries: binaries}).Command(ctx, nil, program, "-version"); err != nil || !strings.HasPrefix(version, program+" ") {
			t.Errorf("%s -version: %v %q", program, err, version)
		}
	}
}
