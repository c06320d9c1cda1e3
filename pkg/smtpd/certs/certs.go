// Package certs has the certificates of a TLS server, each a pair of a certificate file and a key file: a default pair, and a
// directory of pairs for clients that ask for a name (SNI). Files are read again when they change, so an ACME client needs no
// restart or signal. While a changed pair cannot be read, the previous one stays in use.
//
//	files ──▶ refresh, at most once a second, during a handshake ──▶ set (immutable) ──▶ Get, by any number of handshakes
package certs

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

const (
	// checkEvery is how often, at most, the files are looked at.
	checkEvery = time.Second
	// warnBefore is how long before its end a certificate is warned of, and warnEvery how often: an ACME client renews
	// a month before, so there is something wrong with it.
	warnBefore = 14 * 24 * time.Hour
	warnEvery  = 24 * time.Hour
)

// Config says where the pairs are. Empty means that there is none of the kind.
type Config struct {
	// Cert and Key are PEM files: the pair for clients that ask for no name, or for none that we have.
	Cert, Key string
	// Dir has a pair for each name: NAME.crt and NAME.key, or fullchain.pem and privkey.pem in a directory NAME, as
	// certbot keeps them. Which names a pair is for is what its certificate says.
	Dir string
	// Hostname is whose pair serves everybody when there is no Cert.
	Hostname string
}

// Enabled says whether there is any certificate.
func (c Config) Enabled() bool { return c.Cert != "" || c.Dir != "" }

// Validate finds what cannot work.
func (c Config) Validate() error {
	if (c.Cert == "") != (c.Key == "") {
		return errors.New("TLS needs both a certificate and a key file")
	}
	return nil
}

// Store has the certificates. Its methods may be called from any goroutine.
type Store struct {
	cfg    Config
	logger *slog.Logger
	now    func() time.Time
	expiry *prometheus.Desc

	inForce atomic.Pointer[set]

	mu      sync.Mutex // held during a refresh
	checked time.Time
	warned  map[string]time.Time
	failed  map[string]stamps // pairs whose error has been logged
}

// set is immutable.
type set struct {
	pairs    []pair // sorted by name, the default pair first
	byName   map[string]*tls.Certificate
	fallback *tls.Certificate
}

// Open reads the certificates; it fails when one cannot be used.
func Open(cfg Config, logger *slog.Logger, reg prometheus.Registerer) (*Store, error) {
	s := &Store{
		cfg: cfg, logger: logger, now: time.Now, warned: make(map[string]time.Time), failed: make(map[string]stamps),
		expiry: prometheus.NewDesc("sluice_smtp_tls_cert_expiry_days", "Days until a certificate expires, by the name of its files in the configuration.", []string{"name"}, nil),
	}
	pairs, err := s.find()
	for i := range pairs {
		if err == nil {
			err = pairs[i].load()
		}
	}
	if err == nil && len(pairs) == 0 {
		err = fmt.Errorf("there is no pair in %s", cfg.Dir)
	}
	if err != nil {
		return nil, fmt.Errorf("reading the TLS certificates: %w", err)
	}
	s.use(pairs)
	return s, reg.Register(s)
}

// Get is tls.Config.GetCertificate.
func (s *Store) Get(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	s.refresh()
	return s.inForce.Load().get(hello.ServerName), nil
}

func (s *set) get(name string) *tls.Certificate {
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	if c := s.byName[name]; c != nil {
		return c
	}
	if _, parent, ok := strings.Cut(name, "."); ok {
		if c := s.byName["*."+parent]; c != nil {
			return c
		}
	}
	return s.fallback
}

// refresh reads what has changed. While somebody does, nobody waits for it.
func (s *Store) refresh() {
	if !s.mu.TryLock() {
		return
	}
	defer s.mu.Unlock()
	now := s.now()
	if now.Sub(s.checked) < checkEvery {
		return
	}
	s.checked = now
	found, err := s.find()
	if err != nil || len(found) == 0 {
		return
	}
	if s.merge(found) {
		s.use(found)
		return
	}
	s.warn()
}

// merge gives each pair its certificate, the old one where nothing has changed, and says whether anything has.
func (s *Store) merge(found []pair) (changed bool) {
	old := make(map[string]pair)
	for _, p := range s.inForce.Load().pairs {
		old[p.name] = p
	}
	changed = len(found) != len(old)
	for i := range found {
		p := &found[i]
		before := old[p.name]
		if p.seen == before.seen || p.seen == s.failed[p.name] || p.seen == (stamps{}) {
			// A file may be missing for the moment between unlink and rename.
			p.cert, p.seen = before.cert, before.seen
			continue
		}
		seen := p.seen
		if err := p.load(); err != nil {
			s.failed[p.name] = seen
			s.logger.Warn("the changed TLS certificate cannot be used; the previous one stays", "cert", p.certFile, "error", err)
			p.cert, p.seen = before.cert, before.seen
			continue
		}
		delete(s.failed, p.name)
		changed = true
		s.logger.Info("TLS certificate reloaded", "cert", p.certFile)
	}
	return changed
}

// use puts pairs in force. Those without a certificate are new and cannot be read.
func (s *Store) use(pairs []pair) {
	next := &set{byName: make(map[string]*tls.Certificate)}
	for _, p := range pairs {
		if p.cert == nil {
			continue
		}
		next.pairs = append(next.pairs, p)
		for _, name := range p.cert.Leaf.DNSNames {
			if name = strings.ToLower(name); next.byName[name] == nil {
				next.byName[name] = p.cert
			}
		}
	}
	if len(next.pairs) == 0 {
		return
	}
	next.fallback = next.pairs[0].cert
	if s.cfg.Cert == "" {
		next.fallback = next.get(s.cfg.Hostname)
	}
	s.inForce.Store(next)
	s.warn()
}

// warn says once a day which certificates end soon.
func (s *Store) warn() {
	now := s.now()
	for _, p := range s.inForce.Load().pairs {
		left := p.cert.Leaf.NotAfter.Sub(now)
		if left >= warnBefore {
			delete(s.warned, p.name)
			continue
		}
		if last, said := s.warned[p.name]; said && now.Sub(last) < warnEvery {
			continue
		}
		s.warned[p.name] = now
		s.logger.Warn("a TLS certificate expires soon, or has expired: nothing has renewed it", "name", p.name, "cert", p.certFile,
			"expires", p.cert.Leaf.NotAfter.UTC().Format(time.RFC3339), "days", int(left.Hours()/24))
	}
}

// Describe implements prometheus.Collector.
func (s *Store) Describe(descs chan<- *prometheus.Desc) { descs <- s.expiry }

// Collect implements prometheus.Collector.
func (s *Store) Collect(metrics chan<- prometheus.Metric) {
	s.refresh()
	for _, p := range s.inForce.Load().pairs {
		days := p.cert.Leaf.NotAfter.Sub(s.now()).Hours() / 24
		metrics <- prometheus.MustNewConstMetric(s.expiry, prometheus.GaugeValue, days, p.name)
	}
}

// find lists the pairs there are, without reading them.
func (s *Store) find() (pairs []pair, err error) {
	if s.cfg.Cert != "" {
		pairs = append(pairs, pair{name: "default", certFile: s.cfg.Cert, keyFile: s.cfg.Key})
	}
	if s.cfg.Dir != "" {
		entries, err := os.ReadDir(s.cfg.Dir)
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			if p, ok := pairOf(s.cfg.Dir, e.Name()); ok {
				pairs = append(pairs, p)
			}
		}
	}
	for i := range pairs {
		pairs[i].stamp()
	}
	return pairs, nil
}
