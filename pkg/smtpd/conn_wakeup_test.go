package smtpd

import (
	"bytes"
	"net"
	"strings"
	"testing"
	"time"
)

// noFreshStack switches the timer off that moves an idle connection to a fresh stack: it looks for input, too, and hid
// every wake-up that was lost.
func noFreshStack(s *Server) { s.stackFor = time.Hour }

// soon is far longer than anything here takes, and far shorter than a second look by a timer.
const soon = 500 * time.Millisecond

// The network tells of input once. Whoever waits without having seen that the socket is empty waits for the next
// byte, which a client that waits for a reply does not send.
func TestPipelinedGroupsAreReadToTheirEnd(t *testing.T) {
	for _, n := range []int{3_000, 20_000} {
		srv := startWith(t, Config{MaxRcpts: 50_000}, new(memorySink), noFreshStack)
		c := dial(t, srv.addr)
		c.hello()
		group := []byte("MAIL FROM:<a@sender.example>\r\n" + strings.Repeat("RCPT TO:<u@example.com>\r\n", n) + "NOOP\r\n")
		began := time.Now()
		go func() { _, _ = c.conn.Write(group) }()
		for range n + 2 {
			c.want("250")
		}
		if took := time.Since(began); took > soon {
			t.Errorf("%d recipients in one group took %v", n, took)
		}
	}
}

func TestEndBehindACommandIsSeen(t *testing.T) {
	srv := startWith(t, Config{}, new(memorySink), noFreshStack)
	for range 20 {
		c := dial(t, srv.addr)
		c.hello()
		began := time.Now()
		c.send("NOOP\r\n")
		if err := c.conn.(*net.TCPConn).CloseWrite(); err != nil {
			t.Fatal(err)
		}
		c.want("250")
		c.wantClosed()
		if took := time.Since(began); took > soon {
			t.Fatalf("the end of the connection was seen after %v", took)
		}
	}
}

// A group may end with DATA at the very end of a read, with more replies waiting than are kept back: what is behind it
// was sent without waiting all the same.
func TestSyncRuleHoldsAtTheEndOfARead(t *testing.T) {
	srv := startWith(t, Config{MaxRcpts: 5000}, new(memorySink), noFreshStack)
	c := dial(t, srv.addr)
	c.hello()
	c.cmd("MAIL FROM:<a@sender.example>", "250")
	const rcpt = "RCPT TO:<u@example.com>\r\n"
	group := bytes.Repeat([]byte(rcpt), readSize/len(rcpt)-1)
	group = append(group, "NOOP "+strings.Repeat("x", readSize-len(group)-len("NOOP \r\nDATA\r\n"))+"\r\nDATA\r\n"...)
	group = append(group, "Subject: not waited for\r\n\r\n.\r\n"...)
	c.send(string(group))
	last := ""
	for !strings.HasPrefix(last, "354") && !strings.HasPrefix(last, "554") {
		last = c.reply()
	}
	if !strings.HasPrefix(last, "554 5.5.0") {
		t.Errorf("DATA was answered %q", last)
	}
}
