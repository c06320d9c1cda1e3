package digest

import (
	"encoding/hex"
	"strings"
	"testing"
)

// They are compared with what the database computes, and keys that are stored: neither may change. The values are Python's
// (zlib.crc32, hashlib.sha256); pkg/mailstore/storetest compares the checks with those of the databases.
func TestTheFormulasDoNotChange(t *testing.T) {
	id, sum := [16]byte([]byte("0123456789abcdef")), [32]byte([]byte(strings.Repeat("s", 32)))
	box := Mailbox([]byte("a@example.com"))
	if got := hex.EncodeToString(box[:]); got != "08168cd80dfd534ab0f10af10f1303fe" {
		t.Errorf("the mailbox is %s", got)
	}
	if got := Mail(id, sum); got != 584855255 {
		t.Errorf("the mail is %d", got)
	}
	if got := Line(box, id); got != 2398336978 {
		t.Errorf("the line is %d", got)
	}
}
