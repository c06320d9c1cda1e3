package process

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// service is the program running as a service.
type service struct {
	t      *testing.T
	cmd    *exec.Cmd
	lines  chan map[string]any
	stderr bytes.Buffer
}

func start(t *testing.T, vars ...string) *service {
	t.Helper()
	s := &service{t: t, cmd: command(t, append(vars, "INGRESS_DOMAINS=example.com", "ADMIN_ADDR=127.0.0.1:0")), lines: make(chan map[string]any, 100)}
	s.cmd.Stderr = &s.stderr
	stdout, err := s.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(s.lines)
		for scanner := bufio.NewScanner(stdout); scanner.Scan(); {
			var line map[string]any
			if json.Unmarshal(scanner.Bytes(), &line) == nil {
				s.lines <- line
			}
		}
	}()
	return s
}

// log waits for a line of the service's log.
func (s *service) log(message string) map[string]any {
	s.t.Helper()
	deadline := time.After(time.Minute)
	for {
		select {
		case line, open := <-s.lines:
			if !open {
				s.t.Fatalf("the program ended without logging %q: %s", message, &s.stderr)
			}
			if line["msg"] == message {
				return line
			}
		case <-deadline:
			s.t.Fatalf("waited a minute for the log line %q", message)
		}
	}
}

func (s *service) signal(sig os.Signal) {
	s.t.Helper()
	if err := s.cmd.Process.Signal(sig); err != nil {
		s.t.Fatal(err)
	}
}

// wait waits for the program's end.
func (s *service) wait() (code int, took time.Duration) {
	s.t.Helper()
	began := time.Now()
	for range s.lines { //nolint:revive // to its end
	}
	_ = s.cmd.Wait()
	return s.cmd.ProcessState.ExitCode(), time.Since(began)
}

func TestSignalEndsTheServiceCleanly(t *testing.T) {
	for _, sig := range []os.Signal{syscall.SIGTERM, os.Interrupt} {
		s := start(t)
		s.log("serving")
		s.signal(sig)
		if line := s.log("stopped"); !strings.Contains(line["why"].(string), sig.String()) {
			t.Errorf("the log says %v", line)
		}
		if code, took := s.wait(); code != 0 || took > 5*time.Second || s.stderr.Len() != 0 {
			t.Errorf("%s: exit code %d after %s, %q", sig, code, took, &s.stderr)
		}
	}
}

func TestSecondSignalExitsAtOnce(t *testing.T) {
	s := start(t, "TEST_END=never")
	s.log("serving")
	s.signal(syscall.SIGTERM)
	s.log("hanging")
	s.signal(syscall.SIGTERM)
	if code, _ := s.wait(); code != 1 || s.stderr.String() != "program: received terminated again: exiting at once\n" {
		t.Errorf("exit code %d, %q", code, &s.stderr)
	}
}

// TestAdminOutlivesTheService: while a service drains, the load balancer must hear so from /readyz.
func TestAdminOutlivesTheService(t *testing.T) {
	s := start(t, "TEST_END=never")
	addr := s.log("admin listener")["addr"].(string)
	s.log("serving")
	if code, stdout, stderr := run(t, []string{"ADMIN_ADDR=" + addr}, "healthcheck"); code != 0 || stdout+stderr != "" {
		t.Errorf("healthcheck: exit code %d, %q %q", code, stdout, stderr)
	}
	s.signal(syscall.SIGTERM)
	s.log("hanging")
	deadline := time.Now().Add(20 * time.Second)
	for { // the result of a moment ago is believed for two seconds
		code, _, stderr := run(t, []string{"ADMIN_ADDR=" + addr}, "healthcheck")
		if code == 1 && stderr == "program: not ready: service: draining\n" {
			break
		}
		if code != 0 || time.Now().After(deadline) {
			t.Fatalf("healthcheck while draining: exit code %d, %q", code, stderr)
		}
	}
	response, err := http.Get("http://" + addr + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(response.Body)
	_ = response.Body.Close()
	if !strings.Contains(string(body), `sluice_build_info{`) || !strings.Contains(string(body), `service="program"`) {
		t.Error("/metrics lacks sluice_build_info")
	}
	s.signal(syscall.SIGTERM)
	s.wait()
}

// TestStartLogsTheConfiguration: the log of last week must answer with which settings this ran, and no secret.
func TestStartLogsTheConfiguration(t *testing.T) {
	s := start(t, "NATS_CREDS=hunter2", "MYSQL_DSN=sluice:hunter2@tcp(db:3306)/sluice", "STORER_NONSENSE=1", "GOMEMLIMIT=512MiB")
	warning, starting := s.log("STORER_NONSENSE is not a known variable and is ignored"), s.log("starting")
	if warning["level"] != "WARN" {
		t.Errorf("got %v", warning)
	}
	got, _ := starting["config"].(map[string]any)
	for name, want := range map[string]string{
		"INGRESS_DOMAINS": "example.com", "INGRESS_ADDR": ":2526", "NATS_CREDS": "***", "MYSQL_DSN": "sluice:***@tcp(db:3306)/sluice",
		"ADMIN_ADDR": "127.0.0.1:0", "LOG_LEVEL": "INFO",
	} {
		if got[name] != want {
			t.Errorf("%s is logged as %q, want %q", name, got[name], want)
		}
	}
	if starting["memory_limit"] != "512MiB" {
		t.Errorf("the memory limit is logged as %v", starting["memory_limit"])
	}
	s.signal(syscall.SIGTERM)
	s.wait()
}
