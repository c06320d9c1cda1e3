package policy

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync/atomic"
	"time"
)

// Mode says which recipients of an accepted domain are accepted.
type Mode string

const (
	// ModeAny accepts all of them.
	ModeAny Mode = "any"
	// ModeKV accepts those in the bucket, and postmaster.
	ModeKV Mode = "kv"
)

// Config is what a Policy starts with.
type Config struct {
	// Domains are patterns that are always accepted: example.com, *.example.net, *.
	Domains []string
	// PrimaryDomain, when set, is the domain of every mailbox: all accepted domains are aliases of it.
	PrimaryDomain string
	// Mode is ModeAny when empty.
	Mode Mode
	// Live says that a bucket is watched (see Follow): until it has been read once, a domain that is not in Domains
	// is answered with ErrUnavailable, not with ErrRelay. ModeKV implies it.
	Live bool
	// Hostname is the server's name: the domain of postmaster when nothing better is known.
	Hostname string
	// Literals are the server's own addresses: user@[192.0.2.1] is accepted for these and no others.
	Literals []netip.Addr
	// Delimiters are the characters that end the name of a mailbox in a local part: with +, mail to ann+lists is for ann.
	// In ModeKV a recipient whose name has one comes first.
	Delimiters string
	// MaxLocal bounds a local part in bytes; 256 when 0. RFC 5321 section 4.5.3.1.1 asks for 64 at least, and senders
	// with longer ones exist.
	MaxLocal int
}

const postmaster = "postmaster"

// Policy decides about recipients. Its methods may be called from any goroutine.
type Policy struct {
	static   domains
	primary  string
	fallback string // the domain of an address that has none or a literal
	mode     Mode
	expected bool // a bucket is watched
	literals map[netip.Addr]struct{}
	maxLocal int
	delims   string

	live   atomic.Pointer[liveSet] // nil until the bucket has been read once
	doubts atomic.Int64            // times a list was found empty and not believed to be

	verifyEvery, retryEvery time.Duration
}

// New checks the configuration and returns its policy.
func New(cfg Config) (*Policy, error) {
	p := &Policy{
		mode:        cmp.Or(cfg.Mode, ModeAny),
		literals:    make(map[netip.Addr]struct{}),
		verifyEvery: verifyEvery,
		retryEvery:  retryEvery,
		maxLocal:    cmp.Or(cfg.MaxLocal, 256),
		delims:      cfg.Delimiters,
	}
	if strings.Trim(p.delims, "+-_=#~^*/.") != "" {
		return nil, fmt.Errorf("recipient delimiter %q; allowed: one or more of + - . _ = # ~ ^ * /", p.delims)
	}
	if p.mode != ModeAny && p.mode != ModeKV {
		return nil, fmt.Errorf("recipients mode %q is unknown; allowed: %s or %s", p.mode, ModeAny, ModeKV)
	}
	p.expected = cfg.Live || p.mode == ModeKV
	var patterns []string
	for _, entry := range cfg.Domains {
		pattern, err := NormalisePattern(strings.TrimSpace(entry))
		if err != nil {
			return nil, fmt.Errorf("accepted domains: %w", err)
		}
		patterns = append(patterns, pattern)
	}
	if len(patterns) == 0 && !p.expected {
		return nil, errors.New("accepted domains: there are none, so every mail would be refused; allowed: example.com, *.example.com or *")
	}
	p.static = newDomains(patterns)
	if cfg.PrimaryDomain != "" {
		var err error
		if p.primary, err = NormaliseDomain(cfg.PrimaryDomain); err != nil {
			return nil, fmt.Errorf("primary domain: %q is not a domain", cfg.PrimaryDomain)
		}
	}
	p.fallback = p.defaultDomain(patterns, cfg.Hostname)
	for _, a := range cfg.Literals {
		p.literals[a.Unmap().WithZone("")] = struct{}{}
	}
	return p, nil
}

// defaultDomain is the primary domain, or else the first one that is not a wildcard, or else the host's name.
func (p *Policy) defaultDomain(patterns []string, hostname string) string {
	if p.primary != "" {
		return p.primary
	}
	for _, pattern := range patterns {
		if !strings.HasPrefix(pattern, "*") {
			return pattern
		}
	}
	if name, err := NormaliseDomain(hostname); err == nil {
		return name
	}
	return "localhost"
}

// Resolve returns the mailbox for a recipient, or a *Refusal. local is without quotes; domain is empty only for
// RCPT TO:<postmaster>, and has its brackets when it is an address literal.
func (p *Policy) Resolve(local, domain string, smtputf8 bool) (mailbox string, err error) {
	if !smtputf8 && !(isASCII(local) && isASCII(domain)) {
		return "", ErrUTF8
	}
	local, err = NormaliseLocal(local)
	if err != nil {
		return "", err
	}
	if len(local) > p.maxLocal {
		return "", ErrAddress
	}
	live := p.live.Load()
	domain, err = p.accept(domain, local == postmaster, live)
	if err != nil {
		return "", err
	}
	name := local
	if at := strings.IndexAny(local, p.delims); at > 0 {
		name = local[:at]
	}
	if name != local && p.mode == ModeKV {
		if mailbox, err := p.file(local, domain, live); err == nil {
			return mailbox, nil
		}
	}
	return p.file(name, domain, live)
}

// file finds the mailbox of a local part at one of our domains.
func (p *Policy) file(local, domain string, live *liveSet) (mailbox string, err error) {
	given, err := join(local, domain)
	if err != nil {
		return "", err
	}
	mailbox, err = join(local, cmp.Or(p.primary, domain))
	if err != nil || p.mode == ModeAny || local == postmaster {
		return mailbox, err
	}
	switch {
	case live == nil, live.recipients.Len() == 0 && !live.noRecipients:
		return "", ErrUnavailable
	case live.knows(mailbox), given != mailbox && live.knows(given):
		return mailbox, nil
	}
	return "", ErrUnknown
}

// accept returns the normalised domain when mail for it is ours.
func (p *Policy) accept(domain string, forPostmaster bool, live *liveSet) (string, error) {
	if domain == "" {
		// RFC 5321 section 4.5.1: postmaster without a domain must be accepted; nobody else needs none.
		if !forPostmaster {
			return "", ErrAddress
		}
		return p.fallback, nil
	}
	if strings.HasPrefix(domain, "[") {
		return p.acceptLiteral(domain)
	}
	domain, err := NormaliseDomain(domain)
	switch {
	case err != nil:
		return "", err
	case p.static.has(domain), live != nil && live.domains.has(domain):
		return domain, nil
	case live == nil && p.expected:
		return "", ErrUnavailable
	}
	return "", ErrRelay
}

// acceptLiteral takes mail for the server's own addresses (RFC 5321 section 4.1.3) as mail for its default domain.
func (p *Policy) acceptLiteral(literal string) (string, error) {
	inner, closed := strings.CutSuffix(literal[1:], "]")
	if tag := "IPv6:"; len(inner) > len(tag) && strings.EqualFold(inner[:len(tag)], tag) {
		inner = inner[len(tag):]
	}
	addr, err := netip.ParseAddr(inner)
	if !closed || err != nil || addr.Zone() != "" {
		return "", ErrAddress
	}
	if _, own := p.literals[addr.Unmap()]; !own {
		return "", ErrRelay
	}
	return p.fallback, nil
}
