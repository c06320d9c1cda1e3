package storer

import (
	"database/sql"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"

	_ "github.com/go-sql-driver/mysql" // for making a trigger
	"github.com/oklog/ulid/v2"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluice-mail/sluice/pkg/mailstore"
	"github.com/sluice-mail/sluice/pkg/mailstore/mysql"
	"github.com/sluice-mail/sluice/pkg/mailstore/mysql/mysqltest"
)

func TestMain(m *testing.M) { os.Exit(mysqltest.Main(m)) }

// refuseUnknown makes MySQL answer with a number that no list of ours has, for the mails of one sender and, where
// empty derived columns help, only as long as they have a subject.
const refuseUnknown = `CREATE TRIGGER refuse BEFORE INSERT ON inbox FOR EACH ROW
IF NEW.sender = 'refused@b.example' OR (NEW.sender = 'subject@b.example' AND NEW.subject <> '') THEN
	SIGNAL SQLSTATE '45000' SET MYSQL_ERRNO = 31999, MESSAGE_TEXT = 'refused by a trigger';
END IF`

// The mails that raise an error number nobody knows are found, and the others of their batch are stored.
func TestUnknownErrorNumberIsBisectedToTheOneMail(t *testing.T) {
	var dsn string
	p := newPipeline(t, func(t *testing.T, logger *slog.Logger, metrics *prometheus.Registry) (mailstore.Store, error) {
		dsn = mysqltest.DSN(t)
		return mysql.Open(mysql.Config{DSN: dsn, Codec: mailstore.CodecZstd}, logger, metrics)
	})
	db, err := sql.Open("mysql", dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec(refuseUnknown); err != nil {
		t.Fatal(err)
	}
	var bad, bare ulid.ULID
	var mates []ulid.ULID
	for i := range 200 {
		switch i {
		case 30:
			bad = p.publish("refused@b.example", "u@example.com")
		case 90:
			bare = p.publish("subject@b.example", "u@example.com")
		default:
			mates = append(mates, p.publish(fmt.Sprintf("s%d@b.example", i), "u@example.com"))
		}
	}
	p.run(p.service.Run)
	p.within("its mates are stored and it is a dead letter", func() bool {
		for _, id := range append(mates, bare) {
			if !p.stored(id) {
				return false
			}
		}
		return len(p.dead()) == 1
	})
	if letter := p.dead()[0]; letter.ID != bad || !strings.Contains(letter.Reason, "31999") {
		t.Errorf("dead letter %s: %s", letter.ID, letter.Reason)
	}
	for _, id := range mates {
		if m, err := p.store.Mail(t.Context(), id); err != nil || len(m.Entries) != 1 || m.Entries[0].Subject == "" {
			t.Errorf("%s is stored as %+v (%v)", id, m.Entries, err)
		}
	}
	if m, err := p.store.Mail(t.Context(), bare); err != nil || m.Entries[0].Derived != (mailstore.Derived{}) {
		t.Errorf("the mail with the bad subject is stored as %+v (%v)", m.Entries, err)
	}
}
