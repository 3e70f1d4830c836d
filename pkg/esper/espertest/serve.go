package espertest

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"

	"github.com/esper-go/esper-go/pkg/wire"
)

// maxBody bounds what is read of a request.
const maxBody = 1 << 20

// call is a request, the operation that it is for, and what the server needs to know of it.
type call struct {
	operation
	other    http.Handler // in place of an operation, one that WithHandler added
	id       string       // of the operation, or the pattern of other
	request  *http.Request
	query    url.Values
	queryErr error // why query lacks something
	body     []byte
	bearer   string
}

// serve is the handler of all requests.
func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, maxBody))
	if err != nil {
		panic(http.ErrAbortHandler) // the client is gone
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	c := call{operation: s.spec.find(r), request: r, body: body, bearer: bearerKey(r)}
	c.query, c.queryErr = url.ParseQuery(r.URL.RawQuery)
	if c.route != nil {
		c.id = c.route.Operation.OperationID
	} else {
		c.other, c.id = s.otherHandler(r)
	}

	f := s.record(c)
	if c.other == nil {
		s.violated(s.spec.checkRequest(c))
	}

	var a answer
	if f.Handled {
		a = s.act(c)
	}
	if !f.wait(r.Context(), s.done) {
		panic(http.ErrAbortHandler)
	}
	switch {
	case !f.normal():
		a = answer{status: f.Status, header: jsonHeader(), body: []byte(f.Body)}
		if a.status == 0 {
			a.status = c.success()
		}
	case !f.Handled:
		a = s.act(c)
	}
	f.send(w, a)
}

// record keeps the request and returns the fault that it gets, in one step so that the order of
// requests is the order of faults.
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

// otherHandler finds what WithHandler added for r, by its path below the base URL or else by its whole
// path, and the pattern that it was added with.
func (s *Server) otherHandler(r *http.Request) (http.Handler, string) {
	below := r.Clone(r.Context())
	below.URL.Path = strings.TrimPrefix(r.URL.Path, s.spec.base)
	below.URL.RawPath = strings.TrimPrefix(r.URL.RawPath, s.spec.base)
	for _, req := range []*http.Request{below, r} {
		if _, pattern := s.others.Handler(req); pattern != "" {
			return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { s.others.ServeHTTP(w, req) }), pattern
		}
	}
	return nil, ""
}

// operationID returns the id of the operation that a test calls op, or the pattern if it is one.
func (s *Server) operationID(op string) (id string, ok bool) {
	if slices.Contains(s.config.patterns, op) {
		return op, true
	}
	for _, item := range s.spec.doc.Paths.Map() {
		for _, operation := range item.Operations() {
			if id := operation.OperationID; strings.EqualFold(id, op) || strings.EqualFold(id, "get"+op) {
				return id, true
			}
		}
	}
	return "", false
}

// act carries the request out and checks the answer.
func (s *Server) act(c call) answer {
	if c.other != nil {
		return s.ask(c)
	}
	if status := s.retiredAs(c); status != 0 {
		return refusal(status, "detail: Not found.")
	}
	a := s.answer(c)
	s.violated(s.spec.checkAnswer(c, a))
	return a
}

// ask has another handler answer, if the key is valid.
func (s *Server) ask(c call) answer {
	s.mu.Lock()
	_, ok := s.validKey(c.bearer)
	s.mu.Unlock()
	if !ok {
		return unauthorized()
	}
	w := httptest.NewRecorder()
	c.other.ServeHTTP(w, c.request)
	return answer{status: w.Code, header: w.Header(), body: w.Body.Bytes()}
}

// bearerKey returns the key of the one Authorization header, or nothing.
func bearerKey(r *http.Request) string {
	values := r.Header.Values("Authorization")
	if len(values) != 1 {
		return ""
	}
	if scheme, key, ok := strings.Cut(values[0], " "); ok && strings.EqualFold(scheme, "Bearer") {
		return key
	}
	return ""
}
