package policy

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/nats-io/nats.go/jetstream"
)

// The keys of the bucket. A key may only have the characters of a NATS subject, so its text is encoded in
// base64url without padding (RFC 4648 section 5):
//
//	domain.<base64url of the pattern>       example.com, *.example.com, *
//	rcpt.<base64url of the mailbox>         ann@example.com
//	empty.<base64url of domain or rcpt>     the last domain or recipient was removed on purpose
//	deny.<base64url of kind:value>          net:192.0.2.0/24, helo:…, from:…, domain:…, rcpt:…; see entries.go
//	allow.<base64url of kind:value>
//
// All are normalised first. Of the first three only the key is used; the value repeats it in plain text, for people who look
// into the bucket with other tools. The value of a deny or allow entry says what to answer, and until when it holds.
const (
	domainKeys    = "domain"
	recipientKeys = "rcpt"
	emptyKeys     = "empty"
	denyKeys      = "deny"
	allowKeys     = "allow"
)

func key(kind, text string) string {
	return kind + "." + base64.RawURLEncoding.EncodeToString([]byte(text))
}

// parseKey is the reverse of key. ok is false for a key that was not made by it.
func parseKey(k string) (kind, text string, ok bool) {
	kind, encoded, found := strings.Cut(k, ".")
	raw, err := base64.RawURLEncoding.DecodeString(encoded)
	if !found || err != nil || len(raw) == 0 {
		return "", "", false
	}
	return kind, string(raw), true
}

// AddDomain makes every ingress that watches the bucket accept a domain: example.com, *.example.com or *. It returns
// the pattern as it is stored.
func AddDomain(ctx context.Context, kv jetstream.KeyValue, pattern string) (string, error) {
	return put(ctx, kv, domainKeys, pattern, NormalisePattern)
}

// RemoveDomain undoes AddDomain. Domains in the ingress's configuration stay accepted.
func RemoveDomain(ctx context.Context, kv jetstream.KeyValue, pattern string) (string, error) {
	return remove(ctx, kv, domainKeys, pattern, NormalisePattern)
}

// ListDomains returns the patterns in the bucket, sorted.
func ListDomains(ctx context.Context, kv jetstream.KeyValue) ([]string, error) {
	return list(ctx, kv, domainKeys)
}

// AddRecipient makes a mailbox known. With a primary domain it may be given under that or under an alias.
func AddRecipient(ctx context.Context, kv jetstream.KeyValue, address string) (string, error) {
	return put(ctx, kv, recipientKeys, address, normaliseRecipient)
}

// RemoveRecipient undoes AddRecipient.
func RemoveRecipient(ctx context.Context, kv jetstream.KeyValue, address string) (string, error) {
	return remove(ctx, kv, recipientKeys, address, normaliseRecipient)
}

// ListRecipients returns the mailboxes in the bucket, sorted.
func ListRecipients(ctx context.Context, kv jetstream.KeyValue) ([]string, error) {
	return list(ctx, kv, recipientKeys)
}

// ErrNotListed says that what should be removed is not in the bucket.
var ErrNotListed = errors.New("is not in the list")

func normaliseRecipient(address string) (string, error) {
	mailbox, err := Normalise(address)
	if err != nil {
		return "", fmt.Errorf("%q is not a mailbox; allowed: user@example.com", address)
	}
	return mailbox, nil
}

func put(ctx context.Context, kv jetstream.KeyValue, kind, text string, normalise func(string) (string, error)) (string, error) {
	text, err := normalise(text)
	if err != nil {
		return "", err
	}
	if _, err := kv.PutString(ctx, key(kind, text), text); err != nil {
		return "", fmt.Errorf("adding %s to the policy bucket: %w", text, err)
	}
	// From now on an empty list is an accident again.
	_, err = kv.Get(ctx, key(emptyKeys, kind))
	if err == nil {
		err = kv.Delete(ctx, key(emptyKeys, kind))
	}
	if err != nil && !errors.Is(err, jetstream.ErrKeyNotFound) {
		return "", fmt.Errorf("adding %s to the policy bucket: %w", text, err)
	}
	return text, nil
}

func remove(ctx context.Context, kv jetstream.KeyValue, kind, text string, normalise func(string) (string, error)) (string, error) {
	text, err := normalise(text)
	if err == nil {
		err = removeKey(ctx, kv, kind, text)
	}
	if err != nil {
		return "", err
	}
	if err := markEmpty(ctx, kv, kind); err != nil {
		return "", fmt.Errorf("removing %s from the policy bucket: %w", text, err)
	}
	return text, nil
}

// removeKey deletes a key that is there.
func removeKey(ctx context.Context, kv jetstream.KeyValue, kind, text string) error {
	_, err := kv.Get(ctx, key(kind, text))
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return fmt.Errorf("%s %w", text, ErrNotListed)
	}
	if err == nil {
		err = kv.Delete(ctx, key(kind, text))
	}
	if err != nil {
		return fmt.Errorf("removing %s from the policy bucket: %w", text, err)
	}
	return nil
}

// markEmpty writes down that a list is empty on purpose, when it is.
func markEmpty(ctx context.Context, kv jetstream.KeyValue, kind string) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	lister, err := kv.ListKeysFiltered(ctx, kind+".>")
	if err != nil {
		return err
	}
	defer func() { _ = lister.Stop() }()
	for range lister.Keys() {
		return nil
	}
	_, err = kv.PutString(ctx, key(emptyKeys, kind), "on purpose")
	return err
}

func list(ctx context.Context, kv jetstream.KeyValue, kind string) ([]string, error) {
	lister, err := kv.ListKeysFiltered(ctx, kind+".>")
	if err != nil {
		return nil, fmt.Errorf("listing the policy bucket: %w", err)
	}
	var texts []string
	for k := range lister.Keys() {
		if _, text, ok := parseKey(k); ok {
			texts = append(texts, text)
		}
	}
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("listing the policy bucket: %w", err)
	}
	slices.Sort(texts)
	return texts, nil
}
