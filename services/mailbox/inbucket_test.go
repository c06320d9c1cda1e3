package mailbox_test

import (
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/sluice-mail/sluice/services/internal/reading/readingtest"
	"github.com/sluice-mail/sluice/services/internal/token"
	"github.com/sluice-mail/sluice/services/mailbox"
)

// TestInbucketAnswers: what the clients of Inbucket 3 rely on. Its own client is tried in scripts/lab.
func TestInbucketAnswers(t *testing.T) {
	in := start(t, func(c *mailbox.Config) { c.Naming.Primary = "example.com" })
	const box = "/inbucket/api/v1/mailbox/"
	if a := in.status(in.get(box+"ann"), http.StatusOK); a.body != "[]\n" {
		t.Errorf("an empty mailbox: %q", a.body)
	}
	var last string
	for i := range 3 {
		last = readingtest.Put(t, in.store, strings.Replace(withFile, "a picture", fmt.Sprint("mail ", i), 1), ann, ben).String()
	}
	in.cacheForgets()
	a := in.status(in.get(box+"ann"), http.StatusOK)
	if a.Header.Get("Content-Type") != "application/json; charset=utf-8" || a.Header.Get("Expires") != "-1" {
		t.Errorf("%v", a.Header)
	}
	type head struct {
		Mailbox, ID, From, Subject string
		To                         []string
		Date                       string
		Millis                     int64 `json:"posix-millis"`
		Size                       int64
		Seen                       bool
	}
	heads := decode[[]head](t, a)
	if len(heads) != 3 || heads[0].Subject != "mail 0" || heads[2].ID != last || heads[0].Mailbox != "ann" || heads[0].From != "Jürgen <j@example.org>" ||
		len(heads[0].To) != 1 || heads[0].To[0] != "<ann@example.com>" || heads[0].Seen || heads[0].Size == 0 || heads[0].Millis == 0 {
		t.Errorf("%+v", heads)
	}
	type full struct {
		head
		Body        struct{ Text, HTML string }
		Header      map[string][]string
		Attachments []struct {
			Filename, MD5 string
			Download      string `json:"download-link"`
		}
	}
	latest := in.status(in.get(box+"ann/latest"), http.StatusOK)
	m := decode[full](t, latest)
	sum := md5.Sum([]byte("<script>alert(1)</script>"))
	if m.ID != last || m.Body.Text != "Grüße" || len(m.Attachments) != 1 || m.Attachments[0].MD5 != hex.EncodeToString(sum[:]) ||
		m.Header["Subject"][0] != "mail 2" || m.Header["From"][0] != "=?utf-8?q?J=C3=BCrgen?= <j@example.org>" {
		t.Errorf("%+v", m)
	}
	if strings.Contains(latest.body, "ben@") {
		t.Error("another recipient is told")
	}
	path := strings.TrimPrefix(m.Attachments[0].Download, in.url)
	if file := in.status(in.get(path), http.StatusOK); file.body != "<script>alert(1)</script>" {
		t.Errorf("the file: %q", file.body)
	}
	if source := in.status(in.get(box+"ann/"+last+"/source"), http.StatusOK); source.Header.Get("Content-Type") != "text/plain" ||
		!strings.HasPrefix(source.body, "Return-Path: ") || !strings.HasSuffix(source.body, "--b--\r\n") {
		t.Errorf("%q %v", source.body, source.Header)
	}
	for _, patch := range []string{`{"seen":false}`, `{}`} {
		in.status(in.do("PATCH", box+"ann/"+last, patch), http.StatusOK)
	}
	if heads := decode[[]head](t, in.get(box+"ann")); heads[2].Seen {
		t.Error("seen without having been marked")
	}
	if a := in.status(in.do("PATCH", box+"ann/"+last, ""), http.StatusOK); a.body != "\"OK\"\n" {
		t.Errorf("%q", a.body)
	}
	if heads := decode[[]head](t, in.get(box+"ann")); !heads[2].Seen || heads[1].Seen {
		t.Error("the wrong mails are marked as seen")
	}
	in.status(in.do("DELETE", box+"ann/"+last, ""), http.StatusOK)
	in.status(in.get(box+"ann/"+last), http.StatusNotFound)
	in.status(in.do("DELETE", box+"ann", ""), http.StatusOK)
	if a := in.get(box + "ann"); a.body != "[]\n" {
		t.Errorf("after emptying: %s", a.body)
	}
	if heads := decode[[]head](t, in.get(box+"ben%40example.com")); len(heads) != 3 || heads[0].Mailbox != ben {
		t.Errorf("the other mailbox: %+v", heads)
	}
	for path, status := range map[string]int{"ann/latest": 404, "ann/unknown": 404, "ann/unknown/source": 404, "a%20b": 200, "a%2Fb": 200, "": 404, "ann/": 404} {
		in.status(in.get(box+path), status)
	}
	for _, method := range []string{"HEAD", "PUT", "POST"} {
		if a := in.do(method, box+"ann", ""); a.StatusCode != 404 || a.body != "" {
			t.Errorf("%s: %d %q", method, a.StatusCode, a.body)
		}
	}
	in.status(in.get("/inbucket/api/v1/monitor/messages"), http.StatusNotFound)
}

func TestInbucketWantsTokensToo(t *testing.T) {
	in := start(t, byToken)
	readingtest.Put(t, in.store, withFile, ann)
	readingtest.Put(t, in.store, withFile, ben)
	const box = "/inbucket/api/v1/mailbox/"
	in.status(in.get(box+ann), http.StatusUnauthorized)
	auth := "Bearer " + sign(t, secret, token.Claims{Mailboxes: []string{ann}, Do: []token.Right{token.Read}})
	if a := in.status(in.get(box+ann, "Authorization", auth), http.StatusOK); a.body == "[]\n" {
		t.Error("its own mailbox is empty")
	}
	if a := in.status(in.get(box+ben, "Authorization", auth), http.StatusOK); a.body != "[]\n" {
		t.Errorf("another mailbox: %s", a.body)
	}
	in.status(in.get(box+ben+"/latest", "Authorization", auth), http.StatusNotFound)
	in.status(in.do("DELETE", box+ann, "", "Authorization", auth), http.StatusOK) // as if it had no mail
	if a := in.get(box+ann, "Authorization", auth); a.body == "[]\n" {
		t.Error("a token for reading has deleted")
	}
}
