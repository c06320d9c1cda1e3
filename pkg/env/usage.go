package env

import (
	"fmt"
	"io"
	"slices"
	"strings"
)

// Usage writes the table of variables: name, default, meaning.
func (s Set) Usage(w io.Writer, title string) error {
	fields, err := s.unique()
	if err != nil {
		return err
	}
	name, def := 0, 0
	for _, f := range fields {
		name, def = max(name, len(f.name)), max(def, min(len(f.shownDefault()), maxDefaultColumn))
	}
	var b strings.Builder
	b.WriteString(title + "\n")
	for _, f := range fields {
		shown := f.shownDefault()
		fmt.Fprintf(&b, "  %-*s  %-*s  %s\n", name, f.name, def, shown, f.meaning())
	}
	_, err = io.WriteString(w, b.String())
	return err
}

// maxDefaultColumn keeps one long default from pushing all meanings off the screen.
const maxDefaultColumn = 28

func (f field) shownDefault() string {
	if f.required {
		return "(required)"
	}
	if f.fallback == "" {
		return "-"
	}
	return f.mask(f.fallback)
}

func (f field) meaning() string {
	if f.oneof == nil {
		return f.desc
	}
	return strings.TrimSpace(f.desc + " [" + strings.Join(f.oneof, "|") + "]")
}

// Setting is one variable as it is in force.
type Setting struct {
	Name  string // of the variable
	Value string // secrets masked
}

// Effective lists what is in force after Load, secrets masked, for the log.
func Effective(structs ...any) []Setting {
	settings, _ := Set{Structs: structs}.Effective()
	return settings
}

// Effective lists what is in force after Load, secrets masked, for the log.
func (s Set) Effective() ([]Setting, error) {
	fields, err := s.unique()
	if err != nil {
		return nil, err
	}
	settings := make([]Setting, len(fields))
	for i, f := range fields {
		settings[i] = Setting{Name: f.name, Value: f.mask(fmt.Sprint(f.value.Interface()))}
	}
	return settings, nil
}

// unique is fields without the second occurrence of a variable.
func (s Set) unique() ([]field, error) {
	all, err := s.fields()
	var out []field
	for _, f := range all {
		if !slices.ContainsFunc(out, func(o field) bool { return o.name == f.name }) {
			out = append(out, f)
		}
	}
	return out, err
}
