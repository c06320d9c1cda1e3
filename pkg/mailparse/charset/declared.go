package charset

import "bytes"

// DeclaredIn is how many bytes of a page InHTML looks at: browsers look at 1024, and mail often has comments and
// style in front.
const DeclaredIn = 4096

// InHTML finds the charset that an HTML page declares for itself, in its first DeclaredIn bytes: that of
// <meta charset=x> or of <meta http-equiv=content-type content="text/html; charset=x">. It is empty when there is
// none, and as the page has it but in lower case.
func InHTML(page []byte) string {
	page = bytes.ToLower(page[:min(len(page), DeclaredIn)])
	for {
		_, rest, found := bytes.Cut(page, []byte("<meta"))
		if !found {
			return ""
		}
		tag, after, _ := bytes.Cut(rest, []byte(">"))
		if label := metaCharset(tag); label != "" {
			return label
		}
		page = after
	}
}

func metaCharset(tag []byte) string {
	_, rest, found := bytes.Cut(tag, []byte("charset"))
	if !found {
		return ""
	}
	rest = bytes.TrimLeft(rest, " \t\r\n")
	if len(rest) == 0 || rest[0] != '=' {
		return ""
	}
	rest = bytes.TrimLeft(rest[1:], "\"' \t\r\n")
	if end := bytes.IndexAny(rest, "\"' />;\t\r\n"); end >= 0 {
		rest = rest[:end]
	}
	const longest = 64
	if len(rest) > longest || !isToken(rest) {
		return ""
	}
	return string(rest)
}

func isToken(s []byte) bool {
	for _, c := range s {
		if c <= ' ' || c >= 127 {
			return false
		}
	}
	return true
}

// Says says whether a label tells how to read raw bytes above 127: it is known and not ASCII, and its characters may be
// single bytes.
func Says(label string) bool { return find(label).inHeaders() }
