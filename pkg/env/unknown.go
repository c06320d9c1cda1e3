package env

import (
	"errors"
	"regexp"
	"slices"
	"strings"
)

// Unknown looks through an environment (as os.Environ returns it) for unknown variables with one of Sluice's prefixes. If a name
// is almost that of a known variable, it is an error, because a misspelt name would silently leave a setting at its
// default. Any other name is only a warning.
func Unknown(environ, known []string) (warnings []string, err error) {
	var problems []error
	for _, entry := range environ {
		name, value, _ := strings.Cut(entry, "=")
		if !ours(name) || isKnown(name, known) || serviceLink(name, value) {
			continue
		}
		if near := nearest(name, known); near != "" {
			problems = append(problems, &Problem{Name: name, Reason: "is not a known variable; did you mean " + near + "?"})
			continue
		}
		warnings = append(warnings, name+" is not a known variable and is ignored")
	}
	return warnings, errors.Join(problems...)
}

func ours(name string) bool {
	return slices.ContainsFunc(prefixes(), func(p string) bool { return strings.HasPrefix(name, p) })
}

func isKnown(name string, known []string) bool {
	return slices.Contains(known, name) || slices.Contains(known, strings.TrimSuffix(name, fileSuffix))
}

// serviceLink recognises what Kubernetes (and Docker's links) add for every service of the namespace. A Service named
// "ingress" gives INGRESS_PORT=tcp://…, INGRESS_SERVICE_HOST, INGRESS_PORT_25_TCP_ADDR and more.
func serviceLink(name, value string) bool {
	matched, _ := regexp.MatchString(`_SERVICE_HOST$|_SERVICE_PORT(_[A-Z0-9_]+)?$|_PORT_\d+_(TCP|UDP|SCTP)(_(ADDR|PORT|PROTO))?$`, name)
	return matched || (strings.HasSuffix(name, "_PORT") && strings.Contains(value, "://"))
}

// nearest returns the known name (or its X_FILE form) within edit distance 2, the closest first.
func nearest(name string, known []string) string {
	best, found := 3, ""
	for _, k := range known {
		for _, candidate := range []string{k, k + fileSuffix} {
			if d := distance(name, candidate); d < best {
				best, found = d, candidate
			}
		}
	}
	return found
}

// distance is the Levenshtein distance: insertions, deletions and replacements of a byte.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		diagonal := row[0]
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := diagonal
			if a[i-1] != b[j-1] {
				cost = 1 + min(diagonal, row[j], row[j-1])
			}
			diagonal, row[j] = row[j], cost
		}
	}
	return row[len(b)]
}
