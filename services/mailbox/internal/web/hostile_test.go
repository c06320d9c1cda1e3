package web_test

import (
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/sluice-mail/sluice/services/internal/browsertest"
	"github.com/sluice-mail/sluice/services/internal/reading/readingtest"
	"github.com/sluice-mail/sluice/services/mailbox/internal/safehtml/hostile"
)

// mark is what the scripts of the hostile pages do instead of pwned(): it can be seen afterwards.
const mark = "window.name=7777"

func htmlMail(html string) string {
	return "From: Eve <eve@evil.test>\r\nTo: ann@example.com\r\nSubject: hostile\r\nMIME-Version: 1.0\r\nContent-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n" +
		strings.ReplaceAll(html, "pwned()", mark)
}

// looks is evaluated in the mail's frame: what of it could run, load or reach out.
const looks = `(() => {
	const found = [];
	for (const e of document.querySelectorAll("*")) {
		if (/^(script|link|base|form|input|button|iframe|object|embed|video|audio|svg|math|template|noscript|meta|style)$/i.test(e.localName) && !(e.parentNode === document.head)) found.push(e.localName);
		for (const a of e.attributes) {
			if (/^on|^srcset$|^ping$|^background$|^action$|^formaction$/i.test(a.name)) found.push(a.name);
			if (a.name === "src" && !a.value.startsWith("data:image/")) found.push("src " + a.value);
			if (a.name === "href" && !/^(https?:\/\/|mailto:|tel:)/.test(a.value)) found.push("href " + a.value);
			if (a.name === "style" && /url|expression|position/i.test(a.value)) found.push("style " + a.value);
		}
		if (e.localName === "a" && e.href && (e.target !== "_blank" || !/noopener/.test(e.rel))) found.push("link " + e.outerHTML);
	}
	if (window.name === "7777") found.push("a script has run");
	try { void parent.document.title; found.push("the parent can be reached"); } catch { /* as it should be */ }
	return found;
})()`

func TestHostileMailInABrowser(t *testing.T) {
	counter := browsertest.NewCounter(t)
	s := start(t, nil)
	browser := browsertest.Start(t, counter.Rules())
	page := browser.Page()
	for _, tc := range append(hostile.Cases("http://evil.test"), hostile.Long()...) {
		id := readingtest.Put(t, s.store, htmlMail(tc.HTML), ann).String()
		page.Open(s.inbox(ann) + "/" + id + "?view=html")
		page.Wait(ready)
		if strings.Contains(browsertest.Eval[string](page, `document.querySelector(".mail").innerHTML`), "<iframe") {
			if found := browsertest.Eval[[]string](page.Frame(id+"/html"), looks); len(found) > 0 {
				t.Errorf("%s: in the frame: %.500q", tc.Name, found)
			}
		}
		usable(t, page, tc.Name)
		if seen := counter.Take(); len(seen) > 0 {
			t.Errorf("%s: asked for from outside: %q", tc.Name, seen)
		}
	}
	hosts := regexp.MustCompile(`[a-z0-9.-]+\.(test|example)\b`).FindAllString(browser.NetLog(), -1)
	slices.Sort(hosts)
	if hosts = slices.Compact(hosts); len(hosts) > 0 {
		t.Errorf("Chromium's network log names %q", hosts)
	}
}

// usable checks that the page around the mail is what it was.
func usable(t *testing.T, page *browsertest.Page, name string) {
	t.Helper()
	problems := browsertest.Eval[[]string](page, `(() => {
		const found = [];
		if (document.title !== "hostile · Sluice" || window.name === "7777") found.push("the page has changed: " + document.title);
		const frame = document.querySelector("iframe");
		if (frame && frame.contentDocument !== null) found.push("the frame has the page's origin");
		for (const selector of ["#delete button", ".views a", ".brand", "#q"]) {
			const box = document.querySelector(selector).getBoundingClientRect();
			const top = document.elementFromPoint(box.x + box.width / 2, box.y + box.height / 2);
			if (!top || !(top.closest(selector))) found.push(selector + " is covered");
		}
		return found;
	})()`)
	if len(problems) > 0 {
		t.Errorf("%s: %q", name, problems)
	}
}

// TestHostilePagesAreHostile: without the sanitiser and the frame the same pages run scripts and ask for things, and all
// three witnesses see it. Otherwise the test above would prove nothing.
func TestHostilePagesAreHostile(t *testing.T) {
	counter := browsertest.NewCounter(t)
	browser := browsertest.Start(t, counter.Rules())
	cases := hostile.Cases("http://evil.test")
	raw := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		for _, tc := range cases {
			if "/"+strings.ReplaceAll(tc.Name, " ", "-") == r.URL.Path {
				_, _ = w.Write([]byte("<!doctype html><title>x</title>" + strings.ReplaceAll(tc.HTML, "pwned()", mark)))
			}
		}
	}))
	defer raw.Close()
	ran, asked := 0, 0
	for _, name := range []string{"script", "event-handlers", "svg", "frames", "images", "style-urls", "media", "link-hints", "open-at-the-end"} {
		page := browser.Page()
		page.Open(raw.URL + "/" + name)
		if browsertest.Eval[string](page, "window.name") == "7777" {
			ran++
		}
		if len(counter.Take()) > 0 {
			asked++
		}
	}
	if ran < 3 || asked < 5 {
		t.Errorf("of nine hostile pages %d ran a script and %d asked for something", ran, asked)
	}
	if !strings.Contains(browser.NetLog(), "evil.test") {
		t.Error("the network log does not show what was asked for")
	}
}

func TestImagesOfOthersAfterAClick(t *testing.T) {
	counter := browsertest.NewCounter(t)
	s := start(t, nil)
	id := readingtest.Put(t, s.store, htmlMail(`<img src="http://pictures.example/a.gif"><p style="background:url(http://pictures.example/b)">x</p><link rel=stylesheet href="http://pictures.example/c">`), ann).String()
	page := browsertest.Start(t, counter.Rules()).Page()
	page.Open(s.inbox(ann) + "/" + id)
	page.Wait(ready)
	page.Click(".remark .button")
	page.Wait(`document.querySelector("iframe")?.src.endsWith("?images=1") && !document.querySelector(".remark")`)
	page.Frame("images=1").Wait(`document.images.length === 1 && document.images[0].complete`)
	seen := slices.DeleteFunc(counter.Take(), func(what string) bool { return what == "connection" })
	if !slices.Equal(seen, []string{"GET pictures.example/a.gif"}) {
		t.Errorf("asked for %q", seen)
	}
}

// TestAttachmentNames: names that would leave the folder, break a header or look like another kind of file.
func TestAttachmentNames(t *testing.T) {
	s := start(t, nil)
	mail := "From: eve@evil.test\r\nSubject: files\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nsee\r\n"
	for _, name := range []string{
		"../../etc/passwd", `C:\Windows\evil.exe`, "a\\\"b; filename=c.exe", "=?utf-8?q?new=0D=0ASet-Cookie:_a=3Db?=", "=?utf-8?q?photo=E2=80=AEgpj.exe?=",
		strings.Repeat("long", 2500) + ".pdf", ".hidden", "=?utf-8?b?PGltZyBzcmM9eCBvbmVycm9yPXB3bmVkKCk+?=", "", "%2e%2e%2f", "ünïcode.txt",
	} {
		mail += "--b\r\nContent-Type: text/html\r\nContent-Disposition: attachment; filename=\"" + name + "\"\r\n\r\n<script>" + mark + "</script>\r\n"
	}
	id := readingtest.Put(t, s.store, mail+"--b--\r\n", ann).String()
	page := browsertest.Start(t, "").Page()
	page.Open(s.inbox(ann) + "/" + id)
	page.Wait(ready)
	usableFiles := browsertest.Eval[[]string](page, `[...document.querySelectorAll(".files bdi")].map((e) => e.textContent)`)
	if len(usableFiles) != 11 {
		t.Errorf("%d of 11 attachments are offered: %.500q", len(usableFiles), usableFiles)
	}
	for _, name := range usableFiles {
		if name == "" || len(name) > 150 || strings.ContainsAny(name, "/\\\"\r\n\u202e<>") || strings.HasPrefix(name, ".") {
			t.Errorf("the name %.300q", name)
		}
	}
	if wide := browsertest.Eval[int](page, "document.documentElement.scrollWidth"); wide > 1440 {
		t.Errorf("the page is %d px wide", wide)
	}
	for _, path := range browsertest.Eval[[]string](page, `[...document.querySelectorAll(".files a")].map((e) => e.getAttribute("href"))`) {
		a := s.get(path)
		disposition := a.Header.Get("Content-Disposition")
		if a.StatusCode != 200 || !strings.HasPrefix(disposition, "attachment") || a.Header.Get("X-Content-Type-Options") != "nosniff" ||
			a.Header.Get("Content-Type") != "application/octet-stream" || a.Header.Get("Set-Cookie") != "" {
			t.Errorf("%s: %d %v", path, a.StatusCode, a.Header)
		}
	}
}
