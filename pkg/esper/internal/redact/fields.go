package redact

import (
	"fmt"
	"reflect"
	"time"

	"github.com/esper-go/esper-go/pkg/wire"
)

var (
	secretType = reflect.TypeFor[wire.Secret]()
	timeType   = reflect.TypeFor[time.Time]()
)

// Secrets appends to known each Secret in the struct that v points to.
func Secrets(known []wire.Secret, v any) []wire.Secret {
	walk(reflect.ValueOf(v), func(field reflect.Value) {
		if field.Type() != secretType {
			return
		}
		if secret, _ := field.Interface().(wire.Secret); !secret.IsZero() {
			known = append(known, secret)
		}
	})
	return known
}

// Fields puts Withheld, or for a value of another kind its zero, in the place of each field of the
// struct that v points to which holds a secret and is none.
func (m *Matcher) Fields(v any) {
	walk(reflect.ValueOf(v), func(field reflect.Value) {
		switch {
		case field.Type() == secretType || !field.CanSet():
		case field.Kind() == reflect.String:
			if m.In(field.String()) {
				field.SetString(Withheld)
			}
		case field.Kind() > reflect.Complex128 && m.In(fmt.Sprint(field.Interface())):
			field.SetZero()
		}
	})
}

// walk visits what v is made of: the fields of structs and the elements of slices, to their ends.
func walk(v reflect.Value, visit func(reflect.Value)) {
	switch {
	case v.Kind() == reflect.Pointer:
		if !v.IsNil() {
			walk(v.Elem(), visit)
		}
	case v.Type() == timeType:
	case v.Kind() == reflect.Struct && v.Type() != secretType:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				walk(v.Field(i), visit)
			}
		}
	case v.Kind() == reflect.Slice:
		for i := range v.Len() {
			walk(v.Index(i), visit)
		}
	default:
		visit(v)
	}
}
