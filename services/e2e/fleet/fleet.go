package fleet

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/sluice-mail/sluice/pkg/mailstore/mysql/mysqltest"
)

// Fleet is a set of processes that belong together. Nothing runs until it is started.
type Fleet struct {
	Dir       string // for data, configurations and logs
	Binaries  Binaries
	NATS      *Process
	Memcached *Process
	MariaDB   *mysqltest.Server
	Storer    *Process
	Warmer    *Process
	Ingresses []*Process
}

// New makes a fleet with some ingresses, its data in dir. MariaDB is started, because it has to be installed; all else
// is not. extra are environment variables for all services.
func New(dir string, binaries Binaries, ingresses int, extra ...string) (*Fleet, error) {
	f := &Fleet{Dir: dir, Binaries: binaries}
	if err := f.servers(); err != nil {
		return f, err
	}
	f.Storer = f.service("storer", nil, append([]string{"MYSQL_DSN=" + f.DSN()}, extra...))
	f.Warmer = f.service("cachewarmer", nil, append([]string{"MEMCACHED_ADDRS=" + f.Memcached.Addrs["client"]}, extra...))
	for i := range ingresses {
		smtp := FreeAddr()
		env := append([]string{"INGRESS_ADDR=" + smtp, "INGRESS_DOMAINS=*", "INGRESS_DRAIN_DELAY=0s",
			"INGRESS_SPOOL_DIR=" + dir, fmt.Sprintf("INGRESS_HOSTNAME=mx%d.example.com", i)}, extra...)
		f.Ingresses = append(f.Ingresses, f.service("ingress", map[string]string{"smtp": smtp}, env))
		f.Ingresses[i].Name = fmt.Sprintf("ingress-%d", i)
		f.Ingresses[i].log = filepath.Join(dir, f.Ingresses[i].Name+".log")
	}
	return f, nil
}

// servers prepares nats-server (with the configuration in deploy/nats, but without its accounts), memcached and MariaDB.
func (f *Fleet) servers() error {
	root, err := Root()
	if err != nil {
		return err
	}
	client, monitor, cache := FreeAddr(), FreeAddr(), FreeAddr()
	conf := filepath.Join(f.Dir, "nats.conf")
	if err := natsConfig(conf, filepath.Join(root, "deploy/nats/nats-server.conf"), client, monitor); err != nil {
		return err
	}
	f.NATS = &Process{Name: "nats", path: f.Binaries.Path("nats-server"), log: filepath.Join(f.Dir, "nats.log"),
		args:  []string{"-c", conf, "-sd", filepath.Join(f.Dir, "nats")},
		Addrs: map[string]string{"client": client, "monitor": monitor}}
	memcached, err := exec.LookPath("memcached")
	if err != nil {
		return errors.New("needs memcached (apt-get install memcached)")
	}
	_, port, _ := net.SplitHostPort(cache)
	f.Memcached = &Process{Name: "memcached", path: memcached, log: filepath.Join(f.Dir, "memcached.log"),
		args: []string{"-l", "127.0.0.1", "-p", port, "-m", "256", "-u", "root"}, Addrs: map[string]string{"client": cache}}
	if f.MariaDB, err = mysqltest.New(); err != nil {
		return err
	}
	db, err := sql.Open("mysql", f.MariaDB.DSN(""))
	if err != nil {
		return err
	}
	defer db.Close()
	if _, err := db.Exec("CREATE DATABASE sluice"); err != nil {
		return fmt.Errorf("creating the database: %w", err)
	}
	return nil
}

func (f *Fleet) service(name string, addrs map[string]string, env []string) *Process {
	admin := FreeAddr()
	if addrs == nil {
		addrs = make(map[string]string)
	}
	addrs["admin"] = admin
	env = append([]string{"ADMIN_ADDR=" + admin, "LOG_FORMAT=text"}, append(f.LogEnv(), env...)...)
	return &Process{Name: name, path: f.Binaries.Path(name), env: env, Addrs: addrs, log: filepath.Join(f.Dir, name+".log")}
}

// NewStorer makes one more storer; it is not started.
func (f *Fleet) NewStorer(name string, extra ...string) *Process {
	p := f.service("storer", nil, append([]string{"MYSQL_DSN=" + f.DSN()}, extra...))
	p.Name, p.log = name, filepath.Join(f.Dir, name+".log")
	return p
}

// NewMailbox makes an inbox that everybody may read; it is not started.
func (f *Fleet) NewMailbox(name string, extra ...string) *Process {
	http := FreeAddr()
	p := f.service("mailbox", map[string]string{"http": http}, append([]string{"MYSQL_DSN=" + f.DSN(), "MEMCACHED_ADDRS=" + f.Memcached.Addrs["client"],
		"MAILBOX_ADDR=" + http, "MAILBOX_ACCESS=open", "MAILBOX_RATE=0", "MAILBOX_WAITING=0", "MAILBOX_DRAIN_DELAY=0s"}, extra...))
	p.Name, p.log = name, filepath.Join(f.Dir, name+".log")
	return p
}

// DSN leads to the database of the fleet.
func (f *Fleet) DSN() string { return f.MariaDB.DSN("sluice") }

// LogEnv is how a process finds the log.
func (f *Fleet) LogEnv() []string {
	return []string{"NATS_URL=nats://" + f.NATS.Addrs["client"], "NATS_MONITOR_URL=http://" + f.NATS.Addrs["monitor"],
		"STREAM_MAX_BYTES=4GiB"}
}

// Env is how sluicectl finds everything.
func (f *Fleet) Env() []string {
	return append(f.LogEnv(), "MYSQL_DSN="+f.DSN(), "MEMCACHED_ADDRS="+f.Memcached.Addrs["client"])
}

// Processes are all but MariaDB, in an order in which they can be started.
func (f *Fleet) Processes() []*Process {
	return append([]*Process{f.NATS, f.Memcached, f.Storer, f.Warmer}, f.Ingresses...)
}

// Start starts everything and waits until mail is accepted and stored.
func (f *Fleet) Start(ctx context.Context) error {
	for _, p := range f.Processes() {
		if err := p.Start(); err != nil {
			return err
		}
	}
	ctx, stop := f.whileAllRun(ctx)
	defer stop()
	if err := f.Ready(ctx); err != nil {
		return err
	}
	f.knowLog(ctx)
	return nil
}

// whileAllRun gives a context that ends when one of the processes does, and says so.
func (f *Fleet) whileAllRun(ctx context.Context) (_ context.Context, stop func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	for _, p := range f.Processes() {
		go func() {
			select {
			case <-p.Done():
				cancel(fmt.Errorf("%s has ended:\n%s", p.Name, tail(p.Log())))
			case <-ctx.Done():
			}
		}()
	}
	return ctx, func() { cancel(nil) }
}

// knowLog waits until every ingress takes mail. They are ready before that, since a fault that all share must reach
// senders as 4xx; a test's first mails should not be told so. A log that they refuse is waited for in vain.
func (f *Fleet) knowLog(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	for _, p := range f.Ingresses {
		for {
			_, metrics, err := p.Get(ctx, "/metrics")
			if err == nil && strings.Contains(metrics, `sluice_publish_shard_up{shard="0"} 1`) {
				break
			}
			select {
			case <-ctx.Done():
				return
			case <-time.After(20 * time.Millisecond):
			}
		}
	}
}

// Ready waits until every service says that it is.
func (f *Fleet) Ready(ctx context.Context) error {
	for _, p := range append([]*Process{f.Storer, f.Warmer}, f.Ingresses...) {
		if err := p.Ready(ctx); err != nil {
			return err
		}
	}
	return nil
}

// Ready waits until /readyz of a service is green.
func (p *Process) Ready(ctx context.Context) error {
	for {
		ok, why := p.probe(ctx)
		if ok {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s does not become ready (%s): %w\n%s", p.Name, why, context.Cause(ctx), tail(p.Log()))
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func (p *Process) probe(ctx context.Context) (bool, string) {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	resp, _, err := p.Get(ctx, "/readyz")
	if err != nil {
		return false, err.Error()
	}
	return resp.StatusCode == http.StatusOK, resp.Status
}

// Get asks the admin listener of a service and returns the answer with its whole body.
func (p *Process) Get(ctx context.Context, path string) (*http.Response, string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+p.Addrs["admin"]+path, nil)
	if err != nil {
		return nil, "", err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return resp, string(body), err
}

// Close kills everything and forgets MariaDB's data.
func (f *Fleet) Close() error {
	var problems []error
	for _, p := range f.Processes() {
		if p != nil {
			_ = p.Resume()
			problems = append(problems, p.Kill())
		}
	}
	if f.MariaDB != nil {
		problems = append(problems, f.MariaDB.Remove())
	}
	return errors.Join(problems...)
}

// Ctl runs sluicectl and returns what it prints, standard error included when it fails.
func (f *Fleet) Ctl(ctx context.Context, args ...string) (string, error) {
	return f.Command(ctx, f.Env(), "sluicectl", args...)
}

// Command runs one of the programs to its end and returns its standard output.
func (f *Fleet) Command(ctx context.Context, env []string, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, f.Binaries.Path(name), args...)
	cmd.Env = append(cleanEnvironment(), env...)
	out, err := cmd.Output()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		return string(out), fmt.Errorf("%s %v: %w\n%s%s", name, args, err, out, exit.Stderr)
	}
	return string(out), err
}

func tail(log string) string { return log[max(0, len(log)-3000):] }

// natsConfig copies the committed server configuration with our ports and without its accounts.
func natsConfig(file, committed, client, monitor string) error {
	raw, err := os.ReadFile(committed)
	if err != nil {
		return fmt.Errorf("reading the committed configuration of the log: %w", err)
	}
	return os.WriteFile(file, []byte(rewrite(string(raw), client, monitor)), 0o600)
}

// NewAllinone makes an allinone with its data in dir; it is not started.
func NewAllinone(binaries Binaries, dir string, extra ...string) *Process {
	smtp, admin, http := FreeAddr(), FreeAddr(), FreeAddr()
	env := append([]string{"SLUICE_DATA=" + dir, "INGRESS_ADDR=" + smtp, "ADMIN_ADDR=" + admin, "MAILBOX_ADDR=" + http, "STREAM_MAX_BYTES=4GiB", "LOG_FORMAT=text"}, extra...)
	return &Process{Name: "allinone", path: binaries.Path("allinone"), env: env, log: dir + ".log",
		Addrs: map[string]string{"smtp": smtp, "admin": admin, "http": http}}
}
