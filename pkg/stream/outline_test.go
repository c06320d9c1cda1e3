package stream

import (
	"bytes"
	"encoding/base64"
	"math/rand/v2"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/oklog/ulid/v2"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/sluice-mail/sluice/pkg/stream/internal/record"
	mailv1 "github.com/sluice-mail/sluice/proto/mail/v1"
)

// An outline says what the envelope says, and is unreadable when that is, whatever bytes there are.
func TestAnOutlineIsWhatTheEnvelopeSays(t *testing.T) {
	id := ulid.Make()
	good, err := proto.Marshal(&mailv1.Envelope{
		Id: id[:], Size: 4711, Sha256: bytes.Repeat([]byte{7}, 32), Ingress: "mx0", Helo: "héllo", MailFrom: "a@b.example", Session: "s",
		Client: &mailv1.Endpoint{Ip: []byte{255, 254, 1, 2}, Port: 25}, Tls: &mailv1.TLS{Version: "1.3", Cipher: "c", Sni: "mx.example"},
		Recipients: []*mailv1.Recipient{{Mailbox: "u@example.com", AsGiven: "U@example.com"}, {Mailbox: "ü@example.com"}}, Requires: 2,
	})
	if err != nil {
		t.Fatal(err)
	}
	random := rand.New(rand.NewPCG(1, 2))
	var s outliner
	unreadable := 0
	for i := range 200_000 {
		raw := bytes.Clone(good)
		if i == 1 { // a field number over the largest, which protowire takes and the generated code refuses
			raw = append(protowire.AppendVarint(raw, uint64(protowire.MaxValidNumber+1)<<3|uint64(protowire.VarintType)), 1)
		}
		for range min(i/2, random.IntN(4)) {
			switch at := random.IntN(len(raw)); random.IntN(3) {
			case 0:
				raw[at] = byte(random.Uint32())
			case 1:
				raw = raw[:max(at, 1)]
			case 2:
				raw = append(raw, raw[at:]...)
			}
		}
		r := record.Record{Stream: "MAIL_0", Header: nats.Header{EnvelopeHeader: {base64.RawURLEncoding.EncodeToString(raw)}}}
		mails, err := decodeEnvelopes(r, record.Source{})
		got := s.message(r)
		if len(got) != 1 || (got[0].Err == nil) != (err == nil) {
			t.Fatalf("%x: %v, the envelope %v", raw, got[0].Err, err)
		}
		if err != nil {
			unreadable++
			continue
		}
		env := mails[0].Envelope
		if got[0].ID != mails[0].ID || uint64(got[0].Size) != env.GetSize() || got[0].Parts != env.GetParts() || len(got[0].Mailboxes) != len(env.GetRecipients()) {
			t.Fatalf("%x: %+v, the envelope says %v", raw, got[0], env)
		}
		if sum := env.GetSha256(); len(sum) == 32 && !bytes.Equal(got[0].SHA256[:], sum) {
			t.Fatalf("%x: SHA-256 %x, the envelope says %x", raw, got[0].SHA256, sum)
		}
		for i, to := range env.GetRecipients() {
			if string(got[0].Mailboxes[i]) != to.GetMailbox() {
				t.Fatalf("%x: mailbox %q, the envelope says %q", raw, got[0].Mailboxes[i], to.GetMailbox())
			}
		}
	}
	if unreadable == 0 || unreadable > 150_000 {
		t.Errorf("%d of 200000 were unreadable: this proves nothing", unreadable)
	}
}
