// Package mailv1 is the envelope of a mail as it travels through the log, generated from envelope.proto; see
// proto/README.md.
package mailv1
