// Command storebench measures what PutBatch costs: it stores the same mails once by a bare loop of multi-row INSERTs of
// finished rows, and once by PutBatch, which makes the rows itself (packing, cleaning, sorting) and leaves alone what is
// there. Both write mail, mail_raw and inbox of the real schema in transactions of -batch mails on -conns
// connections. The rounds alternate, and medians are compared.
//
//	GOWORK=off go run ./storebench -mails 5000 -size 20480
package main

import (
	"cmp"
	"context"
	"database/sql"
	"flag"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	mysqldriver "github.com/go-sql-driver/mysql"

	"github.com/sluice-mail/sluice/pkg/mailstore"
	"github.com/sluice-mail/sluice/pkg/mailstore/mysql"
	"github.com/sluice-mail/sluice/pkg/mailstore/mysql/mysqltest"
	"github.com/sluice-mail/sluice/pkg/mailstore/storetest"
	"github.com/sluice-mail/sluice/scripts/lab/internal/bench"
	"github.com/sluice-mail/sluice/services/e2e/fleet"
)

type options struct {
	mails, size, batch, conns, rounds int
	min                               float64
	dsn                               string
	server                            int // process id, 0 when it is not ours
}

// result of one round. The processor times are per mail.
type result struct {
	rate           float64
	client, server time.Duration
}

// kinds: with bodies unpacked there is less to do here and more there; binary is a connection that says that its
// parameters are bytes, as PutBatch's does.
var kinds = []string{"bare", "bare, unpacked", "bare, binary", "PutBatch"}

func main() {
	var o options
	flag.IntVar(&o.mails, "mails", 5000, "mails in a round")
	flag.IntVar(&o.size, "size", 20<<10, "bytes of a mail")
	flag.IntVar(&o.batch, "batch", 128, "mails in a transaction")
	flag.IntVar(&o.conns, "conns", 4, "connections")
	flag.IntVar(&o.rounds, "rounds", 5, "rounds of each kind")
	flag.Float64Var(&o.min, "min", 0, "exit 1 when PutBatch reaches less than this part of the bare loop")
	flag.StringVar(&o.dsn, "dsn", "", "server to use; empty starts a private MariaDB")
	flag.Parse()
	if err := run(o); err != nil {
		fmt.Fprintln(os.Stderr, "storebench:", err)
		os.Exit(1)
	}
}

func run(o options) error {
	if o.dsn == "" {
		server, err := mysqltest.New()
		if err != nil {
			return err
		}
		defer server.Remove()
		o.dsn, o.server = server.DSN(""), server.PID()
	}
	mails := makeMails(o)
	results := map[string][]result{}
	for round := range o.rounds {
		for _, kind := range kinds {
			r, err := measure(o, kind, mails)
			if err != nil {
				return fmt.Errorf("%s: %w", kind, err)
			}
			results[kind] = append(results[kind], r)
			fmt.Printf("round %d  %-15s %s\n", round+1, kind, r)
		}
	}
	for _, kind := range kinds {
		fmt.Printf("median   %-15s %s\n", kind, median(results[kind]))
	}
	bare, put := median(results["bare"]), median(results["PutBatch"])
	fmt.Printf("PutBatch: %.2f of the rate of the bare loop of finished rows, %.2f with bodies unpacked, %.2f on a binary connection\n",
		put.rate/bare.rate, put.rate/median(results["bare, unpacked"]).rate, put.rate/median(results["bare, binary"]).rate)
	if part := put.rate / bare.rate; part < o.min {
		return fmt.Errorf("PutBatch reaches %.2f of the bare loop, wanted %.2f", part, o.min)
	}
	return nil
}

func (r result) String() string {
	return fmt.Sprintf("%8.0f mails/s, CPU per mail: here %v, MariaDB %v", r.rate, r.client.Round(time.Microsecond), r.server.Round(time.Microsecond))
}

func median(list []result) result {
	list = slices.SortedFunc(slices.Values(list), func(a, b result) int { return cmp.Compare(a.rate, b.rate) })
	return list[len(list)/2]
}

// makeMails is mails of words, which pack about as well as real mail does.
func makeMails(o options) []mailstore.Mail {
	rng := rand.New(rand.NewPCG(1, 2))
	prose := bench.NewProse(rng)
	mails := make([]mailstore.Mail, o.mails)
	for i := range mails {
		mails[i] = storetest.NewMail(time.Now(), prose.Bytes(o.size), fmt.Sprintf("user%d@example.com", rng.IntN(o.mails)))
		mails[i].Verified = true // as the storer's are, by the worker that read them from the log
	}
	return mails
}

// measure stores all mails in a new database and says what that took.
func measure(o options, kind string, mails []mailstore.Mail) (result, error) {
	dsn, drop, err := newDatabase(o.dsn)
	if err != nil {
		return result{}, err
	}
	defer drop()
	store, err := mysql.Open(mysql.Config{DSN: dsn, Conns: o.conns, Codec: mailstore.CodecZstd}, slog.New(slog.DiscardHandler), nil)
	if err != nil {
		return result{}, err
	}
	defer store.Close()
	ctx := context.Background()
	if err := store.Migrate(ctx); err != nil {
		return result{}, err
	}
	put := func(ctx context.Context, mails []mailstore.Mail) error {
		_, err := store.PutBatch(ctx, mails)
		return err
	}
	if kind != "PutBatch" {
		loop, err := newBare(dsn, o, kind, mails)
		if err != nil {
			return result{}, err
		}
		defer loop.db.Close()
		put = loop.put
	}
	start, client, server := time.Now(), cpu(os.Getpid()), cpu(o.server)
	err = spread(ctx, o, mails, put)
	took := time.Since(start)
	per := time.Duration(len(mails))
	client, server = (cpu(os.Getpid())-client)/per, (cpu(o.server)-server)/per
	if err != nil {
		return result{}, err
	}
	n := 0
	if err := store.IDs(ctx, mails[0].ID, mails[len(mails)-1].ID, func(mailstore.Row) error { n++; return nil }); err != nil || n < len(mails)/2 {
		return result{}, fmt.Errorf("only %d mails stored: %w", n, err)
	}
	return result{float64(len(mails)) / took.Seconds(), client, server}, nil
}

// cpu is what a process has used, 0 when that cannot be known.
func cpu(pid int) time.Duration {
	used, _ := fleet.CPU(pid)
	return used
}

// spread hands batches to the connections.
func spread(ctx context.Context, o options, mails []mailstore.Mail, put func(context.Context, []mailstore.Mail) error) error {
	batches := slices.Collect(slices.Chunk(mails, o.batch))
	var next atomic.Int64
	var wg sync.WaitGroup
	failed := make(chan error, o.conns)
	for range o.conns {
		wg.Go(func() {
			for i := next.Add(1) - 1; int(i) < len(batches); i = next.Add(1) - 1 {
				if err := put(ctx, batches[i]); err != nil {
					failed <- err
					return
				}
			}
		})
	}
	wg.Wait()
	close(failed)
	return <-failed // nil when there is none
}

func newDatabase(dsn string) (string, func(), error) {
	cfg, err := mysqldriver.ParseDSN(dsn)
	if err != nil {
		return "", nil, err
	}
	name := fmt.Sprintf("storebench_%d", time.Now().UnixNano())
	db, err := sql.Open("mysql", dsn)
	if err != nil {
		return "", nil, err
	}
	if _, err := db.Exec("CREATE DATABASE " + name); err != nil {
		return "", nil, err
	}
	cfg.DBName = name
	return cfg.FormatDSN(), func() {
		if _, err := db.Exec("DROP DATABASE " + name); err != nil {
			fmt.Fprintln(os.Stderr, "storebench:", err)
		}
		db.Close()
	}, nil
}
