// Package smtpd is the driver around package smtp: it brings the protocol to the network.
//
// Server has the listeners, the connections (one goroutine each, and no buffer while they wait), TLS, the PROXY
// protocol, deadlines, limits and draining. Each connection feeds one smtp.Session and does what its events ask for.
// The mail goes to a Sink; who may send to whom is asked of a Policy. The server stores nothing, parses no MIME
// and sends no mail.
package smtpd
