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

// ranOut is called when a wait ended without input: the client's time is up (errTimeout), it is time for a
// fresh stack (errFreshStack), or the wait ended early and goes on: its deadline was an old one, or a wake-up.
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

// deadline is when the client's time is up. Waiting for a command it counts from the last reply, not from the
// last byte: a byte now and then keeps nothing alive.
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

// trackData keeps the clock of the mail on its way: from the first byte asked for, through all BDAT chunks and the
// commands between them, to the end of what is being read (or read and thrown away).
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

// payData: bytes buy the time they may take at the slowest rate. What they buy is good for DataBlock at most, so that a
// fast beginning does not pay for hours of next to nothing.
func (c *conn) payData(bytes int) {
	t := &c.srv.cfg.Timeouts
	c.dataDue = min(c.dataDue+time.Duration(bytes)*time.Second/time.Duration(t.DataRate), max(c.lastByte, c.dataSince)+t.DataBlock)
}
