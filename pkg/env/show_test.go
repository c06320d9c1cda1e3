package env

import (
	"strings"
	"testing"
)

func TestUsage(t *testing.T) {
	var b strings.Builder
	set := Set{Structs: []any{&config{}, &inner{}}, Defaults: map[string]string{
		"STREAM_SHARDS": "2", "SOME_KEY": "hidden", "NATS_URL": "nats://user:password@log.example.com:4222",
	}}
	if err := set.Usage(&b, "Environment:"); err != nil {
		t.Fatal(err)
	}
	want := `Environment:
  NATS_URL               nats://***@log.example.com:4222  the log
  INGRESS_DOMAINS        (required)                    accepted domains
  INGRESS_ADDR           :2525                         plain SMTP
  INGRESS_TLS_ADDR       -                             implicit TLS
  INGRESS_MAX            25MiB                         largest mail
  STREAM_SHARDS          2                             shards
  INGRESS_TIMEOUT        60m                           slowest mail
  INGRESS_BARE_LF        accept                        bare line feeds [accept|reject]
  LOG_LEVEL              info                          how much [debug|info|warn|error]
  STREAM_ALLOW_UNSYNCED  false                         dare
  INGRESS_LIMIT_EXEMPT   loopback                      not limited
  MEMCACHED_ADDRS        127.0.0.1:11211               servers
  SOME_KEY               ***                           a secret
`
	if b.String() != want {
		t.Errorf("got\n%s\nwant\n%s", &b, want)
	}
}

func TestEffectiveMasksSecrets(t *testing.T) {
	cfg := config{Key: "hunter2", Domains: List{"a.example", "b.example"}, Max: 1 << 20, Log: inner{URL: "nats://token@log:4222"}}
	got := make(map[string]string)
	for _, s := range Effective(&cfg) {
		got[s.Name] = s.Value
	}
	for name, want := range map[string]string{
		"SOME_KEY": "***", "INGRESS_DOMAINS": "a.example,b.example", "INGRESS_MAX": "1MiB", "NATS_URL": "nats://***@log:4222",
		"STREAM_SHARDS": "0", "LOG_LEVEL": "INFO",
	} {
		if got[name] != want {
			t.Errorf("%s is shown as %q, want %q", name, got[name], want)
		}
	}
}

func TestProblemsMaskSecrets(t *testing.T) {
	type secrets struct {
		Key int   `envconfig:"SOME_KEY" secret:"true"`
		DSN Addr  `envconfig:"MYSQL_DSN"`
		URL Addr  `envconfig:"NATS_URL"`
		All Addrs `envconfig:"NATS_URLS"`
		Net CIDRs `envconfig:"NETS"`
		Big Bytes `envconfig:"BIG" secret:"true"`
	}
	err := Set{Structs: []any{&secrets{}}, Lookup: lookup(map[string]string{
		"SOME_KEY":  "hunter2",
		"MYSQL_DSN": "sluice:hunter2@tcp(db:3306)/sluice",
		"NATS_URL":  "nats://sluice:hunter2@log",
		"NATS_URLS": "nats://hunter2@log",
		"NETS":      "nats://hunter2@log",
		"BIG":       "5hunter2",
	})}.Load()
	if err == nil || strings.Count(err.Error(), "\n") != 5 {
		t.Fatalf("want six problems, got %v", err)
	}
	if strings.Contains(err.Error(), "hunter") {
		t.Errorf("a secret is shown: %v", err)
	}
}

func TestRedact(t *testing.T) {
	for value, want := range map[string]string{
		"":                             "",
		"example.com,*.example.net":    "example.com,*.example.net",
		"nats://127.0.0.1:4222":        "nats://127.0.0.1:4222",
		"nats://token@a:4222,nats://b": "nats://***@a:4222,nats://b",
		"nats://u:p@a,nats://u:p@b":    "nats://***@a,nats://***@b",
		"nats://u:p,w@a,nats://u:p@b":  "nats://***@a,nats://***@b",
		"nats://u:p/w@a":               "nats://***@a",
		"nats://u:p@w@a":               "nats://***@a",
		"nats://a:4222,u:p@b:4222":     "nats://***@b:4222",
		"u:p@tcp(127.0.0.1:3306)/db":   "u:***@tcp(127.0.0.1:3306)/db",
		"u:p@w:x/y@unix(/run/s)/db":    "u:***@unix(/run/s)/db",
		"u@tcp(127.0.0.1:3306)/db":     "u@tcp(127.0.0.1:3306)/db",
		"postmaster@example.com":       "postmaster@example.com",
	} {
		if got := Redact(value); got != want {
			t.Errorf("Redact(%q) = %q, want %q", value, got, want)
		}
	}
}

func TestUnknownVariables(t *testing.T) {
	warnings, err := Unknown([]string{
		"INGRESS_DOMAINS=example.com",       // known
		"MYSQL_DSN_FILE=/run/secrets/dsn",   // known, from a file
		"INGRESS_SPOOL_DIRECTORY=/tmp",      // unknown, like nothing
		"INGRESS_DOMAIN=example.com",        // one letter missing
		"STREAM_REPLICAE=3",                 // one letter wrong
		"INGRESS_TLS_KYE_FILE=/key",         // two letters exchanged, from a file
		"CACHE_TLL=1h",                      // one letter wrong
		"LOG_LEVL=debug",                    // not under a prefix of ours
		"PATH=/bin", "HOME", "=C:=C:\\", "", // whatever an environment may hold
	}, Names())
	if want := []string{"INGRESS_SPOOL_DIRECTORY is not a known variable and is ignored"}; strings.Join(warnings, "\n") != strings.Join(want, "\n") {
		t.Errorf("warnings are %q, want %q", warnings, want)
	}
	want := `INGRESS_DOMAIN is not a known variable; did you mean INGRESS_DOMAINS?
STREAM_REPLICAE is not a known variable; did you mean STREAM_REPLICAS?
INGRESS_TLS_KYE_FILE is not a known variable; did you mean INGRESS_TLS_KEY_FILE?
CACHE_TLL is not a known variable; did you mean CACHE_TTL?`
	if err == nil || err.Error() != want {
		t.Errorf("got\n%v\nwant\n%s", err, want)
	}
}

// TestKubernetesServiceLinks: a Service per process adds variables under our prefixes to every pod of its namespace.
func TestKubernetesServiceLinks(t *testing.T) {
	var environ []string
	for _, service := range []string{"INGRESS", "STORER", "MAILBOX", "CACHE", "STREAM", "INGRESS_ADMIN", "SLUICE_INGRESS", "INGRESS_TLS"} {
		for _, link := range []string{
			"_SERVICE_HOST=10.0.0.1", "_SERVICE_PORT=25", "_SERVICE_PORT_SMTP=25", "_SERVICE_PORT_HTTP_ADMIN=8080",
			"_PORT=tcp://10.0.0.1:25", "_PORT_25_TCP=tcp://10.0.0.1:25", "_PORT_25_TCP_ADDR=10.0.0.1", "_PORT_25_TCP_PORT=25",
			"_PORT_25_TCP_PROTO=tcp", "_PORT_53_UDP_ADDR=10.0.0.1",
		} {
			environ = append(environ, service+link)
		}
	}
	if warnings, err := Unknown(environ, Names()); len(warnings) != 0 || err != nil {
		t.Errorf("got warnings %q, error %v", warnings, err)
	}
	if warnings, _ := Unknown([]string{"INGRESS_PORT=25"}, Names()); len(warnings) != 1 {
		t.Errorf("INGRESS_PORT=25 is not Kubernetes's: it deserves a warning")
	}
}

func FuzzBytes(f *testing.F) {
	for _, s := range []string{"25MiB", "10GiB", "512KB", "0", "1 b", "9223372036854775807", "8388608TiB", "-1", "1e9", "MiB", "1.5GiB"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var b, again Bytes
		if err := b.Decode(text); err != nil {
			return
		}
		if b < 0 {
			t.Fatalf("%q became %d", text, int64(b))
		}
		if err := again.Decode(b.String()); err != nil || again != b {
			t.Errorf("%q is shown as %s, which is %d, %v", text, b, int64(again), err)
		}
	})
}

// FuzzRedact: wherever a password is in a URL or a DSN, it is not in what is shown.
func FuzzRedact(f *testing.F) {
	for _, s := range []string{"p", "p,w", "p/w", "p@w", ":", "nats://", "p,nats://w"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, password string) {
		const mark = "\x00SECRET"
		if strings.Contains(password, "://") {
			return // it would be two URLs
		}
		for _, value := range []string{"nats://u:" + mark + password + mark + "@h:4222", "u:" + mark + password + mark + "@tcp(h:3306)/db", "nats://a,nats://" + mark + "@b"} {
			if strings.Contains(Redact(value), mark) {
				t.Errorf("Redact(%q) = %q", value, Redact(value))
			}
		}
	})
}
