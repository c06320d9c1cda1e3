// Package lists matches a mail with the entries that an operator has denied and allowed: networks, HELO names, senders, domains
// of senders, recipients. An allow entry takes precedence over every deny entry.
//
//	Builder.Set, Remove ──▶ Freeze ──▶ Set.Match, by any number of readers without a lock
//
// Networks are kept in a tree, of which a change copies only the nodes on its path; names are kept in a frozen.Map. So a change
// copies only a small part of the entries, and matching a mail takes one lookup for each of its names. Expiry is checked when an
// entry matches.
package lists

import (
	"net/netip"
	"strings"
	"time"

	"github.com/sluice-mail/sluice/pkg/policy/frozen"
)

// Kind is what of a mail an entry is about.
type Kind string

// The kinds, as an operator writes them.
const (
	Network   Kind = "net"    // of the client: 192.0.2.0/24
	Helo      Kind = "helo"   // mail.example.com, or *.example.com for all names below it
	Sender    Kind = "from"   // ann@example.com, or <> for the sender of bounces
	Domain    Kind = "domain" // of the sender: example.com or *.example.com
	Recipient Kind = "rcpt"   // ann@example.com
)

// Kinds returns all of them.
func Kinds() []Kind { return []Kind{Network, Helo, Sender, Domain, Recipient} }

// Name is what an entry is found by. Value has the one form that a Mail has, too.
type Name struct {
	Allow bool // on the list of what is allowed; else on the list of what is denied
	Kind  Kind // what Value is matched with
	Value string
}

// Entry is what is done to a mail that matches. An entry that allows needs no reply.
type Entry struct {
	Code    int       // of the SMTP reply
	Text    string    // of the reply, without codes
	Expires time.Time // zero: never
}

func (e *Entry) live(now func() time.Time) bool {
	return e != nil && (e.Expires.IsZero() || now().Before(e.Expires))
}

// pair is what is said about one network or name.
type pair struct{ allow, deny *Entry }

func (p pair) with(allow bool, e *Entry) pair {
	if allow {
		p.allow = e
	} else {
		p.deny = e
	}
	return p
}

func (p pair) get(allow bool) *Entry {
	if allow {
		return p.allow
	}
	return p.deny
}

// text is the key of a name: short to hash.
type text struct {
	class class
	value string
}

// class is a kind, and whether it is a pattern for the names below one.
type class uint8

const below class = 0x80

func classOf(k Kind) class {
	switch k {
	case Helo:
		return 1
	case Sender:
		return 2
	case Domain:
		return 3
	}
	return 4
}

func textOf(n Name) text {
	parent, wild := strings.CutPrefix(n.Value, "*.")
	if wild && (n.Kind == Helo || n.Kind == Domain) {
		return text{classOf(n.Kind) | below, parent}
	}
	return text{classOf(n.Kind), n.Value}
}

// counts is the number of entries by what they are.
type counts map[countKey]int

type countKey struct {
	allow bool
	kind  Kind
}

// Set is immutable. A nil Set is empty.
type Set struct {
	four, six *network
	texts     *frozen.Map[text, pair]
	counts    counts
	patterns  bool // there are any
}

// Count is how many entries of a kind there are.
func (s *Set) Count(allow bool, kind Kind) int {
	if s == nil {
		return 0
	}
	return s.counts[countKey{allow, kind}]
}

// Has says whether there is any entry of a kind.
func (s *Set) Has(kind Kind) bool { return s.Count(true, kind)+s.Count(false, kind) > 0 }

// Empty says that there is no entry at all.
func (s *Set) Empty() bool {
	return s == nil || s.four == nil && s.six == nil && s.texts.Len() == 0
}

// Mail is what the lists look at, in normal form. What is not known is empty.
type Mail struct {
	Client                          netip.Addr
	Helo, Sender, Domain, Recipient string
}

// Match returns the entry that denies the mail, and what it is about, or nil. Of several it is that of the network, the
// smallest one first, then HELO, sender, domain, recipient.
func (s *Set) Match(m Mail, now func() time.Time) (*Entry, Kind) {
	if s == nil {
		return nil, ""
	}
	v := verdict{now: now}
	if client := m.Client.Unmap().WithZone(""); client.Is4() {
		s.four.visit(client, v.network)
	} else if client.Is6() {
		s.six.visit(client, v.network)
	}
	s.name(&v, Helo, m.Helo)
	s.name(&v, Sender, m.Sender)
	s.name(&v, Domain, m.Domain)
	s.name(&v, Recipient, m.Recipient)
	if v.allowed || v.denied == nil {
		return nil, ""
	}
	return v.denied, v.kind
}

// name looks a name up, and the patterns it may match.
func (s *Set) name(v *verdict, kind Kind, value string) {
	if value == "" || v.allowed || s.texts.Len() == 0 {
		return
	}
	if p, ok := s.texts.Get(text{classOf(kind), value}); ok {
		v.name(p, kind)
	}
	if !s.patterns || kind != Helo && kind != Domain {
		return
	}
	for {
		_, parent, found := strings.Cut(value, ".")
		if !found {
			return
		}
		if p, ok := s.texts.Get(text{classOf(kind) | below, parent}); ok {
			v.name(p, kind)
		}
		value = parent
	}
}

// verdict is what the entries seen so far amount to.
type verdict struct {
	now     func() time.Time
	allowed bool
	denied  *Entry
	kind    Kind // of denied
}

// network takes the later one: the smaller network.
func (v *verdict) network(p pair) {
	v.allowed = v.allowed || p.allow.live(v.now)
	if p.deny.live(v.now) {
		v.denied, v.kind = p.deny, Network
	}
}

// name takes the first one.
func (v *verdict) name(p pair, kind Kind) {
	v.allowed = v.allowed || p.allow.live(v.now)
	if v.denied == nil && p.deny.live(v.now) {
		v.denied, v.kind = p.deny, kind
	}
}
