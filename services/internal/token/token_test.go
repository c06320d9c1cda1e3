package token

import (
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

const first, second = "0123456789abcdef0123456789abcdef", "ffffffffffffffffffffffffffffffff"

func keys(t *testing.T, text string) Keys {
	t.Helper()
	k, err := ParseKeys(text)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func signed(t *testing.T, k Keys, now time.Time) string {
	t.Helper()
	text, err := k.Sign(Claims{Mailboxes: []string{"ann@example.com"}, Do: []Right{Read}}, time.Hour, now)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestSecretsAreLongEnough(t *testing.T) {
	for _, text := range []string{"", " , ", "short", first + ",short", strings.Repeat("x", MinSecret-1)} {
		if _, err := ParseKeys(text); err == nil {
			t.Errorf("%q is taken", text)
		}
	}
	for _, k := range []Keys{nil, {nil}, {[]byte("short")}} {
		if _, err := k.Sign(Claims{Mailboxes: []string{"a@b"}}, time.Hour, time.Now()); err == nil {
			t.Errorf("%q signs", k)
		}
	}
}

func TestSecretsRotate(t *testing.T) {
	now := time.Now()
	text := signed(t, keys(t, first), now)
	for secrets, ok := range map[string]bool{first: true, second + "," + first: true, second: false} {
		if _, err := keys(t, secrets).Verify(text, now); (err == nil) != ok {
			t.Errorf("with %s: %v", secrets, err)
		}
	}
}

func TestRights(t *testing.T) {
	c := &Claims{Mailboxes: []string{"ann@example.com"}, Domains: []string{"example.net"}, Do: []Right{Read}}
	for mailbox, may := range map[string]bool{
		"ann@example.com": true, "ben@example.com": false, "x@example.net": true, "x@sub.example.net": false, "x@notexample.net": false,
		"example.net@example.com": false, "": false,
	} {
		if c.May(Read, mailbox) != may || c.May(Delete, mailbox) {
			t.Errorf("%s: may read %v, delete %v", mailbox, c.May(Read, mailbox), c.May(Delete, mailbox))
		}
	}
	if (*Claims)(nil).May(Read, "ann@example.com") {
		t.Error("no claims allow reading")
	}
}

// TestForgeries: everything that a library might let through.
func TestForgeries(t *testing.T) {
	k, now := keys(t, first), time.Now()
	good := signed(t, k, now)
	claims := func(change func(jwt.MapClaims)) jwt.MapClaims {
		c := jwt.MapClaims{"aud": "api", "exp": now.Add(time.Hour).Unix(), "iat": now.Unix(), "mbox": []string{"ann@example.com"}, "do": []string{"read"}}
		change(c)
		return c
	}
	make := func(method jwt.SigningMethod, key any, header map[string]any, change func(jwt.MapClaims)) string {
		t.Helper()
		token := jwt.NewWithClaims(method, claims(change))
		for name, value := range header {
			token.Header[name] = value
		}
		text, err := token.SignedString(key)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	same := func(jwt.MapClaims) {}
	for what, text := range map[string]string{
		"no signature":         make(jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, nil, same),
		"another algorithm":    make(jwt.SigningMethodHS512, []byte(first), nil, same),
		"an empty key":         make(jwt.SigningMethodHS256, []byte(""), nil, same),
		"another key":          make(jwt.SigningMethodHS256, []byte(second), nil, same),
		"another key, our kid": make(jwt.SigningMethodHS256, []byte(second), map[string]any{"kid": keyID([]byte(first))}, same),
		"a kid that is a path": make(jwt.SigningMethodHS256, []byte(""), map[string]any{"kid": "/dev/null"}, same),
		"no expiry":            make(jwt.SigningMethodHS256, []byte(first), nil, func(c jwt.MapClaims) { delete(c, "exp") }),
		"expired":              make(jwt.SigningMethodHS256, []byte(first), nil, func(c jwt.MapClaims) { c["exp"] = now.Add(-time.Minute).Unix() }),
		"valid for years":      make(jwt.SigningMethodHS256, []byte(first), nil, func(c jwt.MapClaims) { c["exp"] = now.Add(2 * MaxLife).Unix() }),
		"another use":          make(jwt.SigningMethodHS256, []byte(first), nil, func(c jwt.MapClaims) { c["aud"] = "feed" }),
		"no use":               make(jwt.SigningMethodHS256, []byte(first), nil, func(c jwt.MapClaims) { delete(c, "aud") }),
		"from the future":      make(jwt.SigningMethodHS256, []byte(first), nil, func(c jwt.MapClaims) { c["iat"] = now.Add(time.Hour).Unix() }),
		"changed":              strings.Replace(good, ".", "x.", 1),
		"cut":                  good[:len(good)-1],
		"dots":                 strings.Repeat(".", 5000),
		"long":                 good + strings.Repeat("a", maxToken),
		"nothing":              "",
	} {
		if c, err := k.Verify(text, now); err == nil {
			t.Errorf("%s: taken, %+v", what, c)
		}
	}
	if _, err := k.Verify(make(jwt.SigningMethodHS256, []byte(first), nil, same), now); err != nil {
		t.Errorf("the good one is refused, so the others prove nothing: %v", err)
	}
	if _, err := k.Verify(good+"\n", now); err != nil {
		t.Errorf("with a line end: %v", err)
	}
}
