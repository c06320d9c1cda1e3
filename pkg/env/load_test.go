package env

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// inner is a group of variables, as stream.ConnConfig is.
type inner struct {
	URL string `envconfig:"NATS_URL" default:"nats://127.0.0.1:4222" desc:"the log"`
}

type config struct {
	Log      inner
	Domains  List          `envconfig:"INGRESS_DOMAINS" required:"true" desc:"accepted domains"`
	Addr     Addr          `envconfig:"INGRESS_ADDR" default:":2525" desc:"plain SMTP"`
	TLSAddr  Addr          `envconfig:"INGRESS_TLS_ADDR" desc:"implicit TLS"`
	Max      Bytes         `envconfig:"INGRESS_MAX" default:"25MiB" min:"1KiB" max:"1GiB" desc:"largest mail"`
	Shards   int           `envconfig:"STREAM_SHARDS" default:"1" min:"1" max:"256" desc:"shards"`
	Timeout  time.Duration `envconfig:"INGRESS_TIMEOUT" default:"60m" min:"1s" desc:"slowest mail"`
	Mode     string        `envconfig:"INGRESS_BARE_LF" default:"accept" oneof:"accept reject" desc:"bare line feeds"`
	Level    slog.Level    `envconfig:"LOG_LEVEL" default:"info" oneof:"debug info warn error" desc:"how much"`
	Unsynced bool          `envconfig:"STREAM_ALLOW_UNSYNCED" default:"false" desc:"dare"`
	Exempt   CIDRs         `envconfig:"INGRESS_LIMIT_EXEMPT" default:"loopback" desc:"not limited"`
	Caches   Addrs         `envconfig:"MEMCACHED_ADDRS" default:"127.0.0.1:11211" desc:"servers"`
	Key      string        `envconfig:"SOME_KEY" secret:"true" desc:"a secret"`
	Other    string        `ignored:"true"`
	clock    func() time.Time
}

func lookup(vars map[string]string) Lookup {
	return func(name string) (string, bool) { v, ok := vars[name]; return v, ok }
}

func load(vars map[string]string) (config, error) {
	cfg := config{Other: "kept"}
	return cfg, Set{Structs: []any{&cfg}, Lookup: lookup(vars)}.Load()
}

func TestDefaults(t *testing.T) {
	var cfg config
	set := Set{Structs: []any{&cfg}, Lookup: lookup(nil), Defaults: map[string]string{"INGRESS_DOMAINS": "*", "STREAM_SHARDS": "3"}}
	if err := set.Load(); err != nil {
		t.Fatal(err)
	}
	if cfg.Log.URL != "nats://127.0.0.1:4222" || cfg.Domains.String() != "*" || cfg.Addr != ":2525" || cfg.TLSAddr != "" ||
		cfg.Max != 25<<20 || cfg.Shards != 3 || cfg.Timeout != time.Hour || cfg.Mode != "accept" || cfg.Level != slog.LevelInfo ||
		cfg.Unsynced || len(cfg.Exempt) != 2 || len(cfg.Caches) != 1 || cfg.clock != nil {
		t.Errorf("defaults are %+v", cfg)
	}
}

func TestValues(t *testing.T) {
	var cfg config
	err := Set{Structs: []any{&cfg}, Lookup: lookup(map[string]string{
		"NATS_URL":             "nats://log.example.com:4222",
		"INGRESS_DOMAINS":      "example.com, *.example.net ,,",
		"INGRESS_ADDR":         "127.0.0.1:25",
		"INGRESS_TLS_ADDR":     "off",
		"INGRESS_MAX":          "1 MiB",
		"STREAM_SHARDS":        "256",
		"INGRESS_TIMEOUT":      "90s",
		"INGRESS_BARE_LF":      "REJECT",
		"LOG_LEVEL":            "Debug",
		"INGRESS_LIMIT_EXEMPT": "192.0.2.7,2001:db8::1/32,private",
		"SOME_KEY":             `with "quotes", \ and ` + "\x00\xff",
	})}.Load()
	if err != nil {
		t.Fatal(err)
	}
	if cfg.Log.URL != "nats://log.example.com:4222" || cfg.Domains.String() != "example.com,*.example.net" ||
		cfg.Addr != "127.0.0.1:25" || cfg.TLSAddr != "" || cfg.Max != 1<<20 || cfg.Shards != 256 || cfg.Timeout != 90*time.Second ||
		cfg.Mode != "reject" || cfg.Level != slog.LevelDebug || cfg.Key != `with "quotes", \ and `+"\x00\xff" {
		t.Errorf("got %+v", cfg)
	}
	want := "192.0.2.7/32,2001:db8::/32,10.0.0.0/8,172.16.0.0/12,192.168.0.0/16,fc00::/7"
	if cfg.Exempt.String() != want {
		t.Errorf("exempt networks are %s, want %s", cfg.Exempt, want)
	}
}

// TestAllProblemsAtOnce: who has five variables wrong should not have to start the program five times.
func TestAllProblemsAtOnce(t *testing.T) {
	_, err := load(map[string]string{
		"INGRESS_DOMAINS":       "",
		"INGRESS_ADDR":          "2525",
		"INGRESS_TLS_ADDR":      ":70000",
		"INGRESS_MAX":           "25M",
		"STREAM_SHARDS":         "0",
		"INGRESS_TIMEOUT":       "60",
		"INGRESS_BARE_LF":       "normalise",
		"LOG_LEVEL":             "loud",
		"STREAM_ALLOW_UNSYNCED": "maybe",
		"INGRESS_LIMIT_EXEMPT":  "10.0.0.0/8,10.0.0.0/33",
		"MEMCACHED_ADDRS":       "cache-1:11211,cache-2",
	})
	want := `INGRESS_DOMAINS (accepted domains) is required but not set; allowed: a list separated by commas
INGRESS_ADDR="2525" is not host:port; allowed: host:port or :port, or off
INGRESS_TLS_ADDR=":70000" has no port from 0 to 65535; allowed: host:port or :port, or off
INGRESS_MAX="25M" has the unknown unit M; allowed: a size such as 25MiB, 10GiB, 512KB or a number of bytes from 1KiB to 1GiB
STREAM_SHARDS="0" is too small; allowed: a whole number from 1 to 256
INGRESS_TIMEOUT="60" is not valid; allowed: a duration such as 500ms, 30s, 5m or 72h, at least 1s
INGRESS_BARE_LF="normalise" is none of the allowed values; allowed: accept or reject
LOG_LEVEL="loud" is none of the allowed values; allowed: debug or info or warn or error
STREAM_ALLOW_UNSYNCED="maybe" is not valid; allowed: true or false
INGRESS_LIMIT_EXEMPT="10.0.0.0/8,10.0.0.0/33" has the entry 10.0.0.0/33, which is not a network; allowed: networks such as 10.0.0.0/8 or 2001:db8::/32, separated by commas; also loopback, private, none
MEMCACHED_ADDRS="cache-1:11211,cache-2" has the entry cache-2, which is not host:port; allowed: host:port, several separated by commas`
	if err == nil || err.Error() != want {
		t.Errorf("got\n%v\nwant\n%s", err, want)
	}
	if p := (*Problem)(nil); !errors.As(err, &p) || p.Name != "INGRESS_DOMAINS" {
		t.Errorf("the first problem is %v", p)
	}
}

func TestBounds(t *testing.T) {
	for vars, want := range map[[2]string]string{
		{"STREAM_SHARDS", "257"}:                       "is too large",
		{"STREAM_SHARDS", "99999999999999999999"}:      "is out of range",
		{"INGRESS_MAX", "1023"}:                        "is too small",
		{"INGRESS_MAX", "9999999TiB"}:                  "is too large",
		{"INGRESS_MAX", "-1"}:                          "is not a size",
		{"INGRESS_MAX", "MiB"}:                         "is not a size",
		{"INGRESS_TIMEOUT", "999ms"}:                   "is too small",
		{"INGRESS_LIMIT_EXEMPT", "::ffff:1.2.3.4/100"}: "is not a network",
	} {
		_, err := load(map[string]string{"INGRESS_DOMAINS": "*", vars[0]: vars[1]})
		if err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), vars[0]+`="`+vars[1]+`" `) {
			t.Errorf("%s=%s: %v, want %q", vars[0], vars[1], err, want)
		}
	}
}

func TestFiles(t *testing.T) {
	dir := t.TempDir()
	file := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	var got config
	err := Set{Structs: []any{&got}, Lookup: lookup(map[string]string{
		"INGRESS_DOMAINS_FILE": file("domains", "example.com\n"),
		"SOME_KEY_FILE":        file("key", "a b\n\r\n"),
		"STREAM_SHARDS_FILE":   file("empty", ""),
	})}.Load()
	if err != nil || got.Domains.String() != "example.com" || got.Key != "a b\n" || got.Shards != 1 {
		t.Errorf("got %q %q %d, %v", got.Domains, got.Key, got.Shards, err)
	}
	missing := filepath.Join(dir, "missing")
	_, err = load(map[string]string{
		"INGRESS_DOMAINS":      "example.com",
		"INGRESS_DOMAINS_FILE": file("domains", "example.com"),
		"SOME_KEY_FILE":        missing,
	})
	want := `INGRESS_DOMAINS is set twice: by INGRESS_DOMAINS and by INGRESS_DOMAINS_FILE
SOME_KEY_FILE="` + missing + `" cannot be read: no such file or directory; allowed: a file that can be read`
	if err == nil || err.Error() != want {
		t.Errorf("got\n%v\nwant\n%s", err, want)
	}
	_, err = load(map[string]string{"INGRESS_DOMAINS_FILE": file("empty", "\n")})
	if err == nil || !strings.Contains(err.Error(), "is an empty file; allowed: a list") {
		t.Errorf("an empty file for a required variable: %v", err)
	}
}

type validated struct {
	inner
	err error
}

func (v *validated) Validate() error { return v.err }

func TestValidateIsAskedLast(t *testing.T) {
	wrong := errors.New("two settings contradict each other")
	v, cfg := validated{err: wrong}, config{}
	set := Set{Structs: []any{&v, &cfg}, Lookup: lookup(nil)}
	if err := set.Load(); errors.Is(err, wrong) {
		t.Errorf("Validate was asked about a half loaded configuration: %v", err)
	}
	set.Lookup = lookup(map[string]string{"INGRESS_DOMAINS": "*"})
	if err := set.Load(); !errors.Is(err, wrong) {
		t.Errorf("got %v, want %v", err, wrong)
	}
	if v.URL == "" {
		t.Error("embedded structs are not filled")
	}
}

// TestNestedStructsAreValidated: a process's configuration is made of its parts' structs.
func TestNestedStructsAreValidated(t *testing.T) {
	type part struct{ Store validated }
	type whole struct {
		Part part
		When time.Time `ignored:"true"`
	}
	wrong := errors.New("wrong")
	w := whole{Part: part{Store: validated{err: wrong}}}
	if err := (Set{Structs: []any{&w}, Lookup: lookup(nil)}).Load(); !errors.Is(err, wrong) {
		t.Errorf("got %v, want %v", err, wrong)
	}
	type embedding struct{ validated }
	e := embedding{validated{err: wrong}}
	if err := (Set{Structs: []any{&e}, Lookup: lookup(nil)}).Load(); err == nil || err.Error() != "wrong" {
		t.Errorf("an embedded struct: got %v, want one %v", err, wrong)
	}
}

func TestProgrammingMistakesAreErrors(t *testing.T) {
	for name, dst := range map[string]any{
		"no pointer": config{},
		"nil":        (*config)(nil),
		"no struct":  new(int),
		"no tag":     &struct{ X int }{},
		"bound of text": &struct {
			X string `envconfig:"X" default:"1" min:"2"`
		}{},
		"bound of words": &struct {
			X int `envconfig:"X" default:"1" min:"two"`
		}{},
	} {
		if err := (Set{Structs: []any{dst}, Lookup: lookup(nil)}).Load(); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// TestLoadReadsTheEnvironment is the one test of the real os.LookupEnv.
func TestLoadReadsTheEnvironment(t *testing.T) {
	t.Setenv("NATS_URL", "nats://elsewhere:4222")
	var cfg inner
	if err := Load(&cfg); err != nil || cfg.URL != "nats://elsewhere:4222" {
		t.Errorf("got %q, %v", cfg.URL, err)
	}
}
