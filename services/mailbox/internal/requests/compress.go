package requests

import (
	"fmt"
	"net/http"

	"github.com/klauspost/compress/gzhttp"
)

// GzipSuffix is the ending of a compressed answer's ETag: its bytes are others.
const GzipSuffix = "-gzip"

// minCompressed is the shortest answer in bytes that is worth the work.
const minCompressed = 1024

// Compress compresses pages and JSON for who takes that. Nothing else: a stream of events would be held back, and of a
// compressed source or part no range could be asked for.
func Compress(next http.Handler) (http.Handler, error) {
	wrap, err := gzhttp.NewWrapper(gzhttp.EnableZstd(false), gzhttp.MinSize(minCompressed), gzhttp.SuffixETag(GzipSuffix),
		gzhttp.ContentTypes([]string{
			"application/json", "application/problem+json", "application/openapi+json",
			"text/html", "text/css", "text/javascript", "image/svg+xml",
		}))
	if err != nil {
		return nil, fmt.Errorf("preparing to compress answers: %w", err)
	}
	return wrap(next), nil
}
