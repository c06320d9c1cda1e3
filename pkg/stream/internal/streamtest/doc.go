// Package streamtest is what the tests of pkg/stream and of its rooms have in common: a log of their own in the process,
// mails in it, a handler that remembers, and servers that form a cluster. It does not import publish and dead, so that
// their internal tests can use it, too.
package streamtest
