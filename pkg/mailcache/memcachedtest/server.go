// Package memcachedtest runs a private memcached for tests.
package memcachedtest

import (
	"net"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"
)

// Server is one memcached.
type Server struct {
	Addr string // host:port; it stays over restarts
	t    testing.TB
	cmd  *exec.Cmd
}

// Start starts a memcached on a free loopback port, and stops it after the test. Without memcached the test is skipped.
func Start(t testing.TB) *Server {
	t.Helper()
	if _, err := exec.LookPath("memcached"); err != nil {
		t.Skip("skipped: needs memcached (apt-get install memcached)")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{Addr: l.Addr().String(), t: t}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	s.Restart()
	t.Cleanup(s.Kill)
	return s
}

// Restart starts a memcached that was killed. It is empty then.
func (s *Server) Restart() {
	s.t.Helper()
	host, port, err := net.SplitHostPort(s.Addr)
	if err != nil {
		s.t.Fatal(err)
	}
	args := []string{"-l", host, "-p", port, "-U", "0", "-m", "64", "-t", "2"}
	if os.Getuid() == 0 {
		args = append(args, "-u", "root") // it refuses to run as root unless told so
	}
	s.cmd = exec.Command("memcached", args...)
	s.cmd.SysProcAttr = process()
	if err := s.cmd.Start(); err != nil {
		s.t.Fatalf("memcached on port %s: %v", port, err)
	}
	s.wait(30 * time.Second)
}

func (s *Server) wait(patience time.Duration) {
	s.t.Helper()
	for deadline := time.Now().Add(patience); ; {
		conn, err := net.DialTimeout("tcp", s.Addr, time.Second)
		if err == nil {
			if err := conn.Close(); err != nil {
				s.t.Fatal(err)
			}
			return
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("memcached does not answer on %s: %v", s.Addr, err)
		}
		<-time.After(10 * time.Millisecond)
	}
}

// Stop makes the server answer nobody, until Continue; it keeps what it has.
func (s *Server) Stop() { s.signal(syscall.SIGSTOP) }

// Continue undoes Stop.
func (s *Server) Continue() { s.signal(syscall.SIGCONT) }

func (s *Server) signal(sig syscall.Signal) {
	s.t.Helper()
	if err := s.cmd.Process.Signal(sig); err != nil {
		s.t.Fatal(err)
	}
}

// Kill ends the server at once.
func (s *Server) Kill() {
	if s.cmd == nil {
		return
	}
	_ = s.cmd.Process.Kill() // it may be gone
	_ = s.cmd.Wait()         // says that it was killed
	s.cmd = nil
}
