package fleet

import (
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
)

// FreeAddr is a loopback address that nobody listens on and no other call returns soon, in any process. Whoever gets it may
// listen on it much later, and again after restarts; so it is none of the ports that Linux gives to connections (32768 and up).
func FreeAddr() string { return given.next() }

var given = newAddrs()

const (
	lowestPort = 20_000
	blockSize  = 25
	blocks     = 400
)

// addrs gives out ports, block after block. A block is that of the process that listens on its first port, until that process
// ends. Without this, of two test runs beside each other the services of one found the log of the other on a port that its
// own log was still to listen on.
type addrs struct {
	mu     sync.Mutex
	look   int            // the block that is tried next
	left   int            // blocks that were not tried yet
	owned  []int          // the first ports of its blocks, that in use last
	guards []net.Listener // on them
	used   int            // ports of the last one that are given out, the first included
}

func newAddrs() *addrs { return &addrs{look: rand.IntN(blocks), left: blocks, used: blockSize} }

func (p *addrs) next() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	for range blocks * blockSize {
		if p.used == blockSize && !p.claim() {
			break
		}
		addr := loopback(p.owned[len(p.owned)-1] + p.used)
		p.used++
		if l, err := net.Listen("tcp", addr); err == nil {
			_ = l.Close()
			return addr
		}
	}
	return loopback(0) // what is wrong will be said by the one who listens on it
}

// claim takes another block; when none is left, the one again that was used up first.
func (p *addrs) claim() bool {
	for ; p.left > 0; p.left-- {
		first := lowestPort + p.look*blockSize
		p.look = (p.look + 1) % blocks
		if l, err := net.Listen("tcp", loopback(first)); err == nil {
			p.guards, p.owned, p.used = append(p.guards, l), append(p.owned, first), 1
			p.left--
			return true
		}
	}
	if len(p.owned) == 0 {
		return false
	}
	p.owned, p.used = append(p.owned[1:], p.owned[0]), 1
	return true
}

func loopback(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }
