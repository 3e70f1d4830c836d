package body

import (
	"encoding/json"
	"reflect"
	"strings"
)

// Fields are the fields of a struct by their names in JSON, in lower case, as encoding/json compares
// them. Make them with FieldsOf.
type Fields map[string]int

// maxName is longer than the name of any field.
const maxName = 64

// FieldsOf returns the fields of the struct v.
func FieldsOf(v any) Fields {
	t := reflect.TypeOf(v)
	fields := make(Fields, t.NumField())
	for i := range t.NumField() {
		name, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
		fields[strings.ToLower(name)] = i
	}
	return fields
}

// Decode reads the members of the JSON object in body into the struct that v points to. A member that
// cannot be read leaves its field zero, and the rest is read all the same; members without a field
// are not looked at. It reports whether the object ended, with nothing behind it.
func (f Fields) Decode(body []byte, v any) (whole bool) {
	target := reflect.ValueOf(v).Elem()
	return eachMember(body, func(name, value []byte) {
		field, ok := f.find(name)
		if !ok {
			return
		}
		into := target.Field(field).Addr().Interface()
		if u, ok := into.(json.Unmarshaler); ok && wellFormed(value) && u.UnmarshalJSON(value) == nil {
			return
		}
		if json.Unmarshal(value, into) != nil {
			target.Field(field).SetZero()
		}
	})
}

// find looks up a name as it was written, quotes included.
func (f Fields) find(name []byte) (field int, ok bool) {
	if len(name) > maxName {
		return 0, false
	}
	if field, ok = f[string(name[1:len(name)-1])]; ok {
		return field, true
	}
	field, ok = f[strings.ToLower(stringOf(name))]
	return field, ok
}

// wellFormed reports whether value is a JSON value for which UnmarshalJSON may be called.
func wellFormed(value []byte) bool {
	return len(value) > 0 && value[0] == '"' || json.Valid(value) // a type of package wire refuses a malformed string
}
