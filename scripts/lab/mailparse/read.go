package main

import (
	"bytes"
	"encoding/base64"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net/mail"
	"net/textproto"
	"strings"
	"time"

	"golang.org/x/text/encoding/htmlindex"

	"github.com/sluice-mail/sluice/pkg/mailparse"
)

// result is what both must agree on.
type result struct {
	from, subject, charset string
	date                   time.Time
	attachment             bool
	texts, files           int // decoded bytes
}

// task is one thing to do with a mail, by either parser.
type task struct {
	name         string
	ours, theirs func([]byte) (result, error)
}

func tasks() []task {
	return []task{
		{"summary", summarise, func(raw []byte) (result, error) { return library(raw, false) }},
		{"all", readAll, func(raw []byte) (result, error) { return library(raw, true) }},
	}
}

func summarise(raw []byte) (result, error) {
	s := mailparse.Summarise(raw)
	return result{from: s.From, subject: s.Subject, charset: s.Charset, date: s.Date, attachment: s.HasAttachment}, nil
}

func readAll(raw []byte) (result, error) {
	m := mailparse.Index(raw)
	s := m.Summary()
	r := result{from: s.From, subject: s.Subject, charset: s.Charset, date: s.Date, attachment: s.HasAttachment}
	plain, html, _ := m.Bodies(1 << 30)
	r.texts = len(plain) + len(html)
	for _, i := range m.Attachments() {
		data, _ := m.Parts[i].Decoded(1 << 30)
		r.files += len(data)
	}
	return r, nil
}

// library does the same with net/mail, mime/multipart and mime.
func library(raw []byte, all bool) (result, error) {
	m, err := mail.ReadMessage(bytes.NewReader(raw))
	if err != nil {
		return result{}, err
	}
	words := mime.WordDecoder{CharsetReader: toUTF8}
	var r result
	if r.from, err = words.DecodeHeader(m.Header.Get("From")); err != nil {
		return r, err
	}
	if r.subject, err = words.DecodeHeader(m.Header.Get("Subject")); err != nil {
		return r, err
	}
	if r.date, err = m.Header.Date(); err != nil {
		return r, err
	}
	r.date = r.date.UTC()
	return r, r.entity(textproto.MIMEHeader(m.Header), m.Body, all)
}

func (r *result) entity(header textproto.MIMEHeader, body io.Reader, all bool) error {
	mediaType, params, err := mime.ParseMediaType(header.Get("Content-Type"))
	if err != nil {
		return err
	}
	if strings.HasPrefix(mediaType, "multipart/") {
		for parts := multipart.NewReader(body, params["boundary"]); ; {
			part, err := parts.NextRawPart()
			if errors.Is(err, io.EOF) {
				return nil
			}
			if err != nil {
				return err
			}
			if err := r.entity(part.Header, part, all); err != nil {
				return err
			}
		}
	}
	isFile := !strings.HasPrefix(mediaType, "text/")
	r.attachment = r.attachment || isFile
	if r.charset == "" {
		r.charset = params["charset"]
	}
	if !all {
		return nil // the next part is looked for behind the rest of this one
	}
	return r.decode(header.Get("Content-Transfer-Encoding"), params["charset"], body, isFile)
}

func (r *result) decode(encoding, charset string, body io.Reader, isFile bool) error {
	switch strings.ToLower(encoding) {
	case "base64":
		body = base64.NewDecoder(base64.StdEncoding, body)
	case "quoted-printable":
		body = quotedprintable.NewReader(body)
	}
	if !isFile {
		var err error
		if body, err = toUTF8(charset, body); err != nil {
			return err
		}
	}
	data, err := io.ReadAll(body)
	if isFile {
		r.files += len(data)
	} else {
		r.texts += len(data)
	}
	return err
}

func toUTF8(charset string, body io.Reader) (io.Reader, error) {
	if strings.EqualFold(charset, "utf-8") {
		return body, nil
	}
	e, err := htmlindex.Get(charset)
	if err != nil {
		return nil, err
	}
	return e.NewDecoder().Reader(body), nil
}
