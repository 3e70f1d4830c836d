package redact

import (
	"fmt"
	"reflect"
	"slices"

	"github.com/esper-go/esper-go/pkg/wire"
)

// Fields looks at the fields of the struct that v points to. A text that holds one of m's secrets, or a
// Secret of the struct itself, becomes Withheld. The Secret fields keep their value. A field of a type
// that is not known here becomes zero if it holds a secret.
func (m *Matcher) Fields(v any) {
	var (
		buf    [24]*string
		texts  = buf[:0]
		more   []wire.Secret
		others []reflect.Value
	)
	s := reflect.ValueOf(v).Elem()
	for i := range s.NumField() {
		value := s.Field(i)
		if !value.CanSet() {
			continue
		}
		switch field := value.Addr().Interface().(type) {
		case *wire.Secret:
			if usable(*field) && !slices.Contains(m.secrets, *field) {
				more = append(more, *field)
			}
		case *wire.Scalar:
			texts = append(texts, (*string)(field))
		case *wire.Time:
			texts = append(texts, &field.Raw)
		case *wire.Ref:
			texts = append(texts, &field.Raw, &field.ID)
		case *wire.Scopes:
			for i := range *field {
				texts = append(texts, &(*field)[i])
			}
		case *string:
			texts = append(texts, field)
		default:
			others = append(others, value)
		}
	}
	if len(more) > 0 {
		m = New(slices.Concat(m.secrets, more)...)
	}
	if m.inAny(texts) {
		for _, text := range texts {
			if m.In(*text) {
				*text = Withheld
			}
		}
	}
	for _, value := range others {
		if m.In(fmt.Sprintf("%+v", value.Interface())) {
			value.SetZero()
		}
	}
}

// inAny reports whether one of texts may hold a secret. It searches them all at once, because a secret is rare.
func (m *Matcher) inAny(texts []*string) bool {
	var buf [1 << 10]byte
	all := buf[:0]
	for _, text := range texts {
		var escapes bool
		if all, escapes = fold(all, *text); escapes {
			return true
		}
		all = append(all, 0) // so that no pattern matches across two texts
	}
	return len(m.exact()) > 0 || m.found(all)
}
