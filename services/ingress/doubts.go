package ingress

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"

	"github.com/sluice-mail/sluice/pkg/smtpd/spool"
)

// filesBeside is how many file descriptors the process needs beside those of its clients: the log, the admin listener,
// the files of mails that do not fit into memory.
const filesBeside = 200

// doubts are settings that are allowed but most likely a mistake; they are logged at the start.
func (c Config) doubts(files uint64) (list []string) {
	if files > 0 && uint64(c.MaxConns)+filesBeside > files {
		list = append(list, fmt.Sprintf("INGRESS_MAX_CONNS=%d is too high for the %d file descriptors that the process may open (ulimit -n): with more than %d connections it cannot accept mail", c.MaxConns, files, max(files, filesBeside)-filesBeside))
	}
	if dir := c.spoolDir(); spool.InMemory(dir) {
		list = append(list, fmt.Sprintf("the spool directory %s is in memory (tmpfs), and may take up to INGRESS_SPOOL_MAX=%s of it; set INGRESS_SPOOL_DIR to a directory on a disk", dir, c.SpoolMax))
	}
	if name := c.hostname(); !isFQDN(name) {
		list = append(list, fmt.Sprintf("the host name in the banner is %q, which is not a fully qualified domain name: set INGRESS_HOSTNAME to the name in the MX record", name))
	}
	return list
}

func (c Config) spoolDir() string {
	if c.SpoolDir != "" {
		return c.SpoolDir
	}
	return os.TempDir()
}

// isFQDN: a container's id is a name of one label, too.
func isFQDN(name string) bool {
	at := strings.IndexByte(strings.TrimSuffix(name, "."), '.')
	_, err := netip.ParseAddr(name)
	return at > 0 && err != nil && !strings.HasSuffix(name, ".localdomain") && !strings.HasSuffix(name, ".local")
}

// fileLimit is how many files the process may open; 0 if unknown. Go has already raised the soft limit to the hard limit.
func fileLimit() uint64 {
	var limit syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit) != nil {
		return 0
	}
	return limit.Cur
}

// ownAddresses are the addresses of this host; mail for user@[address] with one of them is accepted (RFC 5321 section 4.1.3).
func ownAddresses() (list []netip.Addr) {
	addrs, _ := net.InterfaceAddrs() // none is no reason not to start
	for _, a := range addrs {
		if prefix, err := netip.ParsePrefix(a.String()); err == nil {
			list = append(list, prefix.Addr())
		}
	}
	return list
}
