package safehtml_test

import (
	"regexp"
	"strings"
	"testing"

	"golang.org/x/net/html"

	"github.com/sluice-mail/sluice/services/mailbox/internal/safehtml"
	"github.com/sluice-mail/sluice/services/mailbox/internal/safehtml/hostile"
)

// TestHostile reads the result as a browser would, and looks at every element and attribute of it.
func TestHostile(t *testing.T) {
	for _, tc := range hostile.Cases("http://evil.test") {
		t.Run(tc.Name, func(t *testing.T) {
			got := clean(t, tc.HTML, safehtml.Options{})
			harmless(t, got.HTML)
			again := clean(t, got.HTML, safehtml.Options{})
			harmless(t, again.HTML)
		})
	}
}

func harmless(t *testing.T, page string) {
	t.Helper()
	root, err := html.Parse(strings.NewReader(page))
	if err != nil {
		t.Fatal(err)
	}
	for n := range root.Descendants() {
		if n.Type == html.CommentNode {
			t.Errorf("a comment: %.200s", n.Data)
		}
		if n.Type != html.ElementNode {
			continue
		}
		if n.Namespace != "" || forbidden.MatchString(n.Data) {
			t.Errorf("element %s %s", n.Namespace, n.Data)
		}
		for _, a := range n.Attr {
			value := strings.ToLower(a.Val)
			switch {
			case strings.HasPrefix(a.Key, "on"), risky.MatchString(a.Key):
				t.Errorf("attribute %s=%.200s", a.Key, a.Val)
			case a.Key == "style" && loads.MatchString(value):
				t.Errorf("style %.200s", a.Val)
			case a.Key == "src" && !strings.HasPrefix(value, "data:image/"):
				t.Errorf("src %.200s", a.Val)
			case a.Key == "href" && !leads.MatchString(value):
				t.Errorf("href %.200s", a.Val)
			}
		}
	}
}

var (
	forbidden = regexp.MustCompile(`^(script|style|link|meta|base|form|input|button|textarea|select|option|iframe|frame|frameset|object|embed|applet|video|audio|source|track|picture|svg|math|template|noscript|title|xmp|plaintext|portal|fencedframe|dialog|map|area|marquee|isindex|slot)$`)
	risky     = regexp.MustCompile(`^(id|name|class|srcset|sizes|background|poster|ping|formaction|action|srcdoc|data|lowsrc|dynsrc|longdesc|usemap|is|slot|autofocus|contenteditable|tabindex|accesskey|popover|xlink:href|xmlns)$`)
	loads     = regexp.MustCompile(`url|@|\\|expression|binding|behavior|position|image-set|/\*|content|javascript|attr\(|var\(`)
	leads     = regexp.MustCompile(`^(https?://|mailto:|tel:)`)
)
