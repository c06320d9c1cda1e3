// Package mysqltest runs a private MariaDB for tests: its own data directory, its own port on the loopback interface,
// durable commits as in production.
package mysqltest

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/go-sql-driver/mysql"
)

// ErrAbsent means that no mariadbd is installed.
var ErrAbsent = errors.New("needs mariadbd (apt-get install mariadb-server)")

const (
	username = "sluice"
	password = "sluice"
	patience = 60 * time.Second // for a start on a busy machine
)

// Server is one mariadbd. Its methods are not safe for concurrent use.
type Server struct {
	dir  string
	port int
	args []string
	// Env is added to the environment of the next start.
	Env  []string
	cmd  *exec.Cmd
	done chan struct{} // closed when cmd has ended
}

// New installs a server into a new temporary directory and starts it. args are further options of mariadbd.
func New(args ...string) (*Server, error) {
	dir, err := os.MkdirTemp("", "mysqltest-")
	if err != nil {
		return nil, err
	}
	s, err := At(dir, args...)
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return s, nil
}

// At starts the server whose data is in a directory, and installs it before when there is none. Stop leaves the data there.
func At(dir string, args ...string) (*Server, error) {
	for _, program := range []string{"mariadbd", "mariadb-install-db"} {
		if _, err := lookPath(program); err != nil {
			return nil, ErrAbsent
		}
	}
	s := &Server{dir: dir, args: args}
	if _, err := os.Stat(filepath.Join(dir, "data", "mysql")); err != nil {
		if err := s.install(); err != nil {
			return nil, err
		}
	}
	if err := s.Start(); err != nil {
		return nil, errors.Join(err, s.Kill())
	}
	return s, nil
}

// lookPath also looks where Debian puts servers, which is not on every user's PATH.
func lookPath(program string) (string, error) {
	if path, err := exec.LookPath(program); err == nil {
		return path, nil
	}
	return exec.LookPath(filepath.Join("/usr/sbin", program))
}

func (s *Server) install() error {
	who, err := user.Current()
	if err != nil {
		return err
	}
	path, err := lookPath("mariadb-install-db")
	if err != nil {
		return err
	}
	// Run at every start, before the server takes connections.
	init := fmt.Sprintf("CREATE USER IF NOT EXISTS '%s'@'%%' IDENTIFIED BY '%s';\nGRANT ALL ON *.* TO '%s'@'%%' WITH GRANT OPTION;\n",
		username, password, username)
	if err := os.WriteFile(filepath.Join(s.dir, "init.sql"), []byte(init), 0o600); err != nil {
		return err
	}
	cmd := exec.Command(path, "--no-defaults", "--datadir="+filepath.Join(s.dir, "data"), "--user="+who.Username,
		"--auth-root-authentication-method=normal", "--skip-test-db")
	cmd.Env = s.env()
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("mariadb-install-db: %w\n%s", err, out)
	}
	return nil
}

// env gives a server temporary files of its own: at its start it removes those of others, and their owners fail.
func (s *Server) env() []string { return append(os.Environ(), "TMPDIR="+s.dir) }

// Start starts a server that was stopped or killed, on the port it had before, and waits until it answers.
func (s *Server) Start() error {
	who, err := user.Current()
	if err != nil {
		return err
	}
	path, err := lookPath("mariadbd")
	if err != nil {
		return err
	}
	if s.port == 0 {
		if s.port, err = freePort(); err != nil {
			return err
		}
	}
	args := append([]string{"--no-defaults", "--user=" + who.Username, "--datadir=" + filepath.Join(s.dir, "data"),
		"--socket=" + filepath.Join(s.dir, "sock"), "--pid-file=" + filepath.Join(s.dir, "pid"), "--init-file=" + filepath.Join(s.dir, "init.sql"),
		"--bind-address=127.0.0.1", "--port=" + strconv.Itoa(s.port), "--skip-name-resolve",
		"--innodb-flush-log-at-trx-commit=1", "--innodb-log-file-size=256M", "--innodb-buffer-pool-size=256M"}, s.args...)
	s.cmd = exec.Command(path, args...)
	s.cmd.Env = append(s.env(), s.Env...)
	log, err := os.OpenFile(filepath.Join(s.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	s.cmd.Stdout, s.cmd.Stderr = log, log
	s.cmd.SysProcAttr = process()
	if err := s.cmd.Start(); err != nil {
		return fmt.Errorf("mariadbd: %w", err)
	}
	s.done = make(chan struct{})
	go func(cmd *exec.Cmd, done chan struct{}) {
		_ = cmd.Wait()
		close(done)
	}(s.cmd, s.done)
	return s.wait()
}

// freePort finds a port that nobody listens on. The server keeps it over restarts.
func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

func (s *Server) wait() error {
	db, err := openQuiet(s.DSN(""))
	if err != nil {
		return err
	}
	defer db.Close()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for {
		err := db.PingContext(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-s.done:
			return fmt.Errorf("mariadbd ended at once:\n%s", s.Log())
		case <-ctx.Done():
			return fmt.Errorf("mariadbd does not answer: %w\n%s", err, s.Log())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// DSN leads to a database of the server. It need not exist.
func (s *Server) DSN(database string) string {
	cfg := mysql.NewConfig()
	cfg.User, cfg.Passwd, cfg.Net, cfg.DBName = username, password, "tcp", database
	cfg.Addr = net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port))
	return cfg.FormatDSN()
}

// PID is the process id of the server that runs, or ran last.
func (s *Server) PID() int { return s.cmd.Process.Pid }

// Log is the end of what the server has printed.
func (s *Server) Log() string {
	out, err := os.ReadFile(filepath.Join(s.dir, "log"))
	if err != nil {
		return err.Error()
	}
	lines := bytes.Split(out, []byte("\n"))
	return string(bytes.Join(lines[max(0, len(lines)-30):], []byte("\n")))
}

// Stop ends the server in an orderly way.
func (s *Server) Stop() error { return s.end(syscall.SIGTERM) }

// Kill ends the server as a crash would.
func (s *Server) Kill() error { return s.end(syscall.SIGKILL) }

func (s *Server) end(sig syscall.Signal) error {
	if s.cmd == nil || s.cmd.Process == nil {
		return nil
	}
	if err := s.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	select {
	case <-s.done:
		return nil
	case <-time.After(patience):
		return fmt.Errorf("mariadbd is still there %v after %v", patience, sig)
	}
}

// Pause freezes the server: connections stay open, and nothing answers.
func (s *Server) Pause() error {
	if err := s.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		return err
	}
	// The signal reaches one thread after the other, and one of them might answer yet.
	for end := time.Now().Add(patience); !frozen(s.PID()); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			return fmt.Errorf("mariadbd runs on %v after %v", patience, syscall.SIGSTOP)
		}
	}
	return nil
}

// Resume undoes Pause.
func (s *Server) Resume() error { return s.cmd.Process.Signal(syscall.SIGCONT) }

// Remove kills the server and deletes its data.
func (s *Server) Remove() error { return errors.Join(s.Kill(), os.RemoveAll(s.dir)) }

// openQuiet opens a database without the driver's complaints on standard error while a server starts.
func openQuiet(dsn string) (*sql.DB, error) {
	cfg, err := mysql.ParseDSN(dsn)
	if err != nil {
		return nil, err
	}
	cfg.Logger = silent{}
	c, err := mysql.NewConnector(cfg)
	if err != nil {
		return nil, err
	}
	return sql.OpenDB(c), nil
}

type silent struct{}

func (silent) Print(...any) {}
