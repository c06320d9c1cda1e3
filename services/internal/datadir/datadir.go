// Package datadir defines the layout of SLUICE_DATA, the directory in which allinone keeps everything. Another program
// that is started with SLUICE_DATA, and without NATS_URL or MYSQL_DSN, finds there the log and the database of the running
// allinone.
package datadir

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Config is the one variable.
type Config struct {
	Dir string `envconfig:"SLUICE_DATA" desc:"data directory of an allinone on this machine: its log and database are used if NATS_URL and MYSQL_DSN are not set"`
}

// Dir is a data directory.
type Dir string

// Database is the SQLite file.
func (d Dir) Database() string { return filepath.Join(string(d), "sluice.db") }

// Log is the store of the embedded NATS server.
func (d Dir) Log() string { return filepath.Join(string(d), "nats") }

// Certificate and Key are the self-signed pair for STARTTLS.
func (d Dir) Certificate() string { return filepath.Join(string(d), "tls.crt") }

// Key belongs to Certificate.
func (d Dir) Key() string { return filepath.Join(string(d), "tls.key") }

// Lock is held by the allinone that uses the directory.
func (d Dir) Lock() string { return filepath.Join(string(d), "lock") }

func (d Dir) urlFile() string { return filepath.Join(string(d), "nats.url") }

// WriteNATSURL leaves the address of the embedded server, its token included, for other processes of the same user.
func (d Dir) WriteNATSURL(url string) error {
	// Written beside and renamed, so that a reader never sees half of it, and never with wider rights.
	tmp := d.urlFile() + ".new"
	if err := os.WriteFile(tmp, []byte(url+"\n"), 0o600); err != nil {
		return fmt.Errorf("writing the address of the log: %w", err)
	}
	if err := os.Rename(tmp, d.urlFile()); err != nil {
		return fmt.Errorf("writing the address of the log: %w", err)
	}
	return nil
}

// NATSURL is the address that WriteNATSURL left.
func (d Dir) NATSURL() (string, error) {
	raw, err := os.ReadFile(d.urlFile())
	if errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("SLUICE_DATA=%s: no allinone has run there (no file nats.url); set NATS_URL, or start allinone with this SLUICE_DATA", d)
	}
	if err != nil {
		return "", fmt.Errorf("reading the address of the log: %w", err)
	}
	return strings.TrimSpace(string(raw)), nil
}

// IsSet says whether the environment has a variable, by itself or as a file.
func IsSet(name string) bool {
	_, plain := os.LookupEnv(name)
	_, file := os.LookupEnv(name + "_FILE")
	return plain || file
}
