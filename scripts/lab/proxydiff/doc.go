// Package proxydiff compares our PROXY protocol parser with github.com/pires/go-proxyproto on mutated headers.
// It holds only a test: go test ./proxydiff (from scripts/lab, with GOWORK=off).
package proxydiff
