package mysql_test

import (
	"testing"

	"github.com/sluice-mail/sluice/pkg/mailstore"
	store "github.com/sluice-mail/sluice/pkg/mailstore/mysql"
	"github.com/sluice-mail/sluice/pkg/mailstore/mysql/mysqltest"
)

// raise makes the server answer with a number that no list of ours has.
const raise = "SIGNAL SQLSTATE '45000' SET MYSQL_ERRNO = 31999, MESSAGE_TEXT = 'raised by a trigger'"

// A probe tells trouble with one mail from trouble with the server, wherever in a transaction that shows.
func TestProbeFailsWithTheServerOnly(t *testing.T) {
	for name, c := range map[string]struct {
		trigger string
		fails   bool
	}{
		"one sender": {"BEFORE INSERT ON inbox FOR EACH ROW IF NEW.sender = 'sender@example.net' THEN " + raise + "; END IF", false},
		"inbox":      {"BEFORE INSERT ON inbox FOR EACH ROW " + raise, true},
		"mail":       {"AFTER INSERT ON mail FOR EACH ROW " + raise, true},
		"mail_raw":   {"AFTER INSERT ON mail_raw FOR EACH ROW " + raise, true},
		"counts":     {"BEFORE INSERT ON counts FOR EACH ROW " + raise, true},
	} {
		t.Run(name, func(t *testing.T) {
			dsn := mysqltest.DSN(t)
			s := open(t, store.Config{DSN: dsn})
			if err := s.Probe(t.Context()); err != nil {
				t.Fatal(err)
			}
			exec(t, dsn, "CREATE TRIGGER raise "+c.trigger)
			expectClass(t, putOne(t, s, mail()), mailstore.Unknown, "31999")
			err := s.Probe(t.Context())
			if c.fails {
				expectClass(t, err, mailstore.Unknown, "31999")
			} else if err != nil {
				t.Error(err)
			}
		})
	}
}
