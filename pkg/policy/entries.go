package policy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/text/unicode/norm"

	"github.com/sluice-mail/sluice/pkg/policy/lists"
)

// entryValue is the value of the keys of entries, as JSON. The key has what matches.
type entryValue struct {
	Code    int       `json:"code,omitempty"` // of the reply; entries that allow have none
	Text    string    `json:"text,omitempty"` // of the reply; for entries that allow a note
	Expires time.Time `json:"expires,omitzero"`
}

// ListEntry is one entry of the deny or allow list, as operators edit it.
type ListEntry struct {
	Name    string    `json:"name"`             // such as net:192.0.2.0/24
	Code    int       `json:"code,omitempty"`   // of the SMTP reply; 0 in the allow list
	Text    string    `json:"text,omitempty"`   // of the SMTP reply; in the allow list a note
	Expires time.Time `json:"expires,omitzero"` // zero: never
}

const (
	// DeniedText is the text of the reply when the entry has none.
	DeniedText = "Denied by the policy of this server"
	// maxReason leaves room in a line of a reply (RFC 5321 section 4.5.3.1.5).
	maxReason = 400
)

// deniedCodes are the replies an entry may give, with their enhanced codes (RFC 3463).
var deniedCodes = map[int]string{421: "4.7.0", 450: "4.7.1", 451: "4.7.1", 550: "5.7.1", 554: "5.7.1"}

// SetEntry makes every ingress that watches the bucket deny or allow what e.Name says. It returns the name as stored.
func SetEntry(ctx context.Context, kv jetstream.KeyValue, allow bool, e ListEntry) (string, error) {
	n, err := ParseEntry(allow, e.Name)
	if err != nil {
		return "", err
	}
	if err := e.check(allow); err != nil {
		return "", err
	}
	value, err := json.Marshal(entryValue{Code: e.Code, Text: e.Text, Expires: e.Expires})
	if err != nil {
		return "", err
	}
	text := entryText(n)
	if _, err := kv.Put(ctx, key(entryKind(allow), text), value); err != nil {
		return "", fmt.Errorf("adding %s to the policy bucket: %w", text, err)
	}
	return text, nil
}

// RemoveEntry undoes SetEntry.
func RemoveEntry(ctx context.Context, kv jetstream.KeyValue, allow bool, name string) (string, error) {
	n, err := ParseEntry(allow, name)
	if err != nil {
		return "", err
	}
	return entryText(n), removeKey(ctx, kv, entryKind(allow), entryText(n))
}

// ListEntries returns one of the lists, sorted by name, with what has expired.
func ListEntries(ctx context.Context, kv jetstream.KeyValue, allow bool) ([]ListEntry, error) {
	watcher, err := kv.WatchFiltered(ctx, []string{entryKind(allow) + ".>"}, jetstream.IgnoreDeletes())
	if err != nil {
		return nil, fmt.Errorf("listing the policy bucket: %w", err)
	}
	defer stop(watcher)
	list := []ListEntry{}
	for {
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("listing the policy bucket: %w", ctx.Err())
		case update, open := <-watcher.Updates():
			if !open {
				return nil, errors.New("listing the policy bucket: the watch ended")
			}
			if update == nil { // that was all
				slices.SortFunc(list, func(a, b ListEntry) int { return strings.Compare(a.Name, b.Name) })
				return list, nil
			}
			if n, e, ok := parseEntry(update.Key(), update.Value()); ok {
				list = append(list, ListEntry{Name: entryText(n), Code: e.Code, Text: e.Text, Expires: e.Expires})
			}
		}
	}
}

func (e ListEntry) check(allow bool) error {
	if _, known := deniedCodes[e.Code]; !allow && !known {
		return fmt.Errorf("reply code %d is not allowed in a deny entry; allowed: 421, 450, 451, 550, 554", e.Code)
	}
	for i := range len(e.Text) {
		if e.Text[i] < ' ' || e.Text[i] > '~' {
			return errors.New("the text of a reply must be one line of printable ASCII")
		}
	}
	if len(e.Text) > maxReason {
		return fmt.Errorf("the text has %d bytes; a reply has room for %d", len(e.Text), maxReason)
	}
	return nil
}

// ParseEntry reads the name of an entry, as an operator writes it, into its one form: net:192.0.2.0/24,
// helo:*.example.com, from:ann@example.com, domain:example.com, rcpt:ann@example.com.
func ParseEntry(allow bool, name string) (lists.Name, error) {
	kind, value, _ := strings.Cut(strings.TrimSpace(name), ":")
	n := lists.Name{Allow: allow, Kind: lists.Kind(strings.ToLower(kind))}
	var err error
	switch n.Kind {
	case lists.Network:
		n.Value, err = normaliseNetwork(value)
	case lists.Helo:
		n.Value = strings.ToLower(value)
		if n.Value == "" || strings.ContainsAny(n.Value, " \t") {
			err = fmt.Errorf("%q is not a HELO name", value)
		}
	case lists.Sender:
		if n.Value = foldSender(value); n.Value == "" {
			err = fmt.Errorf("%q is not a sender; allowed: user@example.com, or <> for the sender of bounces", value)
		}
	case lists.Domain:
		if n.Value, err = NormalisePattern(value); n.Value == "*" {
			err = errors.New("domain:* is not allowed; net:0.0.0.0/0 and net:::/0 match every client")
		}
	case lists.Recipient:
		n.Value, err = normaliseRecipient(value)
	default:
		err = fmt.Errorf("%q is not an entry; allowed: net:, helo:, from:, domain: or rcpt:, followed by a value", name)
	}
	return n, err
}

func normaliseNetwork(value string) (string, error) {
	prefix, err := netip.ParsePrefix(value)
	if addr, single := netip.ParseAddr(value); single == nil && addr.Zone() == "" {
		addr = addr.Unmap()
		prefix, err = netip.PrefixFrom(addr, addr.BitLen()), nil
	}
	if err != nil || prefix.Addr().Is4In6() {
		return "", fmt.Errorf("%q is not a network; allowed: 192.0.2.0/24, 2001:db8::/32 or one address", value)
	}
	return prefix.Masked().String(), nil
}

// foldSender is the one form of a sender, whatever stands before its @: senders are not ours to judge by the rules of
// our mailboxes. It is empty for what is no address.
func foldSender(address string) string {
	if address == "" || address == "<>" {
		return "<>"
	}
	at := strings.LastIndexByte(address, '@')
	if at < 1 {
		return ""
	}
	domain, err := NormaliseDomain(address[at+1:])
	if err != nil {
		domain = strings.ToLower(address[at+1:]) // an address literal
	}
	local := strings.ToLower(address[:at])
	if !isASCII(local) {
		local = norm.NFC.String(local)
	}
	if local == address[:at] && domain == address[at+1:] {
		return address
	}
	return local + "@" + domain
}

func entryKind(allow bool) string {
	if allow {
		return allowKeys
	}
	return denyKeys
}

func entryText(n lists.Name) string { return string(n.Kind) + ":" + n.Value }

// parseEntry reads a key of the bucket and its value. ok is false for what SetEntry would not write: nobody is denied by
// mistake.
func parseEntry(k string, value []byte) (n lists.Name, e lists.Entry, ok bool) {
	list, text, ok := parseKey(k)
	if !ok || list != denyKeys && list != allowKeys {
		return n, e, false
	}
	n, err := ParseEntry(list == allowKeys, text)
	if err != nil || entryText(n) != text {
		return n, e, false
	}
	var v entryValue
	if json.Unmarshal(value, &v) != nil {
		return n, e, false
	}
	le := ListEntry{Code: v.Code, Text: v.Text, Expires: v.Expires}
	return n, lists.Entry{Code: v.Code, Text: v.Text, Expires: v.Expires}, le.check(n.Allow) == nil
}
