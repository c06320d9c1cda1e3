package ingress

import (
	"strings"
	"testing"

	"github.com/sluice-mail/sluice/pkg/policy"
)

func TestDoubts(t *testing.T) {
	good := Config{Hostname: "mx.example.com", MaxConns: 1000, SpoolDir: t.TempDir()}
	for name, c := range map[string]struct {
		change func(*Config)
		files  uint64
		want   string
	}{
		"nothing":         {func(*Config) {}, 2000, ""},
		"unknown limit":   {func(*Config) {}, 0, ""},
		"few files":       {func(*Config) {}, 1024, "INGRESS_MAX_CONNS=1000"},
		"one label":       {func(c *Config) { c.Hostname = "3f2a9c1b77aa" }, 2000, "INGRESS_HOSTNAME"},
		"an address":      {func(c *Config) { c.Hostname = "192.0.2.1" }, 2000, "INGRESS_HOSTNAME"},
		"files in memory": {func(c *Config) { c.SpoolDir = "/dev/shm" }, 2000, "INGRESS_SPOOL_DIR"},
	} {
		cfg := good
		c.change(&cfg)
		got := strings.Join(cfg.doubts(c.files), "; ")
		if c.want == "" && got != "" || !strings.Contains(got, c.want) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

// Mail for user@[an address of ours] was refused, whatever the address.
func TestOwnAddressesAreAccepted(t *testing.T) {
	cfg := Config{Hostname: "mx.example.com", Domains: []string{"example.com"}}
	p, err := policy.New(cfg.policy())
	if err != nil {
		t.Fatal(err)
	}
	if mailbox, err := p.Resolve("postmaster", "[127.0.0.1]", false); err != nil || mailbox != "postmaster@example.com" {
		t.Errorf("%q, %v", mailbox, err)
	}
	if _, err := p.Resolve("postmaster", "[192.0.2.250]", false); err != policy.ErrRelay {
		t.Errorf("an address of somebody else: %v", err)
	}
}
