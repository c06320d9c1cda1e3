package main

import (
	"errors"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/sluice-mail/sluice/services/cachewarmer"
	"github.com/sluice-mail/sluice/services/ingress"
	"github.com/sluice-mail/sluice/services/internal/database"
	"github.com/sluice-mail/sluice/services/internal/logconn"
	"github.com/sluice-mail/sluice/services/mailbox"
	"github.com/sluice-mail/sluice/services/storer"
)

// config is the configuration of all services; the shape of the log is in the storer's.
type config struct {
	Ingress  ingress.Config
	Storer   storer.Config
	Warmer   cachewarmer.Config
	Mailbox  mailbox.Config
	Log      logconn.Config
	Database database.Config
	Write    database.WriteConfig
}

// Validate validates the ingress's configuration with the certificate that it will use, which allinone makes if the environment names
// none. The inbox's configuration is validated too, unless the inbox is off.
func (c *config) Validate() error {
	in := c.Ingress
	if in.TLSCert == "" && in.TLSKey == "" && in.TLSDir == "" {
		in.TLSCert, in.TLSKey = "self-signed", "self-signed"
	}
	if c.Mailbox.Addr == "" {
		return in.Validate()
	}
	return errors.Join(in.Validate(), c.Mailbox.Validate())
}

// defaults are the values of unset variables in allinone, which has one machine and no load balancer.
func defaults() map[string]string {
	return map[string]string{
		"SLUICE_DATA":         "./data",
		"INGRESS_DOMAINS":     "*",
		"INGRESS_DRAIN_DELAY": "0s",
		"MAILBOX_ADDR":        "127.0.0.1:8025",
		"MAILBOX_ACCESS":      "open",
		"MAILBOX_DRAIN_DELAY": "0s",
		"STREAM_MAX_BYTES":    strconv.FormatInt(logRoom("."), 10),
	}
}

// logRoom is min(10 GiB, a quarter of the free disk): the default room of a log that shares its disk with everything
// else.
func logRoom(dir string) int64 {
	const most = 10 << 30
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil {
		return most
	}
	return min(most, int64(fs.Bavail)*int64(fs.Bsize)/4)
}
