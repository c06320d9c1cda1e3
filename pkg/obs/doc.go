// Package obs lets operators observe a Sluice process. It writes the log (log.go), and serves version (version.go), metrics
// (metrics.go) and health (health.go) on the admin listener (admin.go). Profiles (debug.go) are served only when configured, and
// only on the loopback interface.
//
// There is no tracing yet: envelopes carry a traceparent already, but nothing exports spans.
package obs
