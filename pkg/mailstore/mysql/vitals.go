package mysql

import (
	"context"
	"time"

	"github.com/sluice-mail/sluice/pkg/mailstore"
)

// Vitals implements mailstore.Keeper. MariaDB has no server_uuid; what names its server best is there or missing by version.
func (s *Store) Vitals(ctx context.Context) (mailstore.Vitals, error) {
	start := time.Now()
	var v mailstore.Vitals
	err := s.vitals(ctx, &v)
	return v, s.meter.Done("vitals", start, err)
}

func (s *Store) vitals(ctx context.Context, v *mailstore.Vitals) error {
	found, err := s.read.QueryContext(ctx, "SHOW GLOBAL VARIABLES WHERE Variable_name IN ('server_uuid', 'server_uid', 'innodb_flush_log_at_trx_commit')")
	if err != nil {
		return err
	}
	defer found.Close()
	for found.Next() {
		var name, value string
		if err := found.Scan(&name, &value); err != nil {
			return err
		}
		if name == "innodb_flush_log_at_trx_commit" {
			v.Unsynced = value != "1"
			continue
		}
		v.Identity = value
	}
	if err := found.Err(); err != nil {
		return err
	}
	var microseconds int64
	err = s.read.QueryRowContext(ctx, "SELECT TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6))").Scan(&microseconds)
	v.Clock = time.UnixMicro(microseconds)
	return err
}
