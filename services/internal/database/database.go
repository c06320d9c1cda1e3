// Package database opens the store that the environment names: MySQL or MariaDB, or the SQLite file of an allinone on
// the same machine.
package database

import (
	"cmp"
	"log/slog"
	"time"

	driver "github.com/go-sql-driver/mysql"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluice-mail/sluice/pkg/mailstore"
	"github.com/sluice-mail/sluice/pkg/mailstore/mysql"
	"github.com/sluice-mail/sluice/pkg/mailstore/sqlite"
	"github.com/sluice-mail/sluice/services/internal/datadir"
)

const defaultDSN = "sluice:sluice@tcp(127.0.0.1:3306)/sluice"

// Config says where the database is.
type Config struct {
	DSN string `envconfig:"MYSQL_DSN" secret:"true" desc:"the database, in the format of go-sql-driver/mysql; when not set: the SQLite file in SLUICE_DATA, else sluice:sluice@tcp(127.0.0.1:3306)/sluice"`
}

// WriteConfig says how mail is stored there.
type WriteConfig struct {
	Conns     int             `envconfig:"STORER_CONNS" default:"4" desc:"connections for writing; more than 4 per database host seldom pay"`
	Codec     mailstore.Codec `envconfig:"STORER_CODEC" default:"zstd" desc:"compression of bodies: zstd, zlib (readable by PHP's gzuncompress) or none"`
	Retention time.Duration   `envconfig:"STORER_RETENTION" default:"0" desc:"how long mail stays in the database, rounded up to days; 0 keeps all"`
}

// Open prepares the store; it does not wait for the server. readOnly is for looking: it changes nothing.
func Open(cfg Config, write WriteConfig, data string, readOnly bool, logger *slog.Logger, reg prometheus.Registerer) (mailstore.Store, error) {
	if data != "" && !datadir.IsSet("MYSQL_DSN") {
		return sqlite.Open(sqlite.Config{
			Path: datadir.Dir(data).Database(), Codec: write.Codec, Retention: write.Retention, ReadOnly: readOnly,
		}, logger, reg)
	}
	return mysql.Open(mysql.Config{
		DSN: cmp.Or(cfg.DSN, defaultDSN), Conns: write.Conns, Codec: write.Codec, Retention: write.Retention,
	}, logger, reg)
}

// Target names the database without its secrets: what a replay is bound to.
func Target(cfg Config, data string) string {
	if data != "" && !datadir.IsSet("MYSQL_DSN") {
		return "sqlite:" + datadir.Dir(data).Database()
	}
	dsn, err := driver.ParseDSN(cmp.Or(cfg.DSN, defaultDSN))
	if err != nil {
		return "mysql" // Open has refused such a DSN
	}
	return "mysql:" + dsn.Addr + "/" + dsn.DBName
}
