package requests

import (
	"fmt"
	"net/http"

	"github.com/klauspost/compress/gzhttp"
)

// GzipSuffix is the ending of a compressed answer's ETag, because its bytes differ from the uncompressed answer's.
const GzipSuffix = "-gzip"

// minCompressed is the shortest answer in bytes that is worth the work.
const minCompressed = 1024

// Compress compresses pages and JSON for clients that accept it. Nothing else is compressed: a stream of events would be delayed,
// and ranges of a compressed source or part could not be requested.
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
