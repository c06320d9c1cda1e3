package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/textproto"
	"strings"
	"time"

	"github.com/sluice-mail/sluice/services/e2e/fleet"
)

// tally is what was refused, counted in the ways an operator asks for.
type tally struct {
	total                  int
	why, networks, domains map[string]int
}

func newTally() tally {
	return tally{why: make(map[string]int), networks: make(map[string]int), domains: make(map[string]int)}
}

func (t *tally) add(reason, network, domain string) {
	t.total++
	t.why[reason]++
	t.networks[network]++
	if domain != "" {
		t.domains[domain]++
	}
}

// kind is one way to behave. The last line is what is refused.
type kind struct {
	weight int
	reason string // empty: nothing is refused
	domain string // of the recipient in the log
	lines  []string
}

func kinds() []kind {
	from, to := "MAIL FROM:<a@sender.example>", "RCPT TO:<u@example.com>"
	return []kind{
		{50, "", "", []string{from, to, "DATA", "Subject: a mail\r\n\r\nHello\r\n."}},
		{15, "relay", "@other.example", []string{from, "RCPT TO:<u@other.example>"}},
		{10, "relay", "@elsewhere.example", []string{from, "RCPT TO:<u@elsewhere.example>"}},
		{5, "too_large", "", []string{from + " SIZE=9999999"}},
		{5, "bad_recipient", "", []string{from, "RCPT TO:<u>"}},
		{5, "line_endings", "@example.com", []string{from, to, "DATA", "Subject: bare\r\n\r\na \r b\r\n."}},
		{5, "unknown_command", "", []string{"XPRESS"}},
		{5, "sequence", "", []string{"DATA"}},
	}
}

// deniedNetwork is the one that is denied; its clients get no further than MAIL.
const deniedNetwork = "192.0.2.0/24"

// client behaves as kind says, as somebody of a network, and returns the last reply.
func client(addr, ip string, lines []string) (reply string, err error) {
	c, err := textproto.Dial("tcp", addr)
	if err != nil {
		return "", err
	}
	defer c.Close()
	for i, line := range append([]string{"", "EHLO proxy.example", "XCLIENT ADDR=" + ip, "EHLO client.example"}, lines...) {
		if i > 0 {
			if err := c.PrintfLine("%s", line); err != nil {
				return "", err
			}
		}
		code, text, err := c.ReadResponse(0)
		if err != nil {
			return "", fmt.Errorf("after %q: %w", line, err)
		}
		if reply = fmt.Sprintf("%d %s", code, text); code >= 400 {
			break
		}
	}
	return reply, c.PrintfLine("QUIT")
}

// play sends so many clients and returns what is refused of it. One network in four is denied.
func play(addr string, sessions int, seed uint64) (tally, error) {
	rnd, sent, all := rand.New(rand.NewPCG(seed, 0)), newTally(), kinds()
	for range sessions {
		k, pick := all[0], rnd.IntN(100)
		for _, k = range all {
			if pick -= k.weight; pick < 0 {
				break
			}
		}
		net := []string{"192.0.2.", "198.51.100.", "203.0.113.", "198.18.7."}[rnd.IntN(4)]
		if net == "192.0.2." && strings.HasPrefix(k.lines[0], "MAIL") && k.reason != "too_large" {
			k = kind{reason: "denied_net", lines: k.lines[:1]}
		}
		reply, err := client(addr, net+fmt.Sprint(1+rnd.IntN(250)), k.lines)
		if err != nil {
			return sent, err
		}
		if refused := reply[0] >= '4'; refused != (k.reason != "") {
			return sent, fmt.Errorf("%q is answered %q", k.lines, reply)
		}
		if k.reason != "" {
			sent.add(k.reason, net+"0/24", k.domain)
		}
	}
	return sent, nil
}

// deny adds the denial, as an operator does, and waits until it is in force.
func deny(ctx context.Context, binaries fleet.Binaries, data, addr string) error {
	ctl := &fleet.Fleet{Binaries: binaries}
	if _, err := ctl.Command(ctx, []string{"SLUICE_DATA=" + data}, "sluicectl", "deny", "add", "net:"+deniedNetwork, "-for", "1h"); err != nil {
		return err
	}
	for began := time.Now(); time.Since(began) < time.Second; {
		reply, err := client(addr, "192.0.2.1", []string{"MAIL FROM:<a@sender.example>"})
		if err != nil {
			return err
		}
		if strings.HasPrefix(reply, "550 5.7.1") {
			return nil
		}
	}
	return errors.New("the denial is not in force after a second")
}
