package rows

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// Text makes s fit for a column of maxRunes characters: valid UTF-8, no control characters, not longer. A database
// in strict mode refuses anything else, and one refused row costs the whole statement.
func Text(s string, maxRunes int) string {
	s = printable(s)
	if len(s) <= maxRunes {
		return s
	}
	n := 0
	for i := range s {
		if n == maxRunes {
			return strings.TrimRight(s[:i], " ")
		}
		n++
	}
	return s
}

// Bytes makes s fit for a column of maxBytes bytes: as Text, cut between characters.
func Bytes(s string, maxBytes int) string {
	s = printable(s)
	if len(s) <= maxBytes {
		return s
	}
	end := maxBytes
	for end > 0 && !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end]
}

// printable replaces what is not UTF-8, turns white space controls into spaces and drops all other controls. Trailing
// spaces go too: the two databases do not agree on whether they count.
func printable(s string) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	s = strings.Map(func(r rune) rune {
		switch {
		case r == '\t' || r == '\n' || r == '\r':
			return ' '
		case unicode.IsControl(r):
			return -1
		}
		return r
	}, s)
	return strings.TrimSpace(s)
}
