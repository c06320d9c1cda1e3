package obs

import (
	"expvar"
	"fmt"
	"net"
	"net/http"
	"net/http/pprof"
	"runtime"
)

// ListenDebug opens the listener for DebugHandler. Profiles show memory, so it is the loopback interface or nothing.
func ListenDebug(addr string) (net.Listener, error) {
	host, _, err := net.SplitHostPort(addr)
	if ip := net.ParseIP(host); err != nil || (host != "localhost" && (ip == nil || !ip.IsLoopback())) {
		return nil, fmt.Errorf("DEBUG_ADDR=%q: profiles are only served on a loopback address; allowed: 127.0.0.1:6060, off", addr)
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("listening on DEBUG_ADDR=%s: %w", addr, err)
	}
	return l, nil
}

// mutexProfileFraction: one in so many contended locks is recorded.
const mutexProfileFraction = 100

// DebugHandler serves /debug/pprof/ and /debug/vars. It switches the recording of lock contention on, which costs a
// little: that is why it happens here and not in every process.
func DebugHandler() http.Handler {
	runtime.SetMutexProfileFraction(mutexProfileFraction)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	mux.Handle("GET /debug/vars", expvar.Handler())
	return mux
}
