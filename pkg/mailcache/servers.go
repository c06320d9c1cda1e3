package mailcache

import (
	"hash/fnv"
	"net"
	"strings"
	"time"

	"github.com/bradfitz/gomemcache/memcache"
)

// server is one configured server. It is a net.Addr of its name, not of what the name resolved to once: each new
// connection looks the name up again.
type server struct {
	name    string
	index   int // among the servers
	hash    uint64
	breaker breaker
}

// Network implements net.Addr.
func (s *server) Network() string {
	if strings.Contains(s.name, "/") {
		return "unix"
	}
	return "tcp"
}

// String implements net.Addr.
func (s *server) String() string { return s.name }

// servers picks the server of a key by rendezvous hashing: when a server is added or removed, only the keys that move
// to it or were on it change places. (gomemcache's own way, a remainder, moves three of four.)
type servers []*server

func newServers(names []string, now func() time.Time) servers {
	var list servers
	for _, name := range names {
		if name = strings.TrimSpace(name); name != "" {
			list = append(list, &server{name: name, index: len(list), hash: hash(name), breaker: breaker{now: now}})
		}
	}
	return list
}

func hash(s string) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(s)) // never fails
	return h.Sum64()
}

func (l servers) pick(key string) *server {
	var best *server
	var most uint64
	k := hash(key)
	for _, s := range l {
		if weight := mix(k ^ s.hash); best == nil || weight > most {
			best, most = s, weight
		}
	}
	return best
}

// mix is the finaliser of SplitMix64: without it similar names would give similar weights.
func mix(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// PickServer implements memcache.ServerSelector.
func (l servers) PickServer(key string) (net.Addr, error) {
	if s := l.pick(key); s != nil {
		return s, nil
	}
	return nil, memcache.ErrNoServers
}

// Each implements memcache.ServerSelector.
func (l servers) Each(fn func(net.Addr) error) error {
	for _, s := range l {
		if err := fn(s); err != nil {
			return err
		}
	}
	return nil
}
