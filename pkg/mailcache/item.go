package mailcache

import (
	"crypto/sha256"
	"time"

	"github.com/oklog/ulid/v2"
	"google.golang.org/protobuf/proto"

	"github.com/sluice-mail/sluice/pkg/mailstore"
	mailv1 "github.com/sluice-mail/sluice/proto/mail/v1"
)

const (
	// MaxBody is the largest packed body that is cached: as large as the log carries a mail whole, so that those all fit.
	// Memcached's own limit is 1 MiB with everything around it.
	MaxBody = 896 << 10
	// PageEntries is the length of a cached page.
	PageEntries = 100
	// PageTTL is how long a page can hide new mail when its deletion was lost.
	PageTTL = 60 * time.Second
)

// Mail is one mail to be cached.
type Mail struct {
	ID       ulid.ULID // of the mail; the key
	Envelope []byte    // the protobuf as received
	Raw      []byte    // nil for a mail in parts, which is not cached
}

// Item is one mail in the cache. The zero value is none.
type Item struct {
	Envelope []byte          // the protobuf as received
	Codec    mailstore.Codec // how Body is packed
	Body     []byte          // the mail, packed
}

// Raw unpacks the bytes of the mail. False when they are not here, or do not have the SHA-256 of the
// envelope: what comes from a cache is verified.
func (i Item) Raw(p *mailstore.Packer) ([]byte, bool) {
	if i.Envelope == nil {
		return nil, false
	}
	raw, err := p.Unpack(i.Body, i.Codec)
	if err != nil {
		return nil, false
	}
	var e mailv1.Envelope
	if proto.Unmarshal(i.Envelope, &e) != nil {
		return nil, false
	}
	sum := sha256.Sum256(raw)
	return raw, string(sum[:]) == string(e.GetSha256())
}
