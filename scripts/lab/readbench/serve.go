package main

import (
	"bufio"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/bradfitz/gomemcache/memcache"
	_ "github.com/go-sql-driver/mysql" // registers the driver
	"github.com/oklog/ulid/v2"

	"github.com/sluice-mail/sluice/pkg/mailstore"
)

// serve is one bare server process: KIND and where its data is. It prints its address and ends with its input.
func serve(args []string) error {
	kind, from := args[0], args[1]
	var handler http.Handler
	var err error
	switch kind {
	case "get":
		handler = get(from)
	case "row":
		handler, err = row(from)
	case "rows":
		handler, err = rows(from)
	default:
		err = fmt.Errorf("there is no handler %q", kind)
	}
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	// As the inbox has it.
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 5 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 16 << 10}
	go func() {
		if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			fmt.Fprintln(os.Stderr, "readbench serve:", err)
		}
	}()
	fmt.Println(l.Addr())
	for input := bufio.NewScanner(os.Stdin); input.Scan(); {
	}
	return server.Close()
}

func handle(answer func(w http.ResponseWriter, r *http.Request) error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if err := answer(w, r); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
		}
	})
}

// get answers with the item of memcached that the path names.
func get(addr string) http.Handler {
	client := memcache.New(addr)
	client.MaxIdleConns = 64
	return handle(func(w http.ResponseWriter, r *http.Request) error {
		item, err := client.Get(r.URL.Path[1:])
		if err == nil {
			_, err = w.Write(item.Value)
		}
		return err
	})
}

func statement(dsn, query string) (*sql.Stmt, error) {
	db, err := sql.Open("mysql", dsn+"?parseTime=true")
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(8) // as the inbox has it
	db.SetMaxIdleConns(8)
	return db.Prepare(query)
}

// row answers with the body of the row that the path names.
func row(dsn string) (http.Handler, error) {
	query, err := statement(dsn, "SELECT body FROM readbench WHERE name=?")
	if err != nil {
		return nil, err
	}
	return handle(func(w http.ResponseWriter, r *http.Request) error {
		var body []byte
		err := query.QueryRowContext(r.Context(), r.URL.Path[1:]).Scan(&body)
		if err == nil {
			_, err = w.Write(body)
		}
		return err
	}), nil
}

// line is a row of a list, as anybody would write it.
type line struct {
	ID         ulid.ULID `json:"id"`
	Mailbox    string    `json:"mailbox"`
	Sender     string    `json:"sender"`
	From       string    `json:"from"`
	To         string    `json:"to"`
	Subject    string    `json:"subject"`
	Received   time.Time `json:"received"`
	Stored     time.Time `json:"stored"`
	Size       int64     `json:"size"`
	Seen       bool      `json:"seen"`
	Attachment bool      `json:"attachment"`
}

// rows answers with the newest lines of the mailbox that the path names.
func rows(dsn string) (http.Handler, error) {
	query, err := statement(dsn, "SELECT id, rcpt, sender, hdr_from, hdr_to, subject, received, stored, size, state, has_attach FROM inbox WHERE mbox=? AND state<2 ORDER BY id DESC LIMIT 50")
	if err != nil {
		return nil, err
	}
	return handle(func(w http.ResponseWriter, r *http.Request) error {
		mbox := mailstore.Mbox(r.URL.Path[1:])
		found, err := query.QueryContext(r.Context(), mbox[:])
		if err != nil {
			return err
		}
		defer found.Close()
		lines := make([]line, 0, 50)
		for found.Next() {
			var l line
			if err := found.Scan(&l.ID, &l.Mailbox, &l.Sender, &l.From, &l.To, &l.Subject, &l.Received, &l.Stored, &l.Size, &l.Seen, &l.Attachment); err != nil {
				return err
			}
			lines = append(lines, l)
		}
		if err := found.Err(); err != nil {
			return err
		}
		return json.NewEncoder(w).Encode(lines)
	}), nil
}
