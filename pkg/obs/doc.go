// Package obs is what every Sluice process shows of itself: its log (log.go), its version (version.go), its metrics
// (metrics.go), its health (health.go), all but the first on the admin listener (admin.go), and, only when asked for
// and only on the loopback interface, profiles (debug.go).
//
// There is no tracing yet: the log carries a traceparent header already, nothing here exports spans.
package obs
