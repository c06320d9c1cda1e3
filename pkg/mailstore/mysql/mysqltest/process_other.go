//go:build !linux

package mysqltest

import "syscall"

// process gives the server a process group of its own, so that Ctrl-C reaches the test only, which then stops it.
func process() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

// frozen cannot be told here.
func frozen(int) bool { return true }
