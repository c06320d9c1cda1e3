package mailstore

import (
	"bytes"
	"cmp"
	"compress/zlib"
	"fmt"
	"io"
	"runtime"
	"sync"

	"github.com/klauspost/compress/s2"
	kzlib "github.com/klauspost/compress/zlib"
	"github.com/klauspost/compress/zstd"
)

// Codec says how a body is packed. The numbers are in the database: add, never change.
type Codec uint8

const (
	// CodecNone: as is. Used whenever packing would not make a body smaller.
	CodecNone Codec = 0
	// CodecZstd is the default.
	CodecZstd Codec = 1
	// CodecZlib can be read by PHP's gzuncompress.
	CodecZlib Codec = 2
	// CodecS2 is for caches (PackFast): it packs less than zstd at a third of its cost, and costs next to nothing where
	// nothing is to be gained.
	CodecS2 Codec = 3
)

// minPack is the size below which packing a mail is not worth the work.
const minPack = 256

// Decode reads the name of a codec from the environment (STORER_CODEC).
func (c *Codec) Decode(name string) error {
	switch name {
	case "zstd":
		*c = CodecZstd
	case "zlib":
		*c = CodecZlib
	case "none":
		*c = CodecNone
	default:
		return fmt.Errorf("%q is not a codec; allowed: zstd, zlib, none", name)
	}
	return nil
}

func (c Codec) String() string {
	switch c {
	case CodecNone:
		return "none"
	case CodecZstd:
		return "zstd"
	case CodecZlib:
		return "zlib"
	case CodecS2:
		return "s2"
	}
	return fmt.Sprintf("codec %d", uint8(c))
}

// Packer packs and unpacks bodies. It may be used by many goroutines at once.
type Packer struct {
	codec Codec
	enc   *zstd.Encoder
	dec   *zstd.Decoder
	rooms sync.Pool // of *[]byte with roomSize bytes
}

const roomSize = 256 << 10

// NewPacker returns a Packer that packs with codec, and unpacks whatever any codec has packed.
func NewPacker(codec Codec) (*Packer, error) {
	// Entropy coding of literals makes base64 attachments a quarter smaller and costs nothing on text. No checksum: what
	// is unpacked is verified by the SHA-256 of the mail.
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderCRC(false),
		zstd.WithAllLitEntropyCompression(true), zstd.WithEncoderConcurrency(runtime.GOMAXPROCS(0)))
	if err != nil {
		return nil, fmt.Errorf("zstd encoder: %w", err)
	}
	dec, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(0), zstd.WithDecoderMaxMemory(2*PartSize))
	if err != nil {
		return nil, fmt.Errorf("zstd decoder: %w", err)
	}
	return &Packer{codec: codec, enc: enc, dec: dec}, nil
}

// Pack packs raw, and says how. The result may be raw itself.
func (p *Packer) Pack(raw []byte) ([]byte, Codec) { return p.PackInto(nil, raw) }

// PackInto is Pack that puts the result into the capacity of room, if that is enough: as much as len(raw) mostly is. The
// result may be raw itself.
func (p *Packer) PackInto(room, raw []byte) ([]byte, Codec) {
	if len(raw) < minPack {
		return raw, CodecNone
	}
	var out []byte
	switch p.codec {
	case CodecZstd:
		out = p.enc.EncodeAll(raw, room[:0])
	case CodecZlib:
		out = packZlib(raw)
	default:
		return raw, CodecNone
	}
	if len(out) >= len(raw) {
		return raw, CodecNone
	}
	return out, p.codec
}

// Room is capacity for PackInto, n bytes or more: what Release has been given, if possible.
func (p *Packer) Room(n int) []byte {
	if n > roomSize {
		return make([]byte, 0, n)
	}
	if room, ok := p.rooms.Get().(*[]byte); ok {
		return *room
	}
	return make([]byte, 0, roomSize)
}

// Release gives back what Room has returned. What was packed there must not be used any more.
func (p *Packer) Release(room []byte) {
	if room = room[:0]; cap(room) == roomSize {
		p.rooms.Put(&room)
	}
}

// PackFast packs with CodecS2, into the capacity of room if that is at least FastRoom(len(raw)). The result may be raw
// itself.
func PackFast(room, raw []byte) ([]byte, Codec) {
	if len(raw) < minPack {
		return raw, CodecNone
	}
	out := s2.Encode(room[:cap(room)], raw)
	if len(out) >= len(raw) {
		return raw, CodecNone
	}
	return out, CodecS2
}

// FastRoom is the room that PackFast needs for n bytes, even when the result is much smaller.
func FastRoom(n int) int { return s2.MaxEncodedLen(n) }

func packZlib(raw []byte) []byte {
	var out bytes.Buffer
	// The errors of this writer are those of the buffer (none) and of the level (constant).
	w, _ := kzlib.NewWriterLevel(&out, kzlib.BestSpeed)
	_, _ = w.Write(raw)
	_ = w.Close()
	return out.Bytes()
}

// Unpack undoes Pack. A body never unpacks to more than PartSize.
func (p *Packer) Unpack(body []byte, codec Codec) ([]byte, error) {
	switch codec {
	case CodecNone:
		return body, nil
	case CodecZstd:
		return p.dec.DecodeAll(body, nil)
	case CodecZlib:
		r, err := zlib.NewReader(bytes.NewReader(body))
		if err != nil {
			return nil, err
		}
		return io.ReadAll(io.LimitReader(r, PartSize+1))
	case CodecS2:
		if n, err := s2.DecodedLen(body); err != nil || n > PartSize {
			return nil, fmt.Errorf("a body of %d bytes: %w", n, cmp.Or(err, s2.ErrTooLarge))
		}
		return s2.Decode(nil, body)
	}
	return nil, fmt.Errorf("packed by %v, which this program does not know: it is too old", codec)
}

// Close ends the Packer's work.
func (p *Packer) Close() {
	p.dec.Close()
}
