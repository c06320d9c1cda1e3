// Package mailparse reads mail as it really arrives: it finds the MIME parts and the header fields of a
// message and decodes them to UTF-8, even if they are broken.
//
// It never fails. A mail that breaks a rule has nevertheless been accepted with 250, so every
// function returns what it can read and reports in Flags what was wrong.
//
//	raw ── Index ──▶ Message{Parts: header and body spans, offsets into raw}     one pass, O(n)
//	stream ─ Read ─▶    ├── Part.Role, Filename, ContentID, DecodedLen           what is there
//	                    ├── Bodies, Part.Text, Part.Decoded                      base64, quoted-printable, charset
//	                    │   (of a stream: BodiesFrom, TextFrom, DecodeFrom)      on demand, within a byte budget
//	                    └── Summary                                              what a mailbox list shows
//
// The work is bounded on any input: the spans are found in one pass with a stack of at most MaxDepth entries, and every
// list has a maximum length. A mail too large for memory is read as a stream; the resulting tree is the same. The
// subpackages charset and transfer decode bytes to text and do not depend on the tree.
//
// Everything here is derived data. The raw bytes remain authoritative, and no caller may alter or refuse a
// mail because of a flag.
package mailparse
