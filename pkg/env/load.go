package env

import (
	"errors"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/kelseyhightower/envconfig"
)

// Lookup finds a variable, as os.LookupEnv does.
type Lookup func(name string) (value string, ok bool)

// Set is a set of configuration structs and where their values come from.
type Set struct {
	// Structs are pointers to structs with tags as in the package comment.
	Structs []any
	// Defaults replace the defaults in the tags, by variable. A variable with a default is not required.
	Defaults map[string]string
	// Lookup is os.LookupEnv when nil.
	Lookup Lookup
}

// Load fills the structs from the environment.
func Load(structs ...any) error { return Set{Structs: structs}.Load() }

// Load fills the structs. Its error joins one *Problem for each variable that is missing or wrong.
func (s Set) Load() error {
	fields, err := s.fields()
	if err != nil {
		return err
	}
	var problems []error
	for _, f := range fields {
		if err := f.load(s.lookup); err != nil {
			problems = append(problems, err)
		}
	}
	if len(problems) > 0 {
		return errors.Join(problems...)
	}
	for _, dst := range s.Structs {
		problems = append(problems, validate(reflect.ValueOf(dst).Elem()))
	}
	return errors.Join(problems...)
}

// validate asks the struct, or if it has no opinion the structs in it.
func validate(v reflect.Value) error {
	if v.Addr().CanInterface() {
		if own, ok := v.Addr().Interface().(interface{ Validate() error }); ok {
			return own.Validate()
		}
	}
	var problems []error
	for i := range v.NumField() {
		if f := v.Field(i); f.Kind() == reflect.Struct && v.Type().Field(i).Tag.Get("ignored") != "true" {
			problems = append(problems, validate(f))
		}
	}
	return errors.Join(problems...)
}

func (s Set) lookup(name string) (string, bool) {
	if s.Lookup != nil {
		return s.Lookup(name)
	}
	return os.LookupEnv(name)
}

// load gives one field the value of its variable.
func (f field) load(lookup Lookup) error {
	value, err := f.find(lookup)
	if err != nil {
		return err
	}
	if value == "" {
		value = f.fallback
	}
	if value == "" {
		if f.required {
			return &Problem{Name: f.name, Reason: "(" + f.desc + ") is required but not set", Allowed: f.allowed()}
		}
		f.value.SetZero()
		return nil
	}
	if value = f.canonical(value); f.oneof != nil && !slices.Contains(f.oneof, value) {
		return f.problem(value, "is none of the allowed values")
	}
	if err := decode(f.value, value); err != nil {
		return f.problem(value, err.Error())
	}
	return f.checkBounds(value)
}

// canonical is the allowed value that differs only in case, if there is one.
func (f field) canonical(value string) string {
	if i := slices.IndexFunc(f.oneof, func(word string) bool { return strings.EqualFold(word, value) }); i >= 0 {
		return f.oneof[i]
	}
	return value
}

// find returns the value given for the field by X or X_FILE, or "".
func (f field) find(lookup Lookup) (string, error) {
	value, _ := lookup(f.name)
	file, _ := lookup(f.name + fileSuffix)
	switch {
	case file == "":
		return value, nil
	case value != "":
		return "", &Problem{Name: f.name, Reason: "is set twice: by " + f.name + " and by " + f.name + fileSuffix}
	}
	raw, err := os.ReadFile(file)
	if err != nil {
		return "", &Problem{Name: f.name + fileSuffix, Value: file, given: true, Reason: "cannot be read: " + reason(err), Allowed: "a file that can be read"}
	}
	value = strings.TrimSuffix(strings.TrimSuffix(string(raw), "\n"), "\r")
	if value == "" && f.required {
		return "", &Problem{Name: f.name + fileSuffix, Value: file, given: true, Reason: "is an empty file", Allowed: f.allowed()}
	}
	return value, nil
}

// reason is the end of an error's chain: the rest would repeat the value.
func reason(err error) string {
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			return err.Error()
		}
		err = inner
	}
}

// decode lets envconfig parse one value. It passes a struct with only this field, because envconfig stops at the first error
// and all errors are wanted. The value is passed as the default of a variable whose name no environment can contain: it
// may come from a file, and a secret in the environment would be inherited by every child process.
func decode(dst reflect.Value, value string) error {
	one := reflect.New(reflect.StructOf([]reflect.StructField{{
		Name: "Value",
		Type: dst.Type(),
		Tag:  reflect.StructTag(`envconfig:"=" default:` + strconv.Quote(value)),
	}}))
	err := envconfig.Process("", one.Interface())
	switch parse := (*envconfig.ParseError)(nil); {
	case err == nil:
		dst.Set(one.Elem().Field(0))
		return nil
	case !errors.As(err, &parse):
		return err
	case errors.Is(parse.Err, strconv.ErrRange):
		return errors.New("is out of range")
	case decodes(dst):
		return parse.Err
	default: // the texts of strconv and time only repeat the value
		return errors.New("is not valid")
	}
}

// checkBounds holds a decoded value against the tags min and max.
func (f field) checkBounds(value string) error {
	for _, bound := range []struct {
		text   string
		sign   int64
		reason string
	}{{f.min, -1, "is too small"}, {f.max, 1, "is too large"}} {
		if bound.text == "" {
			continue
		}
		limit := reflect.New(f.value.Type()).Elem()
		if err := decode(limit, bound.text); err != nil || !limit.CanInt() {
			return fmt.Errorf("%s: the tag min or max %q does not fit the type %s", f.name, bound.text, limit.Type())
		}
		if got := f.value.Int(); (bound.sign < 0 && got < limit.Int()) || (bound.sign > 0 && got > limit.Int()) {
			return f.problem(value, bound.reason)
		}
	}
	return nil
}
