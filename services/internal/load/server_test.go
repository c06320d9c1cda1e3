package load

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// scripted is a small SMTP server that answers as a test wants. It is written without pkg/smtpd, so that a
// mistake about the protocol is not made twice.
type scripted struct {
	addr       string
	pipelining bool
	// answer returns the answer to a command ("." for the final dot, with the mail's number on this server);
	// "" closes the connection without one. nil, or "-", means the usual answer. It is asked under mu, and
	// may be asked twice about one command.
	answer func(verb, line string, mails int) string
	// limit closes a connection after so many bytes of a mail, when positive.
	limit int

	mu      sync.Mutex
	stored  map[string]int // how often each SHA-256 got 250
	verbs   []string
	mails   int
	holding chan struct{} // closed when the test is over; answers "hold" wait for it
}

func (s *scripted) start(t *testing.T) *scripted {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.addr, s.stored, s.holding = l.Addr().String(), map[string]int{}, make(chan struct{})
	var sessions sync.WaitGroup
	sessions.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			sessions.Go(func() {
				defer conn.Close()
				s.session(bufio.NewReader(conn), conn)
			})
		}
	})
	t.Cleanup(func() {
		close(s.holding)
		_ = l.Close()
		sessions.Wait()
	})
	return s
}

// reply sends the scripted or the usual answer and says whether the session goes on.
func (s *scripted) reply(out io.Writer, verb, line, usual string) bool {
	s.mu.Lock()
	s.verbs = append(s.verbs, verb)
	s.mu.Unlock()
	if a := s.scriptedAnswer(verb, line); a != "-" {
		usual = a
	}
	if usual == "hold" {
		<-s.holding
		return false
	}
	if usual == "" {
		return false
	}
	_, err := io.WriteString(out, usual+"\r\n")
	return err == nil && !strings.HasPrefix(usual, "421")
}

func (s *scripted) session(in *bufio.Reader, out io.Writer) {
	if !s.reply(out, "220", "", "220 mx.example.com ESMTP") {
		return
	}
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		line = strings.TrimSuffix(line, "\r\n")
		verb, _, _ := strings.Cut(strings.ToUpper(line), " ")
		usual := "250 2.0.0 Ok"
		switch verb {
		case "EHLO":
			usual = "250-mx.example.com\r\n250 8BITMIME"
			if s.pipelining {
				usual = "250-mx.example.com\r\n250-PIPELINING\r\n250 8BITMIME"
			}
		case "DATA":
			usual = "354 go on"
		case "QUIT":
			usual = "221 2.0.0 Bye"
		}
		if !s.reply(out, verb, line, usual) || verb == "QUIT" {
			return
		}
		if a := s.scriptedAnswer(verb, line); verb == "DATA" && a == "-" && !s.data(in, out) {
			return
		}
	}
}

func (s *scripted) scriptedAnswer(verb, line string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.answer == nil {
		return "-"
	}
	return s.answer(verb, line, s.mails)
}

// data reads a mail up to CRLF.CRLF, line by line and without the generator's code.
func (s *scripted) data(in *bufio.Reader, out io.Writer) bool {
	var mail []byte
	for {
		line, err := in.ReadBytes('\n')
		if err != nil {
			return false
		}
		if string(line) == ".\r\n" {
			break
		}
		if line[0] == '.' {
			line = line[1:]
		}
		mail = append(mail, line...)
		if s.limit > 0 && len(mail) > s.limit {
			return false
		}
	}
	s.mu.Lock()
	s.mails++
	n := s.mails
	s.mu.Unlock()
	sum := sha256.Sum256(mail)
	usual := fmt.Sprintf("250 2.0.0 Ok: queued as ID%d", n)
	if a := s.scriptedAnswer(".", ""); a == "-" || strings.HasPrefix(a, "250") {
		s.mu.Lock()
		s.stored[hex.EncodeToString(sum[:])]++
		s.mu.Unlock()
	}
	return s.reply(out, ".", "", usual)
}

func (s *scripted) seen(verb string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, v := range s.verbs {
		if v == verb {
			n++
		}
	}
	return n
}
