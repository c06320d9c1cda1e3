package smtp

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// postfixMain makes Postfix as strict as it gets, and its limits those of testConfig.
const postfixMain = `
compatibility_level = 3.6
myhostname = mx.example.com
mydomain = example.com
myorigin = example.com
mydestination = example.com, [192.0.2.1], xn--bcher-kva.example, bücher.example
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks =
alias_maps =
alias_database =
local_recipient_maps =
local_transport = discard
default_transport = discard
relay_transport = discard
virtual_transport = discard
smtputf8_enable = yes
strict_smtputf8 = yes
resolve_numeric_domain = no
smtpd_relay_restrictions = reject_unauth_destination
smtpd_recipient_restrictions = check_recipient_access inline:{
	{nobody@example.com = 550 5.1.1 no}, {disabled@example.com = 550 5.2.1 no}, {later@example.com = 451 4.3.0 no},
	{full@example.com = 452 4.2.2 no}, {nomail@example.com = 556 5.1.10 no}}
smtpd_helo_required = yes
smtpd_forbid_unauth_pipelining = yes
smtpd_forbid_bare_newline = reject
smtpd_forbid_bare_newline_exclusions =
smtpd_data_restrictions = reject_unauth_pipelining
smtpd_error_sleep_time = 0
smtpd_soft_error_limit = 100
smtpd_hard_error_limit = 10
smtpd_junk_command_limit = 50
smtpd_recipient_overshoot_limit = 1000
smtpd_client_connection_count_limit = 0
smtpd_client_event_limit_exceptions = static:all
smtpd_timeout = 60s
queue_minfree = 0
hopcount_limit = 101
smtpd_discard_ehlo_keywords = silent-discard
maillog_file = %[1]s/log
queue_directory = %[1]s/q
data_directory = %[1]s/d
maillog_file_prefixes = /
multi_instance_enable = no
`

const postfixMaster = `
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
discard unix - - n - - discard
error unix - - n - - error
retry unix - - n - - error
anvil unix - - n - 1 anvil
proxymap unix - - n - - proxymap
postlog unix-dgram n - n - 1 postlogd
`

// TestDialoguesAgainstPostfix plays the dialogues against a Postfix as a second voter: where the class of a reply
// differs from ours, testdata/dialogues/postfix-differs.txt says why. An unlisted difference fails, and so does a
// listed one that is gone.
func TestDialoguesAgainstPostfix(t *testing.T) {
	pf := startPostfix(t)
	listed := readDiffers(t)
	t.Run("files", func(t *testing.T) {
		for _, d := range loadDialogues(t) {
			if d.postfix != "" {
				continue
			}
			t.Run(d.name, func(t *testing.T) {
				t.Parallel()
				ours := d.classes()
				theirs, err := pf.play(d)
				if err != nil {
					t.Fatal(err)
				}
				want, isListed := listed[d.name]
				switch got := ours + " | " + theirs; {
				case ours == theirs && isListed:
					t.Errorf("no difference from Postfix any more: strike it off the list")
				case ours != theirs && want != got:
					t.Errorf("differs from Postfix (ours | theirs):\n%s | %s | why\nlisted: %s", d.name, got, want)
				}
			})
		}
	})
}

// readDiffers reads "name | our classes | their classes | reason" lines.
func readDiffers(t *testing.T) map[string]string {
	t.Helper()
	text, err := os.ReadFile("testdata/dialogues/postfix-differs.txt")
	if err != nil {
		t.Fatal(err)
	}
	list := map[string]string{}
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		f := strings.SplitN(line, " | ", 4)
		if len(f) != 4 || len(f[3]) < 10 {
			t.Fatalf("no reason: %q", line)
		}
		if _, err := os.Stat("testdata/dialogues/" + f[0] + ".smtp"); err != nil {
			t.Fatalf("no such dialogue: %q", line)
		}
		list[f[0]] = f[1] + " | " + f[2]
	}
	return list
}

// classes is what the file wants of us: the first digit of every reply, runs shortened, and "eof" for a close.
func (d *script) classes() string {
	var list []string
	for _, turn := range d.turns {
		for _, r := range turn.replies {
			list = append(list, r.code[:1])
		}
		if turn.close {
			list = append(list, "eof")
		}
	}
	return shorten(list)
}

// shorten writes "2 2 2 5" as "2x3 5".
func shorten(list []string) string {
	var out []string
	for i := 0; i < len(list); {
		j := i
		for j < len(list) && list[j] == list[i] {
			j++
		}
		if j-i > 1 {
			out = append(out, fmt.Sprintf("%sx%d", list[i], j-i))
		} else {
			out = append(out, list[i])
		}
		i = j
	}
	return strings.Join(out, " ")
}

// postfix is the second voter: one private Postfix with a listener for each combination of settings.
type postfix struct{ addr map[string]string }

// settings are those of a file that Postfix has too, as master.cf wants them.
func (d *script) settings() string {
	xclient := ""
	if d.peer.XClient {
		xclient = "127.0.0.1"
	}
	return fmt.Sprintf("-o message_size_limit=%d -o smtpd_recipient_limit=%d "+
		"-o smtpd_authorized_xclient_hosts=%s", d.cfg.MaxMessageBytes, d.cfg.MaxRcpts, xclient)
}

// startPostfix starts a Postfix with its own configuration, queue and ports.
func startPostfix(t *testing.T) *postfix {
	t.Helper()
	daemons, err := exec.Command("postconf", "-dh", "daemon_directory").Output()
	switch {
	case err != nil:
		t.Skipf("SKIPPED, no second voter: Postfix is not installed (apt-get install postfix): %v", err)
	case os.Getuid() != 0:
		t.Skip("SKIPPED, no second voter: Postfix starts only as root")
	}
	pf := &postfix{addr: map[string]string{}}
	services := postfixMaster
	for _, d := range loadDialogues(t) {
		if key := d.settings(); d.postfix == "" && pf.addr[key] == "" {
			pf.addr[key] = freeAddr(t)
			services += fmt.Sprintf("%s inet n - n - 40 smtpd %s\n", pf.addr[key], key)
		}
	}
	dir := postfixDir(t, services)
	log := startMaster(t, strings.TrimSpace(string(daemons))+"/master", dir)
	for _, addr := range pf.addr {
		if !waitFor(20*time.Second, func() bool { return greets(addr) }) {
			text, _ := os.ReadFile(dir + "/log")
			t.Fatalf("Postfix did not come up in 20 s; its log:\n%s%s", log.String(), text)
		}
	}
	return pf
}

// postfixDir makes the configuration (c), the queue (q) and the data directory (d).
func postfixDir(t *testing.T, services string) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "postfix") // short: the path of a Unix socket has 107 bytes
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	for _, sub := range []string{"", "/c", "/q", "/d"} {
		if err := os.MkdirAll(dir+sub, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(dir+sub, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := chownPostfix(dir + "/d"); err != nil {
		t.Fatal(err)
	}
	writeFile(t, dir+"/c/main.cf", fmt.Sprintf(postfixMain, dir))
	writeFile(t, dir+"/c/master.cf", services)
	if out, err := exec.Command("postfix", "-c", dir+"/c", "check").CombinedOutput(); err != nil {
		t.Fatalf("postfix check: %v\n%s", err, out)
	}
	return dir
}

// startMaster starts the process that starts the others; it takes them with it when it ends.
func startMaster(t *testing.T, master, dir string) *bytes.Buffer {
	t.Helper()
	said := new(bytes.Buffer)
	cmd := exec.Command(master, "-c", dir+"/c", "-d")
	cmd.Env, cmd.Stderr = append(os.Environ(), "MAIL_CONFIG="+dir+"/c"), said
	if err := cmd.Start(); err != nil {
		t.Fatalf("starting Postfix's master: %v", err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		cmd.Wait()
	}()
	t.Cleanup(func() {
		cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-ended:
		case <-time.After(5 * time.Second):
			cmd.Process.Kill()
			<-ended
		}
	})
	return said
}

// chownPostfix gives the data directory to the user Postfix runs as; it refuses any other owner.
func chownPostfix(dir string) error {
	owner, err := user.Lookup("postfix")
	if err != nil {
		return err
	}
	uid, err := strconv.Atoi(owner.Uid)
	if err != nil {
		return err
	}
	return os.Chown(dir, uid, -1)
}

func writeFile(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func greets(addr string) bool {
	c, err := net.DialTimeout("tcp", addr, time.Second)
	if err != nil {
		return false
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(5 * time.Second))
	line, err := bufio.NewReader(c).ReadString('\n')
	return err == nil && strings.HasPrefix(line, "220")
}

// waitFor polls ok until it holds or the time is over.
func waitFor(limit time.Duration, ok func() bool) bool {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(limit); time.Now().Before(end); <-tick.C {
		if ok() {
			return true
		}
	}
	return false
}

// play says the client's side of d and returns the classes of the replies. After each turn it reads as many
// replies as we give, until the connection ends or fifteen seconds are over.
func (pf *postfix) play(d *script) (string, error) {
	c, err := net.Dial("tcp", pf.addr[d.settings()])
	if err != nil {
		return "", err
	}
	defer c.Close()
	in := bufio.NewReader(c)
	var list []string
	eof := false
	for _, turn := range d.turns {
		c.SetDeadline(time.Now().Add(15 * time.Second))
		if _, err := c.Write(turn.bytes); err != nil {
			eof = true
		}
		for range turn.replies {
			class, ok := readClass(in)
			if !ok {
				eof = true
				break
			}
			list = append(list, class)
		}
		if eof {
			break
		}
	}
	// What it says without being asked, and whether it closes.
	c.SetDeadline(time.Now().Add(3 * time.Second))
	for !eof {
		class, ok := readClass(in)
		if eof = !ok; ok {
			list = append(list, class)
		}
	}
	if _, err := in.ReadByte(); err != nil && !os.IsTimeout(err) {
		list = append(list, "eof")
	}
	return shorten(list), nil
}

// readClass reads one reply, which may have several lines.
func readClass(in *bufio.Reader) (class string, ok bool) {
	for {
		line, err := in.ReadString('\n')
		if err != nil || len(line) < 4 {
			return "", false
		}
		if line[3] == ' ' {
			return line[:1], true
		}
	}
}
