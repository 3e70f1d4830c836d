package redact

import (
	"fmt"
	"reflect"

	"github.com/esper-go/esper-go/pkg/wire"
)

// Secrets appends to known each Secret in the fields of the struct that v points to.
func Secrets(known []wire.Secret, v any) []wire.Secret {
	eachField(v, func(field any) {
		if secret, ok := field.(*wire.Secret); ok && !secret.IsZero() {
			known = append(known, *secret)
		}
	})
	return known
}

// Fields puts Withheld in the place of each text, in the fields of the struct that v points to, which
// holds a secret and is none. A field of a type that is not known here becomes zero.
func (m *Matcher) Fields(v any) {
	eachField(v, func(field any) {
		switch field := field.(type) {
		case *wire.Secret:
		case *wire.Scalar:
			m.withhold((*string)(field))
		case *wire.Time:
			m.withhold(&field.Raw)
		case *wire.Ref:
			m.withhold(&field.ID)
			m.withhold(&field.Raw)
		case *wire.Scopes:
			for i := range *field {
				m.withhold(&(*field)[i])
			}
		case *string:
			m.withhold(field)
		default:
			if value := reflect.ValueOf(field).Elem(); m.In(fmt.Sprintf("%+v", value.Interface())) {
				value.SetZero()
			}
		}
	})
}

func (m *Matcher) withhold(text *string) {
	if m.In(*text) {
		*text = Withheld
	}
}

// eachField calls visit with a pointer to each exported field of the struct that v points to.
func eachField(v any, visit func(field any)) {
	s := reflect.ValueOf(v).Elem()
	for i := range s.NumField() {
		if field := s.Field(i); field.CanSet() {
			visit(field.Addr().Interface())
		}
	}
}
