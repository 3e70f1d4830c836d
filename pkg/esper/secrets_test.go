package esper_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/http/httputil"
	"net/textproto"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/esper-go/esper-go/pkg/esper"
)

func TestSecretsStayOutOfEverything(t *testing.T) {
	lower := strings.NewReplacer("%2B", "%2b", "%2F", "%2f", "%3D", "%3d", "%3B", "%3b").Replace(url.QueryEscape(canary))
	asJSON := strings.NewReplacer("&", `\u0026`, "+", `\u002B`, "/", `\/`)
	echoes := map[string]string{
		"raw": canary, "query": url.QueryEscape(canary), "path": url.PathEscape(canary), "lower": lower, "start": canary[:12],
		"html": strings.ReplaceAll(canary, "&", "&amp;"), "json": asJSON.Replace(canary),
		"mixed": strings.ReplaceAll(url.PathEscape(canary), "%20", "+"), "url": "/x/?access_token=" + lower + "&y=1",
	}
	const end, unknown = "\r\nConnection: close\r\n\r\n", "Unknown0OddlyMade0Key0Of0Letters"
	const listed = `{"id":"x","name":"n","token":"` + unknown + `","prefix":"Unknown0OddlyMade"}`
	for form, echo := range echoes {
		quoted, _ := json.Marshal(echo) // cannot fail
		for name, answer := range map[string]string{
			"message":       "HTTP/1.1 400 Bad Request" + end + `{"message":` + string(quoted) + `}`,
			"message, 200":  "HTTP/1.1 200 OK" + end + `{"message":` + string(quoted) + `}`,
			"detail":        "HTTP/1.1 403 No" + end + `{"detail":"no ` + echo + ` here"}`,
			"errors":        "HTTP/1.1 400 No" + end + `{"errors":["a",` + string(quoted) + `],"status":` + string(quoted) + `}`,
			"error names":   "HTTP/1.1 400 No" + end + `{"errors":{` + string(quoted) + `:1},` + string(quoted) + `:[1]}`,
			"error objects": "HTTP/1.1 500 No" + end + `{"errors":[{"a":` + string(quoted) + `}],"message":1}`,
			"html":          "HTTP/1.1 502 No\r\nContent-Type: text/html" + end + "<html>" + echo,
			"new key":       "HTTP/1.1 201 No\r\nX-Request-Id: " + unknown + end + `{"token":"` + unknown + `"`,
			"headers": strings.ReplaceAll("HTTP/1.1 503 No\r\nX-Request-Id: ?\r\nSet-Cookie: a=?\r\nContent-Type: ?\r\n"+
				"Retry-After: ?", "?", echo) + end,
			"status text":   "HTTP/1.1 400 " + echo + end,
			"location":      "HTTP/1.1 302 Found\r\nLocation: /" + echo + "\r\nLink: <" + echo + ">" + end,
			"location, 201": "HTTP/1.1 201 No\r\nLocation: " + echo + end + `{"token":` + string(quoted) + `}`,
			"status line":   echo + end,
			"status code":   "HTTP/1.1 " + echo + end,
			"header line":   "HTTP/1.1 200 OK\r\n" + echo + end,
			"chunk":         "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked" + end + echo + "\r\n",
			"trailer": "HTTP/1.1 200 OK\r\nTrailer: X\r\nTransfer-Encoding: chunked" + end + "2\r\n{}\r\n0\r\nX: " + echo +
				"\r\n\r\n",
			"gzip":        "HTTP/1.1 200 OK\r\nContent-Encoding: gzip" + end + echo,
			"cut short":   "HTTP/1.1 201 Created\r\nContent-Length: 999" + end + `{"token":"` + echo,
			"early hints": "HTTP/1.1 103 Early Hints\r\nLink: <" + echo + ">\r\n\r\nHTTP/1.1 500 No" + end,
			"list":        "HTTP/1.1 200 OK" + end + `{"personal_access_tokens":[` + listed + `,` + listed + `]}`,
			"no list":     "HTTP/1.1 400 No\r\nX-Request-Id: " + unknown + end + `{"message":"about ` + unknown + `"}`,
			"success":     "HTTP/1.1 200 OK" + end + `{"id":1,"enterprise":"e","source_refresh_token":` + string(quoted) + `}`,
		} {
			situation{serve: saying(answer), outcome: noRenewal}.check(t, name+", "+form)
		}
	}
}

// Package wire shows the same for a Secret in any other place.
func TestSecretValuesDoNotPrint(t *testing.T) {
	c := clientFor(t, "foo", canary)
	secret, source := esper.NewSecret(canary), esper.APIKey(canary)
	type inside struct {
		V      any
		hidden any
	}
	for _, v := range []any{
		c, *c, c.Generated(), *c.Generated(), source, &source,
		[]esper.Option{esper.WithTimeout(1)},
		renewal(canary),
		esper.TokenInfo{Token: secret, SourceRefreshToken: secret},
		&esper.RenewedToken{Token: secret},
	} {
		checkPrinting(t, fmt.Sprintf("%T", v), v)
		checkPrinting(t, fmt.Sprintf("%T in other values", v), map[string]any{"k": []any{inside{v, v}, &inside{&v, &v}}})
	}
	apiErr := &esper.APIError{Operation: "TokenInfo", StatusCode: 400, Message: "why", Body: []byte(canary)}
	lost := &esper.RenewalError{Outcome: esper.OutcomeUnreadable, Body: []byte(canary), Err: apiErr}
	for _, err := range []any{apiErr, *apiErr, lost, *lost} {
		checkPrinting(t, fmt.Sprintf("%T", err), err)
		checkPrinting(t, fmt.Sprintf("%T in other values", err), map[string]any{"k": []any{inside{V: err}, &inside{V: &err}}})
		got := fmt.Sprintf("%s%v%+v%#v%x%d%q", err, err, err, err, err, err, err)
		equal(t, "how often the error's text is in "+got, strings.Count(got, "why"), 7)
	}
}

const canary = "canary-esper+key/with%oddlymade&czarsrule=;x y"

// canaryForms are pieces of canary as text, in hexadecimal and as the numbers of their bytes.
var canaryForms = func() (forms []string) {
	for _, piece := range []string{"canary-e", "oddlymade", "czarsrule"} {
		numbers := strings.Trim(fmt.Sprint([]byte(piece)), "[]")
		forms = append(forms, piece, fmt.Sprintf("%x", piece), fmt.Sprintf("% x", piece), numbers)
	}
	return forms
}()

func checkNoCanary(t *testing.T, what, text string) {
	t.Helper()
	lower := strings.ToLower(text)
	for _, form := range canaryForms {
		if strings.Contains(lower, form) {
			t.Errorf("%s shows the key (%s): %s", what, form, text)
			return
		}
	}
}

// checkPrinting checks that v does not show the key, however it is printed.
func checkPrinting(t *testing.T, what string, v any) {
	t.Helper()
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "% x"} {
		checkNoCanary(t, what+" with "+verb, fmt.Sprintf(verb, v))
	}
	encoded, _ := json.Marshal(v) // not everything can be encoded
	checkNoCanary(t, what+" as JSON", string(encoded))
	equal(t, what+" as JSON has its body", strings.Contains(string(encoded), `"Body"`), false)
	var log bytes.Buffer
	slog.New(bothHandlers(&log)).Info("test", "v", v, slog.Group("g", slog.Any("v", v)))
	checkNoCanary(t, what+" in a log", log.String())
}

func bothHandlers(w io.Writer) slog.Handler {
	opts := &slog.HandlerOptions{Level: slog.LevelDebug}
	return slog.NewMultiHandler(slog.NewTextHandler(w, opts), slog.NewJSONHandler(w, opts))
}

// checkError checks that neither err nor an error that it wraps shows the key.
func checkError(t *testing.T, what string, err error) {
	t.Helper()
	if err == nil {
		return
	}
	checkPrinting(t, fmt.Sprintf("%s, %T", what, err), err)
	switch e := err.(type) { //nolint:errorlint // each level is looked at
	case interface{ Unwrap() error }:
		checkError(t, what, e.Unwrap())
	case interface{ Unwrap() []error }:
		for _, inner := range e.Unwrap() {
			checkError(t, what, inner)
		}
	}
}

// countingBody counts the calls of Close. Tracing middleware wraps a body like this, and ends its span on Close.
type countingBody struct {
	io.ReadCloser
	closes atomic.Int32
}

func (b *countingBody) Close() error { b.closes.Add(1); return b.ReadCloser.Close() }

// spy is a middleware that looks for the key in everything that it gets, and for bodies that are not closed once.
func spy(t *testing.T) esper.Option {
	look := func(what string, values ...any) {
		for _, v := range values {
			checkPrinting(t, fmt.Sprintf("middleware, %s %T", what, v), v)
		}
	}
	lookAt := func(what string, req *http.Request) {
		lasting := req.WithContext(context.WithoutCancel(req.Context())) // a time limit must not end the dump
		dump, err := httputil.DumpRequestOut(lasting, true)
		look(what, string(dump), err, req, *req.URL, req.URL.String(), req.Header, req.Context())
	}
	return around(func(req *http.Request, next http.RoundTripper) (*http.Response, error) {
		if req.URL == nil { // by mistake of another middleware
			return next.RoundTrip(req)
		}
		lookAt("request", req)
		req = req.WithContext(httptrace.WithClientTrace(req.Context(), &httptrace.ClientTrace{
			WroteHeaderField: func(name string, values []string) { look("trace of "+name, values) },
			Got1xxResponse:   func(_ int, header textproto.MIMEHeader) error { look("trace", header); return nil },
			WroteRequest:     func(info httptrace.WroteRequestInfo) { look("trace", info) },
		}))
		resp, err := next.RoundTrip(req)
		if err != nil {
			checkError(t, "middleware", err)
			return nil, err
		}
		dump, err := httputil.DumpResponse(resp, true)
		look("response", string(dump), resp, resp.Status, resp.Header, resp.Trailer, resp.Request, resp.Body, err)
		lookAt("request of the response", resp.Request) // its context holds the answer by now
		body := &countingBody{ReadCloser: resp.Body}
		t.Cleanup(func() { equal(t, "closes of a body", body.closes.Load(), 1) })
		resp.Body = body
		return resp, nil
	})
}

// situation is what calls meet on their way, and what their callers get.
type situation struct {
	environment string         // in memory, and in a bubble, if it is empty
	serve       func(net.Conn) // answers a request; nil if opts say what does
	opts        []esper.Option
	status      int           // of the answer; 0 if there is none
	is          error         // the one of kinds that each error is, or another error that it wraps
	says        string        // what each error says, in parts; $ stands for the end of its text
	tries       int32         // how often TokenInfo is sent; 0 if nothing is said of it
	outcome     esper.Outcome // of each renewal; noRenewal if nothing is said of it
	body        string        // what each error keeps
}

// check makes each call in the situation.
func (s situation) check(t *testing.T, name string) {
	t.Helper()
	if s.environment != "" {
		s.meet(t, name)
		return
	}
	s.environment = bubble
	synctest.Test(t, func(t *testing.T) {
		begun := time.Now()
		s.meet(t, name)
		equal(t, name+": the calls take less than a second", time.Since(begun) < time.Second, true)
	})
}

func (s situation) meet(t *testing.T, name string) {
	t.Helper()
	var log bytes.Buffer
	var tries atomic.Int32
	opts := append([]esper.Option{counting(&tries), quickRetry(3), esper.WithInsecureHTTP()}, s.opts...)
	if s.serve != nil {
		opts[0] = piped(func(conn net.Conn) { tries.Add(1); s.serve(conn) })
	}
	opts = append(opts, spy(t), esper.WithLogger(slog.New(bothHandlers(&log))))
	all := operations(clientFor(t, s.environment, canary, opts...), canary)
	// The key to renew may differ from the client's own.
	all[1] = operations(clientFor(t, s.environment, "another-made-up-one", opts...), canary)[1]
	for _, op := range all {
		tries.Store(0)
		log.Reset()
		var result any
		var key esper.Secret
		var err error
		lean(t, func() { result, key, err = op.do(t.Context()) })
		what, n := name+": "+op.name, tries.Load()
		checkPrinting(t, what, result)
		checkError(t, what, err)
		checkNoCanary(t, what+", the debug log", log.String())
		s.checkRecords(t, op, n, log.String())
		api, refused := errors.AsType[*esper.APIError](err)
		resp, _ := result.(*http.Response)
		want := max(1, s.tries)
		switch {
		case strings.HasPrefix(op.name, "Generated"): // it is sent once, and the answer is returned
			if n > 1 || s.status != 0 && (resp == nil || resp.StatusCode != s.status || resp.Header.Get("Location") != "" ||
				errors.Is(err, esper.ErrResponseTooLarge) != (len(s.body) == mebibyte)) {
				t.Errorf("%s: %v, %v after %d requests", what, resp, err, n)
			}
			continue
		case op.name == "ListPersonalAccessTokens":
			equal(t, what+": the error keeps the body", refused && api.Body != nil, false)
			continue
		case op.renews() && s.outcome == noRenewal, !op.renews() && s.tries == 0:
			continue
		case op.renews():
			if wantOutcome(t, what, key, err, s.outcome, s.body); s.outcome != esper.OutcomeNotRenewed {
				want = 1
			}
		}
		equal(t, what+": requests", n, want)
		if s.outcome == renewedKey && (op.renews() || s.is == nil) {
			must(t, err)
			continue
		}
		s.checkText(t, what, err, n)
		if refused != (s.status/100 != 2 && s.status != 0) ||
			refused && (api.StatusCode != s.status || string(api.Body) != s.body || api.Attempts != int(n)) {
			t.Errorf("%s: APIError %+v", what, api)
		}
	}
}

// checkRecords checks that each attempt is logged, by both handlers, with these fields and no others.
func (s situation) checkRecords(t *testing.T, op operation, attempts int32, log string) {
	t.Helper()
	var got, want string
	for line := range strings.Lines(log) {
		var r map[string]any
		if json.Unmarshal([]byte(line), &r) == nil {
			if s.tries == 0 { // the status is not known
				r["status"] = s.status
			}
			if s.environment != bubble {
				r["duration"] = 0
			}
			got += fmt.Sprintln(r["level"], r["operation"], r["method"], r["path"], r["status"], r["attempt"], r["duration"],
				slices.Sorted(maps.Keys(r)))
		}
	}
	for n := range attempts {
		want += fmt.Sprintln("DEBUG", op.name, op.line, s.status, n+1, 0,
			"[attempt duration level method msg operation path status time]")
	}
	if op.line != "" && got != want || op.line == "" && log != "" {
		t.Errorf("%s logs %s, want %s", op.name, log, want)
	}
}

// checkText checks the kind of an error, and that its text is one line that says what it should.
func (s situation) checkText(t *testing.T, what string, err error, attempts int32) {
	t.Helper()
	if err == nil {
		t.Errorf("%s: no error", what)
		return
	}
	for _, kind := range kinds {
		if errors.Is(err, kind) != (kind == s.is) { //nolint:errorlint // identity is the question
			t.Errorf("%s: %v: errors.Is(%v) = %v", what, err, kind, errors.Is(err, kind))
		}
	}
	equal(t, what+" wraps its reason", s.is == nil || errors.Is(err, s.is), true)
	text, most := err.Error(), 900
	if s.status != 0 {
		most = 12 << 10
	}
	for part := range strings.SplitSeq(s.says, "|") {
		part, atEnd := strings.CutSuffix(part, "$")
		if !strings.Contains(text, part) || atEnd && !strings.HasSuffix(text, part) {
			t.Errorf("%s: %q does not say %q", what, text, part)
		}
	}
	gateway := s.is == esper.ErrGateway //nolint:errorlint // identity is the question
	if !isLine(text, most) || strings.Contains(text, "canary") ||
		strings.Count(text, "esper: ") != 1 || strings.Contains(text, "not Esper's refusal") != gateway ||
		(attempts > 1) != strings.Contains(text, fmt.Sprintf(" (%d attempts)", attempts)) {
		t.Errorf("%s: %q is not the line that tells of %d attempts", what, text, attempts)
	}
}

func isLine(text string, most int) bool {
	return !strings.ContainsFunc(text, unicode.IsControl) && utf8.ValidString(text) && len(text) <= most
}

// kinds are the errors that a caller tells apart.
var kinds = []error{
	esper.ErrBadRequest, esper.ErrUnauthorized, esper.ErrForbidden, esper.ErrNotFound, esper.ErrRateLimited,
	esper.ErrServer, esper.ErrRedirect, esper.ErrGateway, esper.ErrInvalidArgument, esper.ErrInvalidResponse,
	esper.ErrResponseTooLarge,
}
