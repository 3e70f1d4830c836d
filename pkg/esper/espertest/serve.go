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

// maxBody is how much of the body of a request is read at most.
const maxBody = 1 << 20

// call is a request, the operation that it is for, and the parts of the request that the server needs.
type call struct {
	operation
	other    http.Handler // for a request without an operation, the handler that WithHandler added; or nil
	id       string       // the operationId, or the pattern of other
	request  *http.Request
	query    url.Values
	queryErr error // why a part of the query could not be parsed
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

// otherHandler returns the handler that WithHandler added for r, and its pattern. It compares patterns with
// the path below the base URL, and then with the whole path.
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

// operationID returns the operationId for a name that a test may give to an operation, or op itself if it is a pattern.
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

// act does what the request asks for, and checks the answer against the description.
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

// ask returns the answer of the handler that WithHandler added, or 401 if the key is not valid.
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

// bearerKey returns the bearer key in the Authorization header, or "" if there is none, or more than one header.
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
