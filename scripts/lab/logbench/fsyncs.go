package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/sluice-mail/sluice/scripts/lab/logbench/server"
)

func contains(data []byte, text string) bool { return bytes.Contains(data, []byte(text)) }

// countFsyncs repeats the group commit and the per-message publish under strace, which only counts fsyncs.
func countFsyncs(ctx context.Context, s settings, size, senders int) error {
	if _, err := exec.LookPath("strace"); err != nil {
		fmt.Println("  fsyncs not counted: needs strace")
		return nil
	}
	for _, r := range []row{{"group, synced", groupCommit, true}, {"single, synced", singly, true}} {
		store := filepath.Join(s.dir, "strace")
		counts := store + ".counts"
		srv, err := server.Start(ctx, server.Options{
			Binary: s.binary, Store: store, SyncAlways: true,
			Wrap: []string{"strace", "--seccomp-bpf", "-f", "-c", "-U", "name,calls", "-e", "trace=fsync,fdatasync,sync_file_range", "-o", counts},
		})
		if err != nil {
			return err
		}
		// Everything counts here, so that mails and fsyncs are those of the same time.
		short := s
		short.warmup, short.seconds = 0, min(s.seconds, 3*time.Second)
		res, err := measure(ctx, short, srv, r, size, senders)
		srv.Stop()
		_ = os.RemoveAll(store)
		if err != nil {
			return fmt.Errorf("counting fsyncs: %w", err)
		}
		n, err := readCounts(counts)
		if err != nil {
			return err
		}
		fmt.Printf("  fsyncs, %s: %d for %d mails = %.3f per mail (start, stop and stream creation included)\n", r.name, n, res.mails, float64(n)/float64(max(res.mails, 1)))
	}
	return nil
}

func readCounts(file string) (int, error) {
	raw, err := os.ReadFile(file)
	if err != nil {
		return 0, fmt.Errorf("reading strace's counts: %w", err)
	}
	total := 0
	lines := bufio.NewScanner(bytes.NewReader(raw))
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) < 2 || !strings.Contains(lines.Text(), "sync") {
			continue
		}
		for _, f := range fields {
			if n, err := strconv.Atoi(f); err == nil {
				total += n
				break
			}
		}
	}
	return total, nil
}
