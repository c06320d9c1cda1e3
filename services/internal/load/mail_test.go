package load

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"flag"
	"io"
	"math/bits"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sluice-mail/sluice/pkg/mailparse"
)

func mustSizes(t testing.TB, s string) Sizes {
	t.Helper()
	sizes, err := ParseSizes(s)
	if err != nil {
		t.Fatal(err)
	}
	return sizes
}

// TestMailsAreWellFormed: the load is ordinary mail of exactly the size asked for, which nothing may refuse.
func TestMailsAreWellFormed(t *testing.T) {
	cfg := Config{Seed: 3, Sizes: mustSizes(t, "1KB-300KB,600,3000-3200:5"), Rcpts: Range{1, 5}}
	g, again := NewGenerator(cfg), NewGenerator(cfg)
	ids := map[string]bool{}
	var dots, eightBit, attachments int
	var buf []byte
	for i := range uint64(1500) {
		m := g.Mail(i, buf)
		buf = m.Raw
		if other := again.Mail(i, nil); !bytes.Equal(m.Raw, other.Raw) || !slices.Equal(m.Rcpts, other.Rcpts) || m.From != other.From {
			t.Fatalf("mail %d differs when made again", i)
		}
		if !bytes.HasSuffix(m.Raw, []byte("\r\n")) || strings.ContainsAny(strings.ReplaceAll(string(m.Raw), "\r\n", ""), "\r\n\x00") {
			t.Fatalf("mail %d has line ends other than CRLF", i)
		}
		parsed := mailparse.Index(m.Raw)
		s := parsed.Summary()
		if s.Flags != 0 || s.Subject == "" || s.Date.IsZero() || s.To != m.Rcpts[0] {
			t.Fatalf("mail %d: %+v", i, s)
		}
		id := parsed.Parts[0].Field("X-Load-Id")
		if id != LoadID(3, i) || ids[id] {
			t.Fatalf("mail %d has id %q", i, id)
		}
		ids[id] = true
		has8bit := slices.ContainsFunc(m.Raw, func(c byte) bool { return c > 127 })
		if has8bit != m.EightBit {
			t.Fatalf("mail %d: 8-bit %v, declared %v", i, has8bit, m.EightBit)
		}
		dots += bytes.Count(m.Raw, []byte("\r\n."))
		eightBit += len(m.Raw) * map[bool]int{true: 1}[has8bit]
		attachments += map[bool]int{true: 1}[s.HasAttachment]
	}
	if dots < 1500 || eightBit == 0 || attachments < 50 {
		t.Errorf("dots %d, 8-bit bytes %d, attachments %d", dots, eightBit, attachments)
	}
}

func TestSizesAreExact(t *testing.T) {
	g := NewGenerator(Config{})
	for size := 500; size < 9000; size += 5 { // meets every remainder of 78, the length of a base64 line
		g.sizes.choices = []sizeChoice{{uint64(size), uint64(size), 1}}
		checkSize(t, g, uint64(size), size)
	}
	g.sizes.choices = []sizeChoice{{500, 500, 1}}
	for i := range uint64(500) {
		checkSize(t, g, i, 500)
	}
}

func checkSize(t *testing.T, g *Generator, i uint64, size int) {
	t.Helper()
	if m := g.Mail(i, nil); len(m.Raw) != size {
		t.Fatalf("mail %d has %d bytes, want %d:\n%s", i, len(m.Raw), size, m.Raw)
	}
}

// TestMailsStayTheSame: a record made by an older generator must still be verifiable.
func TestMailsStayTheSame(t *testing.T) {
	g := NewGenerator(Config{Seed: 1, Sizes: mustSizes(t, "600-20KB"), Rcpts: Range{1, 3}})
	hash := sha256.New()
	for i := range uint64(200) {
		m := g.Mail(i, nil)
		hash.Write(m.Raw)
		io.WriteString(hash, m.From+strings.Join(m.Rcpts, ","))
	}
	const want = "edeb310d23252c0f2521a76c4953fe87009f145fa49ab686d17729972a6d7d01"
	if got := hex.EncodeToString(hash.Sum(nil)); got != want {
		t.Errorf("the first 200 mails hash to %s, want %s", got, want)
	}
}

func TestWireForm(t *testing.T) {
	for raw, want := range map[string]string{
		"": ".\r\n", "a\r\n": "a\r\n.\r\n", ".\r\n": "..\r\n.\r\n", "a\r\n.\r\n..b\r\n": "a\r\n..\r\n...b\r\n.\r\n", "a.b\r\n": "a.b\r\n.\r\n",
	} {
		if got := string(appendWire(nil, []byte(raw))); got != want {
			t.Errorf("%q becomes %q, want %q", raw, got, want)
		}
	}
}

func TestSizesNotation(t *testing.T) {
	for in, want := range map[string]string{
		"4KB": "4KB", "1KB-10MB": "1KB-10MB", "4KB:9,200KB:1": "4KB:9,200KB", "100": "100", "1kib": "1KB", "2M": "2MB", " 1KB , 2KB ": "1KB,2KB", "1GB": "1024MB",
	} {
		s, err := ParseSizes(in)
		if err != nil || s.String() != want {
			t.Errorf("%q: %v, %v", in, s.String(), err)
		}
	}
	for _, in := range []string{"", "x", "0", "-1", "2KB-1KB", "1KB:0", "1KB:x", "2GB", "1KB,,2KB", "99999999999999999999", "1TB"} {
		if s, err := ParseSizes(in); err == nil {
			t.Errorf("%q is taken as %v", in, s.String())
		}
	}
	var r Range
	for in, ok := range map[string]bool{"1": true, "1-5": true, "5-1": false, "0": false, "x": false, "1-": false, "2000": false} {
		if err := r.Set(in); (err == nil) != ok {
			t.Errorf("%q: %v", in, err)
		}
	}
}

func TestSizesAreSpreadOverTheDoublings(t *testing.T) {
	sizes := mustSizes(t, "1KB-1MB:3,5MB:1")
	r := newRandom(1, 1)
	var octaves [24]int
	large := 0
	for range 10000 {
		n := sizes.pick(&r)
		if n == 5<<20 {
			large++
			continue
		}
		if n < 1<<10 || n > 1<<20 {
			t.Fatalf("size %d", n)
		}
		octaves[bits.Len(uint(n))]++
	}
	if large < 2200 || large > 2800 {
		t.Errorf("%d of 10000 are of weight 1 in 4", large)
	}
	for k := 11; k <= 20; k++ {
		if octaves[k] < 400 {
			t.Errorf("only %d sizes of %d bits", octaves[k], k)
		}
	}
}

func TestFlags(t *testing.T) {
	var cfg Config
	fs := flag.NewFlagSet("load", flag.ContinueOnError)
	cfg.Flags(fs)
	err := fs.Parse(strings.Fields("-to 127.0.0.1:1 -rate 5 -conns 2 -duration 1s -sizes 1KB:2,2KB -rcpts 1-3 -domains a.example,b.example -record x"))
	if err != nil || cfg.To != "127.0.0.1:1" || cfg.Rate != 5 || cfg.Conns != 2 || cfg.Count != 0 || cfg.Duration != time.Second ||
		cfg.Sizes.String() != "1KB:2,2KB" || cfg.Rcpts != (Range{1, 3}) || len(cfg.Domains) != 2 || cfg.Record != "x" {
		t.Errorf("%+v, %v", cfg, err)
	}
}

func TestHistogram(t *testing.T) {
	var h histogram
	var all []time.Duration
	r := rand.New(rand.NewPCG(1, 2))
	for range 10000 {
		d := time.Duration(r.ExpFloat64() * float64(20*time.Millisecond))
		all = append(all, d)
		h.add(d)
	}
	slices.Sort(all)
	for _, q := range []uint64{1, 50, 99, 100} {
		want := all[(len(all)*int(q)+99)/100-1]
		if got := h.quantile(q); got < want.Truncate(time.Microsecond) || float64(got) > float64(want)*1.04+float64(time.Microsecond) {
			t.Errorf("p%d is %v, want %v", q, got, want)
		}
	}
	h.add(1<<62 - 1)
	h.add(-1)
}

func BenchmarkMail(b *testing.B) {
	for _, size := range []string{"4KB", "20KB"} {
		b.Run(size, func(b *testing.B) {
			g := NewGenerator(Config{Sizes: mustSizes(b, size)})
			b.ReportAllocs()
			var raw, wire []byte
			i := uint64(0)
			for b.Loop() {
				m := g.Mail(i, raw)
				raw, wire = m.Raw, appendWire(wire[:0], m.Raw)
				sha256.Sum256(raw)
				i++
			}
		})
	}
}
