package main

import (
	"context"
	"fmt"
	"io"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluice-mail/sluice/pkg/policy"
	"github.com/sluice-mail/sluice/pkg/stream"
	"github.com/sluice-mail/sluice/services/internal/process"
)

// bucketList is a list kept in the policy bucket, which every ingress watches.
type bucketList struct {
	name, item, about string
	add, remove       func(context.Context, jetstream.KeyValue, string) (string, error)
	list              func(context.Context, jetstream.KeyValue) ([]string, error)
}

func (c *ctl) domains(ctx context.Context, e *process.Env) error {
	return c.edit(ctx, e, bucketList{"domains", "DOMAIN", "Domains that every ingress accepts in addition to INGRESS_DOMAINS; changes take effect within a second: example.com, *.example.net or *.",
		policy.AddDomain, policy.RemoveDomain, policy.ListDomains})
}

func (c *ctl) recipients(ctx context.Context, e *process.Env) error {
	return c.edit(ctx, e, bucketList{"recipients", "ADDRESS", "Recipients that an ingress with INGRESS_RECIPIENTS=kv accepts; changes take effect within a second.",
		policy.AddRecipient, policy.RemoveRecipient, policy.ListRecipients})
}

func (c *ctl) edit(ctx context.Context, e *process.Env, b bucketList) error {
	f := newFlags(e, b.name, fmt.Sprintf("ls | add %[1]s… | rm %[1]s…", b.item), b.about)
	args, err := f.parse(e.Args, 1, 10_000)
	if err != nil {
		return err
	}
	bucket, done, err := c.bucket(ctx, e)
	if err != nil {
		return err
	}
	defer done()
	change := map[string]func(context.Context, jetstream.KeyValue, string) (string, error){"add": b.add, "rm": b.remove}[args[0]]
	switch {
	case args[0] == "ls" && len(args) == 1:
		list, err := b.list(ctx, bucket)
		if err != nil {
			return fmt.Errorf("listing the %s: %w", b.name, err)
		}
		return f.print(list, func(w io.Writer) {
			for _, entry := range list {
				fmt.Fprintln(w, entry)
			}
		})
	case change != nil && len(args) > 1:
		for _, entry := range args[1:] {
			normalised, err := change(ctx, bucket, entry)
			if err != nil {
				return fmt.Errorf("%s %s %s: %w", b.name, args[0], entry, err)
			}
			fmt.Fprintf(e.Stdout, "%s %s\n", args[0], normalised)
		}
		return nil
	}
	return fmt.Errorf("%w: see sluicectl %s -help", process.ErrUsage, b.name)
}

// bucket opens the policy bucket. done closes the connection to it.
func (c *ctl) bucket(ctx context.Context, e *process.Env) (bucket jetstream.KeyValue, done func(), err error) {
	conn, err := c.connect(ctx, e)
	if err != nil {
		return nil, nil, err
	}
	js, err := jetstream.New(conn)
	if err == nil {
		bucket, err = js.KeyValue(ctx, stream.PolicyBucket)
	}
	if err != nil {
		conn.Close()
		return nil, nil, fmt.Errorf("opening the policy bucket (storer migrate creates it): %w", err)
	}
	return bucket, conn.Close, nil
}
