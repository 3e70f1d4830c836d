package espertest

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/routers"
)

// spec is the API's description, read for routing and checking. It is not changed once loaded.
type spec struct {
	doc  *openapi3.T
	base string // the path of the server URL, without a trailing slash
}

func loadSpec(document []byte) (*spec, error) {
	doc, err := openapi3.NewLoader().LoadFromData(document)
	if err != nil {
		return nil, err
	}
	if doc.Components != nil {
		for _, schema := range doc.Components.Schemas {
			if schema.Value.Type == nil { // allows any value; kin-openapi accepts null only if this is set
				schema.Value.Nullable = true
			}
		}
	}
	base, err := doc.Servers.BasePath()
	if err != nil {
		return nil, err
	}
	return &spec{doc: doc, base: strings.TrimSuffix(base, "/")}, nil
}

// operation is the operation of the description that a request is for, or why there is none.
type operation struct {
	route   *routers.Route // nil if the description has no such operation
	params  map[string]string
	name    string // method and path for messages; the path has only parts that are in the description
	refused int    // if route is nil, the status of the answer
	problem string // if route is nil, what is wrong with the request
	allow   string // if the method is wrong, the methods that the path has
}

// find returns the operation that a request is for. Like the real server, and unlike kin-openapi's
// routers, it does not accept a path without its trailing slash.
func (s *spec) find(r *http.Request) operation {
	path, below := strings.CutPrefix(r.URL.EscapedPath(), s.base)
	if below {
		for _, template := range s.doc.Paths.InMatchingOrder() {
			if params, ok := bind(template, path); ok {
				return s.findMethod(r.Method, template, params)
			}
			if _, ok := bind(template, path+"/"); ok {
				return operation{
					name:    r.Method + " " + strings.TrimSuffix(template, "/"),
					refused: http.StatusMethodNotAllowed,
					problem: "the path lacks its trailing slash",
				}
			}
		}
	}
	return operation{
		name:    r.Method + " " + s.knownParts(r.URL.EscapedPath()),
		refused: http.StatusNotFound,
		problem: "there is no such path",
	}
}

func (s *spec) findMethod(method, template string, params map[string]string) operation {
	item := s.doc.Paths.Value(template)
	op := operation{name: method + " " + template, params: params}
	if o := item.Operations()[method]; o != nil {
		op.route = &routers.Route{Spec: s.doc, Path: template, PathItem: item, Method: method, Operation: o}
		return op
	}
	var allow []string
	for m := range item.Operations() {
		allow = append(allow, m)
	}
	op.refused, op.problem = http.StatusMethodNotAllowed, "the path does not have this method"
	op.allow = strings.Join(allow, ", ")
	return op
}

// knownParts replaces each part of the path that is not in the description by "…", since such a part may be a key.
func (s *spec) knownParts(path string) string {
	known := map[string]bool{}
	for _, template := range append(s.doc.Paths.InMatchingOrder(), s.base) {
		for part := range strings.SplitSeq(template, "/") {
			known[part] = true
		}
	}
	parts := strings.Split(path, "/")
	for i, part := range parts {
		if !known[part] {
			parts[i] = "…"
		}
	}
	return strings.Join(parts, "/")
}

// bind matches an encoded path with a template such as /a/{b}/, and returns the decoded parameters.
func bind(template, path string) (map[string]string, bool) {
	want, got := strings.Split(template, "/"), strings.Split(path, "/")
	if len(want) != len(got) {
		return nil, false
	}
	params := map[string]string{}
	for i, w := range want {
		name, isParam := strings.CutPrefix(w, "{")
		value, err := url.PathUnescape(got[i])
		switch {
		case isParam && err == nil && value != "":
			params[strings.TrimSuffix(name, "}")] = value
		case isParam || err != nil || value != w:
			return nil, false
		}
	}
	return params, true
}

// success returns the status with which the operation succeeds: of the declared ones below 300, the highest
// for a POST, and the lowest for other methods. So renewToken is answered with 201, as by the real server,
// and renewPersonalAccessToken with 200, as Esper declares. A client has to accept both statuses from both.
func (o operation) success() int {
	found := http.StatusOK
	if o.route == nil {
		return found
	}
	for code := http.StatusMultipleChoices - 1; code >= http.StatusOK; code-- {
		if o.route.Operation.Responses.Status(code) != nil {
			if found = code; o.route.Method == http.MethodPost {
				break
			}
		}
	}
	return found
}
