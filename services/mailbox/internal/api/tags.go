package api

import (
	"strings"

	"github.com/sluice-mail/sluice/services/mailbox/internal/requests"
)

// matches says whether If-None-Match names a tag (RFC 9110 section 13.1.2: by weak comparison). A compressed answer's tag
// has an ending.
func matches(header, tag string) bool {
	if header == "" {
		return false
	}
	for entry := range strings.SplitSeq(header, ",") {
		entry = strings.TrimPrefix(strings.TrimSpace(entry), "W/")
		if entry == "*" || entry == tag || strings.TrimSuffix(entry, requests.GzipSuffix+`"`)+`"` == tag {
			return true
		}
	}
	return false
}
