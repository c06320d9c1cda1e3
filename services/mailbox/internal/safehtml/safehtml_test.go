package safehtml_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"golang.org/x/net/html"

	"github.com/sluice-mail/sluice/services/mailbox/internal/safehtml"
)

func clean(t testing.TB, page string, options safehtml.Options) safehtml.Result {
	t.Helper()
	result, err := safehtml.New().Clean(t.Context(), page, options)
	if err != nil {
		t.Fatal(err)
	}
	return result
}

func TestWhatMailLooksLikeStays(t *testing.T) {
	for _, tc := range []struct{ in, want string }{
		{`<p style="color:#333; font-family:'Segoe UI',Arial">Hi</p>`, `<p style="color:#333;font-family:&#39;Segoe UI&#39;,Arial">Hi</p>`},
		{`<body bgcolor="#eeeeee" onload=x()>a</body>`, `<div bgcolor="#eeeeee">a</div>`},
		{`<table width="600" cellpadding=0><tr><td align=center>x</table>`, `<table width="600" cellpadding="0"><tr><td align="center">x</td></table>`},
		{`<td style="background:rgb(1, 2, 3)">`, `<td style="background:rgb(1, 2, 3)">`},
		{`1 &lt; 2 &amp; "x"`, `1 &lt; 2 &amp; &#34;x&#34;`},
		{`<a href="https://shop.example/a?b=1&amp;c=2">x</a>`, `<a href="https://shop.example/a?b=1&amp;c=2" title="https://shop.example/a?b=1&amp;c=2" target="_blank" rel="noopener noreferrer nofollow">x</a>`},
		{`<a title="https://bank.example" href="https://b&#x430;nk.example/">x</a>`, `<a href="https://b%D0%B0nk.example/" title="https://xn--bnk-6cd.example/" target="_blank" rel="noopener noreferrer nofollow">x</a>`},
	} {
		if got := clean(t, tc.in, safehtml.Options{}).HTML; got != tc.want {
			t.Errorf("%s\n got %s\nwant %s", tc.in, got, tc.want)
		}
	}
}

func TestImages(t *testing.T) {
	const page = `<img src="https://track.example/1.gif" width="1" alt="logo"><img src="http://a.example/b"><img src="//c.example/d"><img src="/api/x">`
	blocked := clean(t, page, safehtml.Options{})
	if blocked.Remote != 2 || strings.Contains(blocked.HTML, "src") || !strings.Contains(blocked.HTML, `alt="logo"`) {
		t.Errorf("without remote images: %+v", blocked)
	}
	shown := clean(t, page, safehtml.Options{Remote: true})
	if shown.Remote != 2 || strings.Count(shown.HTML, "src=") != 2 || !strings.Contains(shown.HTML, `src="https://track.example/1.gif"`) {
		t.Errorf("with remote images: %+v", shown)
	}
}

func TestInlineImages(t *testing.T) {
	png := "\x89PNG\r\n\x1a\n" + strings.Repeat("x", 3<<20)
	parts := map[string]string{"a@b": png, "svg": `<svg xmlns="http://www.w3.org/2000/svg" onload="x()"/>`, "html": "<script>x()</script>"}
	inline := func(id string, limit int64) ([]byte, bool) {
		content, ok := parts[id]
		return []byte(content), ok && int64(len(content)) <= limit
	}
	got := clean(t, `<img src="cid:a%40b"><img src="CID:a@b"><img src="cid:svg"><img src="cid:html"><img src="cid:none">`, safehtml.Options{Inline: inline})
	if n := strings.Count(got.HTML, "src="); n != 1 || !strings.Contains(got.HTML, `src="data:image/png;base64,`) {
		t.Errorf("%d images are shown of one that is a picture within the budget", n)
	}
	if !got.Cut {
		t.Error("the second picture is beyond the budget, and nobody is told")
	}
}

func TestLongInputIsCut(t *testing.T) {
	page := strings.Repeat("ü", safehtml.MaxInput/2+10)
	got := clean(t, page, safehtml.Options{})
	if !got.Cut || len(got.HTML) > safehtml.MaxInput || strings.Contains(got.HTML, "\uFFFD") {
		t.Errorf("cut %v, %d bytes", got.Cut, len(got.HTML))
	}
}

func TestWaitingEndsWithTheContext(t *testing.T) {
	s := safehtml.New()
	blocking, entered := make(chan struct{}), make(chan struct{}, 2)
	done := make(chan error, 2)
	for range 2 {
		go func() {
			_, err := s.Clean(context.Background(), `<img src="cid:a">`, safehtml.Options{Inline: func(string, int64) ([]byte, bool) {
				entered <- struct{}{}
				<-blocking
				return nil, false
			}})
			done <- err
		}()
	}
	<-entered
	<-entered
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Clean(ctx, "x", safehtml.Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("a third mail at once: %v", err)
	}
	close(blocking)
	for range 2 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

func TestDeepNestingIsFlattened(t *testing.T) {
	got := clean(t, strings.Repeat("<div>", 50_000)+"deep"+strings.Repeat("</div>", 50_000)+"<p>after", safehtml.Options{}).HTML
	if n := strings.Count(got, "<div>"); n != 250 || strings.Count(got, "</div>") != n || !strings.Contains(got, "deep") || !strings.HasSuffix(got, "</div><p>after") {
		t.Errorf("%d elements are nested: …%s", n, got[max(0, len(got)-100):])
	}
	if rows := clean(t, strings.Repeat("<p>a<br>", 1000), safehtml.Options{}).HTML; strings.Count(rows, "<p>") != 1000 {
		t.Error("paragraphs that nobody closes are not nested, and are missing")
	}
}

// TestNestingIsBoundedWhateverTheEndTags: a browser's tree is looked at, not our own counting.
func TestNestingIsBoundedWhateverTheEndTags(t *testing.T) {
	repeat := func(n int, s string) string { return strings.Repeat(s, n) }
	numbered := func(n int, format string) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, format, i)
		}
		return b.String()
	}
	for name, page := range map[string]string{
		"end tags that close nothing":          repeat(20_000, "<div></b>"),
		"end tags of unknown elements":         repeat(20_000, "<div></x-y></div-></script>"),
		"formatting that outlives its element": numbered(5_000, `<div><b title="%d"></div>x`),
		"formatting that outlives its cell":    "<table>" + numbered(5_000, `<tr><td><font color="#%06d">x</td></tr>`) + "</table>",
		"formatting within paragraphs":         numbered(5_000, `<p><b title="%d">`),
		"misnested":                            repeat(5_000, "<b><i></b><div></i>"),
		"end tags that cells hide":             repeat(5_000, "<table><tr><td><div></table></td></div>"),
		"left out, closed and opened again":    repeat(251, "<div>") + repeat(5_000, "</div><div></div><div><b>"),
		"lists":                                repeat(20_000, "<ul><li>"),
		"items of different lists":             repeat(20_000, "<li><dd>"),
		"paragraphs and blocks":                repeat(20_000, "<p><div></p>"),
		"tables within cells":                  repeat(20_000, "<table><tr><td>"),
		"tables within tables":                 repeat(20_000, "<table><b>"),
		"bodies":                               repeat(20_000, "<body></div>"),
		"summaries":                            repeat(20_000, "<details><summary></details>"),
	} {
		t.Run(name, func(t *testing.T) {
			cleaned := clean(t, page+"<i>last", safehtml.Options{}).HTML
			tree, err := html.Parse(strings.NewReader(cleaned)) // refuses more than 512 open elements
			if err != nil {
				t.Fatal(err)
			}
			deepest := 0
			for node := range tree.Descendants() {
				depth := 0
				for range node.Ancestors() {
					depth++
				}
				deepest = max(deepest, depth)
			}
			// A list and its item, a table with its groups, rows and cells are several levels for one that is counted.
			if deepest > 510 {
				t.Errorf("%d elements are nested", deepest)
			}
			if !strings.Contains(cleaned, "last") {
				t.Error("what comes behind is missing")
			}
		})
	}
}

func TestSloppyMailKeepsItsLayout(t *testing.T) {
	for _, tc := range []struct{ in, want string }{
		{"<table>" + strings.Repeat("<tr><td><font><b>x", 400) + "</table><div>end</div>", "<div>end</div>"},
		{strings.Repeat(`<a name="x">`, 400) + "<div>end</div>", "<div>end</div>"},
		{strings.Repeat("</div>", 400) + "<div>end</div>", "<div>end</div>"},
		{"<table><tr><td>a</div></td><td>b</td></tr></table>", "<table><tr><td>a</td><td>b</td></tr></table>"},
		{"<ul><li>a<li>b</ul><dl><dt>a<dd>b</dl>", "<ul><li>a</li><li>b</li></ul><dl><dt>a</dt><dd>b</dd></dl>"},
		{"<ul><li>a<ul><li>b</ul><li>c</ul>", "<ul><li>a<ul><li>b</li></ul></li><li>c</li></ul>"},
		{"<p><b>x</p><p>y</b>z</p>", "<p><b>x</p><p>y</b>z</p>"},
	} {
		if got := clean(t, tc.in, safehtml.Options{}).HTML; !strings.HasSuffix(got, tc.want) {
			t.Errorf("%.60s…\n got …%s\nwant %s", tc.in, got[max(0, len(got)-200):], tc.want)
		}
	}
}
