package smtpd

import (
	"context"
	"time"

	"github.com/sluice-mail/sluice/pkg/smtp"
)

// handle does what the session asks for. An error ends the connection.
func (c *conn) handle(ev smtp.Event) error {
	switch ev.Kind {
	case smtp.EventNone:
	case smtp.EventMail:
		c.answer("", c.ask(c.beginTransaction))
	case smtp.EventRcpt:
		c.busy.Store(c.srv.tick.Load())
		mailbox, err := c.srv.policy.Rcpt(c.srv.base, c.tx, ev.Rcpt)
		c.busy.Store(0)
		c.answer(mailbox, err)
	case smtp.EventBegin:
		c.answer("", c.ask(c.beginDelivery))
	case smtp.EventData:
		c.data(ev.Span)
	case smtp.EventEnd:
		return c.commit()
	case smtp.EventAbort:
		result := resultAborted
		if ev.Refused.Code != 0 {
			result = resultOf(ev.Refused)
		}
		c.abort(result)
	case smtp.EventStartTLS:
		if c.srv.handshakesBusy() {
			c.srv.metrics.handshakes.WithLabelValues("busy").Inc()
			c.sess.Reject(smtp.ReplyTLSBusy)
			break
		}
		c.sess.Accept("")
		c.phase = phaseUpgrading // after what else is in the input was refused and the reply is written
	case smtp.EventXClient:
		return c.changeClient()
	case smtp.EventClose:
		return errOver
	}
	return nil
}

func (c *conn) answer(arg string, err error) {
	if err != nil {
		c.sess.Reject(err)
		return
	}
	c.sess.Accept(arg)
}

// ask calls into the sink with the watchdog looking on.
func (c *conn) ask(question func() error) error {
	c.busy.Store(c.srv.tick.Load())
	err := question()
	c.busy.Store(0)
	return err
}

func (c *conn) beginTransaction() error {
	if c.role == roleCheck {
		return smtp.ReplyNoClient // no limit has counted it: it would be free to send what it likes
	}
	c.tx = &Transaction{Peer: c.sess.Peer(), Envelope: c.sess.Envelope(), wake: c.wake}
	if err := c.srv.policy.Mail(c.srv.base, c.tx); err != nil {
		return err
	}
	return c.srv.sink.Ready()
}

func (c *conn) beginDelivery() error {
	d, err := c.srv.sink.Begin(c.tx)
	if err != nil {
		return err
	}
	c.delivery, c.size = d, 0
	c.beginData()
	return nil
}

// data hands a span of the mail to the sink.
func (c *conn) data(span []byte) {
	if c.delivery == nil {
		return // the sink failed before; the session reads the rest away
	}
	c.size += int64(len(span))
	c.busy.Store(c.srv.tick.Load())
	err := c.delivery.Write(span)
	c.busy.Store(0)
	if err != nil {
		c.failMail(err)
	}
}

// failMail drops the mail on its way; the client hears err after its end, or at once when err is a 421.
func (c *conn) failMail(err error) {
	c.abort(resultOf(err))
	c.sess.Fail(err)
}

// commit makes the mail durable before the client hears 250.
func (c *conn) commit() error {
	if err := c.flush(); err != nil { // the commit takes time, earlier replies need not wait for it
		c.abort(resultAborted)
		return err
	}
	if err := c.tx.dropped(); err != nil {
		c.abort(resultOf(err))
		c.sess.Reject(err)
		return nil
	}
	d := c.delivery
	c.delivery = nil
	began := c.dataSince
	c.srv.metrics.dataDuration.Observe((c.now() - began).Seconds())
	env := c.sess.Envelope()
	ctx, cancel := context.WithTimeout(c.srv.base, c.srv.cfg.Timeouts.Commit)
	c.busy.Store(c.srv.tick.Load())
	id, err := d.Commit(ctx, c.sess.Flags())
	c.busy.Store(0)
	cancel()
	if err != nil {
		c.srv.metrics.message(resultOf(err))
		c.logFailed(env, err)
		c.sess.Reject(err)
		return nil
	}
	c.mails++
	c.srv.metrics.message(resultAccepted)
	c.srv.metrics.messageSize.Observe(float64(c.size))
	c.logAccepted(env, id, c.now()-began)
	c.sess.Accept(id)
	return nil
}

// abort drops the mail on its way, if there is one.
func (c *conn) abort(result messageResult) {
	if c.delivery == nil {
		return
	}
	d := c.delivery
	c.delivery = nil
	c.srv.metrics.message(result)
	d.Abort()
}

// messageResult is a label value of sluice_smtp_messages_total.
type messageResult string

const (
	resultAccepted messageResult = "accepted"
	resultRejected messageResult = "rejected"
	resultTempfail messageResult = "tempfail"
	resultAborted  messageResult = "aborted"
)

func resultOf(err error) messageResult {
	if smtp.Refusal(err).Code/100 == 5 {
		return resultRejected
	}
	return resultTempfail
}

// changeClient moves the counts of a connection to the address XCLIENT gave it.
func (c *conn) changeClient() error {
	if c.counted.IsValid() {
		c.srv.limits.LeaveClient(c.counted)
	}
	if limit := c.enterClient(c.sess.Peer().Client.Addr(), time.Now()); limit != "" {
		return c.refuse(limit)
	}
	return nil
}
