package memcachedtest

import "syscall"

// process gives the server a process group of its own, so that Ctrl-C reaches the test only, which then stops it; and
// has the kernel kill it when the test program dies without doing so.
func process() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
