package body

import (
	"encoding/json"
	"html"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// maxDetails limits the faults that are shown of one answer, and maxDepth how deep they may stand.
const maxDetails, maxDepth = 32, 4

// members returns the members of a document, and none if it is malformed or too large for an error.
func members(body []byte) (found map[string]any) {
	_ = Decode(body, &found)
	return found
}

// IsRefusal reports whether a body has the envelope in which Esper refuses: a JSON object whose errors or detail (that
// of Esper's framework, Django REST) say something, or a message beside a status. What has none comes from something in
// front.
func IsRefusal(body []byte) bool {
	m := members(body)
	says := func(name string) bool { return strings.Join(flatten(nil, "", m[name], 0), "") != "" }
	return says("errors") || says("detail") || says("message") && m["status"] != nil
}

// Faults finds the reason in the body of an answer that is not 2xx. It knows the error envelope of the API, that of its
// framework (Django REST), a map of faults by parameter, a bare list of texts, and the title of an HTML page.
func Faults(body []byte) (message string, details []string) {
	if IsHTML(body) {
		return title(body), nil
	}
	if list := []any(nil); Decode(body, &list) == nil {
		return "", flatten(nil, "", list, 0)
	}
	all := members(body)
	for _, name := range []string{"detail", "message"} {
		if text, ok := all[name].(string); ok && text != "" {
			message = withoutField(text)
		}
	}
	if details = flatten(nil, "", all["errors"], 0); message != "" || len(details) > 0 {
		return message, details
	}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		text, isText := all[name].(string)
		_, isList := all[name].([]any)
		// Any other text without a space is not taken for a fault, because it may be a key.
		if isList || isText && (strings.Contains(text, " ") || name == "error" || name == "error_description") {
			details = flatten(details, name, all[name], 1)
		}
	}
	return "", details
}

// withoutField removes the names that Django REST puts before a fault that belongs to no field, and spaces.
func withoutField(text string) string {
	return strings.TrimSpace(strings.TrimPrefix(strings.TrimPrefix(text, "detail:"), "non_field_errors:"))
}

// flatten appends the texts in a JSON value, each with the name of the member that it stands under.
func flatten(texts []string, name string, value any, depth int) []string {
	if len(texts) >= maxDetails || depth > maxDepth {
		return texts
	}
	switch v := value.(type) {
	case nil:
	case []any:
		for _, element := range v[:min(len(v), maxDetails)] {
			texts = flatten(texts, name, element, depth+1)
		}
	case map[string]any:
		names := slices.Sorted(maps.Keys(v))
		for _, name := range names[:min(len(names), maxDetails)] {
			texts = flatten(texts, name, v[name], depth+1)
		}
	default:
		text, isText := v.(string)
		if !isText {
			raw, _ := json.Marshal(v)
			text = string(raw)
		}
		if name != "" {
			text = name + ": " + text
		}
		texts = append(texts, withoutField(text))
	}
	return texts
}

var (
	htmlStart = regexp.MustCompile(`^(?i)\x{FEFF}?\s*(<!--[^>]*-->\s*|<\?xml[^>]*>\s*)?<(!doctype html|html|head)`)
	htmlTitle = regexp.MustCompile(`(?is)<title[^>]*>(.*?)</title`)
)

// IsHTML reports whether body begins as an HTML page does.
func IsHTML(body []byte) bool { return htmlStart.Match(body[:min(len(body), 256)]) }

// title returns the title of an HTML page, in which firewalls and proxies say who they are and why.
func title(body []byte) string {
	found := htmlTitle.FindSubmatch(body[:min(len(body), 4<<10)])
	if found == nil {
		return ""
	}
	return strings.Join(strings.Fields(html.UnescapeString(string(found[1]))), " ")
}
