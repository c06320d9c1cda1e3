package transfer

import (
	"bytes"
	"io"
	"math"
	"math/rand/v2"
	"testing"
	"testing/iotest"
)

// TestPiecesDecodeAsTheWhole: however the text is cut, the result and its length are those of Decode.
func TestPiecesDecodeAsTheWhole(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 0))
	words := []string{"a", "=", "=3D", "=4", " ", "\t", "\r", "\n", "\r\n", "=\r\n", "QUJD", "QQ==", "!", "\xff"}
	for range 20000 {
		var text []byte
		for range r.IntN(30) {
			text = append(text, words[r.IntN(len(words))]...)
		}
		for _, e := range []Encoding{Identity, Base64, QuotedPrintable} {
			want, _, _ := Decode(e, text, math.MaxInt32)
			limit := r.IntN(1 + len(want))
			if few, _, cut := Decode(e, text, limit); !bytes.Equal(few, want[:limit]) || limit < len(want) && !cut {
				t.Fatalf("%d, %q: %q, cut %v, want %q", e, text, few, cut, want[:limit])
			}
			got, err := io.ReadAll(NewReader(e, iotest.OneByteReader(bytes.NewReader(text))))
			if err != nil || !bytes.Equal(got, want) {
				t.Fatalf("%d, %q: %q, %v, want %q", e, text, got, err, want)
			}
			c := NewCounter(e)
			for rest := text; len(rest) > 0; {
				n := 1 + r.IntN(len(rest))
				c.Add(rest[:n])
				rest = rest[n:]
			}
			if n := c.Len(); n != len(want) || Len(e, text) != len(want) {
				t.Fatalf("%d, %q: counted %d and %d, want %d", e, text, n, Len(e, text), len(want))
			}
		}
	}
}

// TestBlanksWithoutEndAreNotHeld: a line of blanks only cannot fill the memory.
func TestBlanksWithoutEndAreNotHeld(t *testing.T) {
	d := decoder{encoding: QuotedPrintable}
	blanks := bytes.Repeat([]byte(" "), 32<<10)
	for range 100 {
		d.decode(blanks)
	}
	if len(d.line) > 128<<10 {
		t.Errorf("%d bytes are held", len(d.line))
	}
}
