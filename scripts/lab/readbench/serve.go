package main

import (
	"bufio"
	"context"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"syscall"
	"time"

	"github.com/bradfitz/gomemcache/memcache"
	"github.com/oklog/ulid/v2"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluice-mail/sluice/pkg/mailcache"
	"github.com/sluice-mail/sluice/pkg/mailstore/mysql"
	"github.com/sluice-mail/sluice/pkg/obs"
	"github.com/sluice-mail/sluice/services/mailbox"
)

// serve is one server process: KIND DSN MEMCACHED. It prints its address, then answers each line on its input with the
// processor time it has used, in nanoseconds. It ends with its input.
func serve(args []string) error {
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	kind, dsn, cache := args[0], args[1], args[2]
	var addr net.Addr
	var err error
	switch kind {
	case "mailbox":
		addr, err = serveMailbox(ctx, dsn, cache)
	case "get":
		addr, err = serveHandler(get(cache))
	case "select":
		var handler http.Handler
		if handler, err = selectList(dsn); err == nil {
			addr, err = serveHandler(handler)
		}
	}
	if err != nil {
		return err
	}
	fmt.Println(addr)
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		var u syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
			return err
		}
		fmt.Println(u.Utime.Nano() + u.Stime.Nano())
	}
	return nil
}

func serveMailbox(ctx context.Context, dsn, cacheAddr string) (net.Addr, error) {
	quiet, reg := slog.New(slog.DiscardHandler), prometheus.NewRegistry()
	store, err := mysql.Open(mysql.Config{DSN: dsn, Conns: 8}, quiet, reg)
	if err != nil {
		return nil, err
	}
	deps := mailbox.Deps{Store: store, Logger: quiet, Metrics: reg, Health: obs.NewHealth()}
	if cacheAddr != "" {
		deps.Cache = mailcache.New(mailcache.Config{Addrs: []string{cacheAddr}}, nil, quiet, reg)
	}
	s, err := mailbox.New(mailbox.Config{Addr: "127.0.0.1:0", Access: "open"}, deps)
	if err != nil {
		return nil, err
	}
	go func() {
		if err := s.Run(ctx); err != nil && !errors.Is(err, context.Canceled) {
			fmt.Fprintln(os.Stderr, "readbench serve:", err)
		}
	}()
	return s.Addr(), nil
}

func serveHandler(handler http.Handler) (net.Addr, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	go func() { fmt.Fprintln(os.Stderr, "readbench serve:", http.Serve(l, handler)) }()
	return l.Addr(), nil
}

// get answers with the item that the path names.
func get(addr string) http.Handler {
	client := memcache.New(addr)
	client.MaxIdleConns = 64
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		item, err := client.Get(r.URL.Path[1:])
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(item.Value)
	})
}

// line is a row of a list, as anybody would write it.
type line struct {
	ID                        string
	Sender, From, To, Subject string
	Size                      int64
	Received                  time.Time
}

// selectList answers with the newest lines of a mailbox.
func selectList(dsn string) (http.Handler, error) {
	db, err := sql.Open("mysql", dsn+"?parseTime=true&interpolateParams=false")
	if err != nil {
		return nil, err
	}
	db.SetMaxIdleConns(8)
	db.SetMaxOpenConns(8)
	statement, err := db.Prepare("SELECT id, sender, hdr_from, hdr_to, subject, size, received FROM inbox WHERE mbox=? ORDER BY id DESC LIMIT 50")
	if err != nil {
		return nil, err
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mbox, err := hex.DecodeString(r.URL.Query().Get("mbox"))
		if err == nil {
			err = answer(w, r, statement, mbox)
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
		}
	}), nil
}

func answer(w http.ResponseWriter, r *http.Request, statement *sql.Stmt, mbox []byte) error {
	rows, err := statement.QueryContext(r.Context(), mbox)
	if err != nil {
		return err
	}
	defer rows.Close()
	var lines []line
	for rows.Next() {
		var l line
		var id []byte
		if err := rows.Scan(&id, &l.Sender, &l.From, &l.To, &l.Subject, &l.Size, &l.Received); err != nil {
			return err
		}
		l.ID = ulid.ULID(id).String()
		lines = append(lines, l)
	}
	if err := rows.Err(); err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	return json.NewEncoder(w).Encode(lines)
}
