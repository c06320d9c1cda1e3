package requests

import (
	"fmt"
	"net/http"
	"strings"

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

// Compresses says whether an answer of so many bytes would be compressed: the client takes that, and it is worth the work.
// Who has it compressed already writes that, and sets Content-Encoding.
func Compresses(w http.ResponseWriter, bytes int) bool {
	_, takes := w.(*gzhttp.GzipResponseWriter)
	return takes && bytes >= minCompressed
}

// CompressedTag is the ETag of a compressed answer.
func CompressedTag(tag string) string { return strings.TrimSuffix(tag, `"`) + GzipSuffix + `"` }
