package stream

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go"
)

// minServer: atomic batches share their fsyncs since 2.15.0; 2.15.1 repaired consumers that could skip messages.
const minServer = "2.15.1"

// checkServer refuses a server that is too old to keep the promises.
func checkServer(nc *nats.Conn) error {
	have := nc.ConnectedServerVersion()
	if have == "" {
		return errors.New("ensuring the log's streams: the log is unavailable: not connected to it")
	}
	if older(have, minServer) {
		return fmt.Errorf("the NATS server at %s is version %s; Sluice needs %s or newer", redact(nc.ConnectedUrl()), have, minServer)
	}
	return nil
}

// older compares versions by their numbers; a pre-release counts as its release.
func older(a, b string) bool {
	x, y := numbers(a), numbers(b)
	for i := range x {
		if x[i] != y[i] {
			return x[i] < y[i]
		}
	}
	return false
}

func numbers(version string) (n [3]int) {
	version, _, _ = strings.Cut(strings.TrimPrefix(version, "v"), "-")
	for i, s := range strings.SplitN(version, ".", 3) {
		n[i], _ = strconv.Atoi(s)
	}
	return n
}
