package reading

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxName bounds a file name in bytes; file systems take 255, and a browser may add to it.
const maxName = 150

// SafeName turns a sender's file name into one that is safe to show and to save under. It keeps the last element of a path, removes
// control characters and those that change the direction of text, allows no hidden file, and is at most 150 bytes long. It
// may be empty.
func SafeName(name string) string {
	name = strings.ToValidUTF8(name, "\uFFFD")
	if i := strings.LastIndexAny(name, `/\`); i >= 0 {
		name = name[i+1:]
	}
	name = strings.Map(func(r rune) rune {
		switch {
		case unicode.IsControl(r), unicode.Is(unicode.Bidi_Control, r), unicode.Is(unicode.Zl, r), unicode.Is(unicode.Zp, r):
			return -1
		case unicode.Is(unicode.Cf, r): // zero width, soft hyphen, tags
			return -1
		case strings.ContainsRune(`<>:"|?*`, r):
			return '_'
		}
		return r
	}, name)
	name = strings.Join(strings.Fields(name), " ") // many spaces would hide the ending
	name = strings.Trim(name, ". _")
	if len(name) <= maxName {
		return name
	}
	// The end says what kind of file it is.
	ending := ""
	if dot := strings.LastIndexByte(name, '.'); dot > 0 && len(name)-dot <= 12 {
		ending = name[dot:]
	}
	cut := maxName - len(ending)
	for cut > 0 && !utf8.RuneStart(name[cut]) {
		cut--
	}
	return name[:cut] + ending
}
