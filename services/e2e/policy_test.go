package e2e

import (
	"context"
	"fmt"
	"net"
	"net/textproto"
	"strings"
	"testing"
	"time"

	"github.com/sluice-mail/sluice/services/e2e/fleet"
)

// conversation is an SMTP client that does what it is told, line by line.
type conversation struct {
	t    *testing.T
	conn net.Conn
	w    *textproto.Conn
}

// converse connects and gets as far as the answer to MAIL.
func converse(t *testing.T, addr string) *conversation {
	t.Helper()
	conn, err := net.DialTimeout("tcp", addr, 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(90 * time.Second)); err != nil {
		t.Fatal(err)
	}
	c := &conversation{t: t, conn: conn, w: textproto.NewConn(conn)}
	for _, line := range []string{"", "EHLO client.example", "MAIL FROM:<a@b.example>"} {
		if reply := c.say(line); !strings.HasPrefix(reply, "2") {
			t.Fatalf("%s is answered with %q", line, reply)
		}
	}
	return c
}

// say sends a line, unless it is empty, and returns the answer.
func (c *conversation) say(line string) string {
	c.t.Helper()
	if line != "" {
		if err := c.w.PrintfLine("%s", line); err != nil {
			c.t.Fatal(err)
		}
	}
	code, message, err := c.w.ReadResponse(0)
	if err != nil {
		c.t.Fatalf("after %q: %v", line, err)
	}
	return fmt.Sprintf("%d %s", code, message)
}

// rcpt is the answer to one recipient in a new session.
func rcpt(t *testing.T, addr, to string) string {
	t.Helper()
	c := converse(t, addr)
	defer c.conn.Close()
	return c.say("RCPT TO:<" + to + ">")
}

// everywhere polls all ingresses at once until they answer a recipient as wanted, and returns how long the last took.
func everywhere(t *testing.T, f *fleet.Fleet, to, want string) time.Duration {
	t.Helper()
	began := time.Now()
	for _, p := range f.Ingresses {
		within(t, time.Minute, p.Name+" answers RCPT "+to+" with "+want, func() bool {
			return strings.HasPrefix(rcpt(t, p.Addrs["smtp"], to), want)
		})
	}
	return time.Since(began)
}

func ctl(t *testing.T, ctx context.Context, f *fleet.Fleet, args ...string) {
	t.Helper()
	if _, err := f.Ctl(ctx, args...); err != nil {
		t.Fatal(err)
	}
}

// What is added to or removed from the policy is in force on every ingress within a second; three are
// allowed here, because tests run on busy machines. The time is logged.
func TestDomainsAndRecipientsLive(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	f := newFleet(t, 3, "INGRESS_DOMAINS=static.example")
	if err := f.Start(ctx); err != nil {
		t.Fatal(err)
	}
	for _, p := range f.Ingresses {
		if reply := rcpt(t, p.Addrs["smtp"], "u@static.example"); !strings.HasPrefix(reply, "250 ") {
			t.Errorf("%s refuses the domain it is configured with: %s", p.Name, reply)
		}
		if reply := rcpt(t, p.Addrs["smtp"], "u@new.example"); !strings.HasPrefix(reply, "550 5.7.1 ") {
			t.Errorf("%s on a domain that is not ours: %s", p.Name, reply)
		}
	}
	ctl(t, ctx, f, "domains", "add", "new.example")
	t.Logf("added: accepted by all %s later", everywhere(t, f, "u@new.example", "250 ").Round(time.Millisecond))
	if out, err := f.Ctl(ctx, "domains", "ls", "--json"); err != nil || !strings.Contains(out, `"new.example"`) {
		t.Errorf("domains ls: %v %s", err, out)
	}
	ctl(t, ctx, f, "domains", "rm", "new.example")
	t.Logf("removed: refused by all %s later", everywhere(t, f, "u@new.example", "550 5.7.1 ").Round(time.Millisecond))
	if _, err := f.Ctl(ctx, "domains", "rm", "new.example"); err == nil {
		t.Error("a domain that is not in the list can be removed")
	}

	// The same ingresses, with a list of recipients.
	for _, p := range f.Ingresses {
		if err := p.Stop(20 * time.Second); err != nil {
			t.Fatal(err)
		}
		p.Setenv("INGRESS_RECIPIENTS=kv")
		if err := p.Start(); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Ready(ctx); err != nil {
		t.Fatal(err)
	}
	everywhere(t, f, "known@static.example", "450 4.3.0 ") // a list that nobody has filled or emptied is no list
	ctl(t, ctx, f, "recipients", "add", "Known@Static.example")
	t.Logf("added: accepted by all %s later", everywhere(t, f, "known@static.example", "250 ").Round(time.Millisecond))
	everywhere(t, f, "unknown@static.example", "550 5.1.1 ")
	everywhere(t, f, "known@other.example", "550 5.7.1 ")

	withoutTheBucket(t, ctx, f)
}

// withoutTheBucket: once the log is away MAIL is answered with 451, but a transaction that has begun still asks for
// recipients. They are judged by the last known set.
func withoutTheBucket(t *testing.T, ctx context.Context, f *fleet.Fleet) {
	t.Helper()
	ctl(t, ctx, f, "domains", "add", "new.example")
	ctl(t, ctx, f, "recipients", "add", "known@new.example")
	everywhere(t, f, "known@new.example", "250 ")
	var begun []*conversation
	for _, p := range f.Ingresses {
		begun = append(begun, converse(t, p.Addrs["smtp"]))
	}
	if err := f.NATS.Stop(20 * time.Second); err != nil {
		t.Fatal(err)
	}
	within(t, 30*time.Second, "the ingress notices", func() bool {
		return strings.HasPrefix(dialogue(t, f.Ingresses[0].Addrs["smtp"]), "451 ")
	})
	for i, c := range begun {
		for to, want := range map[string]string{
			"known@new.example": "250 ", "known@static.example": "250 ", "unknown@new.example": "550 5.1.1 ", "u@foreign.example": "550 5.7.1 ",
		} {
			if reply := c.say("RCPT TO:<" + to + ">"); !strings.HasPrefix(reply, want) {
				t.Errorf("without the bucket %s answers RCPT %s with %q, want %s", f.Ingresses[i].Name, to, reply, want)
			}
		}
	}
	if err := f.NATS.Start(); err != nil {
		t.Fatal(err)
	}
	within(t, 30*time.Second, "the ingress accepts again", func() bool {
		return strings.HasPrefix(dialogue(t, f.Ingresses[0].Addrs["smtp"]), "250 ")
	})
	ctl(t, ctx, f, "recipients", "rm", "known@new.example")
	for _, p := range f.Ingresses {
		within(t, 30*time.Second, p.Name+" follows the bucket again", func() bool {
			return strings.HasPrefix(rcpt(t, p.Addrs["smtp"], "known@new.example"), "550 5.1.1 ")
		})
	}
}

// What is denied is refused by three ingresses within a second, while mail pours in through each of them; and so it is
// taken again. The mail of the others is not touched.
func TestDenyIsInForceWithinASecondUnderLoad(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	f := newFleet(t, 3)
	if err := f.Start(ctx); err != nil {
		t.Fatal(err)
	}
	var records []string
	for _, p := range f.Ingresses {
		acks, wait := load(t, ctx, f, "-to", p.Addrs["smtp"], "-count", "2000", "-sizes", "1KB-20KB", "-rate", "150")
		defer wait()
		records = append(records, acks)
	}
	within(t, 30*time.Second, "mail pours in through all", func() bool {
		return acked(records[0]) > 50 && acked(records[1]) > 50 && acked(records[2]) > 50
	})
	for _, step := range []struct{ say, rm, to, want string }{
		{"rcpt:denied@example.com", "rcpt:denied@example.com", "denied@example.com", "550 5.7.1 Ask the postmaster"},
		{"helo:client.example", "helo:client.example", "u@example.com", "550 5.7.1 Ask the postmaster"},
	} {
		ctl(t, ctx, f, "deny", "add", step.say, "-text", "Ask the postmaster", "-for", "1h")
		inASecond(t, f, step.to, step.want)
		ctl(t, ctx, f, "deny", "rm", step.rm)
		inASecond(t, f, step.to, "250 ")
	}
	ctl(t, ctx, f, "deny", "add", "net:127.0.0.0/8", "-code", "450")
	ctl(t, ctx, f, "allow", "add", "rcpt:postmaster@example.com", "net:127.0.0.1")
	inASecond(t, f, "u@example.com", "250 ")
	if out, err := f.Ctl(ctx, "deny", "ls", "--json"); err != nil || !strings.Contains(out, `"net:127.0.0.0/8"`) {
		t.Errorf("deny ls: %v %s", err, out)
	}
	still := 0
	for _, acks := range records {
		if acked(acks) < 2000 {
			still++
		}
	}
	t.Logf("%d of 3 loads were still running at the end", still)
}

// inASecond asks all ingresses at once until each answers a recipient, or the MAIL before it, as wanted.
func inASecond(t *testing.T, f *fleet.Fleet, to, want string) {
	t.Helper()
	began := time.Now()
	took := make(chan time.Duration, len(f.Ingresses))
	for _, p := range f.Ingresses {
		go func() {
			for time.Since(began) < 10*time.Second {
				if strings.HasPrefix(firstRefusal(p.Addrs["smtp"], to), want) {
					break
				}
			}
			took <- time.Since(began)
		}()
	}
	var last time.Duration
	for range f.Ingresses {
		last = max(last, <-took)
	}
	t.Logf("%s answers %s after %s", to, want, last.Round(time.Millisecond))
	if last > time.Second {
		t.Errorf("all ingresses answer RCPT %s with %q after %s", to, want, last)
	}
}

// firstRefusal is the first reply to MAIL and RCPT that is no success, or the last one.
func firstRefusal(addr, to string) (reply string) {
	conn, err := net.DialTimeout("tcp", addr, 10*time.Second)
	if err != nil {
		return err.Error()
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	c := textproto.NewConn(conn)
	for _, line := range []string{"", "EHLO client.example", "MAIL FROM:<a@b.example>", "RCPT TO:<" + to + ">"} {
		if line != "" {
			if err := c.PrintfLine("%s", line); err != nil {
				return err.Error()
			}
		}
		code, message, err := c.ReadResponse(0)
		if err != nil {
			return err.Error()
		}
		if reply = fmt.Sprintf("%d %s", code, message); code >= 400 {
			return reply
		}
	}
	return reply
}
