// Package embedded is a cache server inside the process, for machines without Memcached. It speaks Memcached's text protocol
// over an in-process pipe instead of a socket, so that the client code is the same.
package embedded

import (
	"context"
	"errors"
	"net"
	"sync"
)

// Server is a cache of bounded size.
type Server struct {
	store *store

	mu     sync.Mutex
	conns  map[net.Conn]struct{}
	closed bool
	wg     sync.WaitGroup
}

// New returns a Server that holds up to maxBytes of keys and values.
func New(maxBytes int64) (*Server, error) {
	store, err := newStore(maxBytes)
	if err != nil {
		return nil, err
	}
	return &Server{store: store, conns: map[net.Conn]struct{}{}}, nil
}

// DialContext connects to the server, whatever the address. It fits mailcache.DialFunc.
func (s *Server) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	client, server := net.Pipe()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, errors.New("the embedded cache is closed")
	}
	s.conns[server] = struct{}{}
	s.wg.Go(func() {
		defer s.forget(server)
		(&session{store: s.store}).serve(server)
	})
	return client, nil
}

func (s *Server) forget(conn net.Conn) {
	_ = conn.Close() // a pipe's never fails
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, conn)
}

// Close ends all connections.
func (s *Server) Close() {
	s.mu.Lock()
	s.closed = true
	for conn := range s.conns {
		_ = conn.Close()
	}
	s.mu.Unlock()
	s.wg.Wait()
	s.store.close()
}
