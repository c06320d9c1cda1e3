package api

import "strings"

// matches says whether If-None-Match names a tag (RFC 9110 section 13.1.2: by weak comparison). A compressed answer's tag
// has an ending, see the compressing handler.
func matches(header, tag string) bool {
	if header == "" {
		return false
	}
	for entry := range strings.SplitSeq(header, ",") {
		entry = strings.TrimPrefix(strings.TrimSpace(entry), "W/")
		if entry == "*" || entry == tag || strings.TrimSuffix(entry, GzipSuffix+`"`)+`"` == tag {
			return true
		}
	}
	return false
}

// GzipSuffix is the ending of a compressed answer's tag.
const GzipSuffix = "-gz"
