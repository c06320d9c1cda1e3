package e2e

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/sluice-mail/sluice/services/e2e/fleet"
)

// audited is a fleet with some mail in it, and what one can do to it.
type audited struct {
	*fleet.Fleet
	t   *testing.T
	ctx context.Context
	ids []string
}

// verdict is what `sluicectl audit --json` says, as far as these tests look at it.
type verdict struct {
	Mails, Stored, Missing, Unlisted, Repaired, Accepted, Extra int64
	Gaps                                                        []struct {
		Stream   string
		From, To uint64
	}
	NotKnown []string `json:"not_known"`
	Problems []struct{ ID, What string }
	code     int
}

// ctl runs sluicectl and returns what it prints and its exit code.
func (a *audited) ctl(env []string, args ...string) (string, int) {
	a.t.Helper()
	out, err := a.Command(a.ctx, append(a.Env(), env...), "sluicectl", args...)
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		return out + err.Error(), exit.ExitCode()
	}
	if err != nil {
		a.t.Fatal(err)
	}
	return out, 0
}

func (a *audited) audit(env []string, args ...string) (v verdict) {
	a.t.Helper()
	out, code := a.ctl(env, append([]string{"audit", "--json"}, args...)...)
	if err := json.NewDecoder(strings.NewReader(out)).Decode(&v); err != nil {
		a.t.Fatalf("%v in %s", err, out)
	}
	v.code = code
	return v
}

// lose deletes the rows of a mail behind everybody's back.
func (a *audited) lose(text string, tables ...string) {
	a.t.Helper()
	id := ulid.MustParseStrict(text)
	db, err := sql.Open("mysql", a.DSN())
	if err != nil {
		a.t.Fatal(err)
	}
	defer db.Close()
	for _, table := range tables {
		if _, err := db.ExecContext(a.ctx, "DELETE FROM "+table+" WHERE id=?", id[:]); err != nil {
			a.t.Fatal(err)
		}
	}
}

func TestAudit(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	f := newFleet(t, 1)
	if err := f.Start(ctx); err != nil {
		t.Fatal(err)
	}
	record, wait := load(t, ctx, f, "-count", "1200", "-conns", "16", "-sizes", "20KB-40KB")
	wait()
	settled(t, ctx, f.Env())
	a := &audited{Fleet: f, t: t, ctx: ctx}
	for _, ack := range readRecord(t, record) {
		if ack.ID != "" {
			a.ids = append(a.ids, ack.ID)
		}
	}
	slices.Sort(a.ids)
	for _, step := range []struct {
		name string
		run  func(*audited)
	}{
		{"exit code 0 when everything is accounted for", (*audited).allWell},
		{"exit code 2 for wrong use", (*audited).usage},
		{"exit code 3 when the database or a monitor does not answer", (*audited).notKnown},
		{"a mail that the database lost is named, and stored again with --repair alone", (*audited).repair},
		{"a mail that a mailbox does not list is named and repaired", (*audited).unlisted},
		{"a mail that was accepted as lost is an alarm no more", (*audited).accept},
		{"a flipped bit in a block of the log is named until its loss is accepted", (*audited).flippedBit},
	} {
		t.Run(step.name, func(t *testing.T) {
			b := *a
			b.t = t
			step.run(&b)
		})
	}
}

func (a *audited) allWell() {
	if v := a.audit(nil, "--deep"); v.code != 0 || v.Stored != int64(len(a.ids)) {
		a.t.Errorf("exit code %d, %+v", v.code, v)
	}
}

func (a *audited) usage() {
	for _, args := range [][]string{{"audit", "accept"}, {"audit", "accept", a.ids[0]}, {"audit", "accept", "--gap", "MAIL_0:9-1", "--why", "x"}, {"audit", "--since", "soon"}} {
		if out, code := a.ctl(nil, args...); code != 2 {
			a.t.Errorf("%v: exit code %d: %s", args, code, out)
		}
	}
}

func (a *audited) notKnown() {
	nobody := fleet.FreeAddr()
	for what, env := range map[string]string{
		"the monitor": "NATS_MONITOR_URL=http://" + nobody, "the database": "MYSQL_DSN=sluice:sluice@tcp(" + nobody + ")/sluice", "the log": "NATS_URL=nats://" + nobody,
	} {
		if v := a.audit([]string{env}); v.code != 3 || len(v.NotKnown) == 0 {
			a.t.Errorf("without %s: exit code %d, %+v", what, v.code, v)
		}
	}
}

func (a *audited) repair() {
	id := a.ids[100]
	a.lose(id, mailTables...)
	for range 2 { // without --repair it changes nothing
		if v := a.audit(nil); v.code != 1 || v.Missing != 1 || v.Problems[0].ID != id {
			a.t.Errorf("exit code %d, %+v", v.code, v)
		}
	}
	if v := a.audit(nil, "--repair"); v.code != 0 || v.Repaired != 1 {
		a.t.Errorf("with --repair: exit code %d, %+v", v.code, v)
	}
	if v := a.audit(nil, "--deep"); v.code != 0 {
		a.t.Errorf("afterwards: exit code %d, %+v", v.code, v)
	}
}

func (a *audited) unlisted() {
	id := a.ids[200]
	a.lose(id, "inbox")
	if v := a.audit(nil); v.code != 1 || v.Unlisted != 1 || v.Problems[0].ID != id {
		a.t.Errorf("exit code %d, %+v", v.code, v)
	}
	if v := a.audit(nil, "--repair"); v.code != 0 || v.Repaired != 1 {
		a.t.Errorf("with --repair: exit code %d, %+v", v.code, v)
	}
}

func (a *audited) accept() {
	id := a.ids[300]
	a.lose(id, mailTables...)
	if v := a.audit(nil); v.code != 1 || v.Missing != 1 {
		a.t.Errorf("exit code %d, %+v", v.code, v)
	}
	if out, code := a.ctl(nil, "audit", "accept", id, "--why", "the sender sent it again"); code != 0 {
		a.t.Errorf("exit code %d: %s", code, out)
	}
	if v := a.audit(nil); v.code != 0 || v.Accepted != 1 {
		a.t.Errorf("afterwards: exit code %d, %+v", v.code, v)
	}
}

// One flipped bit and an orderly restart: the server passes the message over and says that it has all.
func (a *audited) flippedBit() {
	if err := a.NATS.Stop(time.Minute); err != nil {
		a.t.Fatal(err)
	}
	block := filepath.Join(a.Dir, "nats/jetstream/$G/streams/MAIL_0/msgs/1.blk")
	raw, err := os.ReadFile(block)
	if err != nil {
		a.t.Fatal(err)
	}
	raw[len(raw)/2] ^= 4
	if err := os.WriteFile(block, raw, 0o600); err != nil {
		a.t.Fatal(err)
	}
	if err := a.NATS.Start(); err != nil {
		a.t.Fatal(err)
	}
	if err := a.Ready(a.ctx); err != nil {
		a.t.Fatal(err)
	}
	var v verdict
	within(a.t, time.Minute, "the log answers", func() bool { v = a.audit(nil); return v.code != 3 })
	if v.code != 1 || len(v.Gaps) != 1 || v.Gaps[0].Stream != "MAIL_0" || v.Extra != 0 {
		a.t.Fatalf("exit code %d, %+v", v.code, v)
	}
	gap := fmt.Sprintf("MAIL_0:%d-%d", v.Gaps[0].From, v.Gaps[0].To)
	if out, code := a.ctl(nil, "audit", "accept", "--gap", fmt.Sprintf("MAIL_0:%d-%d", v.Gaps[0].To+1, v.Gaps[0].To+1), "--why", "wrong"); code != 1 || !strings.Contains(out, "lost nothing") {
		a.t.Errorf("accepting what is not lost: exit code %d: %s", code, out)
	}
	if out, code := a.ctl(nil, "audit", "accept", "--gap", gap, "--why", "a bad disk"); code != 0 {
		a.t.Errorf("exit code %d: %s", code, out)
	}
	if v := a.audit(nil); v.code != 0 || len(v.Gaps) != 0 {
		a.t.Errorf("afterwards: exit code %d, %+v", v.code, v)
	}
}

// mailTables are those with a mail.
var mailTables = []string{"mail", "mail_raw", "inbox"}
