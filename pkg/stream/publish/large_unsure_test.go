package publish

import (
	"errors"
	"testing"
)

// An attempt at a large mail went unanswered, or an earlier one is in the log: what is refused afterwards is the next copy,
// and "the mail is not in the log" would be a guess.
func TestALargeMailWhoseFateIsUnsureStaysUnsure(t *testing.T) {
	full := apiError(503, 10077, "maximum bytes exceeded")
	wrong := apiError(400, 10097, "header size exceeds maximum allowed of 64k")
	inLog := apiError(400, 10201, "batch publish contains duplicate message id")
	for name, tt := range map[string]struct {
		before []answer
		last   answer
		want   error
	}{
		"full":                                {nil, full, ErrFull},
		"full, after being busy":              {[]answer{apiError(429, 10167, "busy")}, full, ErrFull},
		"full, after silence":                 {[]answer{silence}, full, ErrUnconfirmed},
		"full, when it is in the log already": {[]answer{inLog}, full, ErrUnconfirmed},
		"wrong":                               {nil, wrong, ErrRefused},
		"wrong, after silence":                {[]answer{silence}, wrong, ErrUnconfirmed},
		"wrong, silence before it was busy":   {[]answer{silence, apiError(429, 10167, "busy")}, wrong, ErrUnconfirmed},
	} {
		p := startSilentLog(t)
		l, err := newLargeMail(p, testShard(p, 0), "id", largeTestMail(t, 2<<20))
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range tt.before {
			if _, done, err := l.settle(a); done {
				t.Fatalf("%s: decided early: %v", name, err)
			}
		}
		_, done, err := l.settle(tt.last)
		if !done || !errors.Is(err, tt.want) {
			t.Errorf("%s: told %v, want %v", name, err, tt.want)
		}
		if tt.want == ErrUnconfirmed && (errors.Is(err, ErrFull) || errors.Is(err, ErrRefused)) {
			t.Errorf("%s: told %v, which says that it is not in the log", name, err)
		}
	}
}
