package body

import (
	"bytes"
	"cmp"
	"html"
	"slices"
	"strings"
)

const (
	maxDetails     = 32
	maxDetailDepth = 4
	maxFaults      = 256 << 10 // how much of the member errors is looked at
)

// Faults finds what the body of an answer that is not 2xx says of the reason, whatever its shape: the
// envelope of the API, that of its framework (Django REST), a map of faults, the title of an HTML page.
func Faults(body []byte) (message string, details []string) {
	if IsHTML(body) {
		return title(body), nil
	}
	message, details, others := envelope(body)
	if message == "" && len(details) == 0 {
		for _, m := range sorted(others) {
			details = flatten(details, m.name, m.value[:min(len(m.value), maxFaults)], 1)
		}
	}
	for i := range details {
		details[i] = withoutField(details[i])
	}
	return message, details
}

// Message is what Faults finds in the API's own envelope, for an answer that may be something else: a
// list in that could hold a key.
func Message(body []byte) string {
	message, details, _ := envelope(body)
	if message == "" && len(details) > 0 {
		return withoutField(details[0])
	}
	return message
}

// envelope reads the API's envelope of an error, and the members beside it that may be faults too. All
// are empty for a document that did not end.
func envelope(body []byte) (message string, details []string, others []member) {
	var detail string
	var errs []byte
	n := 0
	whole := eachMember(body, func(name, value []byte) bool {
		isText := len(value) > 0 && value[0] == '"'
		switch {
		case isText && len(name) == len(`"message"`) && bytes.EqualFold(name, []byte(`"message"`)):
			message = stringOf(value)
		case isText && len(name) == len(`"detail"`) && bytes.EqualFold(name, []byte(`"detail"`)):
			detail = stringOf(value)
		case len(name) == len(`"errors"`) && bytes.EqualFold(name, []byte(`"errors"`)):
			errs = value
		case len(others) < maxFaultNames && isFault(name, value):
			others = append(others, member{stringOf(name), value})
		}
		n++
		return n < maxMembers
	})
	if !whole {
		return "", nil, nil
	}
	if message == "" {
		message = detail
	}
	return withoutField(message), flatten(nil, "", errs, 0), others
}

// isFault reports whether a member is one of a body that is itself the map of faults: a parameter with
// the list of what is wrong with it, or a sentence; or what OAuth 2.0 calls error (RFC 6749, section
// 5.2). Others may be data: a key has no spaces.
func isFault(name, value []byte) bool {
	switch {
	case len(value) == 0:
		return false
	case value[0] == '[', value[0] == '"' && bytes.IndexByte(value, ' ') > 0:
		return true
	}
	return string(name) == `"error"` || string(name) == `"error_description"` || string(name) == `"message"`
}

// withoutField drops the framework's name of a field that stands for no field, and the spaces around.
func withoutField(text string) string {
	for _, name := range []string{"detail:", "non_field_errors:"} {
		text = strings.TrimPrefix(text, name)
	}
	return strings.TrimSpace(text)
}

// flatten appends the texts in a JSON value, each with the name of the member that it stands under.
func flatten(texts []string, name string, value []byte, depth int) []string {
	value = trimSpace(value)
	switch {
	case len(value) == 0 || len(texts) == maxDetails || depth > maxDetailDepth || bytes.Equal(value, []byte("null")):
	case value[0] == '[':
		eachElement(value[:min(len(value), maxFaults)], func(element []byte) bool {
			texts = flatten(texts, name, element, depth+1)
			return len(texts) < maxDetails
		})
	case value[0] == '{':
		for _, m := range sortedMembers(value[:min(len(value), maxFaults)]) {
			texts = flatten(texts, m.name, m.value, depth+1)
		}
	default:
		text := stringOf(value)
		if value[0] != '"' {
			text = string(value[:min(len(value), maxLiteral)])
		}
		if name != "" {
			text = name + ": " + text
		}
		texts = append(texts, text)
	}
	return texts
}

type member struct {
	name  string
	value []byte
}

// maxFaultNames is how many members of an object are taken for faults.
const maxFaultNames = 256

// sortedMembers returns the first members of a JSON object by name.
func sortedMembers(object []byte) (members []member) {
	eachMember(object, func(name, value []byte) bool {
		if len(value) > 0 {
			members = append(members, member{stringOf(name), value})
		}
		return len(members) < maxFaultNames
	})
	return sorted(members)
}

func sorted(members []member) []member {
	slices.SortStableFunc(members, func(a, b member) int { return cmp.Compare(a.name, b.name) })
	return members
}

// IsHTML reports whether body begins as an HTML page does.
func IsHTML(body []byte) bool {
	b := trimStart(body)
	begin := strings.ToLower(string(b[:min(len(b), 15)]))
	return strings.HasPrefix(begin, "<!doctype html") || strings.HasPrefix(begin, "<html") || strings.HasPrefix(begin, "<head")
}

// title returns the title of an HTML page, in which firewalls and proxies say who they are and why.
func title(body []byte) string {
	const most = 4 << 10
	head := string(body[:min(len(body), most)])
	lower := strings.ToLower(head)
	begin := strings.Index(lower, "<title")
	if begin < 0 || len(lower) != len(head) { // not ASCII, and of a kind that changes its length: rare
		return ""
	}
	open := strings.IndexByte(lower[begin:], '>')
	end := strings.Index(lower[begin:], "</title")
	if open < 0 || end < open {
		return ""
	}
	return strings.Join(strings.Fields(html.UnescapeString(head[begin+open+1:begin+end])), " ")
}
