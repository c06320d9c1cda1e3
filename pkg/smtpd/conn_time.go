package smtpd

import "time"

// stackFor is how long a connection waits on the stack its last command has grown before it moves to a fresh one.
const stackFor = time.Second

// armWait sets the deadline of the wait that follows.
func (c *conn) armWait() error {
	now := c.now()
	end := c.deadline()
	if c.phase != phaseResting {
		end = min(end, now+c.srv.stackFor)
	}
	return c.arm(now, end)
}

// ranOut is called when a wait ended without input. Either the client's time is over (errTimeout), or it is time for a
// fresh stack (errFreshStack), or the wait must continue: its deadline was outdated, or it was woken up.
func (c *conn) ranOut() error {
	now := c.now()
	switch {
	case now >= c.deadline():
		return errTimeout
	case c.phase != phaseResting && now >= max(c.idleSince, c.lastByte)+c.srv.stackFor:
		c.phase = phaseResting
		return errFreshStack
	}
	return c.beforeWait()
}

// deadline is when the client's time is over. While waiting for a command it is counted from the last reply, not from the
// last byte, so that single bytes do not keep a connection alive.
func (c *conn) deadline() time.Duration {
	t := &c.srv.cfg.Timeouts
	end := time.Duration(1<<63 - 1)
	if c.dataSince != 0 {
		end = min(c.dataSince+t.DataTotal, c.dataDue)
	}
	if c.sess.InData() {
		return end
	}
	idle := t.Idle
	if c.tls != nil && c.mails > 0 && !c.sess.InTransaction() {
		idle = t.IdleAfterTLS
	}
	if c.srv.overloaded.Load() {
		idle = min(idle, t.IdleOverload)
	}
	return min(end, c.idleSince+idle)
}

// trackData measures the time of the mail that is being received: from the request for its first byte, through all BDAT chunks
// and the commands between them, to its end. A mail that is read only to be discarded is measured too.
func (c *conn) trackData(consumed int) {
	switch {
	case c.dataSince != 0 && (c.sess.InData() || c.delivery != nil):
		c.payData(consumed)
	case c.dataSince != 0:
		c.dataSince = 0
	case c.sess.InData():
		c.beginData()
	}
}

func (c *conn) beginData() {
	c.dataSince = c.now()
	c.dataDue = c.dataSince + c.srv.cfg.Timeouts.DataGrace
}

// payData extends the deadline by the time that the bytes may take at the slowest rate, but to no later than DataBlock after
// the last byte. So a fast beginning does not allow hours of almost no data.
func (c *conn) payData(bytes int) {
	t := &c.srv.cfg.Timeouts
	c.dataDue = min(c.dataDue+time.Duration(bytes)*time.Second/time.Duration(t.DataRate), max(c.lastByte, c.dataSince)+t.DataBlock)
}
