// Package natsd runs a nats-server inside this process, as the log of allinone and of tests. Services
// connect to it as to any other server and need not know where it runs.
package natsd

import (
	"cmp"
	"fmt"
	"log/slog"
	"net/url"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// Options says where the server keeps its data and who may reach it.
type Options struct {
	// Dir is the store; never share it between two processes.
	Dir string
	// MaxStore bounds what JetStream keeps on disk, in bytes; 0 leaves it to the server (75 % of the free disk).
	MaxStore int64
	// Host is the address to listen on; empty means loopback.
	Host string
	// Port is the TCP port to listen on; 0 means a free one.
	Port int
	// Token, when set, is required of every connection, over the network and in-process.
	Token string
	// NoSync acknowledges before the fsync; only for measuring what the fsync costs.
	NoSync bool
	// Logger gets the server's own log lines.
	Logger *slog.Logger
}

const readyWait = 30 * time.Second

// Server is a running nats-server.
type Server struct {
	server *server.Server
	opts   Options
}

// Start returns when the server takes connections and JetStream runs.
func Start(opts Options) (*Server, error) {
	if opts.Host == "" {
		opts.Host = "127.0.0.1"
	}
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	port := opts.Port
	if port == 0 {
		port = server.RANDOM_PORT
	}
	o := &server.Options{
		ServerName:            "sluice",
		Host:                  opts.Host,
		Port:                  port,
		Authorization:         opts.Token,
		JetStream:             true,
		StoreDir:              opts.Dir,
		JetStreamMaxStore:     opts.MaxStore,
		JetStreamMaxMemory:    64 << 20,
		SyncAlways:            !opts.NoSync,
		NoSigs:                true, // else it would exit the process behind our back
		MaxPending:            128 << 20,
		StreamMaxBufferedSize: 256 << 20,
	}
	s, err := server.NewServer(o)
	if err != nil {
		return nil, fmt.Errorf("preparing the embedded NATS server: %w", err)
	}
	logger := &slogger{logger: opts.Logger}
	s.SetLoggerV2(logger, false, false, false)
	s.Start() // recovers the store before it returns; when that fails it only says so
	if logger.lastFatal() != "" || !s.ReadyForConnections(readyWait) || !s.JetStreamEnabled() {
		s.Shutdown()
		s.WaitForShutdown()
		return nil, fmt.Errorf("starting the embedded NATS server with its store in %s: %s", opts.Dir, cmp.Or(logger.lastFatal(), "it did not become ready"))
	}
	return &Server{server: s, opts: opts}, nil
}

// Connect returns an in-process connection. Like every connection to the log it keeps no reconnect buffer,
// which would send mails long after their senders were told 451.
func (s *Server) Connect(more ...nats.Option) (*nats.Conn, error) {
	opts := []nats.Option{nats.InProcessServer(s.server), nats.MaxReconnects(-1), nats.ReconnectBufSize(-1)}
	if s.opts.Token != "" {
		opts = append(opts, nats.Token(s.opts.Token))
	}
	nc, err := nats.Connect("", append(opts, more...)...)
	if err != nil {
		return nil, fmt.Errorf("connecting to the embedded NATS server: %w", err)
	}
	return nc, nil
}

// URL is where other processes reach the server, the token in it.
func (s *Server) URL() string {
	u := url.URL{Scheme: "nats", Host: s.server.Addr().String()}
	if s.opts.Token != "" {
		u.User = url.User(s.opts.Token)
	}
	return u.String()
}

// Durability is what an acknowledgement of this server is worth, as pkg/stream names it. (A string: the tests
// of pkg/stream use this package.)
func (s *Server) Durability() string {
	if s.opts.NoSync {
		return "r1-unsynced"
	}
	return "r1-synced"
}

// Shutdown stops the server after it has written its state; connections end.
func (s *Server) Shutdown() {
	s.server.Shutdown()
	s.server.WaitForShutdown()
}
