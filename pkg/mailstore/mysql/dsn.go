package mysql

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/sluice-mail/sluice/pkg/mailstore"
)

// minPacket is the max_allowed_packet we need: a part of 8 MiB must fit, with room to spare. It is MariaDB's default.
const minPacket = 16 << 20

// parseDSN reads the user's DSN and sets everything on which storing mail safely depends, whatever it says there.
func parseDSN(dsn string) (*mysql.Config, error) {
	cfg, err := mysql.ParseDSN(dsn)
	if err != nil {
		return nil, fmt.Errorf("MYSQL_DSN: %w; it looks like user:password@tcp(host:3306)/database", err)
	}
	if cfg.DBName == "" {
		return nil, errors.New("MYSQL_DSN names no database; it looks like user:password@tcp(host:3306)/database")
	}
	cfg.Timeout = 3 * time.Second
	cfg.ReadTimeout = 60 * time.Second
	cfg.WriteTimeout = 60 * time.Second
	cfg.MaxAllowedPacket = 0  // ask the server; a wrong guess looks like a broken connection
	cfg.RejectReadOnly = true // leave a server that has become a replica, for the one a proxy or DNS names now
	cfg.ParseTime = true
	cfg.Loc = time.UTC
	cfg.ClientFoundRows = false // affected rows tell new mails from known ones
	cfg.CheckConnLiveness = true
	cfg.MultiStatements = false
	cfg.AllowAllFiles = false
	cfg.InterpolateParams = false
	cfg.Collation = "utf8mb4_bin" // in both servers; the defaults differ
	cfg.ConnectionAttributes = "program_name:sluice"
	// An untruncated time argument can keep MariaDB from using an index.
	if err := cfg.Apply(mysql.TimeTruncate(time.Millisecond), mysql.Charset("utf8mb4", "utf8mb4_bin"), mysql.EnableCompression(false)); err != nil {
		return nil, fmt.Errorf("MYSQL_DSN: %w", err)
	}
	if cfg.Params == nil {
		cfg.Params = map[string]string{}
	}
	cfg.Params["sql_mode"] = "'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION'" // refuse what does not fit, never alter it
	cfg.Params["time_zone"] = "'+00:00'"
	cfg.Params["autocommit"] = "1"
	cfg.Params["lock_wait_timeout"] = "5" // for a table being altered: wait in our own loop, where it can be seen
	cfg.Params["innodb_lock_wait_timeout"] = "10"
	return cfg, nil
}

// binary is cfg for connections that write mail: what they send is stored as it is. The driver declares every parameter
// as text, and MariaDB looks at each character of text in utf8mb4, bodies too: measured (bench replay), 2.5 times the
// processor time for a mail of 20 KB. Text columns still check what they are given.
func binary(cfg *mysql.Config) (*mysql.Config, error) {
	cfg = cfg.Clone()
	cfg.Collation = "binary"
	if err := cfg.Apply(mysql.Charset("binary", "binary")); err != nil {
		return nil, fmt.Errorf("MYSQL_DSN: %w", err)
	}
	return cfg, nil
}

// connector makes connections of one pool, and checks each: after a failover it may be another server.
type connector struct {
	driver.Connector
}

func newConnector(cfg *mysql.Config, interpolate bool) (driver.Connector, error) {
	cfg = cfg.Clone()
	cfg.InterpolateParams = interpolate
	inner, err := mysql.NewConnector(cfg)
	if err != nil {
		return nil, fmt.Errorf("MYSQL_DSN: %w", err)
	}
	return connector{inner}, nil
}

// Connect implements driver.Connector.
func (c connector) Connect(ctx context.Context) (driver.Conn, error) {
	conn, err := c.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	if err := prepare(ctx, conn); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return conn, nil
}

// prepare sets what has another variable name in each server, and refuses a server that could not take our parts.
func prepare(ctx context.Context, conn driver.Conn) error {
	session, ok := conn.(interface {
		driver.ExecerContext
		driver.QueryerContext
	})
	if !ok {
		return errors.New("the MySQL driver cannot query a connection")
	}
	// No range is ever locked for what other transactions might insert.
	if _, err := session.ExecContext(ctx, "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED", nil); err != nil {
		return err
	}
	rows, err := session.QueryContext(ctx, "SELECT @@max_allowed_packet", nil)
	if err != nil {
		return err
	}
	defer rows.Close()
	value := make([]driver.Value, 1)
	if err := rows.Next(value); err != nil {
		return err
	}
	packet, err := number(value[0])
	if err != nil || packet >= minPacket {
		return err
	}
	return &mailstore.Error{Class: mailstore.Pause, Op: "connecting to MySQL",
		Err:  fmt.Errorf("the server's max_allowed_packet is %d bytes, and mail needs %d", packet, minPacket),
		Hint: "set max_allowed_packet=64M on the server"}
}

func number(v driver.Value) (int64, error) {
	switch v := v.(type) {
	case int64:
		return v, nil
	case uint64:
		return int64(v), nil
	case []byte:
		return strconv.ParseInt(strings.TrimSpace(string(v)), 10, 64)
	}
	return 0, fmt.Errorf("max_allowed_packet: unexpected %T", v)
}
