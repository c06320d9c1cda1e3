package mailbox_test

import (
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/oklog/ulid/v2"

	"github.com/sluice-mail/sluice/pkg/env"
	"github.com/sluice-mail/sluice/services/internal/reading/readingtest"
	"github.com/sluice-mail/sluice/services/mailbox"
	"github.com/sluice-mail/sluice/services/mailbox/internal/api"
	"github.com/sluice-mail/sluice/services/mailbox/internal/requests"
)

const withFile = "From: =?utf-8?q?J=C3=BCrgen?= <j@example.org>\r\nTo: ann@example.com\r\nSubject: a picture\r\n" +
	"MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n" +
	"--b\r\nContent-Type: text/plain; charset=iso-8859-1\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\nGr=FC=DFe\r\n" +
	"--b\r\nContent-Type: text/html\r\nContent-Disposition: attachment; filename=\"../../a \u202e\\\"ü.html\"\r\n\r\n<script>alert(1)</script>\r\n" +
	"--b--\r\n"

func list(mailbox string) string { return "/api/v1/mailboxes/" + mailbox + "/messages" }

func TestListAndPages(t *testing.T) {
	in := start(t, nil)
	d := describe(t, in)
	empty := in.status(in.get(list("nobody@example.com")), http.StatusOK)
	d.check(empty)
	if got := decode[api.List](t, empty); len(got.Messages) != 0 || got.Next != "" || !strings.Contains(empty.body, `"messages":[]`) {
		t.Errorf("an empty mailbox: %s", empty.body)
	}
	var ids []ulid.ULID
	for i := range 7 {
		ids = append(ids, readingtest.Put(t, in.store, fmt.Sprintf("Subject: mail %d\r\n\r\n", i), ann))
	}
	var seen []string
	for next := ""; ; {
		a := in.status(in.get(list("Ann@Example.com")+"?limit=3&"+next), http.StatusOK)
		d.check(a)
		page := decode[api.List](t, a)
		for _, m := range page.Messages {
			seen = append(seen, m.Subject)
		}
		if page.Next == "" {
			break
		}
		next = "before=" + page.Next
	}
	if got, want := strings.Join(seen, ","), "mail 6,mail 5,mail 4,mail 3,mail 2,mail 1,mail 0"; got != want {
		t.Errorf("pages show %s, want %s", got, want)
	}
	newer := decode[api.List](t, in.get(list(ann)+"?after="+ids[4].String()))
	if len(newer.Messages) != 2 {
		t.Errorf("%d mails are newer than the fifth of seven", len(newer.Messages))
	}
	if found := decode[api.List](t, in.get(list(ann)+"?q=MAIL+3")); len(found.Messages) != 1 || found.Messages[0].ID != ids[3].String() {
		t.Errorf("found %+v", found)
	}
}

func TestMessageSourceAndParts(t *testing.T) {
	in := start(t, nil)
	d := describe(t, in)
	id := readingtest.Put(t, in.store, withFile, ann, ben)
	for _, name := range []string{id.String(), "latest"} {
		a := in.status(in.get(list(ann)+"/"+name), http.StatusOK)
		d.check(a)
		m := decode[api.Message](t, a)
		if m.ID != id.String() || m.From != "Jürgen <j@example.org>" || m.Text != "Grüße" || m.HTML != "" || m.Truncated || !m.Attachment || len(m.Parts) != 3 {
			t.Errorf("%+v", m)
		}
		if strings.Contains(a.body, "ben") {
			t.Errorf("another recipient is in %s", a.body)
		}
	}
	raw := in.status(in.get(list(ann)+"/"+id.String()+"/raw"), http.StatusOK)
	if !strings.HasSuffix(raw.body, withFile) || !strings.Contains(raw.body, "Delivered-To: ann@example.com\r\n") || strings.Contains(raw.body, "ben@") {
		t.Errorf("source: %q", raw.body)
	}
	sent := in.status(in.get(list(ann)+"/"+id.String()+"/raw?as=sent"), http.StatusOK)
	if sent.body != withFile || sent.Header.Get("ETag") == raw.Header.Get("ETag") || sent.Header.Get("Content-Type") != "message/rfc822" {
		t.Errorf("as sent: %q %v", sent.body, sent.Header)
	}
	part := in.status(in.get(list(ann)+"/"+id.String()+"/parts/2"), http.StatusOK)
	if part.body != "<script>alert(1)</script>" || part.Header.Get("Content-Type") != "application/octet-stream" ||
		part.Header.Get("X-Content-Type-Options") != "nosniff" || part.Header.Get("Content-Security-Policy") != "sandbox; default-src 'none'" {
		t.Errorf("%q %v", part.body, part.Header)
	}
	if got, want := part.Header.Get("Content-Disposition"), `attachment; filename="a _"; filename*=UTF-8''a%20_%C3%BC.html`; !strings.HasPrefix(got, "attachment; ") {
		t.Errorf("disposition %s, want %s", got, want)
	}
	for _, path := range []string{"/parts/0", "/parts/3"} { // a multipart, and none
		d.check(in.status(in.get(list(ann)+"/"+id.String()+path), http.StatusNotFound))
	}
	d.check(in.status(in.get(list("carl@example.com")+"/"+id.String()), http.StatusNotFound))
}

// TestConditions: what has not changed is not sent again, also compressed; a range is a range of the source.
func TestConditions(t *testing.T) {
	in := start(t, nil)
	d := describe(t, in)
	id := readingtest.Put(t, in.store, withFile+strings.Repeat("x", 4000), ann)
	mail := list(ann) + "/" + id.String()
	for _, path := range []string{list(ann), mail, mail + "/raw", mail + "/parts/2", "/openapi.json", "/docs"} {
		for _, encoding := range []string{"identity", "gzip"} {
			a := in.status(in.get(path, "Accept-Encoding", encoding), http.StatusOK)
			tag := a.Header.Get("ETag")
			if tag == "" || a.Header.Get("Cache-Control") == "" {
				t.Errorf("%s has no ETag or Cache-Control: %v", path, a.Header)
			}
			for _, match := range []string{tag, "W/" + tag, `"other", ` + tag, "*"} {
				again := in.status(in.get(path, "Accept-Encoding", encoding, "If-None-Match", match), http.StatusNotModified)
				d.check(again)
				if again.body != "" || again.Header.Get("ETag") == "" || again.Header.Get("Cache-Control") == "" {
					t.Errorf("%s: 304 with %q %v", path, again.body, again.Header)
				}
			}
			in.status(in.get(path, "If-None-Match", `"other"`), http.StatusOK)
		}
	}
	before := in.get(list(ann)).Header.Get("ETag")
	readingtest.Put(t, in.store, "Subject: two\r\n\r\n", ann)
	in.cacheForgets()
	in.status(in.get(list(ann), "If-None-Match", before), http.StatusOK)
	whole := in.get(mail + "/raw").body
	part := in.status(in.get(mail+"/raw", "Range", "bytes=10-4000"), http.StatusPartialContent)
	d.check(part)
	d.check(in.status(in.get(mail+"/raw", "Range", "bytes=1000000-"), http.StatusRequestedRangeNotSatisfiable))
	d.check(in.status(in.get(mail+"/raw", "If-Match", `"other"`), http.StatusPreconditionFailed))
	if part.body != whole[10:4001] {
		t.Error("the range is another")
	}
	in.client.Transport.(*http.Transport).DisableCompression = true
	packed := in.get(mail, "Accept-Encoding", "gzip")
	unpack, err := gzip.NewReader(strings.NewReader(packed.body))
	if err != nil {
		t.Fatal(err)
	}
	if text, err := io.ReadAll(unpack); err != nil || string(text) != in.get(mail).body {
		t.Errorf("compressed: %v", err)
	}
	if source := in.get(mail+"/raw", "Accept-Encoding", "gzip"); source.Header.Get("Content-Encoding") != "" || source.body != whole {
		t.Error("the source is compressed")
	}
}

// TestAskingAgainIsAnsweredTheSame: compressed or not, whether answers are kept or not, and until the mail is deleted.
func TestAskingAgainIsAnsweredTheSame(t *testing.T) {
	for _, memory := range []env.Bytes{0, 8 << 20} {
		in := start(t, func(c *mailbox.Config) { c.Memory = memory })
		in.client.Transport.(*http.Transport).DisableCompression = true
		d := describe(t, in)
		id := readingtest.Put(t, in.store, withFile+strings.Repeat("x", 4000), ann)
		for range 20 {
			readingtest.Put(t, in.store, withFile, ann)
		}
		mail := list(ann) + "/" + id.String()
		for _, path := range []string{list(ann), list(ann) + "?limit=7", list("Ann@example.com"), mail} {
			first := in.status(in.get(path), http.StatusOK)
			for _, encoding := range []string{"gzip", "identity", "gzip", "identity"} {
				again := in.status(in.get(path, "Accept-Encoding", encoding), http.StatusOK)
				if encoding == "gzip" {
					if tag := again.Header.Get("ETag"); again.Header.Get("Content-Encoding") != "gzip" || !strings.HasSuffix(tag, requests.GzipSuffix+`"`) {
						t.Errorf("%s: not compressed: %v", path, again.Header)
					}
					unpack, err := gzip.NewReader(strings.NewReader(again.body))
					if err != nil {
						t.Fatal(err)
					}
					text, err := io.ReadAll(unpack)
					if err != nil {
						t.Fatal(err)
					}
					again.body = string(text)
				} else if again.Header.Get("ETag") != first.Header.Get("ETag") {
					t.Errorf("%s: another tag", path)
				}
				d.check(again)
				if again.body != first.body || again.Header.Get("Cache-Control") == "" || len(again.Header.Values("Vary")) != len(first.Header.Values("Vary")) {
					t.Errorf("%s: answered otherwise the second time: %v %v\n%s\n%s", path, first.Header, again.Header, first.body, again.body)
				}
			}
			if head := in.status(in.do(http.MethodHead, path, ""), http.StatusOK); head.body != "" || head.ContentLength != int64(len(first.body)) {
				t.Errorf("%s: HEAD says %d bytes, GET %d", path, head.ContentLength, len(first.body))
			}
		}
		in.status(in.do(http.MethodDelete, mail, ""), http.StatusOK)
		for _, encoding := range []string{"gzip", "identity"} {
			in.status(in.get(mail, "Accept-Encoding", encoding), http.StatusNotFound)
			if strings.Contains(in.get(list(ann)).body, id.String()) {
				t.Error("a deleted mail is listed")
			}
		}
		d.check(in.status(in.get(mail), http.StatusNotFound))
	}
}

// cacheForgets is what the cachewarmer's deletion of a page, or an eviction, does.
func (in *inbox) cacheForgets() {
	in.cache.Kill()
	in.cache.Restart()
}

func TestDeletions(t *testing.T) {
	in := start(t, nil)
	d := describe(t, in)
	id := readingtest.Put(t, in.store, "Subject: one\r\n\r\n", ann, ben)
	readingtest.Put(t, in.store, "Subject: two\r\n\r\n", ann)
	in.status(in.get(list(ann)+"/"+id.String()), http.StatusOK)
	gone := in.status(in.do(http.MethodDelete, list(ann)+"/"+id.String(), ""), http.StatusOK)
	d.check(gone)
	if gone.body != `{"deleted":1}`+"\n" {
		t.Error(gone.body)
	}
	d.check(in.status(in.do(http.MethodDelete, list(ann)+"/"+id.String(), ""), http.StatusNotFound))
	d.check(in.status(in.get(list(ann)+"/"+id.String()), http.StatusNotFound))
	in.status(in.get(list(ben)+"/"+id.String()), http.StatusOK)
	for _, want := range []string{`{"deleted":1}`, `{"deleted":0}`} {
		all := in.status(in.do(http.MethodDelete, list(ann), ""), http.StatusOK)
		d.check(all)
		if strings.TrimSpace(all.body) != want {
			t.Errorf("%s, want %s", all.body, want)
		}
	}
}

func TestWhatIsNotThere(t *testing.T) {
	in := start(t, nil)
	for path, want := range map[string]int{
		"/api/v1/mailboxes":                    http.StatusNotFound,
		"/api/v2/":                             http.StatusNotFound,
		"/api//v1/mailboxes/a@b/messages":      http.StatusNotFound,
		"/nothing":                             http.StatusNotFound,
		list("noat"):                           http.StatusUnprocessableEntity,
		list("a%20b@example.com") + "?limit=0": http.StatusUnprocessableEntity,
		list(ann) + "?unknown=1":               http.StatusUnprocessableEntity,
	} {
		a := in.status(in.get(path), want)
		if a.Header.Get("X-Request-Id") == "" {
			t.Errorf("%s: no request id", path)
		}
	}
	wrong := in.status(in.do(http.MethodPut, list(ann), ""), http.StatusMethodNotAllowed)
	if !strings.Contains(wrong.Header.Get("Allow"), "DELETE") {
		t.Errorf("Allow: %s", wrong.Header.Get("Allow"))
	}
}

// TestDocumentationNeedsNothingFromElsewhere: no script at all, and no address but our own.
func TestDocumentationNeedsNothingFromElsewhere(t *testing.T) {
	in := start(t, nil)
	page := in.status(in.get("/docs"), http.StatusOK)
	for _, forbidden := range []string{"<script", "https://", "src=", "@import"} {
		if strings.Contains(page.body, forbidden) {
			t.Errorf("the page has %q", forbidden)
		}
	}
	for _, wanted := range []string{"/api/v1/mailboxes/{address}/messages", "If-None-Match"}[:1] {
		if !strings.Contains(page.body, wanted) {
			t.Errorf("the page lacks %q", wanted)
		}
	}
	if policy := page.Header.Get("Content-Security-Policy"); !strings.HasPrefix(policy, "default-src 'none'; style-src 'sha256-") {
		t.Error(policy)
	}
}

// TestCacheAwayCostsTimeOnly: dead, hanging, or empty again.
func TestCacheAwayCostsTimeOnly(t *testing.T) {
	in := start(t, nil)
	id := readingtest.Put(t, in.store, withFile, ann).String()
	look := func(what string) {
		t.Helper()
		for range 3 {
			if page := decode[api.List](t, in.status(in.get(list(ann)), http.StatusOK)); len(page.Messages) != 1 {
				t.Fatalf("%s: %+v", what, page)
			}
			in.status(in.get(list(ann)+"/"+id), http.StatusOK)
			if raw := in.status(in.get(list(ann)+"/"+id+"/raw?as=sent"), http.StatusOK); raw.body != withFile {
				t.Fatalf("%s: %q", what, raw.body)
			}
			in.status(in.get(list(ben)), http.StatusOK)
			in.status(in.get(list(ben)+"/"+id), http.StatusNotFound)
		}
	}
	look("cache there")
	in.cache.Stop()
	look("cache hangs")
	in.cache.Continue()
	look("cache back")
	in.cache.Kill()
	look("cache dead")
	in.status(in.do(http.MethodDelete, list(ben), ""), http.StatusOK)
	in.cache.Restart()
	look("cache empty")
}
