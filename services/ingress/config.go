package ingress

import (
	"cmp"
	"crypto/tls"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/sluice-mail/sluice/pkg/env"
	"github.com/sluice-mail/sluice/pkg/policy"
	"github.com/sluice-mail/sluice/pkg/smtp"
	"github.com/sluice-mail/sluice/pkg/smtpd"
	"github.com/sluice-mail/sluice/pkg/smtpd/spool"
)

// Config is the configuration of the ingress; see -help.
type Config struct {
	Addr    env.Addrs `envconfig:"INGRESS_ADDR" default:":2525" desc:"plain SMTP, with STARTTLS when there is a certificate; without a host: all IPv6 and IPv4 addresses"`
	TLSAddr env.Addrs `envconfig:"INGRESS_TLS_ADDR" desc:"SMTP with TLS from the first byte; off when empty"`
	TLSCert string    `envconfig:"INGRESS_TLS_CERT" desc:"PEM file with the certificate chain; read again when it changes"`
	TLSKey  string    `envconfig:"INGRESS_TLS_KEY" desc:"PEM file with the certificate's private key"`
	TLSDir  string    `envconfig:"INGRESS_TLS_DIR" desc:"directory of certificates for clients that ask for a name (SNI): NAME.crt and NAME.key, or NAME/fullchain.pem and NAME/privkey.pem"`
	TLSMin  string    `envconfig:"INGRESS_TLS_MIN_VERSION" default:"1.2" oneof:"1.2 1.3" desc:"oldest TLS version that is accepted"`

	Hostname   string   `envconfig:"INGRESS_HOSTNAME" desc:"host name in the banner and in Received; when empty, the machine's name"`
	Domains    env.List `envconfig:"INGRESS_DOMAINS" required:"true" desc:"accepted domains: example.com,*.example.net, or *"`
	Primary    string   `envconfig:"INGRESS_PRIMARY_DOMAIN" desc:"when set, every accepted domain is an alias: the mailbox is the local part at this domain"`
	Recipients string   `envconfig:"INGRESS_RECIPIENTS" default:"any" oneof:"any kv" desc:"kv: only recipients in the policy bucket (sluicectl recipients)"`
	Delimiter  string   `envconfig:"INGRESS_RECIPIENT_DELIMITER" desc:"with +, mail to ann+x goes to mailbox ann, and the envelope keeps ann+x; of several characters each is a delimiter"`
	RejectText string   `envconfig:"INGRESS_REJECT_TEXT" desc:"a line that is added to every refusal, for example a URL or an address for questions"`

	MaxMessageBytes env.Bytes `envconfig:"INGRESS_MAX_MESSAGE_BYTES" default:"25MiB" min:"64KiB" max:"256MiB" desc:"largest mail, advertised as SIZE"`
	MaxRcpts        int       `envconfig:"INGRESS_MAX_RCPTS" default:"100" min:"100" desc:"recipients of one mail"`
	MaxMails        int       `envconfig:"INGRESS_MAX_MAILS" default:"0" min:"0" desc:"mails on one connection; 0 is no limit"`

	MaxConns       int       `envconfig:"INGRESS_MAX_CONNS" default:"10000" min:"1" desc:"connections in total"`
	MaxConnsPerIP  int       `envconfig:"INGRESS_MAX_CONNS_PER_IP" default:"50" min:"0" desc:"connections from one address; 0 is no limit"`
	MaxConnsPerNet int       `envconfig:"INGRESS_MAX_CONNS_PER_NET" default:"200" min:"0" desc:"connections from one IPv4 /24 or IPv6 /64; 0 is no limit"`
	ConnRate       int       `envconfig:"INGRESS_CONN_RATE" default:"0" min:"0" desc:"new connections per minute from one IPv4 address or IPv6 /64; 0 is no limit"`
	LimitExempt    env.CIDRs `envconfig:"INGRESS_LIMIT_EXEMPT" default:"loopback" desc:"networks that are exempt from the limits per address"`

	IdleTimeout    time.Duration `envconfig:"INGRESS_IDLE_TIMEOUT" default:"5m" min:"10s" desc:"longest wait for a client's next command; RFC 5321 asks for at least five minutes"`
	MaxErrors      int           `envconfig:"INGRESS_MAX_ERRORS" default:"10" min:"1" desc:"number of protocol errors since the last accepted mail that ends the connection"`
	MaxJunk        int           `envconfig:"INGRESS_MAX_JUNK" default:"50" min:"1" desc:"commands without a mail (NOOP, RSET, …) that are allowed; each further one counts as an error"`
	MaxRefusedRcpt int           `envconfig:"INGRESS_MAX_REFUSED_RCPTS" default:"100" min:"1" desc:"number of refused recipients since the last accepted mail that ends the connection"`

	DataTimeout  time.Duration `envconfig:"INGRESS_DATA_TIMEOUT" default:"60m" min:"1s" desc:"longest time the transfer of one mail may take"`
	MemoryBudget env.Bytes     `envconfig:"INGRESS_MEMORY_BUDGET" default:"256MiB" min:"1MiB" desc:"memory for mails that are being received; beyond it they are kept in files"`
	SpoolDir     string        `envconfig:"INGRESS_SPOOL_DIR" desc:"directory for those files; when empty, the system's temporary directory"`
	SpoolMax     env.Bytes     `envconfig:"INGRESS_SPOOL_MAX" default:"4GiB" desc:"total size of those files; when it is reached, stalled uploads are ended (421) and large mail gets 452"`

	ProxyProtocol  string    `envconfig:"INGRESS_PROXY_PROTOCOL" default:"off" oneof:"off require" desc:"require: every connection starts with a PROXY v1 or v2 header"`
	TrustedProxies env.CIDRs `envconfig:"INGRESS_TRUSTED_PROXIES" desc:"networks from which a PROXY header is accepted"`
	XClientFrom    env.CIDRs `envconfig:"INGRESS_XCLIENT_FROM" desc:"networks that may use XCLIENT"`
	BareLF         string    `envconfig:"INGRESS_BARE_LF" default:"accept" oneof:"accept reject" desc:"a line feed without carriage return: accept (stored as sent, flagged) or reject (550)"`

	DrainDelay time.Duration `envconfig:"INGRESS_DRAIN_DELAY" default:"10s" min:"0s" desc:"when stopping, how long to keep accepting connections, so that the load balancer notices first"`
}

// maxRejectText bounds how much a client can make the server send by pipelining invalid commands.
const maxRejectText = 200

// Validate checks rules that involve several variables.
func (c Config) Validate() error {
	var problems []error
	if (c.TLSCert == "") != (c.TLSKey == "") {
		problems = append(problems, errors.New("INGRESS_TLS_CERT and INGRESS_TLS_KEY go together: one of them is not set"))
	}
	if len(c.TLSAddr) > 0 && c.TLSCert == "" && c.TLSDir == "" {
		problems = append(problems, errors.New("INGRESS_TLS_ADDR needs INGRESS_TLS_CERT and INGRESS_TLS_KEY, or INGRESS_TLS_DIR"))
	}
	if c.ProxyProtocol == "require" && len(c.TrustedProxies) == 0 {
		problems = append(problems, errors.New("INGRESS_PROXY_PROTOCOL=require needs INGRESS_TRUSTED_PROXIES: nobody could connect otherwise"))
	}
	if strings.Trim(c.Delimiter, "+-_=#~^*/.") != "" {
		problems = append(problems, fmt.Errorf("INGRESS_RECIPIENT_DELIMITER=%q; allowed: one or more of + - . _ = # ~ ^ * /", c.Delimiter))
	}
	if len(c.RejectText) > maxRejectText || strings.ContainsFunc(c.RejectText, func(r rune) bool { return r < ' ' || r > '~' }) {
		problems = append(problems, fmt.Errorf("INGRESS_REJECT_TEXT is not one line of printable ASCII of up to %d characters", maxRejectText))
	}
	return errors.Join(problems...)
}

func (c Config) hostname() string {
	name, _ := os.Hostname()
	return cmp.Or(c.Hostname, name, "localhost")
}

// noLimit converts 0, which means "no limit" in the variables, to a negative value, which means it in smtpd.Config.
func noLimit(n int) int {
	if n == 0 {
		return -1
	}
	return n
}

func (c Config) server(pii bool) smtpd.Config {
	s := smtpd.Config{
		Hostname:        c.hostname(),
		MaxMessageBytes: int64(c.MaxMessageBytes),
		MaxRcpts:        c.MaxRcpts,
		MaxMails:        c.MaxMails,
		MaxConns:        c.MaxConns,
		MaxConnsPerIP:   noLimit(c.MaxConnsPerIP),
		MaxConnsPerNet:  noLimit(c.MaxConnsPerNet),
		ConnRate:        c.ConnRate,
		LimitExempt:     c.LimitExempt,
		TrustedProxies:  c.TrustedProxies,
		XClientFrom:     c.XClientFrom,
		TLSCert:         c.TLSCert,
		TLSKey:          c.TLSKey,
		TLSDir:          c.TLSDir,
		Timeouts:        smtpd.Timeouts{Idle: c.IdleTimeout, DataTotal: c.DataTimeout},
		MaxErrors:       c.MaxErrors,
		MaxJunk:         c.MaxJunk,
		MaxRefusedRcpts: c.MaxRefusedRcpt,
		RejectText:      c.RejectText,
		LogPII:          pii,
	}
	if c.TLSMin == "1.3" {
		s.TLSMinVersion = tls.VersionTLS13
	}
	if c.ProxyProtocol == "require" {
		s.ProxyProtocol = smtpd.ProxyRequire
	}
	if c.BareLF == "reject" {
		s.BareLF = smtp.BareLFReject
	}
	return s
}

func (c Config) spool() spool.Config {
	return spool.Config{Dir: c.SpoolDir, Memory: int64(c.MemoryBudget), MaxDisk: int64(c.SpoolMax)}
}

func (c Config) policy() policy.Config {
	return policy.Config{Domains: c.Domains, PrimaryDomain: c.Primary, Hostname: c.hostname(), Mode: policy.Mode(c.Recipients), Live: true, Literals: ownAddresses(), Delimiters: c.Delimiter}
}
