package smtpd

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"
)

// noFreshStack switches the timer off that moves an idle connection to a fresh stack: it looks for input, too, and hid
// every wake-up that was lost.
func noFreshStack(s *Server) { s.stackFor = time.Hour }

// soon is longer than anything here takes on a busy machine; without a timer a lost wake-up is never made good.
const soon = 10 * time.Second

// The network tells of input once. Whoever waits without having seen that the socket is empty waits for the next
// byte, which a client that waits for a reply does not send.
func TestPipelinedGroupsAreReadToTheirEnd(t *testing.T) {
	for _, n := range []int{1_000, 7_000} {
		srv := startWith(t, Config{}, new(memorySink), noFreshStack)
		c := dial(t, srv.addr)
		c.hello()
		began := time.Now()
		go func() { _, _ = c.conn.Write([]byte(strings.Repeat(chattyMail, n))) }()
		for range 3 * n {
			c.want("250")
		}
		if took := time.Since(began); took > soon {
			t.Errorf("%d mails in one group took %v", n, took)
		}
	}
}

// The same with all of a group in the socket before the first of it is read: nothing more comes that the network could
// tell of.
func TestAGroupThatIsThereIsReadToItsEnd(t *testing.T) {
	sent := make(chan struct{})
	sink := &memorySink{onCommit: func(ctx context.Context) error {
		select {
		case <-sent:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}}
	const n = 1800 // fits into the socket, and not into a read; what is read first has more replies than are kept back
	srv := startWith(t, Config{MaxRcpts: n}, sink, noFreshStack)
	c := dial(t, srv.addr)
	c.hello()
	c.send(chattyMail)
	eventually(t, "the first mail is being stored", func() bool { return sink.openCount() == 1 })
	group := "MAIL FROM:<>\r\n"
	for i := range n {
		group += fmt.Sprintf("RCPT TO:<%d@b.example>\r\n", 1000+i)
	}
	c.send(group)
	close(sent)
	for range 3 + 1 + n {
		c.want("250")
	}
}

// chattyMail is nearly as long as its three replies: a full read makes more of them than are kept back.
const chattyMail = "MAIL FROM:<a@b.example>\r\nRCPT TO:<u@b.example>\r\nBDAT 1 LAST\r\nx"

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

// What was read before a reset does not tell of it, when the network told of both at once.
func TestResetBehindHalfACommandIsSeen(t *testing.T) {
	srv := startWith(t, Config{}, new(memorySink), noFreshStack)
	for range 200 {
		c := dial(t, srv.addr)
		c.hello()
		c.send("NO")
		if err := c.conn.(*net.TCPConn).SetLinger(0); err != nil {
			t.Fatal(err)
		}
		c.conn.Close()
		eventually(t, "the connection is over", func() bool {
			srv.mu.Lock()
			defer srv.mu.Unlock()
			return len(srv.conns) == 0
		})
	}
}

// A group may end with DATA at the very end of a read, with more replies waiting than are kept back: what is behind it
// was sent without waiting all the same.
func TestSyncRuleHoldsAtTheEndOfARead(t *testing.T) {
	srv := startWith(t, Config{}, new(memorySink), noFreshStack)
	c := dial(t, srv.addr)
	c.hello()
	const last = "MAIL FROM:<a@b.example>\r\nRCPT TO:<u@b.example>\r\nDATA\r\n"
	group := bytes.Repeat([]byte(chattyMail), (readSize-len(last))/len(chattyMail)-1)
	group = append(group, "NOOP "+strings.Repeat("x", readSize-len(group)-len("NOOP \r\n"+last))+"\r\n"+last...)
	group = append(group, "Subject: not waited for\r\n\r\n.\r\n"...)
	c.send(string(group))
	reply := "250"
	for strings.HasPrefix(reply, "250") {
		reply = c.reply()
	}
	if !strings.HasPrefix(reply, "554 5.5.0") {
		t.Errorf("DATA was answered %q", reply)
	}
}
