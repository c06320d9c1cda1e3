// Package mailparse reads mail as it really arrives: it finds the parts and the header fields of a
// message and decodes them to UTF-8, whatever is broken about them.
//
// It never fails. A mail that breaks a rule is still a mail that was accepted with 250, so every
// function returns what can be made of the bytes and says in Flags what was wrong.
//
//	raw ── Index ──▶ Message{Parts: header and body spans, offsets into raw}     one pass, O(n)
//	stream ─ Read ─▶    ├── Part.Role, Filename, ContentID, DecodedLen           what is there
//	                    ├── Bodies, Part.Text, Part.Decoded                      base64, quoted-printable, charset
//	                    │   (of a stream: BodiesFrom, TextFrom, DecodeFrom)      on demand, within a byte budget
//	                    └── Summary                                              what a mailbox list shows
//
// The work is bounded on any input: the spans are found in one pass with a stack of at most MaxDepth entries, and every
// list has a cap. A mail too large for memory is read as a stream; the tree is the same. Its two rooms, charset and
// transfer, turn bytes into text and know nothing of the tree.
//
// Everything here is derived data. The raw bytes stay the truth, and no caller may alter or refuse a
// mail because of a flag.
package mailparse
