package safehtml

import "slices"

// maxDepth bounds how deep elements are nested: browsers take minutes over 200,000 of them. The text of deeper ones stays.
const maxDepth = 250

// cells are the elements of a table that hold others.
var cells = []string{"td", "th", "caption"}

// nesting follows which elements are open, and has every element closed in the order in which a browser would have to:
// what is open within an element ends with it. Otherwise a browser goes on with it behind the end (HTML 13.2.4.3, the list of
// active formatting elements), and 10,000 times <div><b title="n"></div> nest 10,000 elements.
type nesting struct {
	open []string
	left map[string]int // left out for their depth since open was last shorter, by element
}

// start opens an element. It returns the elements that end before it, the innermost first, and whether the element is let in.
func (n *nesting) start(element string) (ended []string, ok bool) {
	switch element {
	case "td", "th", "tr", "thead", "tbody", "tfoot", "caption", "colgroup", "col":
		ended = n.endOpen(cells, "table") // a cell ends where the next cell, row or group begins
	case "li":
		ended = n.endOpen([]string{"li"}, "ul", "ol", "td", "th", "caption")
	case "dt", "dd":
		ended = n.endOpen([]string{"dt", "dd"}, "dl", "td", "th", "caption")
	case "a":
		ended = n.endOpen([]string{"a"}, cells...) // anchors that nobody closes are common
	}
	switch {
	case !nests(element):
		return ended, true
	case len(n.open) >= maxDepth:
		if n.left == nil {
			n.left = map[string]int{}
		}
		n.left[element]++
		return ended, false
	}
	n.open = append(n.open, element)
	return ended, true
}

// endOpen ends the innermost of these elements that is open, unless one of outer is open within it.
func (n *nesting) endOpen(elements []string, outer ...string) []string {
	for i := len(n.open) - 1; i >= 0; i-- {
		switch {
		case slices.Contains(elements, n.open[i]):
			return n.cut(i)
		case slices.Contains(outer, n.open[i]):
			return nil
		}
	}
	return nil
}

// end closes an element. It returns the elements that end, the innermost first; none when the end tag closes nothing.
func (n *nesting) end(element string) (ended []string) {
	if !nests(element) {
		return []string{element}
	}
	if n.left[element] > 0 {
		n.left[element]--
		return nil
	}
	if element == "table" {
		return n.endOpen([]string{element})
	}
	return n.endOpen([]string{element}, cells...) // what was open outside of a table's cell cannot be closed within
}

func (n *nesting) cut(i int) (ended []string) {
	for k := len(n.open) - 1; k >= i; k-- {
		ended = append(ended, n.open[k])
	}
	n.open = n.open[:i]
	clear(n.left)
	return ended
}

// nests says whether repeating an element nests it. It does not where a browser closes it by itself, or never opens it.
func nests(element string) bool {
	switch element {
	case "br", "hr", "img", "wbr", "col", "p", "tr", "thead", "tbody", "tfoot", "colgroup":
		return false
	}
	return true
}
