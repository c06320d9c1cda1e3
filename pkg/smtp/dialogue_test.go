package smtp

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// A script is one file of testdata/dialogues; its README.md has the format.
type script struct {
	name    string
	postfix string // why the file is not run against Postfix; empty when it is
	cfg     *SessionConfig
	peer    Peer
	prepare func(*player)
	turns   []turn
	mails   []string // what must be stored, in order
	closed  bool
}

// turn is one segment of client bytes (or an action of the driver) and the replies wanted for it.
type turn struct {
	action  string
	bytes   []byte
	replies []wantReply
	close   bool
}

// wantReply is one S: line: a code, perhaps an enhanced code, texts that must or must not be in the reply.
type wantReply struct {
	code, enhanced string
	has, hasNot    []string
}

func loadDialogues(t testing.TB) []*script {
	t.Helper()
	files, err := filepath.Glob("testdata/dialogues/*.smtp")
	if err != nil || len(files) < 50 {
		t.Fatalf("found %d dialogues (%v)", len(files), err)
	}
	var list []*script
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		d, err := parseDialogue(strings.TrimSuffix(filepath.Base(file), ".smtp"), string(text))
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		list = append(list, d)
	}
	return list
}

func parseDialogue(name, text string) (*script, error) {
	d := &script{name: name, cfg: testConfig(), peer: testPeer(), prepare: func(*player) {}}
	if !regexp.MustCompile(`(?m)^# .*(RFC \d+|CVE-|Postfix)`).MatchString(text) {
		return nil, fmt.Errorf("no comment names the RFC")
	}
	d.turns = []turn{{action: "greet"}}
	for i, line := range strings.Split(text, "\n") {
		if err := d.line(line); err != nil {
			return nil, fmt.Errorf("line %d: %w", i+1, err)
		}
	}
	return d, nil
}

func (d *script) line(line string) error {
	key, rest, _ := strings.Cut(line, " ")
	last := &d.turns[len(d.turns)-1]
	switch key {
	case "", "#":
		if why, ok := strings.CutPrefix(rest, "postfix: skip, "); ok {
			d.postfix = why
		}
	case "config:":
		return d.configure(rest)
	case "C:":
		b, err := unescape(rest)
		if err != nil {
			return err
		}
		if len(last.replies) > 0 || last.close || last.action != "" && last.action != "greet late" {
			d.turns = append(d.turns, turn{})
			last = &d.turns[len(d.turns)-1]
		}
		last.bytes = append(last.bytes, b...)
	case "!":
		d.turns = append(d.turns, turn{action: rest})
	case "S:":
		if rest == "close" {
			last.close, d.closed = true, true
			return nil
		}
		r, times, err := parseWant(rest)
		for range times {
			last.replies = append(last.replies, r)
		}
		return err
	case "M:":
		d.mails = append(d.mails, rest)
	default:
		return fmt.Errorf("unknown %q", key)
	}
	return nil
}

// parseWant parses `250 2.1.0 "text" !"text" *3`.
func parseWant(s string) (w wantReply, times int, err error) {
	w.code, s, _ = strings.Cut(s, " ")
	if len(w.code) != 3 {
		return w, 0, fmt.Errorf("bad code %q", w.code)
	}
	times = 1
	for s != "" {
		s = strings.TrimLeft(s, " ")
		not := strings.HasPrefix(s, "!")
		if q, err := strconv.QuotedPrefix(strings.TrimPrefix(s, "!")); err == nil {
			text, _ := strconv.Unquote(q)
			if not {
				w.hasNot = append(w.hasNot, text)
			} else {
				w.has = append(w.has, text)
			}
			s = strings.TrimPrefix(strings.TrimPrefix(s, "!"), q)
			continue
		}
		var word string
		word, s, _ = strings.Cut(s, " ")
		if n, ok := strings.CutPrefix(word, "*"); ok {
			if times, err = strconv.Atoi(n); err != nil {
				return w, 0, err
			}
			continue
		}
		w.enhanced = word
	}
	return w, times, nil
}

var repeated = regexp.MustCompile(`\\\{(.*?)\*(\d+)\}`)

// unescape turns \r \n \t \\ \0 \xHH and \{text*count} into bytes.
func unescape(s string) ([]byte, error) {
	s = repeated.ReplaceAllStringFunc(s, func(m string) string {
		parts := repeated.FindStringSubmatch(m)
		n, _ := strconv.Atoi(parts[2])
		return strings.Repeat(parts[1], n)
	})
	var out []byte
	for s != "" {
		if s[0] != '\\' {
			out, s = append(out, s[0]), s[1:]
			continue
		}
		if strings.HasPrefix(s, `\0`) {
			out, s = append(out, 0), s[2:]
			continue
		}
		c, _, tail, err := strconv.UnquoteChar(s, 0)
		if err != nil {
			return nil, fmt.Errorf("bad escape at %q", s[:min(len(s), 10)])
		}
		out, s = append(out, byte(c)), tail
	}
	return out, nil
}

// configure sets what a file needs different.
func (d *script) configure(s string) error {
	for _, word := range strings.Fields(s) {
		key, value, _ := strings.Cut(word, "=")
		n, _ := strconv.Atoi(value)
		switch key {
		case "max-message":
			d.cfg.MaxMessageBytes = int64(n)
		case "max-rcpts":
			d.cfg.MaxRcpts = n
		case "max-mails":
			d.cfg.MaxMails = n
		case "max-rejected":
			d.cfg.MaxRejectedRcpts = n
		case "reject-text":
			d.cfg.RejectText = value
		case "bare-lf-reject":
			d.cfg.BareLF = BareLFReject
		case "no-starttls":
			d.cfg.StartTLS = false
		case "tls":
			d.peer.TLS = &TLSInfo{Version: "TLS1.3", Cipher: "TLS_AES_128_GCM_SHA256"}
		case "xclient":
			d.peer.XClient = true
		case "log-full":
			d.prepare = func(p *player) { p.ready = Reply{452, "4.3.1", "Log full", ""} }
		case "tls-busy":
			d.prepare = func(p *player) { p.tlsBusy = Reply{454, "4.7.0", "TLS not available", ""} }
		case "begin-fails":
			d.prepare = func(p *player) { p.begin = fmt.Errorf("no room") }
		case "commit-fails":
			d.prepare = func(p *player) { p.commit = fmt.Errorf("log is down") }
		case "commit-full":
			d.prepare = func(p *player) { p.commit = fmt.Errorf("committing: %w", Reply{452, "4.3.1", "Log full", ""}) }
		case "write-fails":
			d.prepare = func(p *player) { p.failAfter = n }
		default:
			return fmt.Errorf("unknown setting %q", key)
		}
	}
	return nil
}

// play runs the dialogue; cut says how the bytes of a turn reach the session.
func (d *script) play(cut func(turn int, b []byte) [][]byte) (*player, []string) {
	p := newPlayer(d.cfg, d.peer)
	d.prepare(p)
	var replies []string
	for i, t := range d.turns {
		switch {
		case t.action == "greet":
			if len(t.replies) > 0 {
				p.s.Greet()
			}
		case t.action == "greet late":
			p.s.Greet()
		case t.action == "shutdown":
			p.s.Shutdown()
			p.feed(nil)
		case t.action == "timeout":
			p.s.Timeout()
			p.feed(nil)
		case strings.HasPrefix(t.action, "refuse "):
			w, _, _ := parseWant(t.action[len("refuse "):])
			code, _ := strconv.Atoi(w.code)
			p.s.Refuse(Reply{code, w.enhanced, "No", ""})
			p.feed(nil)
		}
		for _, piece := range cut(i, t.bytes) {
			p.feed(piece)
		}
		replies = append(replies, p.flush())
		p.closedAfter = append(p.closedAfter, p.closed)
	}
	return p, replies
}

func whole(_ int, b []byte) [][]byte { return [][]byte{b} }

func bytewise(_ int, b []byte) [][]byte {
	var list [][]byte
	for i := range b {
		list = append(list, b[i:i+1])
	}
	return list
}

func TestDialogues(t *testing.T) {
	for _, d := range loadDialogues(t) {
		t.Run(d.name, func(t *testing.T) {
			p, replies := d.play(whole)
			d.check(t, p, replies)
		})
	}
}

func (d *script) check(t *testing.T, p *player, replies []string) {
	t.Helper()
	closed := false
	for i, turn := range d.turns {
		got := splitReplies(replies[i])
		for k, want := range turn.replies {
			if k >= len(got) {
				t.Fatalf("turn %d %.200q: %d replies, want %d:\n%s", i, turn.bytes, len(got), len(turn.replies), replies[i])
			}
			want.check(t, fmt.Sprintf("turn %d reply %d", i, k), got[k])
		}
		if len(got) > len(turn.replies) {
			t.Fatalf("turn %d %.200q: unwanted reply:\n%s", i, turn.bytes, got[len(turn.replies)])
		}
		closed = closed || turn.close
	}
	if p.closed != closed {
		t.Errorf("closed: %v, want %v", p.closed, closed)
	}
	var mails []string
	for _, m := range p.mails {
		mails = append(mails, m.String())
	}
	if !reflect.DeepEqual(mails, d.mails) {
		t.Errorf("stored:\n%s\nwant:\n%s", strings.Join(mails, "\n"), strings.Join(d.mails, "\n"))
	}
	if p.open != nil && !d.openAtEnd() {
		t.Error("a delivery is still open")
	}
}

// openAtEnd reports whether the file ends in the middle of a mail.
func (d *script) openAtEnd() bool { return !d.closed }

func (w wantReply) check(t *testing.T, where, reply string) {
	t.Helper()
	if !strings.HasPrefix(reply, w.code) {
		t.Fatalf("%s: got %q, want %s %s", where, reply, w.code, w.enhanced)
	}
	for line := range strings.Lines(reply) {
		if err := checkReplyLine(line, w.enhanced); err != nil {
			t.Errorf("%s: %v", where, err)
		}
	}
	for _, text := range w.has {
		if !strings.Contains(reply, text) {
			t.Errorf("%s: %q is not in %q", where, text, reply)
		}
	}
	for _, text := range w.hasNot {
		if strings.Contains(reply, text) {
			t.Errorf("%s: %q is in %q", where, text, reply)
		}
	}
}

var replyLine = regexp.MustCompile(`^([2345])\d\d[ -](?:([245])\.\d{1,3}\.\d{1,3} )?[ -~]*\r\n$`)

// checkReplyLine holds every reply line to RFC 5321 section 4.2 and RFC 2034.
func checkReplyLine(line, enhanced string) error {
	m := replyLine.FindStringSubmatch(line)
	switch {
	case m == nil || len(line) > 512:
		return fmt.Errorf("malformed reply line %q", line)
	case m[2] != "" && m[2] != m[1]:
		return fmt.Errorf("class of the enhanced code differs: %q", line)
	case enhanced != "" && !strings.HasPrefix(line[4:], enhanced+" "):
		return fmt.Errorf("got %q, want enhanced code %s", line, enhanced)
	}
	return nil
}

// splitReplies cuts output into replies.
func splitReplies(out string) []string {
	var list []string
	start := 0
	for i := 0; i < len(out); {
		end := i + strings.Index(out[i:], "\n") + 1
		if end == i || end-i < 4 {
			return append(list, out[start:])
		}
		if out[i+3] == ' ' {
			list, start = append(list, out[start:end]), end
		}
		i = end
	}
	return list
}

// TestDialoguesInEverySplit: the network may cut the bytes anywhere; replies, questions and mails stay the same.
// Turns above 3,000 bytes are cut at 300 places instead of everywhere.
func TestDialoguesInEverySplit(t *testing.T) {
	for _, d := range loadDialogues(t) {
		t.Run(d.name, func(t *testing.T) {
			p, replies := d.play(whole)
			same := func(how string, cut func(int, []byte) [][]byte) {
				q, got := d.play(cut)
				if !reflect.DeepEqual(got, replies) || !reflect.DeepEqual(q.events, p.events) ||
					fmt.Sprint(q.mails) != fmt.Sprint(p.mails) || q.closed != p.closed {
					t.Fatalf("%s:\n%q %v\n%v\nwhole:\n%q %v\n%v", how, got, q.events, q.mails, replies, p.events, p.mails)
				}
			}
			same("bytewise", bytewise)
			for i, turn := range d.turns {
				for at := 1; at < len(turn.bytes); at += 1 + len(turn.bytes)/3000*10 {
					same(fmt.Sprintf("turn %d cut at %d", i, at), func(k int, b []byte) [][]byte {
						if k != i {
							return [][]byte{b}
						}
						return [][]byte{b[:at], b[at:]}
					})
				}
			}
		})
	}
}
