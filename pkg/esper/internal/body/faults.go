package body

import (
	"bytes"
	"cmp"
	"html"
	"regexp"
	"slices"
	"strings"
)

const (
	maxDetails     = 32
	maxDetailDepth = 4
	maxFaults      = 256 << 10 // how much of the member errors is looked at
)

// Faults finds what the body of an answer says of the reason, whatever its shape: the envelope of
// the API, that of its framework (Django REST), a map of faults, the title of an HTML page.
func Faults(body []byte) (message string, details []string) {
	var detail string
	var errs []byte
	whole := eachMember(body, func(name, value []byte) {
		switch {
		case bytes.EqualFold(name, []byte(`"message"`)):
			message = stringOf(value)
		case bytes.EqualFold(name, []byte(`"detail"`)):
			detail = stringOf(value)
		case bytes.EqualFold(name, []byte(`"errors"`)):
			errs = value
		}
	})
	if !whole {
		return title(body), nil
	}
	if message == "" {
		message = detail
	}
	details = flatten(nil, "", errs, 0)
	if message == "" && len(details) == 0 {
		details = flattenLists(body)
	}
	for i := range details {
		details[i] = withoutField(details[i])
	}
	return withoutField(message), details
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

// flattenLists is for a body that is itself the map of faults: parameters with the list of what is
// wrong with each, and what OAuth 2.0 calls error (RFC 6749, section 5.2). Other members may be data.
func flattenLists(body []byte) (texts []string) {
	for _, m := range sortedMembers(body) {
		if m.value[0] == '[' || m.name == "error" || m.name == "error_description" || m.name == "message" {
			texts = flatten(texts, m.name, m.value[:min(len(m.value), maxFaults)], 1)
		}
	}
	return texts
}

type member struct {
	name  string
	value []byte
}

// sortedMembers returns the first members of a JSON object by name.
func sortedMembers(object []byte) (members []member) {
	const most = 256
	eachMember(object, func(name, value []byte) {
		if len(members) < most && len(value) > 0 {
			members = append(members, member{stringOf(name), value})
		}
	})
	slices.SortStableFunc(members, func(a, b member) int { return cmp.Compare(a.name, b.name) })
	return members
}

// IsHTML reports whether body begins as an HTML page does.
func IsHTML(body []byte) bool {
	b := trimStart(body)
	begin := strings.ToLower(string(b[:min(len(b), 15)]))
	return strings.HasPrefix(begin, "<!doctype html") || strings.HasPrefix(begin, "<html") || strings.HasPrefix(begin, "<head")
}

var titleTag = regexp.MustCompile(`(?is)<title[^>]*>(.{0,512}?)</title>`)

// title returns the title of an HTML page, in which firewalls and proxies say who they are and why.
func title(body []byte) string {
	if !IsHTML(body) {
		return ""
	}
	const head = 4 << 10
	match := titleTag.FindSubmatch(body[:min(len(body), head)])
	if match == nil {
		return ""
	}
	return strings.Join(strings.Fields(html.UnescapeString(string(match[1]))), " ")
}
