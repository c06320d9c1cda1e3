// Package token makes and reads the tokens that give access to mailboxes: JSON Web Tokens (RFC 7519) signed by HMAC
// SHA-256. The mailbox service checks them, sluicectl makes them.
//
//	{"aud":["api"],"exp":…,"iat":…,"mbox":["ann@example.com"],"dom":["example.net"],"do":["read","delete"]}
//
// Secrets can be rotated: the first secret signs, and all are accepted. The "kid" of a token says which secret signed it.
package token

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

const (
	// MinSecret is the shortest secret in bytes (RFC 7518 section 3.2). The library would take an empty one.
	MinSecret = 32
	// MaxLife is how long a token may be valid.
	MaxLife = 90 * 24 * time.Hour
	// audience keeps tokens for other uses out.
	audience = "api"
	// Leeway is how far clocks may differ: a token is taken for so much longer.
	Leeway = 30 * time.Second
	// maxToken bounds the text of a token in bytes.
	maxToken = 8 << 10
)

// Right is what a token lets its holder do.
type Right string

// The rights.
const (
	Read   Right = "read"
	Delete Right = "delete"
)

// Claims say for which mailboxes a token is, and what it allows there.
type Claims struct {
	jwt.RegisteredClaims
	Mailboxes []string `json:"mbox,omitempty"` // in their one form
	Domains   []string `json:"dom,omitempty"`  // all mailboxes of these
	Do        []Right  `json:"do"`
}

// May says whether the claims allow something in a mailbox.
func (c *Claims) May(right Right, mailbox string) bool {
	if c == nil || !slices.Contains(c.Do, right) {
		return false
	}
	domain := mailbox[strings.LastIndexByte(mailbox, '@')+1:]
	return slices.Contains(c.Mailboxes, mailbox) || slices.Contains(c.Domains, domain)
}

// Keys are the secrets, newest first.
type Keys [][]byte

// ParseKeys reads the value of MAILBOX_SECRET: secrets separated by commas, newest first.
func ParseKeys(text string) (Keys, error) {
	var keys Keys
	for entry := range strings.SplitSeq(text, ",") {
		entry = strings.TrimSpace(entry)
		switch {
		case entry == "":
		case len(entry) < MinSecret:
			return nil, fmt.Errorf("a secret has %d bytes; allowed: %d or more, such as `openssl rand -hex 32` makes", len(entry), MinSecret)
		default:
			keys = append(keys, []byte(entry))
		}
	}
	if len(keys) == 0 {
		return nil, errors.New("there is no secret")
	}
	return keys, nil
}

func keyID(key []byte) string {
	sum := sha256.Sum256(key)
	return hex.EncodeToString(sum[:4])
}

// Sign makes a token that is valid for life from now on.
func (k Keys) Sign(c Claims, life time.Duration, now time.Time) (string, error) {
	switch {
	case len(k) == 0 || len(k[0]) < MinSecret:
		return "", errors.New("signing a token: there is no secret")
	case life <= 0 || life > MaxLife:
		return "", fmt.Errorf("signing a token: a life of %s; allowed: up to %s", life, MaxLife)
	case len(c.Mailboxes)+len(c.Domains) == 0:
		return "", errors.New("signing a token: it is for no mailbox")
	}
	c.Audience = jwt.ClaimStrings{audience}
	c.IssuedAt, c.ExpiresAt = jwt.NewNumericDate(now), jwt.NewNumericDate(now.Add(life))
	t := jwt.NewWithClaims(jwt.SigningMethodHS256, c)
	t.Header["kid"] = keyID(k[0])
	text, err := t.SignedString(k[0])
	if err != nil {
		return "", fmt.Errorf("signing a token: %w", err)
	}
	return text, nil
}

// Verify reads a token. The error says what is wrong with it, and nothing of its text.
func (k Keys) Verify(text string, now time.Time) (*Claims, error) {
	text = strings.TrimSpace(text)
	if len(text) > maxToken {
		return nil, errors.New("reading a token: it is too long")
	}
	parser := jwt.NewParser(jwt.WithValidMethods([]string{"HS256"}), jwt.WithExpirationRequired(), jwt.WithIssuedAt(),
		jwt.WithLeeway(Leeway), jwt.WithAudience(audience), jwt.WithStrictDecoding(), jwt.WithTimeFunc(func() time.Time { return now }))
	claims := new(Claims)
	if _, err := parser.ParseWithClaims(text, claims, k.find); err != nil {
		return nil, fmt.Errorf("reading a token: %w", err)
	}
	if claims.ExpiresAt.Sub(now) > MaxLife+Leeway {
		return nil, errors.New("reading a token: it is valid for longer than any token may be")
	}
	return claims, nil
}

// find returns the key that a token names; all of them when it names none.
func (k Keys) find(t *jwt.Token) (any, error) {
	named, _ := t.Header["kid"].(string)
	var set jwt.VerificationKeySet
	for _, key := range k {
		if len(key) >= MinSecret && (named == "" || named == keyID(key)) {
			set.Keys = append(set.Keys, key)
		}
	}
	if len(set.Keys) == 0 {
		return nil, errors.New("it is signed by a secret that is not in use")
	}
	return set, nil
}
