package smtp

import (
	"bytes"
	"fmt"
	"testing"
)

// htmlMail is an ordinary mail of about 20 KB with lines of about 76 characters.
func htmlMail() []byte {
	var b bytes.Buffer
	b.WriteString("From: a@sender.example\r\nTo: u@example.com\r\nSubject: news\r\nContent-Type: text/html\r\n\r\n")
	for i := 0; b.Len() < 20<<10; i++ {
		fmt.Fprintf(&b, "<td style=3D\"padding:0 4px;color:#%06x\"><a href=3D\"https://www.example.com/%d\">=\r\n", i*7, i)
	}
	return b.Bytes()
}

func BenchmarkScan(b *testing.B) {
	mail := append(htmlMail(), ".\r\n"...)
	b.SetBytes(int64(len(mail)))
	b.ReportAllocs()
	for b.Loop() {
		var d scanner
		for in, end := mail, false; !end; {
			var n int
			_, n, end = d.next(in)
			in = in[n:]
		}
	}
}

// BenchmarkTake is a whole transaction with the same mail through a Session.
func BenchmarkTake(b *testing.B) {
	mail := htmlMail()
	cfg := testConfig()
	cfg.MaxMessageBytes = 25 << 20
	s := NewSession(cfg, testPeer())
	s.Greet()
	s.Flushed()
	s.Feed([]byte("EHLO c.example\r\n"))
	s.Flushed()
	b.SetBytes(int64(len(mail)))
	b.ReportAllocs()
	end := []byte(".\r\n")
	head := []byte("MAIL FROM:<a@b.example>\r\nRCPT TO:<u@example.com>\r\nDATA\r\n")
	for b.Loop() {
		in := head
		for range 3 {
			n, ev := s.Feed(in)
			in = in[n:]
			_ = ev
			s.Accept("u@example.com")
		}
		s.Flushed()
		s.Feed(mail)
		s.Feed(end)
		s.Accept("id")
		s.Flushed()
	}
}
