package main

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"fmt"
	"net"
	"time"
)

// client is a plain SMTP client. It waits for every reply, as programs do, or pipelines the commands before the
// body, as the mail servers do that send most mail (RFC 2920).
type client struct {
	conn      net.Conn
	r         *bufio.Reader
	pipelined bool
}

func dial(addr string) (*client, error) {
	conn, err := net.DialTimeout("tcp", addr, 10*time.Second)
	if err != nil {
		return nil, err
	}
	_ = conn.SetDeadline(time.Now().Add(2 * time.Minute))
	c := &client{conn: conn, r: bufio.NewReaderSize(conn, 512)}
	return c, c.want("220")
}

// want reads one reply.
func (c *client) want(code string) error {
	for {
		line, err := c.r.ReadSlice('\n')
		if err != nil {
			return fmt.Errorf("reading a reply: %w", err)
		}
		if len(line) < 4 || string(line[:3]) != code {
			return fmt.Errorf("got reply %q, want %s", bytes.TrimSpace(line), code)
		}
		if line[3] != '-' {
			return nil
		}
	}
}

func (c *client) cmd(line, code string) error {
	if _, err := c.conn.Write([]byte(line)); err != nil {
		return err
	}
	return c.want(code)
}

func (c *client) hello() error { return c.cmd("EHLO client.example\r\n", "250") }

func (c *client) startTLS() error {
	if err := c.cmd("STARTTLS\r\n", "220"); err != nil {
		return err
	}
	t := tls.Client(c.conn, &tls.Config{InsecureSkipVerify: true}) // our own certificate on loopback
	if err := t.Handshake(); err != nil {
		return err
	}
	c.conn, c.r = t, bufio.NewReaderSize(t, 512)
	return c.hello()
}

// mail sends one mail; body is stuffed and has its final dot.
func (c *client) mail(body []byte) error {
	commands := []struct{ line, code string }{
		{"MAIL FROM:<a@sender.example>\r\n", "250"}, {"RCPT TO:<u@example.com>\r\n", "250"}, {"DATA\r\n", "354"},
	}
	if c.pipelined {
		if _, err := c.conn.Write([]byte(commands[0].line + commands[1].line + commands[2].line)); err != nil {
			return err
		}
	}
	for _, command := range commands {
		if !c.pipelined {
			if _, err := c.conn.Write([]byte(command.line)); err != nil {
				return err
			}
		}
		if err := c.want(command.code); err != nil {
			return err
		}
	}
	if _, err := c.conn.Write(body); err != nil {
		return err
	}
	return c.want("250")
}

func (c *client) quit() error {
	defer c.conn.Close()
	return c.cmd("QUIT\r\n", "221")
}

// body makes a mail of about size bytes: lines of 76 characters, one in forty beginning with a dot.
func body(size int) []byte {
	var b bytes.Buffer
	b.WriteString("From: a@sender.example\r\nTo: u@example.com\r\nSubject: bench\r\n\r\n")
	line := bytes.Repeat([]byte("abcdefghij klmnopqrs "), 4)[:76]
	for n := 0; b.Len() < size; n++ {
		if n%40 == 39 {
			b.WriteString("..")
		}
		b.Write(line)
		b.WriteString("\r\n")
	}
	b.WriteString(".\r\n")
	return b.Bytes()
}
