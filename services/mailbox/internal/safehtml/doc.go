// Package safehtml sanitises the HTML of a mail: the result has no script, no form, and nothing that a browser would fetch
// by itself. It is one of two defences; the other is the sandboxed frame in which the result is shown, with a
// Content-Security-Policy of its own. <link> must be removed here, because no policy stops hints such as preconnect.
//
//	HTML ─▶ bluemonday (which elements and attributes) ─▶ own pass (links, images, styles) ─▶ HTML
//
// <style> elements are dropped with their content, so only style attributes determine what a mail looks like.
package safehtml
