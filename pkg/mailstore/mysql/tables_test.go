package mysql_test

import (
	"bytes"
	"compress/zlib"
	"database/sql"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sluice-mail/sluice/pkg/mailstore"
	store "github.com/sluice-mail/sluice/pkg/mailstore/mysql"
	"github.com/sluice-mail/sluice/pkg/mailstore/mysql/mysqltest"
	"github.com/sluice-mail/sluice/pkg/mailstore/storetest"
)

func openDB(t *testing.T, dsn string) *sql.DB {
	t.Helper()
	db, err := sql.Open("mysql", dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

// The web site of the ancestor reads these columns, and unpacks mail by gzuncompress, which is zlib.
func TestAncestorsViews(t *testing.T) {
	dsn := mysqltest.DSN(t)
	s := open(t, store.Config{DSN: dsn, Codec: mailstore.CodecZlib})
	m := storetest.NewMail(time.Now(), storetest.Text(5000), "user@example.com", "other@example.com")
	m.IP = netip.MustParseAddr("2001:db8::7")
	m.Derived.HasAttachment = true
	if err := putOne(t, s, m); err != nil {
		t.Fatal(err)
	}
	db := openDB(t, dsn)
	var id uint64
	var date, from, to, subject, body, charset, hash, contentType, recipient, ip string
	var packed []byte
	var score float64
	var attached int
	err := db.QueryRow("SELECT mail_id, `date`, `from`, `to`, subject, body, charset, mail, spam_score, hash, content_type, recipient, has_attach, ip_addr"+
		" FROM new_mail WHERE mbox = UNHEX(LEFT(SHA2('user@example.com', 256), 32))").
		Scan(&id, &date, &from, &to, &subject, &body, &charset, &packed, &score, &hash, &contentType, &recipient, &attached, &ip)
	if err != nil {
		t.Fatal(err)
	}
	if id != binary.BigEndian.Uint64(m.ID[:8]) || hash != hex.EncodeToString(m.ID[:]) || from != m.Sender || to != "user@example.com" ||
		subject != m.Derived.Subject || body != "gzencode" || charset != "utf-8" || contentType != "text/plain" || recipient != to ||
		attached != 1 || ip != "2001:db8::7" || score != 0 || date == "" {
		t.Error(id, date, from, to, subject, body, charset, score, hash, contentType, recipient, attached, ip)
	}
	r, err := zlib.NewReader(bytes.NewReader(packed))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, m.Raw) {
		t.Errorf("the view's mail unpacks to other bytes (%v)", err)
	}
	var received int
	if err := db.QueryRow("SELECT setting_value FROM gm2_setting WHERE setting_name='received_emails'").Scan(&received); err != nil || received != 1 {
		t.Errorf("received_emails is %d (%v), want 1", received, err)
	}
	var rows int
	if err := db.QueryRow("SELECT COUNT(*) FROM new_mail WHERE `to` IN ('user@example.com', 'other@example.com')").Scan(&rows); err != nil || rows != 2 {
		t.Errorf("%d rows (%v), want 2", rows, err)
	}
}

// Partitions are there for a week ahead; mail for later days is still taken, and moves to its day with the next split.
func TestPartitions(t *testing.T) {
	dsn := mysqltest.DSN(t)
	s := open(t, store.Config{DSN: dsn})
	db := openDB(t, dsn)
	today := mailstore.Day(mail().ID)
	for _, table := range []string{"mail", "mail_raw", "inbox"} {
		var n int
		if err := db.QueryRow("SELECT COUNT(*) FROM information_schema.PARTITIONS WHERE TABLE_SCHEMA=DATABASE() AND TABLE_NAME=? AND PARTITION_DESCRIPTION > ?",
			table, today+7).Scan(&n); err != nil || n < 1 {
			t.Errorf("%s: %d partitions ahead (%v)", table, n, err)
		}
	}
	// As if maintenance had not run for long: no partition for today.
	for _, table := range []string{"mail", "mail_raw", "inbox"} {
		exec(t, dsn, "ALTER TABLE "+table+" REMOVE PARTITIONING")
		exec(t, dsn, "ALTER TABLE "+table+" PARTITION BY RANGE (day) (PARTITION p20000 VALUES LESS THAN (20001), PARTITION pmax VALUES LESS THAN MAXVALUE)")
	}
	m := mail()
	if err := putOne(t, s, m); err != nil {
		t.Fatal(err)
	}
	if err := s.Maintain(t.Context()); err != nil {
		t.Fatal(err)
	}
	var n int
	if err := db.QueryRow("SELECT COUNT(*) FROM mail_raw PARTITION (pmax)").Scan(&n); err != nil || n != 0 {
		t.Errorf("%d mails in pmax (%v), want 0", n, err)
	}
	var raw bytes.Buffer
	if err := s.Raw(t.Context(), m.ID, &raw); err != nil || !bytes.Equal(raw.Bytes(), m.Raw) {
		t.Errorf("the mail after the split: %v", err)
	}
}

// What the disk or an operator changed is never handed out as the mail.
func TestDamageIsNoticed(t *testing.T) {
	dsn := mysqltest.DSN(t)
	s := open(t, store.Config{DSN: dsn})
	for _, damage := range []string{
		"UPDATE mail_raw SET body=CONCAT('x', body)",
		"UPDATE mail_raw SET body='', codec=0",
		"UPDATE mail_raw SET codec=0, body=REPEAT('x', (SELECT size FROM mail))",
		"UPDATE mail_raw SET codec=99",
		"UPDATE mail SET parts=2",
	} {
		exec(t, dsn, "DELETE FROM mail_raw")
		exec(t, dsn, "DELETE FROM mail")
		m := mail()
		if err := putOne(t, s, m); err != nil {
			t.Fatal(err)
		}
		exec(t, dsn, damage)
		var out bytes.Buffer
		if err := s.Raw(t.Context(), m.ID, &out); !errors.Is(err, mailstore.ErrDamaged) {
			t.Errorf("%s: %v, %d bytes out", damage, err, out.Len())
		}
	}
}

// The ancestor's programs ask by hash, mail_id or recipient, in plain words. None of that may read the whole table.
func TestAncestorsQuestionsUseAnIndex(t *testing.T) {
	dsn := mysqltest.DSN(t)
	s := open(t, store.Config{DSN: dsn})
	var batch []mailstore.Mail
	for i := range 20_000 { // with fewer, reading all of them would cost next to nothing
		batch = append(batch, storetest.NewMail(time.Now().Add(-time.Duration(i)*time.Minute), storetest.Text(200), fmt.Sprintf("box%d@example.com", i)))
	}
	for some := range slices.Chunk(batch, 2000) {
		if _, err := s.PutBatch(t.Context(), some); err != nil {
			t.Fatal(err)
		}
	}
	exec(t, dsn, "ANALYZE TABLE inbox, mail, mail_raw")
	db, m := openDB(t, dsn), batch[123]
	for column, value := range map[string]any{
		"hash": hex.EncodeToString(m.ID[:]), "mail_id": binary.BigEndian.Uint64(m.ID[:8]), "recipient": "box123@example.com",
	} {
		var n int
		if err := db.QueryRow("SELECT COUNT(*) FROM new_mail WHERE "+column+" = ? AND hash = ?", value, hex.EncodeToString(m.ID[:])).Scan(&n); err != nil || n == 0 {
			t.Errorf("by %s: %d rows, %v", column, n, err)
		}
		var plan string
		if err := db.QueryRow("EXPLAIN FORMAT=JSON SELECT * FROM new_mail WHERE "+column+" = ?", value).Scan(&plan); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(plan, `"ALL"`) || strings.Contains(plan, `"index"`) && strings.Contains(plan, `"access_type": "index"`) {
			t.Errorf("by %s the whole table is read:\n%s", column, plan)
		}
	}
}

// Partitions are as few as the retention allows.
func TestPartitionsFollowTheRetention(t *testing.T) {
	for retention, want := range map[int]int{0: 3, 7: 17, 31: 41, 100: 18, 275: 43, 1000: 16} { // days
		dsn := mysqltest.DSN(t)
		open(t, store.Config{DSN: dsn, Retention: time.Duration(retention) * 24 * time.Hour})
		var n int
		if err := openDB(t, dsn).QueryRow("SELECT COUNT(*) FROM information_schema.PARTITIONS WHERE TABLE_SCHEMA=DATABASE() AND TABLE_NAME='inbox'").Scan(&n); err != nil || n < want-2 || n > want+2 {
			t.Errorf("%d days: %d partitions (%v), want about %d", retention, n, err, want)
		}
	}
}

// What is left of a version before the first release is named, not mixed with what is new.
func TestOlderTablesAreRefused(t *testing.T) {
	dsn := mysqltest.DSN(t)
	exec(t, dsn, "CREATE TABLE sluice_schema (id INT PRIMARY KEY)")
	s := openBare(t, store.Config{DSN: dsn})
	expectClass(t, s.Migrate(t.Context()), mailstore.Pause, "before the first release")
}
