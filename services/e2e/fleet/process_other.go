//go:build !linux

package fleet

import "syscall"

// apart keeps Ctrl-C for the test or the chaos run, which then stops the fleet in order.
func apart() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
