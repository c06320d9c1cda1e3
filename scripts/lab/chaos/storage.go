package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluice-mail/sluice/services/e2e/fleet"
)

// storageFault hurts what is stored, sees that the audit says so, and leaves everything whole again.
type storageFault struct {
	name string
	do   func(*storage, context.Context) error
}

var errSkipped = errors.New("skipped")

var storageFaults = []storageFault{
	{"a flipped bit in a closed block of the log", (*storage).flippedBit},
	{"an older database restored", (*storage).restored},
	{"a dead letter that is dropped", (*storage).droppedLetter},
	{"the database's clock a day ahead", (*storage).clockAhead},
	{"a monitor away", (*storage).monitorAway},
	{"an error of the database that nobody knows", (*storage).unknownError},
	{"a shard that is gone, and made again", (*storage).shardGone},
}

// storage is what the faults of storage work with.
type storage struct {
	fleet  *fleet.Fleet
	loads  *loads
	random *rand.Rand
	nc     *nats.Conn

	dumpAge time.Duration
	spoilt  []gap // what the audit has named, and was accepted
}

func newStorage(f *fleet.Fleet, l *loads, random *rand.Rand, dumpAge time.Duration) *storage {
	return &storage{fleet: f, loads: l, random: random, dumpAge: dumpAge}
}

func (s *storage) close() {
	if s.nc != nil {
		s.nc.Close()
	}
}

// patience is for one step of a fault: a storer audits every half minute.
const patience = 3 * time.Minute

// do runs a fault and then waits for mail to be accepted.
func (s *storage) do(ctx context.Context, fault storageFault) error {
	if err := s.ready(ctx); err != nil {
		return err
	}
	err := fault.do(s, ctx)
	if errors.Is(err, errSkipped) {
		fmt.Printf("chaos:     %v\n", err)
		return nil
	}
	if err != nil {
		return err
	}
	before := s.loads.accepted()
	return s.until(ctx, "mail is accepted", func() error {
		if s.loads.accepted() < before+10 {
			return errors.New("it is not")
		}
		return nil
	})
}

// end accepts what damage has grown since the last fault of storage, so that the last audit finds everything accounted for.
func (s *storage) end(ctx context.Context) error {
	if len(s.spoilt) == 0 {
		return nil
	}
	if err := s.ready(ctx); err != nil {
		return err
	}
	return s.well(ctx)
}

// ready waits for the services, and connects to the log.
func (s *storage) ready(ctx context.Context) (err error) {
	if err := within(ctx, patience, s.fleet.Ready); err != nil {
		return err
	}
	if s.nc == nil {
		s.nc, err = nats.Connect("nats://"+s.fleet.NATS.Addrs["client"], nats.MaxReconnects(-1), nats.ReconnectWait(100*time.Millisecond))
	}
	return err
}

// until asks until there is no error.
func (s *storage) until(ctx context.Context, what string, ask func() error) error {
	patience := patience + s.dumpAge // as much as has come since the dump may have to be stored again
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		err := ask()
		if err == nil {
			return nil
		}
		if pauseErr := pause(ctx, 250*time.Millisecond); pauseErr != nil {
			return fmt.Errorf("not within %s: %s: %w", patience, what, err)
		}
	}
}

// audit runs sluicectl audit and returns its verdict and exit code. A server that was killed reads its blocks anew, and loses more
// of one that is damaged: what directly follows the damage. That is accepted, and the audit is asked again.
func (s *storage) audit(ctx context.Context, env []string, args ...string) (v verdict, code int, err error) {
	for range 1 + len(s.spoilt) {
		if v, code, err = s.ask(ctx, env, args...); err != nil {
			return v, code, err
		}
		grown := false
		for _, g := range v.Gaps {
			for i, known := range s.spoilt {
				if g.Stream != known.Stream || g.What != known.What || g.From != known.To+1 {
					continue
				}
				if err := s.accept(ctx, g); err != nil {
					return v, code, err
				}
				fmt.Printf("chaos:     the damage has grown: %v; accepted\n", g)
				s.spoilt[i].To, grown = g.To, true
				break
			}
		}
		if !grown {
			break
		}
	}
	return v, code, nil
}

func (s *storage) accept(ctx context.Context, g gap) error {
	_, err := s.fleet.Ctl(ctx, "audit", "accept", "--gap", fmt.Sprintf("%s:%d-%d", g.Stream, g.From, g.To), "--why", "chaos")
	return err
}

func (s *storage) ask(ctx context.Context, env []string, args ...string) (v verdict, code int, err error) {
	out, err := s.fleet.Command(ctx, append(s.fleet.Env(), env...), "sluicectl", append([]string{"audit", "--json"}, args...)...)
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		code = exit.ExitCode()
	}
	if jsonErr := json.Unmarshal([]byte(out), &v); jsonErr != nil {
		return v, code, fmt.Errorf("the audit gave no answer: %w %w", err, jsonErr)
	}
	return v, code, nil
}

// well waits until the audit finds nothing amiss.
func (s *storage) well(ctx context.Context) error {
	return s.until(ctx, "the audit finds everything accounted for", func() error {
		v, code, err := s.audit(ctx, nil)
		if err == nil && (code != 0 || v.Extra != 0) {
			err = fmt.Errorf("exit code %d, missing %d, wrong %d, unlisted %d, extra %d, gaps %v, not known %q, %v",
				code, v.Missing, v.Wrong, v.Unlisted, v.Extra, v.Gaps, v.NotKnown, v.Problems)
		}
		return err
	})
}

// named waits until the audit names lost messages of a stream, accepts their loss as an operator does, and sees the alarm end.
func (s *storage) named(ctx context.Context, stream string) (messages uint64, err error) {
	var gaps []gap
	err = s.until(ctx, "the audit names what the log has lost", func() error {
		v, code, err := s.audit(ctx, nil)
		if err == nil && (code != 1 || len(v.Gaps) == 0) {
			err = fmt.Errorf("exit code %d, gaps %v, not known %q, %v", code, v.Gaps, v.NotKnown, v.Problems)
		}
		gaps = v.Gaps
		return err
	})
	for _, g := range gaps {
		if g.Stream != stream {
			return 0, fmt.Errorf("it names %s, and only %s was hurt", g.Stream, stream)
		}
		messages += g.To - g.From + 1
		if err := s.accept(ctx, g); err != nil {
			return 0, err
		}
		s.spoilt = append(s.spoilt, g)
	}
	if err == nil && messages > 0 {
		fmt.Printf("chaos:     named: %v; accepted\n", gaps)
	}
	return messages, err
}

// settle waits until what one shard has now is settled.
func (s *storage) settle(ctx context.Context, shard string, js jetstream.JetStream) (info *jetstream.StreamInfo, err error) {
	st, err := js.Stream(ctx, shard)
	if err != nil {
		return nil, err
	}
	info = st.CachedInfo()
	return info, s.until(ctx, shard+" is settled", func() error {
		c, err := js.Consumer(ctx, shard, "storer")
		if err == nil && c.CachedInfo().AckFloor.Stream < info.State.LastSeq {
			err = fmt.Errorf("settled up to %d of %d", c.CachedInfo().AckFloor.Stream, info.State.LastSeq)
		}
		return err
	})
}

func (s *storage) js() (jetstream.JetStream, error) { return jetstream.New(s.nc) }

// query runs SQL as the owner of the database.
func (s *storage) query(ctx context.Context, statements ...string) error {
	db, err := sql.Open("mysql", s.fleet.DSN())
	if err != nil {
		return err
	}
	defer db.Close()
	for _, statement := range statements {
		if _, err := db.ExecContext(ctx, statement); err != nil {
			return fmt.Errorf("%s: %w", strings.Fields(statement)[0], err)
		}
	}
	return nil
}

// fakeTime is libfaketime, "" when it is not installed.
func fakeTime() string {
	for _, file := range []string{"/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1", "/usr/lib/aarch64-linux-gnu/faketime/libfaketimeMT.so.1"} {
		if _, err := os.Stat(file); err == nil {
			return file
		}
	}
	return ""
}
