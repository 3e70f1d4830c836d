package espertest

import (
	"bytes"
	"cmp"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/getkin/kin-openapi/routers"

	"github.com/esper-go/esper-go/pkg/wire"
)

// Request is a request as it arrived. Printing it does not show the keys in Authorization and
// access_token. A key in any other place, such as the path or another header, is shown, so that a test
// can find it.
type Request struct {
	Method      string
	Path        string      // as it was sent, with percent-encoding, base path and trailing slash
	Query       url.Values  // the decoded parameters, without access_token
	Header      http.Header // without Authorization
	Key         wire.Secret // the bearer key in Authorization; zero if there is none, or more than one
	AccessToken wire.Secret // the decoded query parameter access_token; zero if it is missing or empty
}

// Requests returns all requests so far, in the order in which they arrived, with those that got a fault.
// Their Query and Header are not copied: do not change them.
func (s *Server) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.requests)
}

// call is a request, and what it is for: an operation of the description, a handler of WithHandler, or nothing.
type call struct {
	request  *http.Request
	query    url.Values
	queryErr error // why a part of the query could not be parsed
	body     []byte
	bearer   string

	id      string         // the operationId, or the pattern of the handler; "" for nothing
	name    string         // method and path for messages; the path has only parts that are in the description
	route   *routers.Route // the operation, or nil
	refused answer         // if the request is for nothing
	problem string         // and why it is not
}

// routes returns the handler of all requests. Like the real server, it does not redirect.
func (s *Server) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/", s.serveElse)
	for template, item := range s.doc.Paths.Map() {
		methods := strings.Join(slices.Sorted(maps.Keys(item.Operations())), ", ")
		refuse := func(r *http.Request, path, problem string) call {
			a := refusal(http.StatusMethodNotAllowed, "")
			a.header.Set("Allow", methods)
			return call{request: r, name: r.Method + " " + path, problem: problem, refused: a}
		}
		for _, o := range item.Operations() {
			id := strings.ToLower(o.OperationID)
			s.ids[id], s.ids[strings.TrimPrefix(id, "get")] = o.OperationID, o.OperationID
		}
		pattern := s.base + template
		if short, ok := strings.CutSuffix(template, "/"); ok {
			pattern += "{$}" // this path alone, and nothing below it
			mux.HandleFunc(s.base+short, func(w http.ResponseWriter, r *http.Request) {
				s.serve(w, refuse(r, short, "the path lacks its trailing slash"))
			})
		}
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			c := refuse(r, template, "the path does not have this method")
			if o := item.Operations()[r.Method]; o != nil {
				route := &routers.Route{Spec: s.doc, Path: template, PathItem: item, Method: r.Method, Operation: o}
				c = call{request: r, id: o.OperationID, name: c.name, route: route}
			}
			s.serve(w, c)
		})
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if p := r.URL.EscapedPath(); path.Clean(p) == strings.TrimSuffix(p, "/") {
			mux.ServeHTTP(w, r)
		} else {
			s.serveElse(w, r) // the mux would redirect it
		}
	})
}

// serveElse serves a request whose path is not in the description.
func (s *Server) serveElse(w http.ResponseWriter, r *http.Request) {
	c := call{request: r}
	if _, c.id = s.others.Handler(r); c.id == "" {
		c.name, c.problem = r.Method+" "+s.knownParts(r.URL.EscapedPath()), "there is no such path"
		c.refused = refusal(http.StatusNotFound, "")
	}
	s.serve(w, c)
}

// knownParts replaces each part of the path that is not in the description by "…", since such a part may be a key.
func (s *Server) knownParts(path string) string {
	known := strings.Split(s.base+strings.Join(s.doc.Paths.InMatchingOrder(), ""), "/")
	parts := strings.Split(path, "/")
	for i, part := range parts {
		if !slices.Contains(known, part) {
			parts[i] = "…"
		}
	}
	return strings.Join(parts, "/")
}

func (s *Server) serve(w http.ResponseWriter, c call) {
	var err error
	if c.body, err = io.ReadAll(io.LimitReader(c.request.Body, 1<<20)); err != nil {
		panic(http.ErrAbortHandler) // the client is gone
	}
	c.request.Body = io.NopCloser(bytes.NewReader(c.body))
	c.query, c.queryErr = url.ParseQuery(c.request.URL.RawQuery)
	if values := c.request.Header.Values("Authorization"); len(values) == 1 {
		if scheme, key, ok := strings.Cut(values[0], " "); ok && strings.EqualFold(scheme, "Bearer") {
			c.bearer = key
		}
	}

	f := s.record(c)
	if c.route != nil || c.id == "" {
		s.violated(checkRequest(c))
	}
	var a answer
	if f.Handled {
		a = s.act(c)
	}
	select {
	case <-time.After(f.Delay):
	case <-c.request.Context().Done(): // the client is gone, or the server was closed
		panic(http.ErrAbortHandler)
	}
	switch {
	case !f.normal():
		a = answer{status: cmp.Or(f.Status, c.success()), header: jsonHeader(), body: []byte(f.Body)}
		if (f.Status == http.StatusUnauthorized || f.Status == http.StatusForbidden) && f.Body == "" && f.Header == nil {
			a = refusal(f.Status, "")
		}
	case !f.Handled:
		a = s.act(c)
	}
	f.send(w, a)
}

// record keeps the request and returns the fault that it gets. It does both under one lock, so that faults
// are used up in the order in which Requests lists the requests.
func (s *Server) record(c call) Fault {
	req := Request{
		Method:      c.request.Method,
		Path:        c.request.URL.EscapedPath(),
		Query:       url.Values(http.Header(c.query).Clone()),
		Header:      c.request.Header.Clone(),
		Key:         wire.NewSecret(c.bearer),
		AccessToken: wire.NewSecret(c.query.Get(accessToken)),
	}
	req.Query.Del(accessToken)
	req.Header.Del("Authorization")
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests = append(s.requests, req)
	return s.takeFault(c.id)
}

// act does what the request asks for, and returns the normal answer.
func (s *Server) act(c call) answer {
	if c.id == "" {
		return c.refused
	}
	s.mu.Lock()
	status := s.retired[c.id]
	_, valid := s.validKey(c.bearer)
	s.mu.Unlock()
	switch {
	case status != 0:
		return refusal(status, "detail: Not found.")
	case c.route != nil:
		return s.answer(c)
	case !valid:
		return unauthorized()
	}
	w := httptest.NewRecorder()
	s.others.ServeHTTP(w, c.request)
	return answer{status: w.Code, header: w.Header(), body: w.Body.Bytes()}
}

// success returns the status with which the operation succeeds: for renewToken 201, as from the real server, and for
// renewPersonalAccessToken 200, as Esper declares. A client has to accept both statuses from both.
func (c call) success() int {
	if c.id == "renewToken" {
		return http.StatusCreated
	}
	return http.StatusOK
}
