package safehtml

import (
	"regexp"

	"github.com/microcosm-cc/bluemonday"
)

// newPolicy allows what lays out text. What is not named is dropped; of script, style and their like the content, too.
func newPolicy() *bluemonday.Policy {
	p := bluemonday.NewPolicy()
	p.AllowElements(
		"a", "abbr", "acronym", "address", "b", "bdi", "bdo", "big", "blockquote", "body", "br", "caption", "center", "cite",
		"code", "col", "colgroup", "dd", "del", "details", "dfn", "div", "dl", "dt", "em", "figcaption", "figure", "font",
		"footer", "h1", "h2", "h3", "h4", "h5", "h6", "header", "hr", "i", "img", "ins", "kbd", "li", "main", "mark", "ol",
		"p", "pre", "q", "s", "samp", "section", "small", "span", "strike", "strong", "sub", "summary", "sup", "table",
		"tbody", "td", "tfoot", "th", "thead", "time", "tr", "tt", "u", "ul", "var", "wbr",
	)
	p.AllowNoAttrs().OnElements("a", "font", "img", "span")
	p.SkipElementsContent("head", "math", "noembed", "noframes", "object", "select", "svg", "template", "textarea", "title", "xmp")

	short := regexp.MustCompile(`^[\pL\pN\pP\pS\pZ]{0,300}$`)
	p.AllowAttrs("title", "alt").Matching(short).Globally()
	p.AllowAttrs("dir").Matching(bluemonday.Direction).Globally()
	p.AllowAttrs("lang").Matching(regexp.MustCompile(`^[A-Za-z0-9-]{1,35}$`)).Globally()
	p.AllowAttrs("style").Globally() // every value goes through cleanStyle

	word := regexp.MustCompile(`^[A-Za-z]{1,12}$`)
	length := regexp.MustCompile(`^[0-9]{1,5}(\.[0-9]{1,3})?(%|px)?$`)
	colour := regexp.MustCompile(`^(#?[0-9A-Fa-f]{3,8}|[A-Za-z]{3,24})$`)
	p.AllowAttrs("align", "valign").Matching(word).Globally()
	p.AllowAttrs("width", "height", "border", "cellpadding", "cellspacing", "hspace", "vspace").Matching(length).Globally()
	p.AllowAttrs("bgcolor", "color", "bordercolor").Matching(colour).Globally()
	p.AllowAttrs("face").Matching(regexp.MustCompile(`^[\pL\pN ,'"-]{1,100}$`)).OnElements("font")
	p.AllowAttrs("size").Matching(regexp.MustCompile(`^[+-]?[0-9]$`)).OnElements("font")
	p.AllowAttrs("colspan", "rowspan", "span", "start", "value").Matching(regexp.MustCompile(`^[0-9]{1,4}$`)).Globally()
	p.AllowAttrs("type").Matching(regexp.MustCompile(`^([1aAiI]|disc|circle|square)$`)).OnElements("ol", "ul", "li")

	p.RequireParseableURLs(true)
	p.AllowRelativeURLs(false) // they would be ours
	p.AllowURLSchemes("http", "https", "mailto", "tel", "cid")
	p.AllowAttrs("href").OnElements("a")
	p.AllowAttrs("src").OnElements("img")
	return p
}
