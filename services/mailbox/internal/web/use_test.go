package web_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"

	"github.com/sluice-mail/sluice/services/internal/browsertest"
	"github.com/sluice-mail/sluice/services/internal/reading/readingtest"
)

func plainMail(subject string) string {
	return "From: Bea <bea@example.net>\r\nTo: ann@example.com\r\nSubject: " + subject + "\r\n\r\nText of " + subject + "\r\n"
}

// TestMailArrives: into a page that says that there is nothing, and into one that is being read.
func TestMailArrives(t *testing.T) {
	s := start(t, nil)
	page := browsertest.Start(t, "").Page()
	page.Open(s.inbox(ann))
	page.Wait(`document.querySelector("#inbox.nothing") && !document.querySelector("#live").hidden`)
	readingtest.Put(t, s.store, plainMail("first"), ann)
	page.Wait(`document.querySelectorAll(".row.unread").length === 1 && !document.querySelector("#inbox.nothing")`)
	page.Click(".row a")
	page.Wait(`document.querySelector(".mail .plain")?.textContent.includes("Text of first") && document.title === "first · Sluice"`)
	second := readingtest.Put(t, s.store, plainMail("second <b>"), ann)
	page.Wait(`document.querySelectorAll(".row").length === 2`)
	if got := browsertest.Eval[string](page, `[...document.querySelectorAll(".row")].map((r) => r.querySelector(".what").textContent + (r.classList.contains("unread") ? "!" : "")).join()`); got != "second <b>!,first" {
		t.Errorf("the list is %q", got)
	}
	if got := browsertest.Eval[string](page, `document.querySelector(".mail h1").textContent`); got != "first" {
		t.Errorf("the open mail has become %q", got)
	}
	// Deleted elsewhere, it goes away here.
	if a := s.do("DELETE", "/api/v1/mailboxes/ann@example.com/messages/"+second.String(), nil); a.StatusCode != 200 {
		t.Fatalf("deleting: %d", a.StatusCode)
	}
	browsertest.Eval[bool](page, `document.dispatchEvent(new Event("visibilitychange"))`) // one comes back to the tab
	page.Wait(`document.querySelectorAll(".row").length === 1`)
	// What has been read is still read after a reload.
	page.Open(s.inbox(ann))
	page.Wait(ready + ` && document.querySelectorAll(".row").length === 1 && document.querySelectorAll(".row.unread").length === 0`)
}

func TestKeyboard(t *testing.T) {
	s := start(t, nil)
	for _, subject := range []string{"one", "two", "three"} {
		readingtest.Put(t, s.store, plainMail(subject), ann)
	}
	page := browsertest.Start(t, "").Page()
	page.Open(s.inbox(ann))
	page.Wait(ready)
	focused := func(subject string) string {
		return fmt.Sprintf(`document.activeElement.closest(".row")?.querySelector(".what").textContent === %q`, subject)
	}
	opened := func(subject string) string {
		return fmt.Sprintf(`document.querySelector(".mail h1")?.textContent === %q && document.title.startsWith(%q)`, subject, subject)
	}
	page.Key("j")
	page.Wait(focused("three"))
	page.Key("jj")
	page.Wait(focused("one"))
	page.Key("k")
	page.Wait(focused("two"))
	page.Key("o")
	page.Wait(opened("two"))
	page.Key("u")
	page.Wait(`!document.querySelector(".mail") && location.pathname.endsWith("example.com")`)
	page.Wait(focused("two"))
	page.Key("\r")
	page.Wait(opened("two"))
	page.Key("?")
	page.Wait(`document.querySelector("#keys").open`)
	page.Key("\x1b")
	page.Wait(`!document.querySelector("#keys").open`)
	page.Key("#")
	page.Wait(`document.querySelectorAll(".row").length === 2 && document.querySelector("#toast").textContent === "Deleted." && !location.search`)
	page.Wait(ready)
	page.Key("/")
	page.Wait(`document.activeElement.id === "q"`)
	// Over the protocol the slash is typed in spite of having been used; a keyboard's is not.
	page.Do(chromedp.SetValue(chromedp.CSS("#q"), "thr"))
	page.Key("\r")
	page.Wait(`location.search === "?q=thr" && document.querySelectorAll(".row").length === 1`)
	page.Do(chromedp.NavigateBack())
	page.Wait(`document.querySelectorAll(".row").length === 2`)
}

// TestWithoutJavaScript does everything that one needs with links and forms alone.
func TestWithoutJavaScript(t *testing.T) {
	s := start(t, nil)
	readingtest.Put(t, s.store, plainMail("kept"), ann)
	readingtest.Put(t, s.store, htmlMail("<p>Hello</p>"), ann)
	page := browsertest.Start(t, "").Page()
	page.Do(chromedp.Func(func(ctx context.Context, _ *chromedp.Target) error {
		_, err := chromedp.Call(ctx, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true})
		return err
	}))
	page.Open(s.url + "/")
	page.Do(chromedp.SetValue(chromedp.CSS("#address"), ann))
	page.Click(".choose .button")
	page.Do(chromedp.WaitVisible(chromedp.CSS(".row + .row")))
	page.Click(".row a")
	page.Do(chromedp.WaitVisible(chromedp.CSS("iframe.paper")))
	page.Click(`.views a[href$="view=source"]`)
	page.Do(chromedp.WaitVisible(chromedp.CSS("pre.source")))
	page.Click("#delete button")
	page.Do(chromedp.WaitVisible(chromedp.CSS("#toast")))
	if got := texts(t, page, ".row .what"); !strings.Contains(got, "kept") || strings.Contains(got, "hostile") {
		t.Errorf("after deleting the list is %q", got)
	}
	page.Click(`.list-pane a[href$="/empty"]`)
	page.Do(chromedp.WaitVisible(chromedp.CSS(".answers")))
	page.Click(".button.danger")
	page.Do(chromedp.WaitVisible(chromedp.CSS(".no-mails h1")))
}

func texts(t *testing.T, page *browsertest.Page, selector string) string {
	t.Helper()
	text, err := chromedp.Run(page.Context(), chromedp.TextContent(chromedp.CSS(selector)))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestLoggingInInABrowser(t *testing.T) {
	s := start(t, withTokens)
	readingtest.Put(t, s.store, plainMail("secret"), ann)
	page := browsertest.Start(t, "").Page()
	page.Open(s.inbox(ann))
	page.Wait(ready)
	page.Do(chromedp.SendKeys(chromedp.CSS("#token"), "wrong"))
	page.Click("#login button")
	page.Wait(`!document.querySelector("#token-problem").hidden`)
	page.Open(s.inbox(ann) + "#token=" + signed(t, ann))
	page.Do(chromedp.Reload())
	page.Wait(`document.querySelectorAll(".row").length === 1 && !location.hash`)
}
