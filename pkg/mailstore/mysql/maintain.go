package mysql

import (
	"context"
	"database/sql"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/sluice-mail/sluice/pkg/mailstore/internal/rows"
)

const (
	// daysAhead is how many days after today have a partition: for as long, nobody needs to call Maintain.
	daysAhead = 7
	// daysBack is how many past days have partitions of their own in new tables, for a replay to fill. Mail still older goes
	// into the oldest partition, and is dropped with it.
	daysBack = 7
	maxBack  = 400
)

// partitioned are the tables with partitions, in the order in which old mail is dropped: a list without its mail would be
// worse than a mail without its list.
func partitioned() []string { return []string{"inbox", "mail_raw", "mail"} }

// width is how many days a partition has. A list of a mailbox probes every partition (0.45 ms with 30 of them, 5.5 ms
// with 1,095), and retention drops whole ones: a day each up to a month, a week up to nine months, else 30 days. Where nothing is
// dropped it is 90: as few as possible, while the last one, to any place of which new lines come, still fits into a buffer pool.
func width(retention time.Duration) uint32 {
	switch days := retention / (24 * time.Hour); {
	case days > 0 && days <= 31:
		return 1
	case days > 0 && days <= 275:
		return 7
	case days > 0:
		return 30
	}
	return 90
}

// Maintain implements mailstore.Keeper.
func (s *Store) Maintain(ctx context.Context) error {
	start := time.Now()
	// Again: an ALTER waits for running transactions for lock_wait_timeout only, because others queue behind it.
	err := rows.Again(ctx, func() error { return classify("making partitions", s.maintain(ctx, start)) })
	if oldest := s.Oldest(start); err == nil && oldest > 0 {
		err = s.dropBefore(ctx, oldest)
	}
	return s.meter.Done("maintain", start, err)
}

// DropBefore implements mailstore.Keeper.
func (s *Store) DropBefore(ctx context.Context, day uint32) error {
	start := time.Now()
	return s.meter.Done("drop", start, s.dropBefore(ctx, day))
}

func (s *Store) maintain(ctx context.Context, now time.Time) error {
	return s.alone(ctx, func(conn *sql.Conn) error {
		for _, table := range partitioned() {
			if err := s.addDays(ctx, conn, table, today(now)); err != nil {
				return fmt.Errorf("%s: %w", table, err)
			}
		}
		return nil
	})
}

// alone runs fn in one storer at a time; the others have nothing to do then.
func (s *Store) alone(ctx context.Context, fn func(*sql.Conn) error) error {
	conn, err := s.read.Conn(ctx) // in this pool parameters are written into the SQL, as text
	if err != nil {
		return err
	}
	defer conn.Close()
	var got sql.Null[bool]
	if err := conn.QueryRowContext(ctx, "SELECT GET_LOCK(LEFT(CONCAT('sluice_maintain.', DATABASE()), 64), 0)").Scan(&got); err != nil || !got.V {
		return err
	}
	defer func() {
		_, _ = conn.ExecContext(context.WithoutCancel(ctx), "DO RELEASE_LOCK(LEFT(CONCAT('sluice_maintain.', DATABASE()), 64))")
	}()
	return fn(conn)
}

// addDays splits pmax so that today and the days ahead have partitions. pmax is empty then, and it takes no time, as
// long as Maintain runs once in daysAhead days.
func (s *Store) addDays(ctx context.Context, conn *sql.Conn, table string, today uint32) error {
	parts, err := partitions(ctx, conn, table)
	if err != nil {
		return err
	}
	width, next := width(s.retention), today
	if len(parts) == 0 {
		keep := uint32(s.retention / (24 * time.Hour))
		next -= min(today, maxBack, max(daysBack, keep+1))
		next -= next % width
	}
	for _, p := range parts {
		next = max(next, p.bound) // the partition below bound has the days before it
	}
	if next > today+daysAhead {
		return nil
	}
	var held int
	if err := conn.QueryRowContext(ctx, "SELECT COUNT(*) FROM (SELECT 1 FROM "+table+" PARTITION (pmax) LIMIT 1) held").Scan(&held); err != nil {
		return err
	}
	if held > 0 {
		s.logger.Warn("splitting a partition that holds mail already: this copies it and may take long",
			"table", table, "reason", fmt.Sprintf("maintenance did not run for %d days, or a clock is ahead", daysAhead))
	}
	var list strings.Builder
	for day := next; day <= today+daysAhead; {
		bound := day + width - day%width // multiples of width, also after the retention was changed
		fmt.Fprintf(&list, "PARTITION p%d VALUES LESS THAN (%d), ", day, bound)
		day = bound
	}
	_, err = conn.ExecContext(ctx, "ALTER TABLE "+table+" REORGANIZE PARTITION pmax INTO ("+list.String()+"PARTITION pmax VALUES LESS THAN MAXVALUE)")
	return err
}

func (s *Store) dropBefore(ctx context.Context, day uint32) error {
	return rows.Again(ctx, func() error {
		return classify("dropping old partitions", s.alone(ctx, func(conn *sql.Conn) error {
			for _, table := range partitioned() {
				if err := s.dropDays(ctx, conn, table, day); err != nil {
					return fmt.Errorf("%s: %w", table, err)
				}
			}
			return nil
		}))
	})
}

// dropDays drops the partitions that only have days before day.
func (s *Store) dropDays(ctx context.Context, conn *sql.Conn, table string, day uint32) error {
	parts, err := partitions(ctx, conn, table)
	if err != nil {
		return err
	}
	for _, p := range parts {
		if p.bound > day {
			continue
		}
		if _, err := conn.ExecContext(ctx, "ALTER TABLE "+table+" DROP PARTITION "+p.name); err != nil {
			return err
		}
		s.logger.Info("dropped mail past its retention", "table", table, "partition", p.name)
	}
	return nil
}

// partition has the days below bound and not below the bound of the one before.
type partition struct {
	name  string
	bound uint32
}

// partitions lists the partitions of days, without pmax.
func partitions(ctx context.Context, conn *sql.Conn, table string) ([]partition, error) {
	found, err := conn.QueryContext(ctx, "SELECT PARTITION_NAME, PARTITION_DESCRIPTION FROM information_schema.PARTITIONS"+
		" WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = ? AND PARTITION_NAME <> 'pmax' ORDER BY PARTITION_ORDINAL_POSITION", table)
	if err != nil {
		return nil, err
	}
	defer found.Close()
	var parts []partition
	for found.Next() {
		var name, bound string
		if err := found.Scan(&name, &bound); err != nil {
			return nil, err
		}
		n, err := strconv.ParseUint(bound, 10, 32)
		if err != nil {
			return nil, fmt.Errorf("partition %s: bound %q: %w", name, bound, err)
		}
		parts = append(parts, partition{name, uint32(n)})
	}
	return parts, found.Err()
}
