package mysql

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"io"
	"net"
	"strings"

	"github.com/go-sql-driver/mysql"

	"github.com/sluice-mail/sluice/pkg/mailstore"
	"github.com/sluice-mail/sluice/pkg/mailstore/internal/rows"
)

func classify(op string, err error) error { return rows.Classify(op, err, classOf) }

func classOf(err error) (mailstore.Class, string) {
	if e, ok := errors.AsType[*mysql.MySQLError](err); ok {
		return classOfNumber(e.Number, e.Message)
	}
	if errors.Is(err, context.Canceled) { // by the caller, whatever the server was doing
		return mailstore.Reconnect, ""
	}
	if e, ok := errors.AsType[*net.OpError](err); ok && e.Op == "dial" {
		return mailstore.Pause, "is the MySQL server running, and is MYSQL_DSN right?"
	}
	if _, ok := errors.AsType[*net.DNSError](err); ok {
		return mailstore.Pause, "the host name in MYSQL_DSN is not known"
	}
	var net net.Error
	switch {
	case errors.Is(err, mysql.ErrPktTooLarge):
		return mailstore.Data, ""
	case errors.Is(err, driver.ErrBadConn), errors.Is(err, mysql.ErrInvalidConn), errors.Is(err, sql.ErrConnDone),
		errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.As(err, &net),
		errors.Is(err, context.DeadlineExceeded):
		return mailstore.Reconnect, ""
	}
	return mailstore.Unknown, ""
}

// classOfNumber is the table of server errors. Numbers are MySQL's; MariaDB uses the same up to 1900 or so. README.md says
// how each is tried.
func classOfNumber(number uint16, message string) (mailstore.Class, string) {
	switch number {
	case 1213, // deadlock
		1205,       // lock wait timeout; this one rolls back the statement only, so the transaction is rolled back by us
		1020,       // row changed since last read
		1637,       // too many active transactions
		1615,       // a statement has to be prepared again, after a table was altered
		3101, 1180: // group replication or Galera refused the commit
		return mailstore.Retry, ""
	case 1053, 1077, 1078, 1079, // shutting down
		1152, 1154, 1155, 1156, 1157, 1158, 1159, 1160, 1161, // network trouble as the server saw it
		1317, 1927, 4031, // killed, idle too long
		1047, 2006, 2013: // not ready (Galera), gone away
		return mailstore.Reconnect, ""
	case 1040, 1203, 1226:
		return mailstore.Pause, "too many connections: raise max_connections or lower STORER_CONNS"
	case 1290, 1792, 1836:
		return mailstore.Pause, readOnlyHint
	case 3, 1021, 1026, 1030, 1114:
		return mailstore.Pause, "the server's disk is full or failing"
	case 1037, 1038, 1041, 1135:
		return mailstore.Pause, "the server is out of memory"
	case 1044, 1045, 1142, 1143, 1227, 1370, 1698, 1820, 1862, 3118, 4151:
		return mailstore.Pause, "check user, password and rights in MYSQL_DSN"
	case 1129, 1130:
		return mailstore.Pause, "the server does not allow connections from this host"
	case 1049:
		return mailstore.Pause, "create the database that MYSQL_DSN names"
	case 1054, 1109, 1146, 1136, 1356, 1526:
		return mailstore.Pause, "the tables are not those of this version: run `storer migrate`"
	case 1048, 1264, 1265, 1292, 1300, 1366, 1406, 1118, 1153:
		return mailstore.Data, ""
	case 1105: // "unknown error": the number alone says nothing
		if strings.Contains(message, "max_long_data_size") {
			return mailstore.Data, ""
		}
	}
	return mailstore.Unknown, ""
}

const readOnlyHint = "the server is read-only: MYSQL_DSN must lead to the primary"
