// Package browsertest drives a real Chromium for tests. Where there is none, it skips the test and says so.
//
// Chromium runs headless, with a temporary profile. Only the host names that the test gives resolve, so requests that the browser
// makes by itself do not leave the machine.
package browsertest

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
)

// patience is how long a page may take to come to a state; machines that test are slow and loaded.
const patience = 45 * time.Second

// Browser is a running Chromium.
type Browser struct {
	t      testing.TB
	ctx    context.Context
	netLog string
	closed bool
}

// Start starts a browser that ends with the test. rules say what names resolve to, such as "MAP * 127.0.0.1".
func Start(t testing.TB, rules string) *Browser {
	t.Helper()
	program := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			program = path
			break
		}
	}
	if program == "" {
		t.Skip("there is no chromium: apt-get install chromium fonts-dejavu-core fonts-noto-core")
	}
	if rules == "" {
		rules = "MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"
	}
	dir := t.TempDir()
	b := &Browser{t: t, netLog: filepath.Join(dir, "net.json")}
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(program), chromedp.NoSandbox, chromedp.DisableGPU, chromedp.UserDataDir(filepath.Join(dir, "profile")),
		chromedp.Flag("host-resolver-rules", rules), chromedp.Flag("log-net-log", b.netLog), chromedp.Flag("hide-scrollbars", true),
		chromedp.Flag("lang", "en-GB"), chromedp.Flag("no-proxy-server", true))
	allocator, stop := chromedp.NewExecAllocator(context.Background(), options...)
	ctx, cancel := chromedp.NewContext(allocator)
	b.ctx = ctx
	t.Cleanup(func() {
		b.Close()
		cancel()
		stop()
	})
	if err := chromedp.Do(ctx); err != nil {
		t.Fatalf("starting %s: %v", program, err)
	}
	return b
}

// Close ends the browser.
func (b *Browser) Close() {
	if b.closed {
		return
	}
	b.closed = true
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	if err := chromedp.Cancel(ctx); err != nil {
		b.t.Logf("ending the browser: %v", err)
	}
}

// NetLog ends the browser and returns what its network stack has written: every name it looked up, every connection.
func (b *Browser) NetLog() string {
	b.t.Helper()
	b.Close()
	text, err := os.ReadFile(b.netLog)
	if err != nil {
		b.t.Fatal(err)
	}
	return string(text)
}

// Page is a tab.
type Page struct {
	t   testing.TB
	ctx context.Context
}

// Page opens a tab that ends with the test.
func (b *Browser) Page() *Page {
	b.t.Helper()
	ctx, cancel := chromedp.NewContext(b.ctx)
	b.t.Cleanup(cancel)
	p := &Page{b.t, ctx}
	p.Do(chromedp.EmulateViewport(1440, 900))
	return p
}

// Do runs actions; the test ends when one fails.
func (p *Page) Do(actions ...chromedp.Action[chromedp.Void]) {
	p.t.Helper()
	// The first use of a context binds the tab to it: no timeout there, so the actions get one of their own.
	if err := chromedp.Do(p.ctx); err != nil {
		p.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	if err := chromedp.Do(ctx, actions...); err != nil {
		p.t.Fatalf("in the browser: %v", err)
	}
}

// Open loads a page.
func (p *Page) Open(url string) {
	p.t.Helper()
	p.Do(chromedp.Navigate(url))
}

// Wait waits until a JavaScript expression is true, also across pages that are loaded meanwhile.
func (p *Page) Wait(condition string) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	poll := chromedp.Poll[bool]("Boolean("+condition+")", chromedp.WithPollingInterval(20*time.Millisecond), chromedp.WithPollingTimeout(5*time.Second))
	for {
		_, err := chromedp.Run(ctx, poll)
		switch {
		case err == nil:
			return
		case ctx.Err() != nil:
			page, _ := chromedp.Run(p.ctx, chromedp.Evaluate[string](`document.body?.innerText ?? "no page"`))
			p.t.Fatalf("waiting for %s: %v; the page: %.2000s", condition, err, page)
		}
		// Otherwise another page has been loaded, or five seconds are over.
	}
}

// Key presses keys.
func (p *Page) Key(keys string) {
	p.t.Helper()
	p.Do(chromedp.KeyEvent(keys))
}

// Click clicks on what a selector finds.
func (p *Page) Click(selector string) {
	p.t.Helper()
	p.Do(chromedp.Click(chromedp.CSS(selector)))
}

// Eval evaluates a JavaScript expression.
func Eval[T any](p *Page, expression string) T {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	value, err := chromedp.Run(ctx, chromedp.Evaluate[T](expression))
	if err != nil {
		p.t.Fatalf("evaluating %.200s: %v", expression, err)
	}
	return value
}

// Look sets the size in CSS pixels and the theme, "light" or "dark"; nothing moves.
func (p *Page) Look(width, height int64, theme string) {
	p.t.Helper()
	p.Do(chromedp.EmulateViewport(width, height), chromedp.Func(func(ctx context.Context, _ *chromedp.Target) error {
		_, err := chromedp.Call(ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{
			{Name: "prefers-color-scheme", Value: theme}, {Name: "prefers-reduced-motion", Value: "reduce"},
		}})
		return err
	}))
}

// Screenshot writes what one sees into a PNG file.
func (p *Page) Screenshot(file string) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	png, err := chromedp.Run(ctx, chromedp.CaptureScreenshot())
	if err == nil {
		err = os.WriteFile(file, png, 0o644)
	}
	if err != nil {
		p.t.Fatal(err)
	}
}

// Context is the tab's, for what chromedp can do and Page does not name.
func (p *Page) Context() context.Context { return p.ctx }

// Frame finds the frame of the page whose URL ends so, which Chromium runs apart since it is sandboxed.
func (p *Page) Frame(ending string) *Page {
	p.t.Helper()
	deadline := time.Now().Add(patience)
	for {
		targets, err := chromedp.Targets(p.ctx)
		if err != nil {
			p.t.Fatal(err)
		}
		for _, target := range targets {
			if target.Type == "iframe" && strings.HasSuffix(target.URL, ending) {
				ctx, cancel := chromedp.NewContext(p.ctx, chromedp.WithTargetID(target.TargetID), chromedp.WithDetachOnCancel())
				p.t.Cleanup(cancel)
				frame := &Page{p.t, ctx}
				if err := chromedp.Do(ctx); err != nil {
					p.t.Fatalf("attaching to the frame: %v", err)
				}
				return frame
			}
		}
		if time.Now().After(deadline) {
			p.t.Fatalf("there is no frame whose URL ends with %s", ending)
		}
		p.Wait("true") // a turn of the browser
	}
}
