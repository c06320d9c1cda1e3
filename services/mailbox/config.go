package mailbox

import (
	"errors"
	"fmt"
	"time"

	"github.com/sluice-mail/sluice/pkg/env"
	"github.com/sluice-mail/sluice/services/internal/reading"
	"github.com/sluice-mail/sluice/services/internal/token"
)

// Config is the configuration of the mailbox service; see -help.
type Config struct {
	Addr    env.Addr  `envconfig:"MAILBOX_ADDR" default:":8025" desc:"the inbox over HTTP: pages and API"`
	Access  string    `envconfig:"MAILBOX_ACCESS" default:"token" oneof:"open token" desc:"open: whoever knows an address can read and delete its mail; token: only with a token for it"`
	Secret  string    `envconfig:"MAILBOX_SECRET" secret:"true" desc:"secret that signs tokens, at least 32 bytes; several, separated by commas: the first signs, all are accepted"`
	Hosts   env.List  `envconfig:"MAILBOX_HOSTS" desc:"host names under which browsers reach the inbox, or *; IP addresses and localhost always work"`
	Proxies env.CIDRs `envconfig:"MAILBOX_TRUSTED_PROXIES" desc:"networks of load balancers whose X-Forwarded-For and X-Forwarded-Proto are used"`
	Rate    int       `envconfig:"MAILBOX_RATE" default:"50" min:"0" desc:"requests per second from one IPv4 address or IPv6 /64, with bursts of four times as many; 0 is no limit"`
	Waiting int       `envconfig:"MAILBOX_WAITING" default:"500" min:"0" desc:"concurrent event streams and long polls from one IPv4 address or IPv6 /64; 0 is no limit"`

	DrainDelay time.Duration `envconfig:"MAILBOX_DRAIN_DELAY" default:"5s" min:"0s" desc:"when stopping, how long to keep accepting connections, so that the load balancer notices first"`

	Naming reading.Naming // how an address becomes a mailbox; as in the ingress
}

// Validate checks what goes together.
func (c *Config) Validate() error {
	var problems []error
	if c.Addr == "" {
		problems = append(problems, errors.New("MAILBOX_ADDR is off, so nothing would be served; allowed: host:port or :port"))
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
