// Package safehtml makes the HTML of a mail harmless to look at: no script, no form, and nothing that a browser would fetch
// by itself. It is one of two walls; the other is the frame in which the result is shown, which is sandboxed and has a
// Content-Security-Policy of its own. <link> must not survive here: hints such as preconnect pass every policy.
//
//	HTML ─▶ bluemonday (which elements and attributes) ─▶ own pass (links, images, styles) ─▶ HTML
//
// <style> elements are dropped with their content: what a mail looks like comes from its attributes alone.
package safehtml
