package safehtml

import (
	"regexp"
	"slices"
	"strings"
)

// maxStyle bounds one style attribute in bytes.
const maxStyle = 8 << 10

// safeStyles matches the properties that may be set. Not allowed are position and z-index, which could cover other elements;
// all properties that take a url(); content, behavior and bindings.
var safeStyles = regexp.MustCompile(`^(` +
	`color|background-color|opacity|display|visibility|overflow|float|clear|vertical-align|direction|` +
	`(min-|max-)?(width|height)|` +
	`(margin|padding)(-(top|right|bottom|left))?|` +
	`border(-(top|right|bottom|left))?(-(color|style|width))?|border-(radius|collapse|spacing)|` +
	`font|font-(family|size|style|weight|variant)|line-height|letter-spacing|word-spacing|` +
	`text-(align|decoration|indent|transform)|white-space|word-break|word-wrap|overflow-wrap|` +
	`list-style-type|table-layout|caption-side|empty-cells|box-sizing|background` +
	`)$`)

// safeValue allows no character with which a value could end early, hide something or load something: no backslash, no
// comment, no colon, no at sign.
var safeValue = regexp.MustCompile(`^[\pL\pN #%.,+'"()!-]{1,300}$`)

var safeFunctions = []string{"rgb", "rgba", "hsl", "hsla"}

var call = regexp.MustCompile(`([\pL\pN-]*)\(`)

// cleanStyle keeps the declarations of a style attribute that are known to be harmless.
func cleanStyle(style string) string {
	if len(style) > maxStyle {
		return ""
	}
	var kept []string
	for declaration := range strings.SplitSeq(style, ";") {
		name, value, found := strings.Cut(declaration, ":")
		name, value = strings.ToLower(strings.TrimSpace(name)), strings.Join(strings.Fields(value), " ")
		if found && safeStyles.MatchString(name) && isSafeValue(value) {
			kept = append(kept, name+":"+value)
		}
	}
	return strings.Join(kept, ";")
}

func isSafeValue(value string) bool {
	if !safeValue.MatchString(value) || strings.Count(value, `"`)%2 != 0 || strings.Count(value, "'")%2 != 0 ||
		strings.Count(value, "(") != strings.Count(value, ")") {
		return false
	}
	for _, m := range call.FindAllStringSubmatch(value, -1) {
		if !slices.Contains(safeFunctions, strings.ToLower(m[1])) {
			return false
		}
	}
	return true
}
