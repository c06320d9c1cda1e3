package web_test

import (
	"context"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/accessibility"
	"github.com/chromedp/chromedp"

	"github.com/sluice-mail/sluice/services/internal/browsertest"
)

// TestAccessibility looks at every view: what can be used has a name, text can be read in both themes, and what a keyboard
// reaches can be seen.
func TestAccessibility(t *testing.T) {
	contrast, err := os.ReadFile("testdata/contrast.js")
	if err != nil {
		t.Fatal(err)
	}
	s := start(t, nil)
	guarded := start(t, withTokens)
	mail := furnish(t, s)
	page := browsertest.Start(t, "").Page()
	for _, v := range views(s, mail) {
		if v.name == "login" {
			v.url = guarded.url + "/"
		}
		for _, theme := range []string{"light", "dark"} {
			page.Look(1440, 900, theme)
			page.Open(v.url)
			page.Wait(ready)
			if v.name == "keys" {
				page.Key("?")
				page.Wait(`document.querySelector("#keys").open`)
			}
			if found := browsertest.Eval[[]string](page, string(contrast)); len(found) > 0 {
				t.Errorf("%s, %s: contrast: %s", v.name, theme, strings.Join(found, "\n\t"))
			}
		}
		for _, problem := range unnamed(t, page) {
			t.Errorf("%s: %s", v.name, problem)
		}
		for _, problem := range focusing(t, page) {
			t.Errorf("%s: %s", v.name, problem)
		}
		// At twice the size half as much fits.
		page.Do(chromedp.EmulateViewport(720, 450, chromedp.EmulateScale(2)))
		if wide := browsertest.Eval[int](page, "document.documentElement.scrollWidth"); wide > 720 {
			t.Errorf("%s at 200 %%: %d of 720 px wide", v.name, wide)
		}
	}
}

// unnamed lists what can be used or looked at and has no name, as Chromium tells a screen reader.
func unnamed(t *testing.T, page *browsertest.Page) (problems []string) {
	t.Helper()
	var tree accessibility.GetFullAXTreeResult
	page.Do(chromedp.Func(func(ctx context.Context, _ *chromedp.Target) (err error) {
		tree, err = chromedp.Call(ctx, accessibility.GetFullAXTree, accessibility.GetFullAXTreeParams{})
		return err
	}))
	text := func(v *accessibility.Value) string {
		var s string
		if v != nil {
			_ = json.Unmarshal(v.Value, &s) // not a string: no name
		}
		return strings.TrimSpace(s)
	}
	looked := 0
	for _, node := range tree.Nodes {
		switch role := text(node.Role); role {
		case "button", "link", "textbox", "searchbox", "image", "img", "Iframe", "dialog", "navigation", "search", "heading":
			if node.Ignored {
				continue
			}
			looked++
			if text(node.Name) == "" && role != "search" {
				problems = append(problems, "a "+role+" has no name")
			}
		}
	}
	if looked == 0 {
		problems = append(problems, "nothing that can be used was found")
	}
	return problems
}

// focusing goes through the page by Tab: everything that can be used is reached once, in its order, and shows it.
func focusing(t *testing.T, page *browsertest.Page) (problems []string) {
	t.Helper()
	browsertest.Eval[bool](page, `(() => {
		const dialog = document.querySelector("dialog[open]"), first = document.activeElement;
		if (!dialog) first.blur();
		window.stops = [...(dialog ?? document).querySelectorAll("a[href], button, input, iframe, [tabindex='0']")]
			.filter((e) => e.checkVisibility({ visibilityProperty: true }) && !e.disabled && e.tabIndex >= 0);
		window.visited = dialog ? [window.stops.indexOf(first)] : []; // a dialog has its focus already
		return true;
	})()`)
	for range browsertest.Eval[int](page, "window.stops.length") {
		page.Key("\t")
		if problem := browsertest.Eval[string](page, `(() => {
			const e = document.activeElement, style = getComputedStyle(e), at = window.stops.indexOf(e);
			if (at < 0 || e === document.body) return "";
			const name = e.outerHTML.slice(0, 100);
			if (window.visited.length && at < window.visited.at(-1)) return "out of order: " + name;
			window.visited.push(at);
			if (e.localName !== "iframe" && (style.outlineStyle === "none" || parseFloat(style.outlineWidth) < 2)) return "its focus does not show: " + name;
			const box = e.getBoundingClientRect();
			if (box.bottom < 0 || box.top > innerHeight || box.right < 0) return "it is out of sight: " + name;
			return "";
		})()`); problem != "" {
			problems = append(problems, problem)
		}
		if browsertest.Eval[bool](page, `document.activeElement.localName === "iframe"`) {
			break // from here on the keyboard is the mail's
		}
	}
	if missed := browsertest.Eval[[]string](page, `window.stops.some((e) => e.localName === "iframe") ? [] : window.stops.filter((e, i) => !window.visited.includes(i)).map((e) => e.outerHTML.slice(0, 100))`); len(missed) > 0 {
		problems = append(problems, "not reached by Tab: "+strings.Join(missed, "\n\t"))
	}
	return problems
}
