package body

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"unicode"
)

// Fields maps the JSON names of a struct's fields to their indexes. The names are in lower case, because
// encoding/json ignores case too. Make it with FieldsOf.
type Fields map[string]int

// maxName and maxValue limit the name and the value of a field, maxValues limits all values together. Real
// answers are below these limits.
const maxName, maxValue, maxValues = 64, 4 << 10, 64 << 10

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
// cannot be read, or is over 4 KiB, leaves its field zero, and the rest is read all the same; members
// without a field are not looked at. It reports whether the object ended, with nothing behind it.
func (f Fields) Decode(body []byte, v any) (whole bool) {
	target, members, values := reflect.ValueOf(v).Elem(), 0, 0
	return eachMember(body, func(name, value []byte) bool {
		members++
		if field, ok := f.find(name); ok && len(value) <= maxValue && values < maxValues {
			values += len(value)
			read(value, target.Field(field))
		}
		return members < maxMembers
	})
}

// read reads a JSON value into a field, which becomes zero if the value cannot be read.
func read(value []byte, field reflect.Value) {
	into := field.Addr().Interface()
	if u, ok := into.(json.Unmarshaler); ok && wellFormed(value) && u.UnmarshalJSON(value) == nil {
		return
	}
	if json.Unmarshal(value, into) != nil {
		field.SetZero()
	}
}

// find looks up a name as it was written, quotes included.
func (f Fields) find(name []byte) (field int, ok bool) {
	if len(name) > maxName {
		return 0, false
	}
	if field, ok = f[string(name[1:len(name)-1])]; ok {
		return field, true
	}
	if bytes.IndexByte(name, '\\') < 0 && !bytes.ContainsFunc(name, unicode.IsUpper) {
		return 0, false
	}
	field, ok = f[strings.ToLower(stringOf(name))]
	return field, ok
}

// wellFormed reports whether UnmarshalJSON may be called with value. It does not check strings and lists,
// because the types of package wire cope with malformed ones.
func wellFormed(value []byte) bool {
	return len(value) > 0 && (value[0] == '"' || value[0] == '[') || json.Valid(value)
}
