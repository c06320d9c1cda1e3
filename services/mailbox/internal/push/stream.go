package push

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/sluice-mail/sluice/pkg/mailstore"
	"github.com/sluice-mail/sluice/services/internal/token"
	"github.com/sluice-mail/sluice/services/mailbox/internal/access"
	"github.com/sluice-mail/sluice/services/mailbox/internal/problem"
)

const (
	// heartbeat is how often a stream without events sends a comment. Behind a load balancer this is also the only way to find out
	// that a reader has gone.
	heartbeat = 20 * time.Second
	// writeTimeout is how long a reader may take to read what it is sent.
	writeTimeout = 5 * time.Second
	// resumeTimeout bounds sending the mail that a resuming client missed; a client that has not got all of it by then resumes again.
	resumeTimeout = time.Minute
	// socketBuffer bounds what the kernel holds for a reader that sleeps; its default is 4 MB.
	socketBuffer = 32 << 10
	// retryAfter is the header Retry-After for a client that is refused because there are too many.
	retryAfter = "10"
)

// greeting begins a stream. The first line fills the buffers of proxies, which would otherwise delay small writes.
const greeting = "retry: 2000\n: connected\n\n"

const head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nCache-Control: no-store\r\n" +
	"X-Content-Type-Options: nosniff\r\nX-Accel-Buffering: no\r\nConnection: close\r\n\r\n"

// ServeHTTP answers GET /api/v1/mailboxes/{address}/events.
func (h *Hub) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	grant := access.Of(r.Context())
	if !grant.Known() {
		w.Header().Set("WWW-Authenticate", `Bearer realm="mailboxes"`)
		problem.Write(w, http.StatusUnauthorized, "A token is needed: send it in the header Authorization, or log in.")
		return
	}
	mailbox, err := h.deps.Names.Mailbox(r.PathValue("address"))
	switch {
	case err != nil:
		problem.Write(w, http.StatusUnprocessableEntity, "The address is not a mail address.")
		return
	case !grant.May(token.Read, mailbox):
		problem.Write(w, http.StatusNotFound, "There is no such mailbox.")
		return
	}
	from, resumes, ok := resume(r)
	if !ok {
		problem.Write(w, http.StatusUnprocessableEntity, "Last-Event-ID or after is not the id of an event.")
		return
	}
	me := newReader(access.Network(access.Client(r.Context())))
	if err := h.join(mailbox, me); err != nil {
		w.Header().Set("Retry-After", retryAfter)
		problem.Write(w, http.StatusTooManyRequests, "Too many readers are waiting; try again a little later.")
		return
	}
	s := &session{hub: h, mailbox: mailbox, reader: me, expires: grant.Expires(), sent: make(map[ulid.ULID]struct{})}
	if resumes {
		s.since = from.stored.Add(-overlap)
	}
	s.serve(w, r)
}

// resume reads the position at which a client wants to resume.
func resume(r *http.Request) (c cursor, resumes, ok bool) {
	text := r.Header.Get("Last-Event-ID")
	if text == "" {
		text = r.URL.Query().Get("after")
	}
	if text == "" {
		return cursor{}, false, true
	}
	c, ok = parseCursor(text)
	return c, true, ok
}

// session is one stream.
type session struct {
	hub     *Hub
	mailbox string
	reader  *reader
	since   time.Time // send what was stored since first; zero: nothing
	expires time.Time // when the right to read ends; zero: never
	sent    map[ulid.ULID]struct{}
}

// serve takes the connection over and returns; or, where that is not possible, stays until the end.
func (s *session) serve(w http.ResponseWriter, r *http.Request) {
	control := http.NewResponseController(w)
	if r.ProtoMajor == 1 {
		conn, _, err := control.Hijack()
		if err == nil {
			go s.own(conn) // Close waits for it: it has joined
			return
		}
		if !errors.Is(err, http.ErrNotSupported) {
			s.hub.leave(s.mailbox, s.reader)
			return
		}
	}
	defer s.hub.leave(s.mailbox, s.reader)
	header := w.Header()
	header.Set("Content-Type", "text/event-stream; charset=utf-8")
	header.Set("Cache-Control", "no-store")
	header.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(http.StatusOK)
	_ = s.run(r.Context(), func(p []byte) error {
		if err := control.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
			return err
		}
		if _, err := w.Write(p); err != nil {
			return err
		}
		if err := control.Flush(); err != nil {
			return err
		}
		return control.SetWriteDeadline(time.Time{}) // HTTP/2 would reset the stream when it passes
	})
}

// own serves a connection that was hijacked from net/http.
func (s *session) own(conn net.Conn) {
	defer conn.Close()
	defer s.hub.leave(s.mailbox, s.reader)
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetWriteBuffer(socketBuffer) // else a reader that sleeps is noticed later
	}
	if conn.SetDeadline(time.Time{}) != nil {
		return
	}
	write := func(p []byte) error {
		if err := conn.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
			return err
		}
		_, err := conn.Write(p)
		return err
	}
	if write([]byte(head)) == nil {
		_ = s.run(context.Background(), write) // the client has gone, or is to come again
	}
}

var (
	errBehind  = errors.New("the reader is too far behind")
	errExpired = errors.New("the reader's token has expired")
)

// run writes events until the reader is gone, or the hub closes.
func (s *session) run(ctx context.Context, write func([]byte) error) error {
	if err := write([]byte(greeting)); err != nil {
		return err
	}
	if !s.since.IsZero() {
		// The reader has joined the hub already, so no mail is missed between this and the hub's events.
		looking, cancel := context.WithTimeout(ctx, resumeTimeout)
		err := eachSince(looking, s.hub.deps.Reader, s.mailbox, s.since, func(entries []mailstore.Entry) error {
			missed := make([]*event, len(entries))
			for i, e := range entries {
				missed[i] = newEvent(e)
			}
			return s.send(missed, write)
		})
		cancel()
		if err != nil {
			return err // the client comes again
		}
	}
	alive := time.NewTimer(s.hub.heartbeat)
	defer alive.Stop()
	var expired <-chan time.Time
	if !s.expires.IsZero() {
		timer := time.NewTimer(time.Until(s.expires))
		defer timer.Stop()
		expired = timer.C
	}
	for {
		select {
		case <-s.reader.news:
			events, behind := s.reader.take()
			if behind {
				s.hub.metrics.dropped.Inc()
				return errBehind
			}
			if err := s.send(events, write); err != nil {
				return err
			}
		case <-alive.C: // also after events: this is what finds out who has gone
			if err := write([]byte(": alive\n\n")); err != nil {
				return err
			}
			alive.Reset(s.hub.heartbeat)
		case <-expired:
			return errExpired
		case <-ctx.Done():
			return ctx.Err()
		case <-s.hub.closing:
			_ = write([]byte("retry: 500\n: this server stops\n\n")) // it comes again, to another one
			return io.EOF
		}
	}
}

// send writes events that this connection has not sent yet, together.
func (s *session) send(events []*event, write func([]byte) error) error {
	var text []byte
	for _, e := range events {
		if _, sent := s.sent[e.id]; sent {
			continue
		}
		s.sent[e.id] = struct{}{}
		text = append(text, e.text...)
	}
	if len(s.sent) > 2*maxQueue { // far more than an overlap brings
		clear(s.sent)
		for _, e := range events {
			s.sent[e.id] = struct{}{}
		}
	}
	if len(text) == 0 {
		return nil
	}
	return write(text)
}
