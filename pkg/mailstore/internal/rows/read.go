package rows

import (
	"database/sql"
	"errors"
	"io/fs"

	"github.com/sluice-mail/sluice/pkg/mailstore"
)

// Newest is the version that the files of migrations/ lead to: they are numbered from 1.
func Newest(migrations fs.FS) (int64, error) {
	files, err := fs.Glob(migrations, "migrations/*.sql")
	return int64(len(files)), err
}

// PageSize is how many mails a listing of ids reads at once.
const PageSize = 1000

// Page reads a page of id, size and sha256, and closes it.
func Page(found *sql.Rows, err error) ([]mailstore.Row, error) {
	if err != nil {
		return nil, err
	}
	defer found.Close()
	page := make([]mailstore.Row, 0, PageSize)
	for found.Next() {
		var r mailstore.Row
		var sum []byte
		if err := found.Scan(&r.ID, &r.Size, &sum); err != nil {
			return nil, err
		}
		copy(r.SHA256[:], sum)
		page = append(page, r)
	}
	return page, found.Err()
}

// ScanPart reads codec and body of one part. A part that is not there is damage: its head was.
func ScanPart(found *sql.Row) (body []byte, codec mailstore.Codec, err error) {
	err = found.Scan(&codec, &body)
	if errors.Is(err, sql.ErrNoRows) {
		err = mailstore.ErrDamaged
	}
	return body, codec, err
}
