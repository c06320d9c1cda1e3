package web_test

import (
	"encoding/base64"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sluice-mail/sluice/services/internal/browsertest"
	"github.com/sluice-mail/sluice/services/internal/reading/readingtest"
)

// picture is a PNG of one colour fading into another.
func picture(t testing.TB) string {
	t.Helper()
	img := image.NewRGBA(image.Rect(0, 0, 560, 160))
	for x := range 560 {
		for y := range 160 {
			img.Set(x, y, color.RGBA{uint8(11 + x/6), uint8(110 + y/4), uint8(105 + x/8), 255})
		}
	}
	var out strings.Builder
	if err := png.Encode(&out, img); err != nil {
		t.Fatal(err)
	}
	return base64.StdEncoding.EncodeToString([]byte(out.String()))
}

// furnish stores the mails of the pictures and returns the path of the one to open.
func furnish(t testing.TB, s *site) string {
	t.Helper()
	for _, m := range []struct{ from, subject, rest string }{
		{"Harbour Library <desk@library.example>", "Your book is due on Friday", "\r\nThe Shipping News\r\n"},
		{"\"Bea Lindqvist\" <bea@example.net>", "Re: Saturday", "\r\nSee you at nine, at the north pier. Bring a coat.\r\n\r\n> Is nine too early for you?\r\n> The route: https://maps.example/north-pier?from=station.\r\n"},
		{"build@ci.example", "main: 1,204 tests passed in 3 min 12 s", "\r\nok\r\n"},
		{"=?utf-8?q?Caf=C3=A9_Sol?= <hola@cafe.example>", "Confirm your table for two, tonight at half past seven on the terrace", "\r\nhttps://cafe.example/c/81723\r\n"},
		{"Northwind Billing <billing@northwind.example>", "Invoice 2026-1183", "Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n\r\nThe invoice is attached.\r\n--x\r\nContent-Type: application/pdf; name=invoice-2026-1183.pdf\r\nContent-Disposition: attachment; filename=invoice-2026-1183.pdf\r\nContent-Transfer-Encoding: base64\r\n\r\nJVBERi0xLjQK\r\n--x--\r\n"},
	} {
		readingtest.Put(t, s.store, "From: "+m.from+"\r\nTo: "+ann+"\r\nSubject: "+m.subject+"\r\nMIME-Version: 1.0\r\n"+m.rest, ann)
	}
	page := `<body bgcolor="#f4f6f5"><table width="100%"><tr><td align="center"><table width="560" style="background-color:#ffffff">
<tr><td><img src="cid:head@tide" width="560" height="160" alt="A calm sea"></td></tr>
<tr><td style="padding:28px 32px;font-family:Georgia,serif;color:#24302e"><h2 style="margin:0 0 12px 0">Welcome aboard, Ann</h2>
<p style="line-height:1.6">Your account is nearly ready. Confirm your address, and we will send you one letter a month about tides, boats and good soup. Nothing else.</p>
<p style="margin:28px 0"><a href="https://tide.example/confirm/7f3a" style="background-color:#0b6e69;color:#ffffff;padding:12px 22px;border-radius:6px;text-decoration:none">Confirm my address</a></p>
<p style="color:#6b7a77;font-size:13px">You did not ask for this? Then do nothing.</p><img src="https://track.tide.example/o.gif" width="1" height="1"></td></tr></table></td></tr></table></body>`
	id := readingtest.Put(t, s.store, "From: The Tide Letter <hello@tide.example>\r\nTo: "+ann+"\r\nSubject: Confirm your address to start reading\r\nMIME-Version: 1.0\r\n"+
		"Content-Type: multipart/mixed; boundary=m\r\n\r\n--m\r\nContent-Type: multipart/related; boundary=r\r\n\r\n--r\r\nContent-Type: multipart/alternative; boundary=a\r\n\r\n"+
		"--a\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nWelcome aboard, Ann\r\n\r\nConfirm your address: https://tide.example/confirm/7f3a\r\n\r\n> You did not ask for this?\r\n> Then do nothing.\r\n"+
		"--a\r\nContent-Type: text/html; charset=utf-8\r\n\r\n"+page+"\r\n--a--\r\n"+
		"--r\r\nContent-Type: image/png\r\nContent-ID: <head@tide>\r\nContent-Transfer-Encoding: base64\r\n\r\n"+picture(t)+"\r\n--r--\r\n"+
		"--m\r\nContent-Type: application/pdf\r\nContent-Disposition: attachment; filename=\"Tide tables 2027.pdf\"\r\nContent-Transfer-Encoding: base64\r\n\r\n"+strings.Repeat("JVBERi0x", 4000)+"\r\n"+
		"--m--\r\n", ann)
	return s.inbox(ann) + "/" + id.String()
}

type view struct{ name, url string }

func views(s *site, mail string) []view {
	return []view{
		{"home", s.url + "/"},
		{"home-wrong", s.url + "/open?address=not+an+address"},
		{"nothing", s.inbox("calm-otter-421@example.com")},
		{"list", s.inbox(ann)},
		{"mail-html", mail},
		{"mail-text", mail + "?view=text"},
		{"mail-header", mail + "?view=header"},
		{"mail-source", mail + "?view=source"},
		{"search", s.inbox(ann) + "?q=invoice"},
		{"search-nothing", s.inbox(ann) + "?q=zebra"},
		{"empty", s.inbox(ann) + "/empty"},
		{"gone", s.inbox(ann) + "/01JDFQ4Z2K8V3T6N5R7M9P0ABC"},
		{"keys", s.inbox(ann)},
		{"login", ""},
	}
}

// ready is true when a page is as it stays.
const ready = `document.readyState === "complete" && document.documentElement.classList.contains("script")`

// TestScreenshots takes a picture of every view, wide and narrow, light and dark, for a person to look at.
func TestScreenshots(t *testing.T) {
	dir := os.Getenv("SLUICE_SCREENSHOTS")
	if dir == "" {
		dir = filepath.Join(os.TempDir(), "sluice-screenshots")
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	s := start(t, nil)
	guarded := start(t, withTokens)
	mail := furnish(t, s)
	page := browsertest.Start(t, "").Page()
	for _, v := range views(s, mail) {
		if v.name == "login" {
			v.url = guarded.url + "/"
		}
		page.Open(v.url)
		page.Wait(ready)
		if v.name == "keys" {
			page.Key("?")
			page.Wait(`document.querySelector("#keys").open`)
		}
		for _, size := range [][2]int64{{1440, 900}, {390, 844}} {
			for _, theme := range []string{"light", "dark"} {
				page.Look(size[0], size[1], theme)
				if wide := browsertest.Eval[int64](page, "document.documentElement.scrollWidth"); wide > size[0] {
					t.Errorf("%s at %d px is %d px wide", v.name, size[0], wide)
				}
				page.Screenshot(filepath.Join(dir, fmt.Sprintf("%s-%d-%s.png", v.name, size[0], theme)))
			}
		}
	}
	t.Logf("every view is in %s", dir)
}
