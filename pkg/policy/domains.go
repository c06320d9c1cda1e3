package policy

import (
	"fmt"
	"strings"
)

// domains is an immutable set of domain patterns: example.com, *.example.net (all names below it, at any depth, but not
// itself), and * (every domain).
type domains struct {
	exact map[string]struct{}
	below map[string]struct{}
	all   bool
}

// NormalisePattern returns the one form of a domain pattern.
func NormalisePattern(pattern string) (string, error) {
	if pattern == "*" {
		return pattern, nil
	}
	parent, wild := strings.CutPrefix(pattern, "*.")
	domain, err := NormaliseDomain(parent)
	if err != nil {
		return "", fmt.Errorf("%q is not a domain; allowed: example.com, *.example.com or *", pattern)
	}
	if wild {
		return "*." + domain, nil
	}
	return domain, nil
}

// newDomains makes a set of normalised patterns.
func newDomains(patterns []string) domains {
	d := domains{exact: make(map[string]struct{}), below: make(map[string]struct{})}
	for _, p := range patterns {
		d.add(p)
	}
	return d
}

func (d *domains) add(pattern string) {
	if pattern == "*" {
		d.all = true
	} else if parent, wild := strings.CutPrefix(pattern, "*."); wild {
		d.below[parent] = struct{}{}
	} else {
		d.exact[pattern] = struct{}{}
	}
}

// len counts the patterns.
func (d *domains) len() int {
	n := len(d.exact) + len(d.below)
	if d.all {
		n++
	}
	return n
}

// has says whether a normalised domain matches.
func (d *domains) has(domain string) bool {
	if d.all {
		return true
	}
	if _, ok := d.exact[domain]; ok {
		return true
	}
	for len(d.below) > 0 {
		_, parent, found := strings.Cut(domain, ".")
		if !found {
			return false
		}
		if _, ok := d.below[parent]; ok {
			return true
		}
		domain = parent
	}
	return false
}
