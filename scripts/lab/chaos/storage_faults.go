package main

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/nats-io/nats.go"
	"github.com/oklog/ulid/v2"
	"google.golang.org/protobuf/proto"

	mailv1 "github.com/sluice-mail/sluice/proto/mail/v1"
	"github.com/sluice-mail/sluice/services/e2e/fleet"
)

// flippedBit: the server passes over the message, and says that it has all. What was in it is stored already.
func (s *storage) flippedBit(ctx context.Context) error {
	js, err := s.js()
	if err != nil {
		return err
	}
	for shard := range shards {
		if _, err := s.settle(ctx, "MAIL_"+strconv.Itoa(shard), js); err != nil {
			return err
		}
	}
	if err := s.fleet.NATS.Stop(time.Minute); err != nil {
		return err
	}
	blocks, _ := filepath.Glob(filepath.Join(s.fleet.Dir, "nats/jetstream/*/streams/MAIL_[0-9]*/msgs/*.blk"))
	number := func(file string) int {
		n, _ := strconv.Atoi(strings.TrimSuffix(filepath.Base(file), ".blk"))
		return n
	}
	last := make(map[string]int)
	for _, b := range blocks {
		last[filepath.Dir(b)] = max(last[filepath.Dir(b)], number(b))
	}
	// What was settled after the look above is in the last two blocks.
	closed := slices.DeleteFunc(blocks, func(b string) bool { return number(b) > last[filepath.Dir(b)]-2 })
	if len(closed) == 0 {
		return errors.Join(s.fleet.NATS.Start(), fmt.Errorf("%w: no block of the log is closed yet", errSkipped))
	}
	block := closed[s.random.IntN(len(closed))]
	raw, err := os.ReadFile(block)
	if err != nil {
		return err
	}
	at, ok := s.inMail(raw)
	if !ok {
		return errors.Join(s.fleet.NATS.Start(), fmt.Errorf("%w: the block has parts of large mail only", errSkipped))
	}
	raw[at] ^= 1 << s.random.IntN(8)
	if err := errors.Join(os.WriteFile(block, raw, 0o600), s.fleet.NATS.Start()); err != nil {
		return err
	}
	stream := filepath.Base(filepath.Dir(filepath.Dir(block)))
	if _, err := s.named(ctx, stream); err != nil {
		return err
	}
	return s.well(ctx)
}

// inMail picks a byte in the middle of a block that belongs to a mail or a head. The server finds a damaged message when it reads
// it, and an audit does not read the parts of large mail that is stored.
func (s *storage) inMail(block []byte) (at int, ok bool) {
	const header = 4 + 8 + 8 + 2 // length with a flag, sequence, time, length of the subject
	var begins, ends []int
	for begin := 0; begin+header < len(block); {
		length := int(binary.LittleEndian.Uint32(block[begin:]) &^ (1 << 31))
		subject := begin + header + int(binary.LittleEndian.Uint16(block[begin+header-2:]))
		if length <= header || subject > len(block) {
			break
		}
		if strings.HasPrefix(string(block[begin+header:subject]), "mail.in.") && begin > len(block)/4 && begin+length < len(block)*3/4 {
			begins, ends = append(begins, begin), append(ends, begin+length)
		}
		begin += length
	}
	if len(begins) == 0 {
		return 0, false
	}
	i := s.random.IntN(len(begins))
	return begins[i] + s.random.IntN(ends[i]-begins[i]), true
}

// restored: the database is that of some seconds ago. The storer finds out and stores again what it has lost.
func (s *storage) restored(ctx context.Context) error {
	dump := filepath.Join(s.fleet.Dir, "dump.sql")
	if err := s.client(ctx, "mariadb-dump", "", dump, "--single-transaction", "--skip-lock-tables"); err != nil {
		return err
	}
	// It has to have been audited since, or nobody could tell that it is gone.
	if err := pause(ctx, s.dumpAge); err != nil {
		return err
	}
	// Nobody may write while it is loaded. Mail is taken meanwhile: it waits in the log.
	if err := s.fleet.Storer.Stop(time.Minute); err != nil {
		return err
	}
	from := time.Now()
	err := errors.Join(s.client(ctx, "mariadb", dump, ""), s.fleet.Storer.Start())
	if err != nil {
		return err
	}
	took := time.Since(from)
	if err := s.well(ctx); err != nil {
		return err
	}
	fmt.Printf("chaos:     restored in %s from a dump %s old; whole again %s later\n", took.Round(time.Second), s.dumpAge, time.Since(from).Round(time.Second))
	return nil
}

// client runs one of MariaDB's clients with a file as its input or output.
func (s *storage) client(ctx context.Context, program, in, out string, args ...string) error {
	path := fleet.LookPath(program)
	if path == "" {
		return fmt.Errorf("%w: needs %s", errSkipped, program)
	}
	cfg, err := mysql.ParseDSN(s.fleet.DSN())
	if err != nil {
		return err
	}
	at, err := url.Parse("//" + cfg.Addr)
	if err != nil {
		return err
	}
	args = append([]string{"--no-defaults", "--protocol=tcp", "-h", at.Hostname(), "-P", at.Port(), "-u", cfg.User, "-p" + cfg.Passwd}, args...)
	cmd := exec.CommandContext(ctx, path, append(args, cfg.DBName)...)
	if in != "" {
		file, err := os.Open(in)
		if err != nil {
			return err
		}
		defer file.Close()
		cmd.Stdin = file
	}
	if out != "" {
		file, err := os.Create(out)
		if err != nil {
			return err
		}
		defer file.Close()
		cmd.Stdout = file
	}
	var stderr strings.Builder
	cmd.Stderr = &stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s: %w\n%s", program, err, stderr.String())
	}
	return nil
}

// droppedLetter: a mail whose bytes are not those of its envelope dies, and an operator drops it: the audit counts it.
func (s *storage) droppedLetter(ctx context.Context) error {
	id, sum := ulid.Make(), sha256.Sum256([]byte("other bytes"))
	env, err := proto.Marshal(&mailv1.Envelope{Id: id[:], ReceivedAt: int64(id.Time()), MailFrom: "a@b.example", Size: 7, Sha256: sum[:],
		Recipients: []*mailv1.Recipient{{Mailbox: "u@example.com"}}})
	if err != nil {
		return err
	}
	head := nats.Header{"Mail-Envelope": {encode(env)}, "Nats-Msg-Id": {id.String()}}
	if _, err := s.nc.RequestMsgWithContext(ctx, &nats.Msg{Subject: "mail.in.0", Header: head, Data: []byte("damaged")}); err != nil {
		return err
	}
	if err := s.loads.unsure(sum); err != nil {
		return err
	}
	before, _, err := s.audit(ctx, nil)
	if err != nil {
		return err
	}
	if err := s.until(ctx, "the damaged mail is a dead letter and can be dropped", func() error {
		_, err := s.fleet.Ctl(ctx, "dead", "drop", id.String(), "--why", "chaos")
		return err
	}); err != nil {
		return err
	}
	return s.until(ctx, "the audit counts it as dropped", func() error {
		v, code, err := s.audit(ctx, nil)
		if err == nil && (code != 0 || v.Dropped != before.Dropped+1) {
			err = fmt.Errorf("exit code %d, dropped %d after %d, %v", code, v.Dropped, before.Dropped, v.Problems)
		}
		return err
	})
}

// clockAhead: nobody's mail expires by a clock that is a day off.
func (s *storage) clockAhead(ctx context.Context) error {
	lib := fakeTime()
	if lib == "" {
		return fmt.Errorf("%w: needs libfaketime (apt-get install libfaketime)", errSkipped)
	}
	restart := func(env ...string) error {
		s.fleet.MariaDB.Env = env
		return errors.Join(s.fleet.MariaDB.Stop(), s.fleet.MariaDB.Start())
	}
	off := func(want string) error {
		return s.until(ctx, "sluice_storer_clock_off is "+want, func() error {
			_, text, err := s.fleet.Storer.Get(ctx, "/metrics")
			if err == nil && !strings.Contains(text, "\nsluice_storer_clock_off "+want+"\n") {
				err = errors.New("it is not")
			}
			return err
		})
	}
	err := restart("LD_PRELOAD="+lib, "FAKETIME=+1d", "FAKETIME_DONT_FAKE_MONOTONIC=1")
	if err == nil {
		err = off("1")
	}
	if err := errors.Join(err, restart()); err != nil {
		return err
	}
	if err := off("0"); err != nil {
		return err
	}
	return s.well(ctx)
}

// monitorAway: a storer that starts without it leaves what the ingresses know of the log, and the audit says what it could not see.
func (s *storage) monitorAway(ctx context.Context) error {
	nobody := "NATS_MONITOR_URL=http://" + fleet.FreeAddr()
	restart := func(env string) error {
		s.fleet.Storer.Setenv(env)
		return errors.Join(s.fleet.Storer.Kill(), s.fleet.Storer.Start(), within(ctx, patience, s.fleet.Ready))
	}
	if err := restart(nobody); err != nil {
		return err
	}
	err := s.until(ctx, "the audit says that the monitor is not known", func() error {
		v, code, err := s.audit(ctx, []string{nobody})
		if err == nil && (code != 3 || len(v.NotKnown) == 0) {
			err = fmt.Errorf("exit code %d, not known %q, %v", code, v.NotKnown, v.Problems)
		}
		return err
	})
	before := s.loads.accepted()
	if err == nil {
		err = s.until(ctx, "mail is accepted without the monitor", func() error {
			if s.loads.accepted() < before+10 {
				return errors.New("it is not")
			}
			return nil
		})
	}
	if err := errors.Join(err, restart("NATS_MONITOR_URL=http://"+s.fleet.NATS.Addrs["monitor"])); err != nil {
		return err
	}
	return s.well(ctx)
}

// unknownError: no mail is taken for bad because of it; it waits.
func (s *storage) unknownError(ctx context.Context) error {
	err := s.query(ctx, "CREATE TRIGGER chaos BEFORE INSERT ON inbox FOR EACH ROW SIGNAL SQLSTATE '45000' SET MYSQL_ERRNO=31999, MESSAGE_TEXT='nobody knows this'")
	if err != nil {
		return err
	}
	before := s.loads.accepted()
	err = s.until(ctx, "mail is accepted meanwhile", func() error {
		if s.loads.accepted() < before+200 {
			return errors.New("it is not")
		}
		return nil
	})
	if err := errors.Join(err, s.query(ctx, "DROP TRIGGER chaos")); err != nil {
		return err
	}
	if err := s.well(ctx); err != nil {
		return err
	}
	v, _, err := s.audit(ctx, nil)
	if err == nil && v.Dead != 0 {
		err = fmt.Errorf("%d mails became dead letters", v.Dead)
	}
	return err
}

// shardGone: a shard whose mail is all stored is removed. The others are consumed and take the mail, the audit names it, and
// again when it is made anew.
func (s *storage) shardGone(ctx context.Context) error {
	js, err := s.js()
	if err != nil {
		return err
	}
	const name = "MAIL_0"
	st, err := js.Stream(ctx, name)
	if err != nil {
		return err
	}
	cfg := st.CachedInfo().Config
	cfg.Subjects = []string{"nobody.here"} // it takes no more, so that it can be settled
	if _, err := js.UpdateStream(ctx, cfg); err != nil {
		return err
	}
	info, err := s.settle(ctx, name, js)
	if err != nil {
		return err
	}
	if err := s.until(ctx, "an audit has seen how far the shard had come", func() error {
		v, _, err := s.audit(ctx, nil)
		for _, t := range v.Tallies {
			if t.Stream == name && t.Created.Equal(info.Created) && t.Audited >= info.State.LastSeq {
				return err
			}
		}
		return errors.Join(err, errors.New("none has"))
	}); err != nil {
		return err
	}
	if err := js.DeleteStream(ctx, name); err != nil {
		return err
	}
	before := s.loads.accepted()
	if err := s.until(ctx, "the audit names the stream that is gone", func() error {
		v, code, err := s.audit(ctx, nil)
		if err == nil && (code != 1 || len(v.Gaps) == 0 || v.Gaps[0].Stream != name || v.Extra != 0) {
			err = fmt.Errorf("exit code %d, extra %d, gaps %v, not known %q, %v", code, v.Extra, v.Gaps, v.NotKnown, v.Problems)
		}
		if err == nil && s.loads.accepted() < before+10 {
			err = errors.New("the other shard does not take the mail")
		}
		return err
	}); err != nil {
		return err
	}
	if _, err := s.fleet.Command(ctx, append(s.fleet.Env(), "STREAM_SHARDS="+strconv.Itoa(shards)), "sluicectl", "streams", "ensure"); err != nil {
		return err
	}
	if _, err := s.named(ctx, name); err != nil {
		return err
	}
	return s.well(ctx)
}
