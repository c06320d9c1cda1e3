package rows

import "github.com/sluice-mail/sluice/pkg/mailstore"

// rooms is where the bodies of a batch are packed: large pieces that later batches use again. A buffer for each body, as
// large as the mail, would cost more than hashing it.
type rooms struct {
	packer *mailstore.Packer
	pieces [][]byte
	free   []byte // what is left of the last piece, as capacity
}

func (r *rooms) pack(raw []byte) ([]byte, mailstore.Codec) {
	if cap(r.free) < len(raw) {
		piece := r.packer.Room(len(raw))
		r.pieces = append(r.pieces, piece)
		r.free = piece
	}
	body, codec := r.packer.PackInto(r.free, raw)
	if codec == mailstore.CodecNone || cap(body) != cap(r.free) {
		return body, codec // raw itself, or it did not fit
	}
	n := len(body)
	r.free = body[n:n]
	return body[:n:n], codec
}

// Release ends the use of the batch's bodies.
func (b *Batch) Release() {
	for _, piece := range b.rooms.pieces {
		b.rooms.packer.Release(piece)
	}
	b.rooms.pieces, b.rooms.free, b.Mails = nil, nil, nil
}
