package web

import (
	"html/template"
	"regexp"
	"strings"
)

// address finds what a reader would want to click. Brackets and full stops at its end belong to the sentence.
var address = regexp.MustCompile(`https?://[^\s<>"'\x60]{1,1000}[^\s<>"'\x60.,:;!?)\]}]`)

// linked is a plain text with clickable links and marked quotations.
func linked(text string) template.HTML {
	var out strings.Builder
	quoted := false
	for line := range strings.SplitAfterSeq(text, "\n") {
		if q := strings.HasPrefix(line, ">"); q != quoted {
			quoted = q
			if q {
				out.WriteString(`<span class="quoted">`)
			} else {
				out.WriteString(`</span>`)
			}
		}
		at := 0
		for _, found := range address.FindAllStringIndex(line, -1) {
			link := template.HTMLEscapeString(line[found[0]:found[1]])
			out.WriteString(template.HTMLEscapeString(line[at:found[0]]))
			out.WriteString(`<a href="` + link + `" target="_blank" rel="noopener noreferrer nofollow">` + link + `</a>`)
			at = found[1]
		}
		out.WriteString(template.HTMLEscapeString(line[at:]))
	}
	if quoted {
		out.WriteString(`</span>`)
	}
	return template.HTML(out.String())
}

// quoted quotes any text as one word for a shell.
func quoted(word string) string { return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'" }
