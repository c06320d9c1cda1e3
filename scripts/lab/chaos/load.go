package main

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"time"

	"github.com/sluice-mail/sluice/services/e2e/fleet"
)

const (
	conns = 8
	// sizes are mostly those of ordinary mail, some with attachments, a few that travel in parts.
	sizes = "1KB-40KB:960,200KB:30,1KB-10MB:10"
	// longest bounds a load whatever happens to the one who should stop it.
	longest = time.Hour
)

// loads are the senders, one process for each ingress.
type loads struct {
	cmds  []*exec.Cmd
	files []string
	out   []*bytes.Buffer
}

func startLoads(f *fleet.Fleet, c config) (*loads, error) {
	l := new(loads)
	for i, ingress := range f.Ingresses {
		file := filepath.Join(f.Dir, fmt.Sprintf("acks-%d.jsonl", i))
		cmd := exec.Command(f.Binaries.Path("sluicectl"), "load", "-to", ingress.Addrs["smtp"], "-conns", strconv.Itoa(conns),
			"-rate", strconv.Itoa(c.rate), "-duration", longest.String(), "-sizes", sizes, "-rcpts", "1-4",
			"-seed", strconv.FormatUint(c.seed*ingresses+uint64(i)+1, 10), "-record", file, "-resend", "0")
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
		out := new(bytes.Buffer)
		cmd.Stdout, cmd.Stderr = out, out
		if err := cmd.Start(); err != nil {
			l.stop()
			return l, fmt.Errorf("starting a load: %w", err)
		}
		l.cmds, l.files, l.out = append(l.cmds, cmd), append(l.files, file), append(l.out, out)
	}
	return l, nil
}

// stop lets the senders finish the mails they are at, and prints what they say.
func (l *loads) stop() {
	for _, cmd := range l.cmds {
		_ = cmd.Process.Signal(syscall.SIGINT)
	}
	for i, cmd := range l.cmds {
		// They may wait for an answer that a publish is retried for: a minute, then 451.
		timer := time.AfterFunc(2*time.Minute, func() { _ = cmd.Process.Kill() })
		_ = cmd.Wait()
		timer.Stop()
		fmt.Printf("chaos: load %d: %s\n", i, bytes.TrimSpace(l.out[i].Bytes()))
	}
	l.cmds = nil
}

// unsure adds a mail to the record that no sender knows of.
func (l *loads) unsure(sum [32]byte) error {
	file := filepath.Join(filepath.Dir(l.files[0]), "others.jsonl")
	if !slices.Contains(l.files, file) {
		l.files = append(l.files, file)
	}
	out, err := os.OpenFile(file, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "{\"state\":\"unconfirmed\",\"sha256\":\"%x\"}\n", sum)
	return errors.Join(err, out.Close())
}

// encode writes an envelope as a header has it.
func encode(envelope []byte) string { return base64.RawURLEncoding.EncodeToString(envelope) }

// accepted is how many mails got 250 so far.
func (l *loads) accepted() (n int) {
	for _, file := range l.files {
		raw, _ := os.ReadFile(file)
		n += bytes.Count(raw, []byte(`"state":"acked"`))
	}
	return n
}

// record joins the records of all senders into one file.
func (l *loads) record(dir string) (string, error) {
	var all []byte
	for _, file := range l.files {
		raw, err := os.ReadFile(file)
		if err != nil {
			return "", err
		}
		// A line without its end is no record; see load.ReadAcks.
		all = append(all, raw[:bytes.LastIndexByte(raw, '\n')+1]...)
	}
	name := filepath.Join(dir, "acks.jsonl")
	return name, os.WriteFile(name, all, 0o600)
}
