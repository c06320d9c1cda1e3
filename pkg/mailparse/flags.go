package mailparse

import (
	"math/bits"
	"strings"
)

// Flags says what was unusual about a mail. They are information, never a reason to refuse it.
type Flags uint32

const (
	// BadHeader: a line of a header block is no field (RFC 5322 section 2.2), or a field that decides the
	// structure (Content-Type) cannot be read as its RFC says.
	BadHeader Flags = 1 << iota
	// MissingBoundary: a multipart has no usable boundary parameter, or its boundary never appears.
	MissingBoundary
	// Unclosed: a multipart has no closing delimiter; its last part runs to the end.
	Unclosed
	// Truncated: only the beginning of the mail was looked at. The other flags are of what was seen, and so is
	// the tree; a summary tells nothing that the rest could change, unless the reading failed.
	Truncated
	// Deep: nesting went past MaxDepth; what lies deeper is one opaque part.
	Deep
	// TooManyParts: there are more than MaxParts parts; the rest is not indexed.
	TooManyParts
	// HeaderTooBig: a header block is longer than MaxHeaderBytes (the rest counts as body) or has more than
	// MaxFields fields (the rest is not looked at); or the headers of a stream exceed MaxStreamedHeaders.
	HeaderTooBig
	// BadEncoding: base64 or quoted-printable text was damaged and decoded as far as it went.
	BadEncoding
	// BadCharset: the declared charset is unknown, or the bytes do not fit it; some characters are guessed
	// or replaced by U+FFFD.
	BadCharset
	// BadDate: the Date field cannot be read.
	BadDate
	// Cut: a value was longer than its limit and was cut.
	Cut
)

// name keeps its list in the order of the constants.
func (f Flags) name() string {
	names := [...]string{"bad_header", "missing_boundary", "unclosed", "truncated", "deep", "too_many_parts",
		"header_too_big", "bad_encoding", "bad_charset", "bad_date", "cut"}
	if i := bits.TrailingZeros32(uint32(f)); i < len(names) {
		return names[i]
	}
	return "unknown"
}

// String lists the flags by name, separated by commas; it is empty for a clean mail.
func (f Flags) String() string {
	var set []string
	for rest := f; rest != 0; rest &= rest - 1 {
		set = append(set, (rest & -rest).name())
	}
	return strings.Join(set, ",")
}

// Has says whether all flags of want are set.
func (f Flags) Has(want Flags) bool { return f&want == want }
