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
	maxFaults      = 256 << 10 // bytes of the member errors that are looked at
)

// Faults finds the reason in the body of an answer that is not 2xx. It knows the error envelope of the API,
// that of its framework (Django REST), a map of faults by parameter, and the title of an HTML page.
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

// Message returns the message in the API's error envelope, or else its first detail. It is for a 2xx answer,
// in which other members may hold a key: unlike Faults, it does not look at them.
func Message(body []byte) string {
	message, details, _ := envelope(body)
	if message == "" && len(details) > 0 {
		return withoutField(details[0])
	}
	return message
}

// envelope reads the members of the API's error envelope, and in others the other members that may be faults.
// All results are empty for a document that is cut short.
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

// isFault reports whether a member of a body describes a fault: the name of a parameter with a list of faults
// or with a sentence, or an error member of OAuth 2.0 (RFC 6749, section 5.2). Any other text without a space is
// not taken for a fault, because it may be a key.
func isFault(name, value []byte) bool {
	switch {
	case len(value) == 0:
		return false
	case value[0] == '[', value[0] == '"' && bytes.IndexByte(value, ' ') > 0:
		return true
	}
	return string(name) == `"error"` || string(name) == `"error_description"` || string(name) == `"message"`
}

// withoutField removes the names that Django REST puts before a fault that belongs to no field, and spaces.
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

// maxFaultNames limits the members of an object that are taken for faults.
const maxFaultNames = 256

// sortedMembers returns the first members of a JSON object, sorted by name.
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
	if begin < 0 || len(lower) != len(head) { // lower case changed the length, so indexes do not fit: rare
		return ""
	}
	open := strings.IndexByte(lower[begin:], '>')
	end := strings.Index(lower[begin:], "</title")
	if open < 0 || end < open {
		return ""
	}
	return strings.Join(strings.Fields(html.UnescapeString(head[begin+open+1:begin+end])), " ")
}
