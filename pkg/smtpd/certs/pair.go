package certs

import (
	"crypto/tls"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// pair is a certificate and its key. The name is ours: of the file or the directory.
type pair struct {
	name, certFile, keyFile string
	seen                    stamps // what cert, or the last failed attempt, was read from
	cert                    *tls.Certificate
}

type stamps [2]stamp

type stamp struct {
	modified time.Time
	size     int64
}

// pairOf says which pair an entry of the directory stands for, if any.
func pairOf(dir, entry string) (pair, bool) {
	path := filepath.Join(dir, entry)
	if name, found := strings.CutSuffix(entry, ".crt"); found && name != "" {
		return pair{name: name, certFile: path, keyFile: filepath.Join(dir, name+".key")}, true
	}
	p := pair{name: entry, certFile: filepath.Join(path, "fullchain.pem"), keyFile: filepath.Join(path, "privkey.pem")}
	_, err := os.Stat(p.certFile)
	return p, err == nil
}

// stamp looks at the files. What is seen of a pair that is not whole is nothing.
func (p *pair) stamp() {
	var seen stamps
	for i, name := range [2]string{p.certFile, p.keyFile} {
		fi, err := os.Stat(name)
		if err != nil {
			return
		}
		seen[i] = stamp{fi.ModTime(), fi.Size()}
	}
	p.seen = seen
}

func (p *pair) load() error {
	cert, err := tls.LoadX509KeyPair(p.certFile, p.keyFile)
	if err != nil {
		return fmt.Errorf("certificate %s and key %s: %w", p.certFile, p.keyFile, err)
	}
	p.cert = &cert
	return nil
}
