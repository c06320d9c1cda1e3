package main

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"regexp"
	"strings"
	"sync"
	"time"
)

const crowdMailbox = "crowd@example.com"

var stored = regexp.MustCompile(`"unstored_messages": ?0\b`)

// connect opens all streams. crowd gets the moment of every event that a reader of the one mailbox receives.
func (m *measurement) connect(ctx context.Context) (crowd <-chan time.Time, hangUp func(), err error) {
	events := make(chan time.Time, m.crowd*m.arrivals)
	var conns []net.Conn
	var reading sync.WaitGroup
	hangUp = func() {
		for _, conn := range conns {
			_ = conn.Close() // its reader ends by that
		}
		reading.Wait()
	}
	for i := range m.readers {
		mailbox := crowdMailbox
		if i >= m.crowd {
			mailbox = fmt.Sprintf("reader%d@example.com", i)
		}
		conn, err := (&net.Dialer{Timeout: 10 * time.Second}).DialContext(ctx, "tcp", m.inbox.Addrs["http"])
		if err != nil {
			hangUp()
			return nil, nil, fmt.Errorf("reader %d: %w", i, err)
		}
		conns = append(conns, conn)
		lines := bufio.NewReaderSize(conn, 512)
		if err := begin(conn, lines, mailbox); err != nil {
			hangUp()
			return nil, nil, fmt.Errorf("reader %d: %w", i, err)
		}
		reading.Go(func() { follow(lines, mailbox == crowdMailbox, events) })
	}
	return events, hangUp, nil
}

// begin asks for a stream and waits for its greeting.
func begin(conn net.Conn, lines *bufio.Reader, mailbox string) error {
	if err := conn.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		return err
	}
	if _, err := fmt.Fprintf(conn, "GET /api/v1/mailboxes/%s/events HTTP/1.1\r\nHost: localhost\r\n\r\n", mailbox); err != nil {
		return err
	}
	status, err := lines.ReadString('\n')
	if err == nil && !strings.HasPrefix(status, "HTTP/1.1 200 ") {
		return fmt.Errorf("answered %q", status)
	}
	for line := ""; err == nil && !strings.HasPrefix(line, ": connected"); {
		line, err = lines.ReadString('\n')
	}
	if err != nil {
		return err
	}
	return conn.SetDeadline(time.Time{})
}

// follow reads a stream to its end.
func follow(lines *bufio.Reader, counts bool, events chan<- time.Time) {
	for {
		line, err := lines.ReadSlice('\n')
		if err != nil && err != bufio.ErrBufferFull {
			return
		}
		if counts && strings.HasPrefix(string(line), "id: ") {
			events <- time.Now()
		}
	}
}
