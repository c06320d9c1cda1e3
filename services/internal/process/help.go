package process

import (
	"fmt"
	"io"
	"strings"

	"github.com/sluice-mail/sluice/pkg/env"
	"github.com/sluice-mail/sluice/pkg/obs"
)

const footnote = `
Any variable X may be given as X_FILE: the name of a file that holds the value. An empty variable counts as not set.
Sizes are written like 25MiB, durations like 90s or 72h. In a container set GOMEMLIMIT to about 90 % of its memory limit.
`

// help writes what the program does, its commands and its variables.
func (p program) help(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s\n\nUsage:\n", p.spec.Name, p.spec.Summary)
	type line struct{ words, meaning string }
	var lines []line
	if p.spec.Run != nil {
		lines = append(lines, line{"[run]", "run until SIGINT, SIGTERM or SIGHUP"}, line{"healthcheck", "exit 0 when the running service is ready"})
	}
	for _, c := range p.spec.Commands {
		lines = append(lines, line{c.Name, c.Summary})
	}
	lines = append(lines, line{"-help", "this text"}, line{"-version", "what was built"})
	width := 0
	for _, l := range lines {
		width = max(width, len(l.words))
	}
	for _, l := range lines {
		fmt.Fprintf(&b, "  %s %-*s  %s\n", p.spec.Name, width, l.words, l.meaning)
	}
	b.WriteString("\n")
	set := p.set(new(settings))
	if p.spec.Run == nil {
		set = p.set(new(obs.LogConfig))
	}
	if err := (env.Set{Structs: set.Structs, Defaults: set.Defaults}).Usage(&b, "Environment:"); err != nil {
		return err
	}
	b.WriteString(footnote)
	_, err := io.WriteString(w, b.String())
	return err
}
