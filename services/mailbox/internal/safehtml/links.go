package safehtml

import (
	"encoding/base64"
	"net/http"
	"net/url"
	"strings"

	"golang.org/x/net/html"
	"golang.org/x/net/idna"
)

// maxTitle bounds the address that is shown for a link, in bytes.
const maxTitle = 300

// appendLink adds the target of a link. The link opens outside of the frame and sends no referrer. Its title shows the target, with
// the host name in its ASCII form, so that look-alike letters are visible.
func appendLink(attributes, given []html.Attribute) []html.Attribute {
	for _, a := range given {
		if a.Key != "href" {
			continue
		}
		u, err := url.Parse(strings.TrimSpace(a.Val))
		if err != nil || !allowed(u.Scheme, "http", "https", "mailto", "tel") {
			return attributes
		}
		kept := attributes[:0]
		for _, other := range attributes {
			if other.Key != "title" {
				kept = append(kept, other)
			}
		}
		return append(kept,
			html.Attribute{Key: "href", Val: u.String()},
			html.Attribute{Key: "title", Val: shown(u)},
			html.Attribute{Key: "target", Val: "_blank"},
			html.Attribute{Key: "rel", Val: "noopener noreferrer nofollow"})
	}
	return attributes
}

func allowed(scheme string, schemes ...string) bool {
	for _, s := range schemes {
		if strings.EqualFold(scheme, s) {
			return true
		}
	}
	return false
}

func shown(u *url.URL) string {
	ascii := *u
	if host, err := idna.Lookup.ToASCII(u.Hostname()); err == nil && host != "" {
		ascii.Host = host
		if port := u.Port(); port != "" {
			ascii.Host += ":" + port
		}
	}
	text := ascii.String()
	return text[:min(len(text), maxTitle)]
}

// image returns what an image is shown from, or "".
func (p *pass) image(src string) string {
	u, err := url.Parse(strings.TrimSpace(src))
	if err != nil {
		return ""
	}
	switch {
	case strings.EqualFold(u.Scheme, "cid"):
		return p.inline(u.Opaque)
	case allowed(u.Scheme, "http", "https") && u.Host != "":
		p.result.Remote++
		if p.options.Remote {
			return u.String()
		}
	}
	return ""
}

// inline makes a data: URL of an image in the mail, because a sandboxed frame sends no cookie and so could not fetch the image from the
// service. The type is detected from the bytes, not taken from the sender; only bitmap images are shown.
func (p *pass) inline(contentID string) string {
	if p.options.Inline == nil {
		return ""
	}
	if decoded, err := url.PathUnescape(contentID); err == nil {
		contentID = decoded
	}
	content, ok := p.options.Inline(contentID, p.budget)
	if !ok {
		p.result.Cut = true
		return ""
	}
	p.budget -= int64(len(content))
	switch kind := http.DetectContentType(content); kind {
	case "image/png", "image/jpeg", "image/gif", "image/webp", "image/bmp":
		return "data:" + kind + ";base64," + base64.StdEncoding.EncodeToString(content)
	}
	return ""
}
