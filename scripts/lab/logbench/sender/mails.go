package main

import (
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"time"

	"github.com/oklog/ulid/v2"

	mailv1 "github.com/sluice-mail/sluice/proto/mail/v1"
)

// different is how many mails are made beforehand: making each anew would cost the sender more than publishing it.
const different = 256

// mails are handed out in turn, each time under a new id.
type mails struct {
	made  []mail
	given atomic.Uint64
}

type mail struct {
	raw    []byte
	sha256 []byte
	number uint64
}

// newMails makes mails of exactly that size: a header, then lines of words and lines like those of an attachment in
// base64, half each, so that they pack about as well as real mail (a cluster packs what its servers tell each other).
func newMails(size int) *mails {
	rng := rand.New(rand.NewPCG(1, uint64(size)))
	m := &mails{made: make([]mail, different)}
	for i := range m.made {
		raw := text(rng, i, size)
		sum := sha256.Sum256(raw)
		m.made[i] = mail{raw: raw, sha256: sum[:]}
	}
	return m
}

func text(rng *rand.Rand, number, size int) []byte {
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
	var b strings.Builder
	b.Grow(size + 100)
	fmt.Fprintf(&b, "From: Sender %d <sender%d@example.net>\r\nTo: user%d@example.com\r\nSubject: Mail number %d\r\n"+
		"MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n", number, number, number, number)
	for line := 0; b.Len() < size; line++ {
		start := b.Len()
		for b.Len() < start+70 {
			if line%2 == 0 {
				b.WriteByte(letters[rng.IntN(len(letters))])
				continue
			}
			for word := rng.IntN(3000) + 20; word > 0; word /= 20 {
				b.WriteByte(letters[26+word%20])
			}
			b.WriteByte(' ')
		}
		b.WriteString("\r\n")
	}
	return []byte(b.String()[:size])
}

func (m *mails) next() mail {
	n := m.given.Add(1)
	next := m.made[n%different]
	next.number = n
	return next
}

// envelope is a new one, as an ingress would make it.
func (m mail) envelope() *mailv1.Envelope {
	id := ulid.Make()
	return &mailv1.Envelope{
		Id: id[:], Size: uint64(len(m.raw)), Sha256: m.sha256, ReceivedAt: time.Now().UnixMilli(), Ingress: "mx.example.com",
		Helo: "client.example.net", Protocol: "ESMTP", MailFrom: fmt.Sprintf("sender%d@example.net", m.number),
		Recipients: []*mailv1.Recipient{{Mailbox: fmt.Sprintf("user%d@example.com", m.number)}},
	}
}
