package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/sluice-mail/sluice/services/e2e/fleet"
)

// queries are the lines with jq of deploy/README.md, in their order: how many, why, which networks, which domains.
func queries() (setup string, list []string, err error) {
	root, err := fleet.Root()
	if err != nil {
		return "", nil, err
	}
	text, err := os.ReadFile(filepath.Join(root, "deploy", "README.md"))
	if err != nil {
		return "", nil, err
	}
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "refused=") {
			setup = line
		} else if strings.HasPrefix(line, "jq -nR ") {
			list = append(list, line)
		}
	}
	if setup == "" || len(list) != 4 {
		return "", nil, errors.New("deploy/README.md does not have its four queries")
	}
	return setup, list, nil
}

// ask puts the queries to a log.
func ask(dir, log string) (tally, error) {
	seen := newTally()
	if err := os.WriteFile(filepath.Join(dir, "day.log"), []byte(log), 0o600); err != nil {
		return seen, err
	}
	setup, list, err := queries()
	if err != nil {
		return seen, err
	}
	var networks []struct {
		Net string
		N   int
	}
	for i, into := range []any{&seen.total, &seen.why, &networks, &seen.domains} {
		cmd := exec.Command("bash", "-c", setup+list[i])
		cmd.Dir = dir
		out, err := cmd.Output()
		if err == nil {
			err = json.Unmarshal(out, into)
		}
		if err != nil {
			return seen, fmt.Errorf("%s: %w", strings.TrimSpace(list[i]), err)
		}
	}
	for _, n := range networks {
		seen.networks[n.Net] = n.N
	}
	return seen, nil
}

// counted is what the metrics say: refusals by reason.
func counted(ctx context.Context, p *fleet.Process) (map[string]int, error) {
	resp, body, err := p.Get(ctx, "/metrics")
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("/metrics answers %s", resp.Status)
	}
	reasons := make(map[string]int)
	for line := range strings.Lines(body) {
		rest, found := strings.CutPrefix(line, `sluice_smtp_rejected_total{reason="`)
		if !found {
			continue
		}
		reason, _, _ := strings.Cut(rest, `"`)
		_, value, _ := strings.Cut(rest, "} ")
		if reasons[reason], err = strconv.Atoi(strings.TrimSpace(value)); err != nil {
			return nil, fmt.Errorf("reading %q: %w", line, err)
		}
	}
	return reasons, nil
}
