package load

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"
)

// client is one SMTP connection.
type client struct {
	conn    net.Conn
	in      *bufio.Reader
	timeout time.Duration
	tls     bool

	pipelining, eightBit, startTLS bool

	out []byte // commands of one group
}

// reply is one answer (RFC 5321 section 4.2), its lines joined by " / ".
type reply struct {
	code int
	text string
}

func (r reply) ok() bool { return r.code >= 200 && r.code < 300 }

func (r reply) String() string { return fmt.Sprintf("%d %s", r.code, r.text) }

// refusal is an answer that ends the attempt to get a usable connection.
type refusal struct{ reply }

func (r refusal) Error() string { return "server says " + r.String() }

// dial connects and says EHLO, and STARTTLS when wanted.
func dial(ctx context.Context, cfg *Config) (*client, error) {
	d := net.Dialer{Timeout: 10 * time.Second}
	conn, err := d.DialContext(ctx, "tcp", cfg.To)
	if err != nil {
		return nil, err
	}
	c := &client{conn: conn, in: bufio.NewReaderSize(conn, 4<<10), timeout: cfg.Timeout}
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if err := c.open(ctx, cfg.StartTLS); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return c, nil
}

func (c *client) open(ctx context.Context, startTLS bool) error {
	if err := c.expect("", 220); err != nil {
		return err
	}
	if err := c.hello(); err != nil {
		return err
	}
	if !startTLS {
		return nil
	}
	if !c.startTLS {
		return errors.New("the server offers no STARTTLS")
	}
	if err := c.expect("STARTTLS\r\n", 220); err != nil {
		return err
	}
	secure := tls.Client(c.conn, &tls.Config{InsecureSkipVerify: true}) // test servers sign their own
	if err := secure.HandshakeContext(ctx); err != nil {
		return fmt.Errorf("TLS handshake: %w", err)
	}
	c.conn, c.in, c.tls = secure, bufio.NewReaderSize(secure, 4<<10), true
	return c.hello()
}

func (c *client) hello() error {
	lines, err := c.ask("EHLO load.example.net\r\n")
	if err != nil {
		return err
	}
	if lines.code != 250 {
		return refusal{lines}
	}
	c.pipelining, c.eightBit, c.startTLS = false, false, false
	for keyword := range strings.SplitSeq(lines.text, " / ") {
		switch strings.ToUpper(keyword) {
		case "PIPELINING":
			c.pipelining = true
		case "8BITMIME":
			c.eightBit = true
		case "STARTTLS":
			c.startTLS = true
		}
	}
	return nil
}

func (c *client) expect(command string, code int) error {
	r, err := c.ask(command)
	if err != nil {
		return err
	}
	if r.code != code {
		return refusal{r}
	}
	return nil
}

func (c *client) ask(command string) (reply, error) {
	if command != "" {
		if _, err := c.write([]byte(command)); err != nil {
			return reply{}, err
		}
	}
	return c.read()
}

func (c *client) write(p []byte) (int, error) {
	_ = c.conn.SetWriteDeadline(time.Now().Add(c.timeout))
	return c.conn.Write(p)
}

// read reads one answer. Its length is bounded, since the server may be broken.
func (c *client) read() (reply, error) {
	_ = c.conn.SetReadDeadline(time.Now().Add(c.timeout))
	var r reply
	const mostLines, mostText = 100, 2000
	for range mostLines {
		line, err := c.in.ReadSlice('\n')
		if err != nil {
			return r, err
		}
		code, text, more, ok := parseReplyLine(string(line))
		if !ok {
			return r, fmt.Errorf("answer is not SMTP: %.80q", line)
		}
		if r.text != "" && len(r.text)+len(text) < mostText {
			r.text += " / "
		}
		if len(r.text)+len(text) < mostText {
			r.text += text
		}
		r.code = code
		if !more {
			return r, nil
		}
	}
	return r, errors.New("answer does not end")
}

func parseReplyLine(line string) (code int, text string, more, ok bool) {
	line = strings.TrimRight(line, "\r\n")
	if len(line) < 3 {
		return 0, "", false, false
	}
	for i := range 3 {
		if line[i] < '0' || line[i] > '9' {
			return 0, "", false, false
		}
		code = code*10 + int(line[i]-'0')
	}
	if len(line) == 3 {
		return code, "", false, true
	}
	return code, line[4:], line[3] == '-', line[3] == '-' || line[3] == ' '
}

// close says goodbye without waiting for it to be heard.
func (c *client) close() {
	_ = c.conn.SetDeadline(time.Now().Add(100 * time.Millisecond))
	_, _ = c.conn.Write([]byte("QUIT\r\n"))
	_ = c.conn.Close()
}
