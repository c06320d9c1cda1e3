// Package publish writes mail to the log: Publisher writes new mail, Copy writes mail that is in the log once more, for example
// as a dead letter.
package publish
