package fleet

import (
	"database/sql"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
)

// NewDatabase makes one more database in the fleet's MariaDB, empty, and returns what leads there.
func (f *Fleet) NewDatabase(name string) (dsn string, err error) {
	db, err := sql.Open("mysql", f.MariaDB.DSN(""))
	if err != nil {
		return "", err
	}
	defer db.Close()
	if _, err := db.Exec("CREATE DATABASE " + name); err != nil {
		return "", fmt.Errorf("creating the database %s: %w", name, err)
	}
	return f.MariaDB.DSN(name), nil
}

// NewCommand prepares a run of one of the programs that can be killed, stopped and started like a service: `storer
// replay`. It is not started.
func (f *Fleet) NewCommand(name string, env []string, program string, args ...string) *Process {
	return &Process{Name: name, path: f.Binaries.Path(program), args: args, env: env, log: filepath.Join(f.Dir, name+".log")}
}

// UseAccounts makes nats-server run with the accounts in deploy/nats and gives each service its own seed of
// deploy/secrets/default. Only the ports differ from what is committed. Call it before anything is started.
func (f *Fleet) UseAccounts() error {
	root, err := Root()
	if err != nil {
		return err
	}
	conf := filepath.Join(f.Dir, "deploy", "nats", "nats-server.conf")
	keys := filepath.Join(f.Dir, "deploy", "secrets", "default", "nats_keys.conf")
	for _, file := range []string{conf, keys} {
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			return err
		}
	}
	for file, committed := range map[string]string{
		keys: "deploy/secrets/default/nats_keys.conf",
		filepath.Join(filepath.Dir(conf), "users.conf"): "deploy/nats/users.conf",
		conf: "deploy/nats/nats-server.conf",
	} {
		raw, err := os.ReadFile(filepath.Join(root, committed))
		if err != nil {
			return err
		}
		if file == conf {
			raw = []byte(ports(string(raw), f.NATS.Addrs["client"], f.NATS.Addrs["monitor"]))
		}
		if err := os.WriteFile(file, raw, 0o600); err != nil {
			return err
		}
	}
	f.NATS.args = []string{"-c", conf, "-sd", filepath.Join(f.Dir, "nats")}
	for service, processes := range map[string][]*Process{
		"storer": {f.Storer}, "cachewarmer": {f.Warmer}, "ingress": f.Ingresses,
	} {
		for _, p := range processes {
			p.env = append(slices.Clone(p.env), "NATS_CREDS="+filepath.Join(root, Seed(service)))
		}
	}
	return nil
}

// Seed is the file with the committed nkey seed of a service (or of admin), from the top of the checkout.
func Seed(service string) string { return "deploy/secrets/default/nats_" + service + ".nk" }

// Setenv adds environment variables for the next start.
func (p *Process) Setenv(env ...string) { p.env = append(slices.Clone(p.env), env...) }

// UseProfiles makes nats-server and every service serve its profiles, at Addrs["debug"] below /debug/pprof/. Call it
// before anything is started.
func (f *Fleet) UseProfiles() {
	for _, p := range append([]*Process{f.NATS, f.Storer, f.Warmer}, f.Ingresses...) {
		addr := FreeAddr()
		p.Addrs["debug"] = addr
		if p == f.NATS {
			_, port, _ := net.SplitHostPort(addr)
			p.args = append(slices.Clone(p.args), "-profile", port)
			continue
		}
		p.Setenv("DEBUG_ADDR=" + addr)
	}
}
