package rows

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"errors"
	"io"
	"runtime"
	"sync"

	"github.com/oklog/ulid/v2"

	"github.com/sluice-mail/sluice/pkg/mailstore"
)

// damagedBytes bounds the raw bytes of the mails whose bodies one statement asks for.
const damagedBytes = 4 << 20

// Damaged appends to damaged those of the mails whose bytes are not as they should be. query reads id, codec and body of the
// first parts of mails; what has several parts is read one by one from whole.
func Damaged(ctx context.Context, mails []mailstore.Row, p *mailstore.Packer, whole mailstore.Reader, damaged *[]ulid.ULID,
	query func(ids []ulid.ULID) (*sql.Rows, error)) error {
	for len(mails) > 0 {
		want, ids, size := make(map[ulid.ULID]mailstore.Row), []ulid.ULID(nil), int64(0)
		for len(mails) > 0 && size < damagedBytes && mails[0].Size <= mailstore.PartSize {
			want[mails[0].ID] = mails[0]
			ids, size, mails = append(ids, mails[0].ID), size+mails[0].Size, mails[1:]
		}
		if len(ids) == 0 { // in parts
			m := mails[0]
			mails = mails[1:]
			switch err := whole.Raw(ctx, m.ID, io.Discard); {
			case errors.Is(err, mailstore.ErrDamaged):
				*damaged = append(*damaged, m.ID)
			case err != nil:
				return err
			}
			continue
		}
		found, err := query(ids)
		if err != nil {
			return err
		}
		some, err := hashAll(found, p, want)
		if err != nil {
			return err
		}
		*damaged = append(*damaged, some...)
	}
	return nil
}

// hashAll unpacks and hashes the bodies that were found, on all processors, and returns the mails whose bytes differ.
func hashAll(found *sql.Rows, p *mailstore.Packer, want map[ulid.ULID]mailstore.Row) (damaged []ulid.ULID, err error) {
	defer found.Close()
	type packed struct {
		row   mailstore.Row
		codec mailstore.Codec
		body  []byte
	}
	jobs := make(chan packed)
	var mu sync.Mutex
	var hashing sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		hashing.Go(func() {
			for job := range jobs {
				raw, err := p.Unpack(job.body, job.codec)
				if err != nil || int64(len(raw)) != job.row.Size || sha256.Sum256(raw) != job.row.SHA256 {
					mu.Lock()
					damaged = append(damaged, job.row.ID)
					mu.Unlock()
				}
			}
		})
	}
	for found.Next() {
		var id ulid.ULID
		var job packed
		if err = found.Scan(&id, &job.codec, &job.body); err != nil {
			break
		}
		job.row = want[id]
		delete(want, id)
		jobs <- job
	}
	close(jobs)
	hashing.Wait()
	for id := range want { // no body at all
		damaged = append(damaged, id)
	}
	return damaged, errors.Join(err, found.Err())
}
