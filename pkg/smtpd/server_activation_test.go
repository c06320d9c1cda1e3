package smtpd

import (
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
)

// TestActivationListeners runs itself again as systemd would start it: sockets from file descriptor 3 on.
func TestActivationListeners(t *testing.T) {
	if os.Getenv("LISTEN_FDS") != "" {
		activatedChild(t)
		return
	}
	files := make([]*os.File, 2)
	addrs := make([]string, 2)
	for i := range files {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		addrs[i] = l.Addr().String()
		if files[i], err = l.(*net.TCPListener).File(); err != nil {
			t.Fatal(err)
		}
		_, _ = l.Close(), 0
		defer files[i].Close()
	}
	// systemd sets LISTEN_PID between fork and exec; a shell can do the same.
	cmd := exec.Command("/bin/sh", "-c", `LISTEN_PID=$$ exec "$0" -test.run '^TestActivationListeners$' -test.v`, os.Args[0])
	cmd.Env = append(os.Environ(), "LISTEN_FDS=2", "LISTEN_FDNAMES=smtp:smtps", "WANT_ADDRS="+strings.Join(addrs, ","))
	cmd.ExtraFiles = files
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: TestActivationListeners") {
		t.Fatalf("%v\n%s", err, out)
	}
}

func activatedChild(t *testing.T) {
	listeners, err := ActivationListeners()
	if err != nil {
		t.Fatal(err)
	}
	want := strings.Split(os.Getenv("WANT_ADDRS"), ",")
	for i, name := range []string{"smtp", "smtps"} {
		if len(listeners[name]) != 1 || listeners[name][0].Addr().String() != want[i] {
			t.Errorf("%s: %v, want %s", name, listeners[name], want[i])
			continue
		}
		conn, err := net.Dial("tcp", want[i])
		if err != nil {
			t.Fatal(err)
		}
		if _, err := listeners[name][0].Accept(); err != nil {
			t.Error(err)
		}
		_, _ = conn.Close(), listeners[name][0].Close()
	}
	if os.Getenv("LISTEN_FDS") != "" || os.Getenv("LISTEN_PID") != "" {
		t.Error("the variables are still set")
	}
	if again, err := ActivationListeners(); len(again) != 0 || err != nil {
		t.Errorf("the second call: %v %v", again, err)
	}
}

func TestActivationIsForThisProcessOnly(t *testing.T) {
	t.Setenv("LISTEN_FDS", "1")
	t.Setenv("LISTEN_PID", strconv.Itoa(os.Getpid()+1))
	if l, err := ActivationListeners(); len(l) != 0 || err != nil {
		t.Errorf("took sockets meant for another process: %v %v", l, err)
	}
	t.Setenv("LISTEN_PID", strconv.Itoa(os.Getpid()))
	t.Setenv("LISTEN_FDS", "many")
	if _, err := ActivationListeners(); err == nil {
		t.Error("took a number that is none")
	}
}
