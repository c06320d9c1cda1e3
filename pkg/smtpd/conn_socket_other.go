//go:build !linux

package smtpd

import "syscall"

func askUnread(syscall.RawConn) {}

func read(fd int, p []byte) (n int, empty bool, err error) {
	n, err = syscall.Read(fd, p)
	return n, false, err
}
