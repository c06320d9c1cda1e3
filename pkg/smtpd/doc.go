// Package smtpd is the SMTP server: it connects the protocol in package smtp to the network.
//
// Server has the listeners, the connections (one goroutine each, without a buffer while they wait), TLS, the PROXY
// protocol, deadlines, limits and draining. Each connection feeds one smtp.Session and carries out its events.
// Mail is written to a Sink; a Policy decides who may send to whom. The server stores nothing, parses no MIME
// and sends no mail.
package smtpd
