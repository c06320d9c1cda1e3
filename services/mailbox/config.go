package mailbox

import (
	"errors"
	"fmt"
	"time"

	"github.com/sluice-mail/sluice/pkg/env"
	"github.com/sluice-mail/sluice/services/internal/reading"
	"github.com/sluice-mail/sluice/services/internal/token"
)

// Config is what the mailbox service can be told; see -help.
type Config struct {
	Addr    env.Addr  `envconfig:"MAILBOX_ADDR" default:":8025" desc:"the inbox over HTTP: pages and API"`
	Access  string    `envconfig:"MAILBOX_ACCESS" default:"token" oneof:"open token" desc:"open: who knows an address reads and deletes its mail; token: who shows a token for it"`
	Secret  string    `envconfig:"MAILBOX_SECRET" secret:"true" desc:"what tokens are signed by, 32 bytes at least; several separated by commas: the first signs, all are accepted"`
	Hosts   env.List  `envconfig:"MAILBOX_HOSTS" desc:"names under which browsers reach the inbox, or *; addresses and localhost always work"`
	Proxies env.CIDRs `envconfig:"MAILBOX_TRUSTED_PROXIES" desc:"networks of load balancers whose X-Forwarded-For and X-Forwarded-Proto are believed"`
	Rate    int       `envconfig:"MAILBOX_RATE" default:"50" min:"0" desc:"requests per second of one IPv4 address or /64, four times as many at once; 0 is no limit"`
	Waiting int       `envconfig:"MAILBOX_WAITING" default:"500" min:"0" desc:"event streams and long polls of one IPv4 address or /64 at the same time; 0 is no limit"`

	DrainDelay time.Duration `envconfig:"MAILBOX_DRAIN_DELAY" default:"5s" min:"0s" desc:"at the stop: how long a load balancer gets to notice before the listener closes"`

	Naming reading.Naming
}

// Validate checks what goes together.
func (c *Config) Validate() error {
	var problems []error
	if c.Addr == "" {
		problems = append(problems, errors.New("MAILBOX_ADDR is off: then nothing is served; allowed: host:port or :port"))
	}
	if _, err := c.Naming.Names(); err != nil {
		problems = append(problems, err)
	}
	if c.Access == "token" {
		if _, err := token.ParseKeys(c.Secret); err != nil {
			problems = append(problems, fmt.Errorf("MAILBOX_SECRET: %w; MAILBOX_ACCESS=token needs one, MAILBOX_ACCESS=open does not", err))
		}
	}
	return errors.Join(problems...)
}
