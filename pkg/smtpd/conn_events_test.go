package smtpd

import "testing"

// What a client takes back was not refused.
func TestResultsOfMails(t *testing.T) {
	srv := start(t, Config{MaxMessageBytes: 1000}, new(memorySink))
	count := func(result messageResult) float64 {
		return valueOf(srv.metrics.messages.WithLabelValues(string(result)))
	}
	c := dial(t, srv.addr)
	c.hello()
	c.cmd("MAIL FROM:<a@sender.example>", "250")
	c.cmd("RCPT TO:<u@example.com>", "250")
	c.send("BDAT 1\r\nx")
	c.want("250")
	c.cmd("RSET", "250")
	if count(resultAborted) != 1 || count(resultRejected) != 0 {
		t.Errorf("RSET: %v aborted, %v rejected", count(resultAborted), count(resultRejected))
	}
	c.envelope()
	c.send("a bare\rCR\r\n.\r\n")
	c.want("550")
	if count(resultAborted) != 1 || count(resultRejected) != 1 {
		t.Errorf("bare CR: %v aborted, %v rejected", count(resultAborted), count(resultRejected))
	}
}
