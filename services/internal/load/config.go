package load

import (
	"errors"
	"flag"
	"fmt"
	"strings"
	"time"
)

// Config says what to send where. The zero value sends 1,000 mails of 4 KB to 127.0.0.1:2525 over one
// connection.
type Config struct {
	To    string  // host:port of the SMTP server; nothing else is ever connected to
	Rate  float64 // mails per second, all connections together; 0 = as fast as the server answers
	Conns int     // number of connections, kept open between mails

	// The run ends when Count mails were tried or Duration has passed. Count is 1,000 when both are zero.
	Count    uint64        // mails; 0: no limit
	Duration time.Duration // 0: no limit

	Seed  uint64 // mails are a function of Seed, their number and the four fields below
	First uint64 // number of the first mail, so that a second run can send other mails
	Sizes Sizes  // in bytes, with weights
	Rcpts Range  // recipients per mail

	Mailboxes int      // number of mailboxes that the recipients are spread over
	Domains   []string // domains of the recipients

	Record   string        // file to append the Acks to; empty = none
	StartTLS bool          // the certificate is not checked: test servers sign their own
	Resend   int           // how often a mail that got 4xx or was cut off is tried again; each try has its Ack
	Timeout  time.Duration // for one answer; longer than the server's 60 s for a commit
	Outage   time.Duration // the run ends when a connection cannot be opened again for this long
}

// Flags defines the command line's flags for the configuration, with its values as defaults.
func (c *Config) Flags(fs *flag.FlagSet) {
	d := c.withDefaults()
	*c = d
	c.Count = 0 // stays unset unless given, so that -duration alone bounds the run
	fs.StringVar(&c.To, "to", d.To, "`address` of the SMTP server")
	fs.Float64Var(&c.Rate, "rate", d.Rate, "mails per second, 0 = as fast as possible")
	fs.IntVar(&c.Conns, "conns", d.Conns, "connections")
	fs.Uint64Var(&c.Count, "count", 0, "mails to send (1000 when there is no -duration either)")
	fs.DurationVar(&c.Duration, "duration", d.Duration, "how long to send")
	fs.Uint64Var(&c.Seed, "seed", d.Seed, "same seed, same mails")
	fs.Uint64Var(&c.First, "first", d.First, "number of the first mail")
	fs.Var(&c.Sizes, "sizes", "`sizes` like 4KB, 1KB-10MB or 4KB:9,200KB:1 (weights)")
	fs.Var(&c.Rcpts, "rcpts", "recipients per mail, `n` or n-m")
	fs.IntVar(&c.Mailboxes, "mailboxes", d.Mailboxes, "mailboxes to spread the mail over")
	fs.Func("domains", "recipients' `domains`, separated by commas (default "+strings.Join(d.Domains, ",")+")", func(s string) error {
		c.Domains = strings.Split(s, ",")
		return nil
	})
	fs.StringVar(&c.Record, "record", d.Record, "`file` to append the answers to, as JSON lines")
	fs.BoolVar(&c.StartTLS, "starttls", d.StartTLS, "use STARTTLS")
	fs.IntVar(&c.Resend, "resend", d.Resend, "tries after a 4xx answer or a cut connection")
	fs.DurationVar(&c.Timeout, "timeout", d.Timeout, "for one answer")
	fs.DurationVar(&c.Outage, "outage", d.Outage, "stop when there has been no connection for this long")
}

func (c *Config) withDefaults() Config {
	d := *c
	setDefault(&d.To, "127.0.0.1:2525")
	setDefault(&d.Conns, 1)
	setDefault(&d.Seed, 1)
	setDefault(&d.Rcpts, Range{1, 1})
	setDefault(&d.Mailboxes, 100)
	setDefault(&d.Timeout, 90*time.Second)
	setDefault(&d.Outage, 2*time.Minute)
	if d.Count == 0 && d.Duration == 0 {
		d.Count = 1000
	}
	if len(d.Sizes.choices) == 0 {
		d.Sizes = Sizes{choices: []sizeChoice{{4 << 10, 4 << 10, 1}}}
	}
	if len(d.Domains) == 0 {
		d.Domains = []string{"example.com"}
	}
	return d
}

func setDefault[T comparable](v *T, value T) {
	var zero T
	if *v == zero {
		*v = value
	}
}

func (c *Config) check() error {
	switch {
	case c.Rate < 0 || c.Rate > 1e6:
		return fmt.Errorf("rate is %v: want 0 to 1000000 mails per second", c.Rate)
	case c.Conns < 1 || c.Conns > 10000:
		return fmt.Errorf("conns is %d: want 1 to 10000", c.Conns)
	case c.Duration < 0 || c.Timeout < 0 || c.Outage < 0 || c.Resend < 0:
		return errors.New("duration, timeout, outage and resend cannot be negative")
	case c.Mailboxes < c.Rcpts.Max:
		return fmt.Errorf("mailboxes is %d: want at least the %d recipients of one mail", c.Mailboxes, c.Rcpts.Max)
	}
	for _, domain := range c.Domains {
		if domain == "" || strings.ContainsAny(domain, " @<>\r\n") {
			return fmt.Errorf("domain %q: want names like example.com", domain)
		}
	}
	return nil
}
