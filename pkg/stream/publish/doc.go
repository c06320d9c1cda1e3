// Package publish writes mail to the log: Publisher for new mail, Copy for mail that the log has already.
package publish
