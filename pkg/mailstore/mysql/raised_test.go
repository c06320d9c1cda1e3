package mysql_test

import (
	"database/sql"
	"fmt"
	"testing"
	"time"

	"github.com/sluice-mail/sluice/pkg/mailstore"
	store "github.com/sluice-mail/sluice/pkg/mailstore/mysql"
	"github.com/sluice-mail/sluice/pkg/mailstore/mysql/mysqltest"
)

// raiser makes a real server answer with any error number, at the first row of the next transactions: a trigger raises it.
// How often is left is kept in a table without transactions, so that it survives the rollback. This way every number of
// the table in classify.go is tried, also those that only MySQL, Galera or group replication have.
type raiser struct {
	t  *testing.T
	db *sql.DB
}

func newRaiser(t *testing.T, dsn string) *raiser {
	t.Helper()
	db, err := sql.Open("mysql", dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	r := &raiser{t, db}
	r.exec("CREATE TABLE raised (number INT NOT NULL, times INT NOT NULL) ENGINE=Aria")
	r.exec("INSERT INTO raised VALUES (0, 0)")
	r.exec(`CREATE TRIGGER raise BEFORE INSERT ON inbox FOR EACH ROW BEGIN
		DECLARE wanted, remaining INT;
		SELECT number, times INTO wanted, remaining FROM raised;
		IF remaining > 0 THEN
			UPDATE raised SET times = times - 1;
			SIGNAL SQLSTATE 'HY000' SET MYSQL_ERRNO = wanted, MESSAGE_TEXT = 'raised by a test';
		END IF;
	END`)
	return r
}

func (r *raiser) exec(statement string, args ...any) {
	r.t.Helper()
	if _, err := r.db.ExecContext(r.t.Context(), statement, args...); err != nil {
		r.t.Fatalf("%s: %v", statement, err)
	}
}

// TestEveryErrorNumber: whatever a server says, the mails are stored once it says it no more, each once; what is said
// meanwhile has the class that says what to do.
func TestEveryErrorNumber(t *testing.T) {
	dsn := mysqltest.DSN(t)
	s := open(t, store.Config{DSN: dsn})
	r := newRaiser(t, dsn)
	for class, numbers := range map[mailstore.Class][]int{
		mailstore.Retry: {1213, 1205, 1020, 1637, 1615, 3101, 1180},
		mailstore.Reconnect: {1053, 1077, 1078, 1079, 1152, 1154, 1155, 1156, 1157, 1158, 1159, 1160, 1161, 1317, 1927, 4031, 1047, 2006, 2013,
			// The driver drops a connection that says these (rejectReadOnly), so that a failover is followed; a server that
			// stays read-only says so to the next connection (TestReadOnlyServerPauses).
			1290, 1792, 1836},
		mailstore.Pause: {1040, 1203, 1226, 3, 1021, 1026, 1030, 1114, 1037, 1038, 1041, 1135, 1044, 1045, 1142, 1143, 1227, 1370, 1698,
			1820, 1862, 3118, 4151, 1129, 1130, 1049, 1054, 1109, 1146, 1136, 1356, 1526},
		mailstore.Data:    {1048, 1264, 1265, 1292, 1300, 1366, 1406, 1118, 1153},
		mailstore.Unknown: {1105, 1111, 1305, 4025, 12345},
	} {
		for _, number := range numbers {
			box := fmt.Sprintf("%d@example.com", number)
			batch := []mailstore.Mail{mail(box), mail(box), mail(box)}
			r.exec("UPDATE raised SET number = ?, times = 1000", number)
			if class != mailstore.Retry { // ten attempts with their waits are tried once, below
				_, err := s.PutBatch(t.Context(), batch)
				expectClass(t, err, class, "storing mail")
				if got, err := s.Inbox(t.Context(), box, [16]byte{}, 10); err != nil || len(got) != 0 {
					t.Errorf("%d: %d mails of a refused batch are there, %v", number, len(got), err)
				}
			}
			// What may pass by itself has passed at the next attempt, which is made inside where the class allows it.
			left := 1
			if class == mailstore.Pause || class == mailstore.Data {
				left = 0
			}
			r.exec("UPDATE raised SET times = ?", left)
			if _, err := s.PutBatch(t.Context(), batch); err != nil {
				t.Errorf("%d once: %v", number, err)
			}
			if got, err := s.Inbox(t.Context(), box, [16]byte{}, 10); err != nil || len(got) != len(batch) {
				t.Errorf("%d: %d mails are there, want %d: %v", number, len(got), len(batch), err)
			}
		}
	}
	r.exec("UPDATE raised SET number = 1213, times = 1000")
	began := time.Now()
	expectClass(t, putOne(t, s, mail()), mailstore.Retry, "1213")
	t.Logf("a conflict that does not end is reported after %v", time.Since(began))
}
