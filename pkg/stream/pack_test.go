package stream

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"google.golang.org/protobuf/proto"

	"github.com/sluice-mail/sluice/pkg/stream/internal/record"
	mailv1 "github.com/sluice-mail/sluice/proto/mail/v1"
)

func packEnvelope(n int, raw []byte) *mailv1.Envelope {
	sum := sha256.Sum256(raw)
	id := bytes.Repeat([]byte{byte(n + 1)}, 16)
	return &mailv1.Envelope{Id: id, Size: uint64(len(raw)), Sha256: sum[:], Recipients: []*mailv1.Recipient{{Mailbox: "u@example.com"}}}
}

// packOf is a message with mails of these bytes.
func packOf(t testing.TB, raws ...string) *nats.Msg {
	t.Helper()
	var envelopes [][]byte
	var sum Digest
	for i, raw := range raws {
		env := packEnvelope(i, []byte(raw))
		sum.Add(DigestOf(env))
		e, err := proto.Marshal(env)
		if err != nil {
			t.Fatal(err)
		}
		envelopes = append(envelopes, e)
	}
	return EncodePack("mail.in.0", "id", envelopes, sum, []byte(strings.Join(raws, "")))
}

func read(msg *nats.Msg) record.Record {
	return record.Record{Stream: "MAIL_0", Subject: msg.Subject, Sequence: 17, Header: msg.Header, Data: msg.Data}
}

// TestPack: what is packed comes out again, each mail with its own bytes, and no header repeats.
func TestPack(t *testing.T) {
	for _, raws := range [][]string{{"one"}, {""}, {"one", "two"}, {"", "a", "", "bcd", ""}, {strings.Repeat("x", MaxPackBytes)}} {
		msg := packOf(t, raws...)
		if string(msg.Data) != strings.Join(raws, "") {
			t.Errorf("%d mails: the payload is not their bytes", len(raws))
		}
		mails, err := Decode(read(msg), record.Source{})
		if err != nil || len(mails) != len(raws) {
			t.Fatalf("%d mails: %d came out: %v", len(raws), len(mails), err)
		}
		for i, m := range mails {
			if string(m.Raw) != raws[i] || m.Index != i || m.Of != len(raws) || m.ID[0] != byte(i+1) {
				t.Errorf("mail %d of %d is %q (%d of %d), want %q", i, len(raws), m.Raw, m.Index, m.Of, raws[i])
			}
			if err := m.Verify(); err != nil {
				t.Errorf("mail %d of %d: %v", i, len(raws), err)
			}
			packed := m.Envelope.Requires&uint64(mailv1.Require_REQUIRE_PACKED) != 0
			if packed != (len(raws) > 1) {
				t.Errorf("mail %d of %d: PACKED is %v", i, len(raws), packed)
			}
		}
		for name, values := range msg.Header {
			if len(values) != 1 {
				t.Errorf("header %s has %d values", name, len(values))
			}
		}
	}
}

// TestPackRoom: what EnvelopeRoom counts is what the headers take.
func TestPackRoom(t *testing.T) {
	largest := Digest{Mails: math.MaxInt64, Bytes: math.MaxInt64, Check: math.MaxUint64, Lines: math.MaxInt64, LinesCheck: math.MaxUint64}
	for _, n := range []int{1, 2, 3, 100} {
		var envelopes [][]byte
		room := 0
		for i := range n {
			e, err := proto.Marshal(packEnvelope(i, make([]byte, i)))
			if err != nil {
				t.Fatal(err)
			}
			envelopes = append(envelopes, e)
			room += EnvelopeRoom(len(e))
		}
		msg := EncodePack("mail.in.0", strings.Repeat("i", 26)+"/2", envelopes, largest, nil)
		size := 12
		for name, values := range msg.Header {
			size += len(name) + len(values[0]) + 4
		}
		if size > room+packOverhead {
			t.Errorf("%d mails: the headers take %d bytes, %d were counted", n, size, room+packOverhead)
		}
	}
}

// TestDamagedPack: what does not add up is refused whole, since the envelopes also say where each mail ends.
func TestDamagedPack(t *testing.T) {
	spoil := func(fn func(h nats.Header, msg *nats.Msg)) *nats.Msg {
		msg := packOf(t, "one", "two", "three")
		fn(msg.Header, msg)
		return msg
	}
	second := func(change func(env *mailv1.Envelope)) *nats.Msg {
		return spoil(func(h nats.Header, _ *nats.Msg) {
			texts := strings.Split(h.Get(EnvelopesHeader), ",")
			env, _, err := DecodeEnvelope(texts[0])
			if err != nil {
				t.Fatal(err)
			}
			change(env)
			if texts[0], err = EncodeEnvelope(env); err != nil {
				t.Fatal(err)
			}
			h.Set(EnvelopesHeader, strings.Join(texts, ","))
		})
	}
	for name, tt := range map[string]struct {
		msg  *nats.Msg
		want error
	}{
		"a byte too many": {spoil(func(_ nats.Header, m *nats.Msg) { m.Data = append(m.Data, 'x') }), ErrUnreadable},
		"a byte too few":  {spoil(func(_ nats.Header, m *nats.Msg) { m.Data = m.Data[1:] }), ErrUnreadable},
		"no envelope":     {spoil(func(h nats.Header, _ *nats.Msg) { h.Del(EnvelopeHeader) }), ErrUnreadable},
		"others are gone": {spoil(func(h nats.Header, _ *nats.Msg) { h.Del(EnvelopesHeader) }), ErrUnreadable},
		"one is gone": {spoil(func(h nats.Header, _ *nats.Msg) {
			h.Set(EnvelopesHeader, strings.Split(h.Get(EnvelopesHeader), ",")[0])
		}), ErrUnreadable},
		"one is empty":         {spoil(func(h nats.Header, _ *nats.Msg) { h.Set(EnvelopesHeader, h.Get(EnvelopesHeader)+",") }), ErrUnreadable},
		"not base64":           {spoil(func(h nats.Header, _ *nats.Msg) { h.Set(EnvelopesHeader, h.Get(EnvelopesHeader)+"!") }), ErrUnreadable},
		"endless list":         {spoil(func(h nats.Header, _ *nats.Msg) { h.Set(EnvelopesHeader, strings.Repeat(",", 60<<10)) }), ErrUnreadable},
		"size too large":       {second(func(e *mailv1.Envelope) { e.Size++ }), ErrUnreadable},
		"size beyond all":      {second(func(e *mailv1.Envelope) { e.Size = 1<<64 - 2 }), ErrUnreadable},
		"a short id":           {second(func(e *mailv1.Envelope) { e.Id = e.Id[1:] }), ErrUnreadable},
		"in parts, in a pack":  {second(func(e *mailv1.Envelope) { e.Parts = 1 }), ErrUnreadable},
		"requires unknown":     {second(func(e *mailv1.Envelope) { e.Requires |= 1 << 40 }), ErrTooNew},
		"unknown, and damaged": {second(func(e *mailv1.Envelope) { e.Requires, e.Id = 1<<40, nil }), ErrTooNew},
	} {
		t.Run(name, func(t *testing.T) {
			if mails, err := Decode(read(tt.msg), record.Source{}); !errors.Is(err, tt.want) || mails != nil {
				t.Errorf("%d mails, %v; want %v", len(mails), err, tt.want)
			}
		})
	}
	// Sizes that add up, but not to these mails: each is checked before it is handed on.
	swapped := second(func(e *mailv1.Envelope) { e.Sha256 = make([]byte, 32) })
	mails, err := Decode(read(swapped), record.Source{})
	if err != nil {
		t.Fatal(err)
	}
	for i, m := range mails {
		if err := m.Verify(); (err != nil) != (i == 1) || err != nil && !errors.Is(err, ErrDamaged) {
			t.Errorf("mail %d: %v", i, err)
		}
	}
}

// TestMailLeavesItsPack: alone it does not require PACKED any more, and fields of a newer version survive.
func TestMailLeavesItsPack(t *testing.T) {
	msg := packOf(t, "one", "two")
	texts := msg.Header.Get(EnvelopesHeader)
	env, raw, err := DecodeEnvelope(texts)
	if err != nil || env == nil {
		t.Fatal(err)
	}
	future := append(raw, 0xf2, 0x3f, 1, 'x') // field 1022, one byte
	newer := new(mailv1.Envelope)
	if err := proto.Unmarshal(future, newer); err != nil {
		t.Fatal(err)
	}
	if texts, err = EncodeEnvelope(newer); err != nil {
		t.Fatal(err)
	}
	msg.Header.Set(EnvelopesHeader, texts)
	mails, err := Decode(read(msg), record.Source{})
	if err != nil {
		t.Fatal(err)
	}
	head, err := mails[1].Head("mail.dead.in")
	if err != nil {
		t.Fatal(err)
	}
	again, err := Decode(read(head), record.Source{})
	if err != nil || len(again) != 1 || string(again[0].Raw) != "two" || again[0].ID != mails[1].ID {
		t.Fatalf("%v, %v", again, err)
	}
	if again[0].Envelope.Requires != 0 || !bytes.Equal(again[0].Envelope.ProtoReflect().GetUnknown(), newer.ProtoReflect().GetUnknown()) {
		t.Errorf("requires %d, unknown fields %x", again[0].Envelope.Requires, again[0].Envelope.ProtoReflect().GetUnknown())
	}
	if got := mails[1].Place(); got != "MAIL_0/17/2" {
		t.Errorf("its place is %q", got)
	}
	if head.Header.Get(IDHeader) != "" || head.Header.Get(EnvelopesHeader) != "" {
		t.Errorf("headers of the pack stay with it: %v", head.Header)
	}
}

// FuzzDecode: whatever a message holds, decoding does not panic; what it gives is exactly the payload, and packed anew it
// is the same mails.
func FuzzDecode(f *testing.F) {
	for _, raws := range [][]string{{"one"}, {"one", "two"}, {"", "", "x"}} {
		msg := packOf(f, raws...)
		f.Add(msg.Header.Get(EnvelopeHeader), msg.Header.Get(EnvelopesHeader), msg.Data)
	}
	f.Add("", "a,b,,c", []byte("x"))
	f.Fuzz(func(t *testing.T, first, others string, payload []byte) {
		r := record.Record{Stream: "MAIL_0", Data: payload, Header: nats.Header{EnvelopeHeader: {first}, EnvelopesHeader: {others}}}
		mails, err := Decode(r, record.Source{})
		if err != nil {
			if !errors.Is(err, ErrUnreadable) && !errors.Is(err, ErrTooNew) || mails != nil {
				t.Fatalf("%d mails and %v", len(mails), err)
			}
			return
		}
		if mails[0].Envelope.Parts > 0 {
			if len(mails) != 1 || len(payload) > 0 {
				t.Fatalf("a mail in parts is one of %d, with %d bytes", len(mails), len(payload))
			}
			return
		}
		var all []byte
		var envelopes [][]byte
		for i, m := range mails {
			if m.Index != i || m.Of != len(mails) || uint64(len(m.Raw)) != m.Envelope.Size {
				t.Fatalf("mail %d of %d: index %d of %d, %d bytes of %d", i, len(mails), m.Index, m.Of, len(m.Raw), m.Envelope.Size)
			}
			all = append(all, m.Raw...)
			envelopes = append(envelopes, m.EnvelopeBytes)
		}
		if !bytes.Equal(all, payload) {
			t.Fatal("the mails are not the payload")
		}
		again, err := Decode(read(EncodePack("s", "id", envelopes, Digest{}, payload)), record.Source{})
		if err != nil || len(again) != len(mails) {
			t.Fatalf("packed anew: %d mails, %v", len(again), err)
		}
		for i, m := range again {
			if m.ID != mails[i].ID || !bytes.Equal(m.Raw, mails[i].Raw) {
				t.Fatalf("packed anew, mail %d differs", i)
			}
		}
	})
}
