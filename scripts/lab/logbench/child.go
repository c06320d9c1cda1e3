package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/sluice-mail/sluice/services/e2e/fleet"
)

// report is what a sender prints: Report in its package.
type report struct {
	Mails            uint64
	Seconds          float64
	Packs, PackMails float64
	Waits            map[int]uint64
}

// children are the publishing processes of one measurement.
type children []*child

type child struct {
	cmd      *exec.Cmd
	in       io.WriteCloser
	out      *bufio.Reader
	problems bytes.Buffer
}

// startChildren returns when mail flows from all of them.
func startChildren(s settings, program, url string, r row, p point) (all children, err error) {
	for range s.processes {
		c := &child{cmd: exec.Command(program, "-url", url, "-way", r.way, "-size", strconv.Itoa(p.size),
			"-senders", strconv.Itoa(p.senders), "-unsynced="+strconv.FormatBool(!r.synced))}
		c.cmd.Stderr = &c.problems
		c.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		in, err1 := c.cmd.StdinPipe()
		out, err2 := c.cmd.StdoutPipe()
		if err1 != nil || err2 != nil {
			return all, fmt.Errorf("preparing a sender: %v, %v", err1, err2)
		}
		c.in, c.out = in, bufio.NewReader(out)
		if err := c.cmd.Start(); err != nil {
			return all, fmt.Errorf("starting a sender: %w", err)
		}
		all = append(all, c)
	}
	for _, c := range all {
		if line, err := c.out.ReadString('\n'); err != nil || line != "ready\n" {
			return all, c.failed(fmt.Errorf("a sender said %q instead of ready", line))
		}
	}
	return all, nil
}

// tell writes a line to each.
func (all children) tell(line string) error {
	for _, c := range all {
		if _, err := io.WriteString(c.in, line+"\n"); err != nil {
			return c.failed(err)
		}
	}
	return nil
}

// reports awaits what they have counted, all together.
func (all children) reports() (sum report, err error) {
	sum.Waits = make(map[int]uint64)
	for _, c := range all {
		var r report
		if err := json.NewDecoder(c.out).Decode(&r); err != nil {
			return sum, c.failed(err)
		}
		sum.Mails += r.Mails
		sum.Seconds += r.Seconds / float64(len(all))
		sum.Packs += r.Packs
		sum.PackMails += r.PackMails
		for i, n := range r.Waits {
			sum.Waits[i] += n
		}
	}
	if sum.Mails == 0 {
		return sum, fmt.Errorf("no mail was acknowledged in %.1f s", sum.Seconds)
	}
	return sum, nil
}

// failed adds what the process has said itself. It has ended, or is ended.
func (c *child) failed(err error) error {
	c.end()
	return fmt.Errorf("%w: %s", err, strings.TrimSpace(c.problems.String()))
}

func (c *child) end() {
	if c.cmd.ProcessState == nil {
		_ = c.in.Close()
		killed := time.AfterFunc(5*time.Second, func() { _ = c.cmd.Process.Kill() })
		_ = c.cmd.Wait()
		killed.Stop()
	}
}

// end ends all that still run.
func (all children) end() {
	for _, c := range all {
		c.end()
	}
}

// cpu is the processor time they have used.
func (all children) cpu() (sum time.Duration) {
	for _, c := range all {
		used, _ := fleet.CPU(c.cmd.Process.Pid)
		sum += used
	}
	return sum
}
