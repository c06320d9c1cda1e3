package main

import (
	"context"
	"fmt"
	"os"
	"os/user"
	"strings"
	"time"

	"github.com/sluice-mail/sluice/pkg/audit"
	"github.com/sluice-mail/sluice/pkg/stream"
	"github.com/sluice-mail/sluice/pkg/stream/tombstone"
	"github.com/sluice-mail/sluice/services/internal/process"
)

// accept records that the operator accepts the loss of a mail, or of a range of a stream.
func (c *ctl) accept(ctx context.Context, e *process.Env, args []string, gap, why string) error {
	if args[0] != "accept" || (len(args) == 2) == (gap != "") {
		return fmt.Errorf("%w: accept takes an id or --gap; see sluicectl audit -help", process.ErrUsage)
	}
	if why == "" {
		return fmt.Errorf("%w: --why is missing; give the reason, which is kept with the decision", process.ErrUsage)
	}
	conn, err := c.connect(ctx, e)
	if err != nil {
		return err
	}
	defer conn.Close()
	stones := tombstone.New(conn)
	if gap == "" {
		id, err := parseID(args[1])
		if err != nil {
			return err
		}
		if err := stones.Put(ctx, id, stone(why)); err != nil {
			return err
		}
		fmt.Fprintf(e.Stdout, "accepted that %s is lost\n", id)
		return nil
	}
	b, err := parseGap(gap)
	if err != nil {
		return err
	}
	messages, err := audit.Accept(ctx, conn, b, stone(why))
	if err != nil {
		return err
	}
	fmt.Fprintf(e.Stdout, "accepted that %d messages of %s are lost\n", messages, gap)
	return nil
}

func stone(why string) tombstone.Stone {
	return tombstone.Stone{What: tombstone.Accepted, Who: operator(), When: time.Now().UTC(), Why: why}
}

func parseGap(text string) (stream.Bounds, error) {
	name, sequences, _ := strings.Cut(text, ":")
	shard, ok := stream.Shard(name)
	b, err := tombstone.ParseRange(sequences)
	if !ok || err != nil {
		return b, fmt.Errorf("%w: --gap=%s is not a range such as MAIL_0:101-200", process.ErrUsage, text)
	}
	b.Shard = shard
	return b, nil
}

// operator is the name of the user who runs the command, as far as the machine knows it.
func operator() string {
	name, host := "unknown", "unknown"
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	if h, err := os.Hostname(); err == nil {
		host = h
	}
	return name + "@" + host
}
