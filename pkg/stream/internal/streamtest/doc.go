// Package streamtest has what the tests of pkg/stream and of its subpackages share: a private log inside the test process,
// mails in it, a handler that records its calls, and servers that form a cluster. It does not import publish or dead, so that
// their internal tests can use it too.
package streamtest
