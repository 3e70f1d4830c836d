package espertest

import (
	"bytes"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/esper-go/esper-go/pkg/wire"
)

// maxBody bounds what is read of a request; no operation so far has a body.
const maxBody = 1 << 20

// call is a request, the operation that it is for, and what the server needs to know of it.
type call struct {
	operation
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

	f := s.record(c)
	s.violated(s.spec.checkRequest(c))

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
	return s.takeFault()
}

// act carries the request out and checks the answer.
func (s *Server) act(c call) answer {
	a := s.answer(c)
	s.violated(s.spec.checkAnswer(c, a))
	return a
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
