package safehtml

import "slices"

// maxDepth bounds how deep elements are nested: browsers take minutes over 200,000 of them. The text of deeper ones stays.
const maxDepth = 250

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
		// A cell ends where the next cell, row or group begins.
		for i := len(n.open) - 1; i >= 0 && n.open[i] != "table"; i-- {
			if isCell(n.open[i]) {
				ended = n.cut(i)
				break
			}
		}
	case "li":
		ended = n.endItem([]string{"li"}, []string{"ul", "ol"})
	case "dt", "dd":
		ended = n.endItem([]string{"dt", "dd"}, []string{"dl"})
	case "a":
		// A link ends where the next one begins. Anchors that nobody closes are common.
		if i := n.find(element); i >= 0 {
			ended = n.cut(i)
		}
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

// endItem ends the item of a list that is open when the list's next one begins.
func (n *nesting) endItem(items, lists []string) []string {
	for i := len(n.open) - 1; i >= 0; i-- {
		switch {
		case slices.Contains(items, n.open[i]):
			return n.cut(i)
		case isCell(n.open[i]) || slices.Contains(lists, n.open[i]):
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
	if i := n.find(element); i >= 0 {
		return n.cut(i)
	}
	return nil
}

// find returns where the innermost such element is open, -1 when there is none. What was open outside of a table's cell cannot
// be closed within.
func (n *nesting) find(element string) int {
	for i := len(n.open) - 1; i >= 0; i-- {
		switch {
		case n.open[i] == element:
			return i
		case isCell(n.open[i]) && element != "table":
			return -1
		}
	}
	return -1
}

func (n *nesting) cut(i int) (ended []string) {
	for k := len(n.open) - 1; k >= i; k-- {
		ended = append(ended, n.open[k])
	}
	n.open = n.open[:i]
	clear(n.left)
	return ended
}

func isCell(element string) bool { return element == "td" || element == "th" || element == "caption" }

// nests says whether repeating an element nests it. It does not where a browser closes it by itself, or never opens it.
func nests(element string) bool {
	switch element {
	case "br", "hr", "img", "wbr", "col", "p", "tr", "thead", "tbody", "tfoot", "colgroup":
		return false
	}
	return true
}
