package env

import (
	"strconv"
	"strings"
)

// Problem is one variable that is missing or wrong.
type Problem struct {
	Name    string // of the variable
	Value   string // as given, secrets masked
	Reason  string // what is wrong
	Allowed string // what would be right; may be empty

	given bool
}

// Error names the variable, its value and what is allowed.
func (p *Problem) Error() string {
	var b strings.Builder
	b.WriteString(p.Name)
	if p.given {
		b.WriteString("=" + strconv.Quote(p.Value))
	}
	b.WriteString(" " + p.Reason)
	if p.Allowed != "" {
		b.WriteString("; allowed: " + p.Allowed)
	}
	return b.String()
}

func (f field) problem(value, reason string) *Problem {
	return &Problem{Name: f.name, Value: f.mask(value), Reason: reason, Allowed: f.allowed(), given: true}
}

const masked = "***"

// mask hides the whole of a secret, and the credentials inside a URL or a database address.
func (f field) mask(value string) string {
	if f.secret && value != "" {
		return masked
	}
	return Redact(value)
}

// Redact hides the credentials in a value: all between "://" and "@" in a URL (each one of a comma-separated list),
// the password in user:password@tcp(host)/name. Everything else is returned as it is. In doubt it hides too much.
func Redact(value string) string {
	if !strings.Contains(value, "@") {
		return value
	}
	if !strings.Contains(value, "://") {
		at := strings.LastIndexByte(value, '@')
		colon := strings.IndexByte(value, ':')
		if colon < 0 || colon > at {
			return value
		}
		return value[:colon+1] + masked + value[at:]
	}
	var urls []string
	for part := range strings.SplitSeq(value, ",") {
		if len(urls) > 0 && !strings.Contains(part, "://") {
			// Not a URL of its own: a password may contain a comma.
			urls[len(urls)-1] += "," + part
			continue
		}
		urls = append(urls, part)
	}
	for i, url := range urls {
		scheme, rest, _ := strings.Cut(url, "://")
		if at := strings.LastIndexByte(rest, '@'); at >= 0 {
			urls[i] = scheme + "://" + masked + rest[at:]
		}
	}
	return strings.Join(urls, ",")
}
