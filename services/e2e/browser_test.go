package e2e

import (
	"context"
	"errors"
	"net/smtp"
	"testing"
	"time"

	"github.com/sluice-mail/sluice/services/internal/browsertest"
)

// TestMailAppearsInAnOpenPage: from the 250 to the line in the list, without a reload. How long that took is logged; a machine that
// tests may be slow, so only what nobody would call live fails.
func TestMailAppearsInAnOpenPage(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	page := browsertest.Start(t, "").Page()
	a := startAllinone(t, ctx)
	page.Open("http://" + a.Addrs["http"] + "/inbox/ann@example.com")
	page.Wait(`document.querySelector("#live .how")?.textContent === "Live"`)
	// Kept from the beginning: the page must not be loaded again.
	browsertest.Eval[bool](page, `(() => {
		window.arrivals = {};
		new MutationObserver(() => {
			for (const row of document.querySelectorAll(".row")) window.arrivals[row.querySelector(".what").textContent] ??= Date.now();
		}).observe(document.querySelector("#rows"), { childList: true });
		return true;
	})()`)
	for _, subject := range []string{"first", "second", "third"} {
		mail := "From: Bea <bea@example.net>\r\nSubject: " + subject + "\r\n\r\nHello\r\n"
		accepted := deliver(t, a.smtp, "ann@example.com", mail)
		page.Wait(`window.arrivals["` + subject + `"]`)
		took := time.UnixMilli(browsertest.Eval[int64](page, `window.arrivals["`+subject+`"]`)).Sub(accepted)
		t.Logf("%s: in the page %d ms after the 250", subject, took.Milliseconds())
		if took > 5*time.Second {
			t.Errorf("%s: the mail took %s to appear", subject, took)
		}
	}
}

// deliver sends a mail and returns when it was accepted.
func deliver(t *testing.T, addr, to, mail string) time.Time {
	t.Helper()
	c, err := smtp.Dial(addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := errors.Join(c.Mail("bea@example.net"), c.Rcpt(to)); err != nil {
		t.Fatal(err)
	}
	w, err := c.Data()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte(mail)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil { // the 250
		t.Fatal(err)
	}
	return time.Now()
}
