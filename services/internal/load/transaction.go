package load

import (
	"fmt"
	"strings"
	"time"
)

// outcome is how one transaction ended.
type outcome struct {
	state  State
	reply  reply
	rcpts  []string
	err    error
	usable bool // the connection can take another mail
}

// send runs one mail transaction; wire is the mail as it goes behind 354, final dot included.
func (c *client) send(m *Mail, wire []byte) outcome {
	o, open := c.envelope(m)
	if !open {
		return o
	}
	n, err := c.write(wire)
	if err != nil {
		return c.writeFailed(o, n, len(wire), err)
	}
	return c.finish(o)
}

// envelope sends MAIL, RCPT and DATA, in one write where the server allows it (RFC 2920), and says whether
// the server waits for the mail.
func (c *client) envelope(m *Mail) (o outcome, open bool) {
	o = outcome{state: Cut}
	commands := c.commands(m)
	answers := make([]reply, 0, len(commands))
	for i, command := range commands {
		c.out = append(c.out, command...)
		if c.pipelining && i < len(commands)-1 {
			continue
		}
		_, o.err = c.write(c.out)
		c.out = c.out[:0]
		for len(answers) <= i && o.err == nil {
			var r reply
			if r, o.err = c.read(); o.err == nil {
				answers = append(answers, r)
			}
		}
		if o.err != nil {
			// The server may have said why before it closed: 421 instead of an answer to the command.
			for _, r := range answers {
				if r.code >= 400 {
					o.state, o.reply, o.err = Refused, r, nil
					break
				}
			}
			return o, false
		}
		if last := answers[len(answers)-1]; !c.pipelining && !last.ok() && last.code != 354 && (i == 0 || last.code == 421) {
			break // without pipelining there is no need to go on
		}
	}
	return c.judge(m, o, answers, len(commands))
}

func (c *client) commands(m *Mail) []string {
	commands := make([]string, 0, len(m.Rcpts)+2)
	mail := "MAIL FROM:<" + m.From + ">"
	if m.EightBit && c.eightBit {
		mail += " BODY=8BITMIME"
	}
	commands = append(commands, mail+"\r\n")
	for _, rcpt := range m.Rcpts {
		commands = append(commands, "RCPT TO:<"+rcpt+">\r\n")
	}
	return append(commands, "DATA\r\n")
}

// judge looks at the answers to the envelope.
func (c *client) judge(m *Mail, o outcome, answers []reply, commands int) (outcome, bool) {
	var no reply // the first refusal
	for i, r := range answers {
		switch {
		case i > 0 && i <= len(m.Rcpts) && r.ok():
			o.rcpts = append(o.rcpts, m.Rcpts[i-1])
		case !r.ok() && r.code != 354 && no.code == 0:
			no = r
		}
	}
	last := answers[len(answers)-1]
	if len(answers) == commands && last.code == 354 {
		if len(o.rcpts) > 0 {
			return o, true
		}
		// RFC 2920 section 3.1: the server may say 354 although nobody was accepted, and gets an empty mail.
		if _, o.err = c.ask(".\r\n"); o.err != nil {
			return o, false
		}
	}
	o.state, o.reply = Refused, no
	o.usable = no.code != 421 && last.code != 421 && c.reset()
	return o, false
}

func (c *client) reset() bool {
	r, err := c.ask("RSET\r\n")
	return err == nil && r.ok()
}

// writeFailed decides what the server may have got of a mail whose sending failed, and looks for a last
// word from it: servers that refuse a mail half-way say why and close.
func (c *client) writeFailed(o outcome, written, length int, err error) outcome {
	o.state, o.err = Cut, err
	if c.tls || written >= length {
		o.state = Unconfirmed // what was encrypted may have left
	}
	c.timeout = min(c.timeout, time.Second)
	if r, readErr := c.read(); readErr == nil && r.code >= 400 {
		o.state, o.reply, o.err = Refused, r, nil
	}
	return o
}

// finish reads the answer to the final dot.
func (c *client) finish(o outcome) outcome {
	o.reply, o.err = c.read()
	switch {
	case o.err != nil:
		o.state = Unconfirmed
		return o
	case o.reply.ok():
		o.state = Acked
	case o.reply.code == 451 && strings.Contains(o.reply.text, "not confirmed"):
		o.state = Unconfirmed
	case o.reply.code >= 400:
		o.state = Refused
	default:
		o.state, o.err = Unconfirmed, fmt.Errorf("answer after the mail is %v", o.reply)
		return o
	}
	o.usable = o.reply.code != 421
	return o
}

// idOf finds the mail's id in the answer after the final dot.
func idOf(text string) string {
	for _, before := range []string{"queued as ", " id "} {
		if _, rest, found := strings.Cut(text, before); found {
			id, _, _ := strings.Cut(rest, " ")
			return strings.Trim(id, "<>.,;:()")
		}
	}
	return ""
}
