package env

import (
	"encoding"
	"fmt"
	"reflect"
	"strings"
	"time"

	"github.com/kelseyhightower/envconfig"
)

// fileSuffix makes a variable name a file that holds the value: how Docker and Kubernetes hand out secrets.
const fileSuffix = "_FILE"

// field is one variable: a leaf of a configuration struct.
type field struct {
	name     string
	desc     string
	fallback string
	required bool
	secret   bool
	oneof    []string
	min, max string
	value    reflect.Value
}

// allower is implemented by types that know what their values look like.
type allower interface{ Allowed() string }

// fields lists the variables of all structs in order. A variable may occur in several structs (two services in one
// process that both connect to the log).
func (s Set) fields() ([]field, error) {
	var all []field
	for _, dst := range s.Structs {
		v := reflect.ValueOf(dst)
		if v.Kind() != reflect.Pointer || v.IsNil() || v.Elem().Kind() != reflect.Struct {
			return nil, fmt.Errorf("configuration must be a pointer to a struct, not %T", dst)
		}
		var err error
		if all, err = s.walk(all, v.Elem()); err != nil {
			return nil, err
		}
	}
	return all, nil
}

func (s Set) walk(all []field, v reflect.Value) ([]field, error) {
	for i := range v.NumField() {
		sf := v.Type().Field(i)
		name := sf.Tag.Get("envconfig")
		if sf.Tag.Get("ignored") == "true" || (!sf.IsExported() && !sf.Anonymous) {
			continue
		}
		if name == "" && sf.Type.Kind() == reflect.Struct && !decodes(v.Field(i)) {
			var err error
			if all, err = s.walk(all, v.Field(i)); err != nil {
				return nil, err
			}
			continue
		}
		if name == "" || !sf.IsExported() {
			return nil, fmt.Errorf("field %s of %s has no envconfig tag; set one, or ignored:\"true\"", sf.Name, v.Type())
		}
		all = append(all, s.field(name, sf.Tag, v.Field(i)))
	}
	return all, nil
}

func (s Set) field(name string, tag reflect.StructTag, v reflect.Value) field {
	f := field{
		name:     name,
		desc:     tag.Get("desc"),
		fallback: tag.Get("default"),
		secret:   tag.Get("secret") == "true",
		min:      tag.Get("min"),
		max:      tag.Get("max"),
		value:    v,
	}
	if words := tag.Get("oneof"); words != "" {
		f.oneof = strings.Fields(words)
	}
	if given, ok := s.Defaults[name]; ok {
		f.fallback = given
	}
	f.required = tag.Get("required") == "true" && f.fallback == ""
	return f
}

// decodes says whether the type parses itself, so that a struct of it is one value and not a group.
func decodes(v reflect.Value) bool {
	switch reflect.New(v.Type()).Interface().(type) {
	case envconfig.Decoder, envconfig.Setter, encoding.TextUnmarshaler, encoding.BinaryUnmarshaler:
		return true
	}
	return false
}

// allowed says in words what the variable may be.
func (f field) allowed() string {
	if f.oneof != nil {
		return strings.Join(f.oneof, " or ")
	}
	text := allowedType(f.value)
	switch {
	case f.min != "" && f.max != "":
		text += " from " + f.min + " to " + f.max
	case f.min != "":
		text += ", at least " + f.min
	case f.max != "":
		text += ", at most " + f.max
	}
	if f.value.Kind() == reflect.String && text == "a text" && f.desc != "" {
		return f.desc
	}
	return text
}

func allowedType(v reflect.Value) string {
	if a, ok := v.Addr().Interface().(allower); ok {
		return a.Allowed()
	}
	if v.Type() == reflect.TypeFor[time.Duration]() {
		return "a duration such as 500ms, 30s, 5m or 72h"
	}
	switch v.Kind() {
	case reflect.Bool:
		return "true or false"
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return "a whole number"
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return "a whole number, not negative"
	case reflect.Float32, reflect.Float64:
		return "a number"
	}
	return "a text"
}
