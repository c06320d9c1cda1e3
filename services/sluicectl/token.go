package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/sluice-mail/sluice/pkg/env"
	"github.com/sluice-mail/sluice/pkg/policy"
	"github.com/sluice-mail/sluice/services/internal/process"
	"github.com/sluice-mail/sluice/services/internal/token"
)

// issued is what token --json prints.
type issued struct {
	Token     string    `json:"token"`
	Expires   time.Time `json:"expires"`
	Mailboxes []string  `json:"mailboxes,omitempty"`
	Domains   []string  `json:"domains,omitempty"`
	Delete    bool      `json:"delete"`
}

func (c *ctl) token(_ context.Context, e *process.Env) error {
	f := newFlags(e, "token", "--mailbox ADDRESS[,…] | --domain DOMAIN[,…] [--for 24h] [--delete]",
		"Creates a token with which its holder can read mailboxes over HTTP. It is signed by the first secret of MAILBOX_SECRET, which\nmust be the same as the mailbox services'. A token cannot be revoked before it expires, except by changing the secret.")
	mailboxes := f.String("mailbox", "", "the mailboxes' `addresses`, separated by commas")
	domains := f.String("domain", "", "`domains`, separated by commas: all their mailboxes")
	life := f.Duration("for", 24*time.Hour, "how long the token is valid; 90 days at most")
	del := f.Bool("delete", false, "also allow deleting mail")
	if _, err := f.parse(e.Args, 0, 0); err != nil {
		return err
	}
	answer := issued{Expires: time.Now().Add(*life).UTC().Truncate(time.Second), Delete: *del}
	var err error
	if answer.Mailboxes, err = each(*mailboxes, c.mailbox); err != nil {
		return err
	}
	if answer.Domains, err = each(*domains, policy.NormaliseDomain); err != nil {
		return err
	}
	if len(answer.Mailboxes)+len(answer.Domains) == 0 {
		return fmt.Errorf("%w: --mailbox or --domain is missing", process.ErrUsage)
	}
	keys, err := token.ParseKeys(c.cfg.Secret)
	if err != nil {
		return fmt.Errorf("MAILBOX_SECRET: %w", err)
	}
	claims := token.Claims{Mailboxes: answer.Mailboxes, Domains: answer.Domains, Do: []token.Right{token.Read}}
	if *del {
		claims.Do = append(claims.Do, token.Delete)
	}
	if answer.Token, err = keys.Sign(claims, *life, time.Now()); err != nil {
		return err
	}
	return f.print(answer, func(w io.Writer) { fmt.Fprintln(w, answer.Token) })
}

// each reads a list separated by commas.
func each(text string, one func(string) (string, error)) (all []string, err error) {
	var list env.List
	if err := list.Decode(text); err != nil {
		return nil, err
	}
	for _, entry := range list {
		normalised, err := one(entry)
		if err != nil {
			return nil, fmt.Errorf("%w: %q: %w", process.ErrUsage, entry, err)
		}
		all = append(all, normalised)
	}
	return all, nil
}

// mailbox returns the mailbox that an operator names.
func (c *ctl) mailbox(address string) (string, error) {
	names, err := c.cfg.Naming.Names()
	if err != nil {
		return "", err
	}
	mailbox, err := names.Mailbox(address)
	if err != nil {
		return "", fmt.Errorf("%w: %q is not a mail address", process.ErrUsage, address)
	}
	return mailbox, nil
}
