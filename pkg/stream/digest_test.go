package stream

import (
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/oklog/ulid/v2"
	"google.golang.org/protobuf/proto"

	"github.com/sluice-mail/sluice/pkg/digest"
	"github.com/sluice-mail/sluice/pkg/stream/internal/record"
	mailv1 "github.com/sluice-mail/sluice/proto/mail/v1"
)

// The digest of a pack is what an audit would compute by decoding the envelopes, whatever is in them.
func TestADigestIsTheSumOfItsMails(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	for range 300 {
		var sum Digest
		var envelopes [][]byte
		for range 2 + random.IntN(20) {
			env := &mailv1.Envelope{Id: make([]byte, 16), Size: uint64(random.IntN(1 << 20)), Sha256: make([]byte, 32)}
			for i := range env.Id {
				env.Id[i] = byte(random.Uint32())
			}
			for i := range env.Sha256 {
				env.Sha256[i] = byte(random.Uint32())
			}
			for range random.IntN(12) { // some of them twice
				env.Recipients = append(env.Recipients, &mailv1.Recipient{Mailbox: strings.Repeat("x", random.IntN(9)) + "@example.com"})
			}
			e, err := proto.Marshal(env)
			if err != nil {
				t.Fatal(err)
			}
			sum.Add(DigestOf(env))
			envelopes = append(envelopes, e)
		}
		msg := EncodePack("s", "id", envelopes, sum, nil)
		var want Digest
		var all outliner
		for _, o := range all.message(record.Record{Header: msg.Header}) {
			one := Digest{First: o.ID, Last: o.ID, Mails: 1, Bytes: o.Size, Check: digest.Mail(o.ID, o.SHA256)}
			lines := make(map[[16]byte]bool)
			for _, to := range o.Mailboxes {
				lines[digest.Mailbox(to)] = true
			}
			for box := range lines {
				one.Lines++
				one.LinesCheck += digest.Line(box, o.ID)
			}
			want.Add(one)
		}
		digests := outliner{digests: true}
		got := digests.message(record.Record{Header: msg.Header})
		if len(got) != 1 || got[0].Digest != want {
			t.Fatalf("the header says %+v, the envelopes %+v", got, want)
		}
	}
}

// A digest that cannot be right is passed over: the envelopes are there.
func TestADigestThatIsNoneIsPassedOver(t *testing.T) {
	good := packOf(t, "one", "two", "three")
	text := good.Header.Get(DigestHeader)
	if d, ok := headerDigest(good.Header); !ok || d.String() != text || d.Mails != 3 || d.Bytes != 11 || d.First != (ulid.ULID([]byte(strings.Repeat("\x01", 16)))) {
		t.Fatalf("%q: %+v", text, d)
	}
	fields := strings.Split(text, ",")
	for name, bad := range map[string]string{
		"empty": "", "garbage": "?", "no numbers": strings.Join(fields[:2], ","), "one number too few": strings.Join(fields[:6], ","),
		"one too many": text + ",1", "no id": strings.Replace(text, fields[0], "0", 1),
		"of two mails":  strings.Replace(text, ",3,11,", ",2,11,", 1),
		"of none":       strings.Replace(text, ",3,11,", ",0,11,", 1),
		"negative":      strings.Replace(text, ",3,11,", ",3,-11,", 1),
		"too large":     strings.Replace(text, ",3,11,", ",3,18446744073709551615,", 1),
		"wrong order":   strings.Join(append([]string{fields[1], fields[0]}, fields[2:]...), ","),
		"not a number":  strings.Replace(text, ",3,11,", ",3,11a,", 1),
		"a space in it": strings.Replace(text, ",3,11,", ",3, 11,", 1),
	} {
		if bad == text {
			t.Errorf("%s: the test is wrong", name)
		}
		h := nats.Header{DigestHeader: {bad}, EnvelopeHeader: good.Header[EnvelopeHeader], EnvelopesHeader: good.Header[EnvelopesHeader]}
		if d, ok := headerDigest(h); ok {
			t.Errorf("%s: %q was taken as %+v", name, bad, d)
		}
		s := outliner{digests: true}
		if mails := s.message(record.Record{Header: h}); len(mails) != 3 {
			t.Errorf("%s: %d mails", name, len(mails))
		}
	}
}
