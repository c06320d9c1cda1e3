package smtpd

import (
	"encoding/binary"
	"syscall"

	"golang.org/x/sys/unix"
)

// askUnread makes read say how much it has left behind (TCP_INQ). What cannot say so (a kernel before 4.18, a socket
// that is not TCP) is read once more.
func askUnread(raw syscall.RawConn) {
	_ = raw.Control(func(fd uintptr) { _ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_INQ, 1) })
}

// read is read(2), which says besides whether nothing is left, not even the client's end of the connection.
func read(fd int, p []byte) (n int, empty bool, err error) {
	var control [unix.SizeofCmsghdr + 8]byte // a header, and an int with its padding
	n, got, _, _, err := syscall.Recvmsg(fd, p, control[:], 0)
	empty = got >= unix.SizeofCmsghdr+4 && binary.NativeEndian.Uint32(control[unix.SizeofCmsghdr:]) == 0
	return n, empty, err
}
