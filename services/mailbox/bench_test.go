package mailbox_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"

	"github.com/bradfitz/gomemcache/memcache"

	"github.com/sluice-mail/sluice/services/internal/reading/readingtest"
)

// BenchmarkRead compares a list and a mail from the cache with a bare handler that gets one item from memcached. The
// client is in this process as well, the same for all.
func BenchmarkRead(b *testing.B) {
	in := startFor(b, nil)
	for i := range 200 {
		readingtest.Put(b, in.store, fmt.Sprintf("From: Somebody <somebody@example.org>\r\nTo: ann@example.com\r\nSubject: mail number %d of some length\r\n\r\n%s\r\n", i, strings.Repeat("some words of text\r\n", 200)), ann)
	}
	page := in.get(list(ann)).body
	client := memcache.New(in.cache.Addr)
	client.MaxIdleConns = 64
	if err := client.Set(&memcache.Item{Key: "bare", Value: []byte(page)}); err != nil {
		b.Fatal(err)
	}
	bare := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		item, err := client.Get("bare")
		if err != nil {
			b.Error(err)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(item.Value)
	}))
	defer bare.Close()
	for _, c := range []struct{ name, url, path string }{
		{"bare", bare.URL, "/"},
		{"list50", in.url, list(ann)},
		{"list20", in.url, list(ann) + "?limit=20"},
		{"mail", in.url, list(ann) + "/latest"},
		{"raw", in.url, list(ann) + "/latest/raw"},
		{"notmodified", in.url, "304"},
	} {
		b.Run(c.name, func(b *testing.B) {
			extra, path := "", c.path
			if path == "304" {
				path = list(ann)
				extra = "If-None-Match: *\r\n"
			}
			request := "GET " + path + " HTTP/1.1\r\nHost: localhost\r\n" + extra + "\r\n"
			conn, err := net.Dial("tcp", strings.TrimPrefix(c.url, "http://"))
			if err != nil {
				b.Fatal(err)
			}
			defer conn.Close()
			reader := bufio.NewReaderSize(conn, 64<<10)
			cpu := used()
			for b.Loop() {
				if _, err := io.WriteString(conn, request); err != nil {
					b.Fatal(err)
				}
				response, err := http.ReadResponse(reader, nil)
				if err != nil {
					b.Fatal(err)
				}
				if _, err := io.Copy(io.Discard, response.Body); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(used()-cpu)/float64(b.N)/1000, "cpu-us/op")
		})
	}
}

func used() int64 {
	var r syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &r)
	return r.Utime.Nano() + r.Stime.Nano()
}
