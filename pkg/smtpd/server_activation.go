package smtpd

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// firstActivationFD is SD_LISTEN_FDS_START of sd_listen_fds(3).
const firstActivationFD = 3

// ActivationListeners returns the sockets systemd opened for this process (sd_listen_fds(3)), by the
// FileDescriptorName= of their .socket unit, so that port 25 needs no root. It is empty without socket
// activation. Call it once: it takes the variables out of the environment, as children must not see them.
func ActivationListeners() (map[string][]net.Listener, error) {
	pid, count, names := os.Getenv("LISTEN_PID"), os.Getenv("LISTEN_FDS"), os.Getenv("LISTEN_FDNAMES")
	if count == "" || pid != strconv.Itoa(os.Getpid()) {
		return nil, nil
	}
	for _, name := range []string{"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"} {
		if err := os.Unsetenv(name); err != nil {
			return nil, fmt.Errorf("clearing %s: %w", name, err)
		}
	}
	n, err := strconv.Atoi(count)
	if err != nil || n < 0 || n > 64 {
		return nil, fmt.Errorf("LISTEN_FDS=%q is not a number of sockets", count)
	}
	return activationListeners(firstActivationFD, n, strings.Split(names, ":"))
}

func activationListeners(first, n int, names []string) (map[string][]net.Listener, error) {
	listeners := make(map[string][]net.Listener)
	for i := range n {
		name := "unknown" // what systemd calls a socket without a name
		if i < len(names) && names[i] != "" {
			name = names[i]
		}
		l, err := inheritedListener(first+i, name)
		if err != nil {
			for _, ls := range listeners {
				for _, l := range ls {
					err = errors.Join(err, l.Close())
				}
			}
			return nil, err
		}
		listeners[name] = append(listeners[name], l)
	}
	return listeners, nil
}

func inheritedListener(fd int, name string) (net.Listener, error) {
	unix.CloseOnExec(fd)
	f := os.NewFile(uintptr(fd), name)
	if f == nil {
		return nil, fmt.Errorf("taking over socket %q: file descriptor %d is not open", name, fd)
	}
	l, err := net.FileListener(f) // duplicates fd
	if cerr := f.Close(); err == nil && cerr != nil {
		err = cerr
	}
	if err != nil {
		return nil, fmt.Errorf("taking over socket %q (file descriptor %d) from systemd: it must be a listening stream socket: %w", name, fd, err)
	}
	return l, nil
}
