package api

import (
	"cmp"
	"fmt"
	"html/template"
	"maps"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"
)

// manual is the description as its page shows it.
type manual struct {
	Info       *huma.Info
	Style      template.CSS
	Operations []manualOperation
	Schemas    []manualSchema
}

type manualOperation struct {
	*huma.Operation
	Parameters []manualParameter
	Answers    []manualAnswer
	Example    string
}

type manualParameter struct{ Name, In, Value, Description string }

type manualAnswer struct{ Status, Description, Schema string }

type manualSchema struct {
	Name   string
	Fields []manualField
}

type manualField struct{ Name, Type, Description string }

func newManual(doc *huma.OpenAPI) manual {
	m := manual{Info: doc.Info, Style: template.CSS(docsStyle)} // ours, not a mail's
	for _, path := range slices.Sorted(maps.Keys(doc.Paths)) {
		item := doc.Paths[path]
		for _, op := range []*huma.Operation{item.Get, item.Post, item.Patch, item.Delete} {
			if op != nil {
				m.Operations = append(m.Operations, newManualOperation(op))
			}
		}
	}
	schemas := doc.Components.Schemas.Map()
	for _, name := range slices.Sorted(maps.Keys(schemas)) {
		m.Schemas = append(m.Schemas, newManualSchema(name, schemas[name]))
	}
	return m
}

func newManualOperation(op *huma.Operation) manualOperation {
	m := manualOperation{Operation: op, Example: "http://localhost:8025" + op.Path}
	for _, p := range op.Parameters {
		if p.In != "header" {
			m.Parameters = append(m.Parameters, manualParameter{p.Name, p.In, valueOf(p.Schema), p.Description})
		}
		if example, ok := p.Example.(string); ok && p.In == "path" {
			m.Example = strings.ReplaceAll(m.Example, "{"+p.Name+"}", example)
		}
	}
	m.Example = strings.ReplaceAll(m.Example, "{n}", "1")
	for _, status := range slices.Sorted(maps.Keys(op.Responses)) {
		r := op.Responses[status]
		answer := manualAnswer{Status: status, Description: r.Description}
		for _, content := range r.Content {
			if content.Schema != nil {
				answer.Schema = refName(content.Schema)
			}
		}
		m.Answers = append(m.Answers, answer)
	}
	return m
}

func newManualSchema(name string, s *huma.Schema) manualSchema {
	m := manualSchema{Name: name}
	for _, field := range slices.Sorted(maps.Keys(s.Properties)) {
		p := s.Properties[field]
		m.Fields = append(m.Fields, manualField{field, typeOf(p), p.Description})
	}
	return m
}

// typeOf names the type of a field.
func typeOf(s *huma.Schema) string {
	if s.Type == huma.TypeArray && s.Items != nil {
		return "list of " + typeOf(s.Items)
	}
	return cmp.Or(refName(s), strings.TrimSpace(s.Type+" "+s.Format))
}

// valueOf says what a parameter may be.
func valueOf(s *huma.Schema) string {
	if s == nil {
		return ""
	}
	text := s.Type
	switch {
	case len(s.Enum) > 0:
		text = strings.Trim(fmt.Sprint(s.Enum), "[]")
	case s.Pattern != "":
		text = s.Pattern
	case s.Minimum != nil && s.Maximum != nil:
		text = fmt.Sprintf("%v to %v", *s.Minimum, *s.Maximum)
	}
	if s.Default != nil {
		text += fmt.Sprintf(" (%v)", s.Default)
	}
	return text
}

func refName(s *huma.Schema) string {
	return s.Ref[strings.LastIndexByte(s.Ref, '/')+1:]
}
