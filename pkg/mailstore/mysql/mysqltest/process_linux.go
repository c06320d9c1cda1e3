package mysqltest

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// process gives the server a process group of its own, so that Ctrl-C reaches the test only, which then stops it; and
// has the kernel kill it when the test program dies without doing so.
func process() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// frozen says that every thread of the process has stopped (proc(5), state T).
func frozen(pid int) bool {
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
	if err != nil || len(threads) == 0 {
		return false
	}
	for _, thread := range threads {
		stat, err := os.ReadFile(thread)
		if err != nil || !bytes.Contains(stat, []byte(") T ")) {
			return false
		}
	}
	return true
}
