package esper_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptrace"
	"net/http/httputil"
	"net/textproto"
	"net/url"
	"strings"
	"testing"

	"github.com/esper-go/esper-go/gen"
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
	const end, unknown = "\r\nConnection: close\r\n\r\n", "Unknown0Oddly0Key0Thirty0Letter"
	for form, echo := range echoes {
		quoted, _ := json.Marshal(echo) // cannot fail
		for name, answer := range map[string]string{
			"message":       "HTTP/1.1 400 Bad Request" + end + `{"message":` + string(quoted) + `}`,
			"detail":        "HTTP/1.1 403 No" + end + `{"detail":"no ` + echo + ` here"}`,
			"errors":        "HTTP/1.1 400 No" + end + `{"errors":["a",` + string(quoted) + `],"status":` + string(quoted) + `}`,
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
			"success":     "HTTP/1.1 200 OK" + end + `{"id":1,"enterprise":"e","source_refresh_token":` + string(quoted) + `}`,
		} {
			t.Run(name+"/"+form, func(t *testing.T) {
				t.Parallel()
				checkCalls(t, memory, piped(saying(answer)))
			})
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
		if got := fmt.Sprintf("%s%v%+v%#v%x%d%q", err, err, err, err, err, err, err); strings.Count(got, "why") != 7 {
			t.Errorf("%T is %q, want the error's text", err, got)
		}
	}
}

const canary = "canary-esper+key/with%oddly&czars=;x y"

// canaryForms are pieces of canary as text, in hexadecimal and as the numbers of their bytes.
var canaryForms = []string{
	"canary-e", "oddly", "czars", "63616e6172792d65", "6f64646c79", "637a617273", "63 61 6e 61 72 79 2d 65",
	"6f 64 64 6c 79", "63 7a 61 72 73", "99 97 110 97 114 121 45 101", "111 100 100 108 121", "99 122 97 114 115",
}

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
	if strings.Contains(string(encoded), `"Body"`) {
		t.Errorf("%s as JSON has its body: %s", what, encoded)
	}
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
	checkNoCanary(t, what, err.Error())
	checkPrinting(t, fmt.Sprintf("%s, %T", what, err), err)
	if e, ok := err.(*url.Error); ok { //nolint:errorlint // each level is looked at
		checkNoCanary(t, what, e.URL)
	}
	switch e := err.(type) { //nolint:errorlint // each level is looked at
	case interface{ Unwrap() error }:
		checkError(t, what, e.Unwrap())
	case interface{ Unwrap() []error }:
		for _, inner := range e.Unwrap() {
			checkError(t, what, inner)
		}
	}
}

// spy is a middleware that looks for the key in everything that it gets.
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
		return resp, nil
	})
}

// checkCalls makes every call, and checks that no result, error, log record or response shows the key.
func checkCalls(t *testing.T, environment string, opts ...esper.Option) {
	t.Helper()
	var log bytes.Buffer
	all := append([]esper.Option{spy(t), esper.WithLogger(slog.New(bothHandlers(&log))), quickRetry(2)}, opts...)
	c := clientFor(t, environment, canary, all...)
	info, err := c.TokenInfo(t.Context())
	checkError(t, "TokenInfo", err)
	checkPrinting(t, "TokenInfo", info)
	// The key to renew may differ from the client's own.
	renewed, err := clientFor(t, environment, "another-made-up-one", all...).RenewToken(t.Context(), renewal(canary))
	checkError(t, "RenewToken", err)
	checkPrinting(t, "RenewToken", renewed)
	for name, call := range map[string]func() (*http.Response, error){
		"Generated().GetTokenInfo": func() (*http.Response, error) { return c.Generated().GetTokenInfo(t.Context()) },
		"Generated().RenewToken": func() (*http.Response, error) {
			params := &gen.RenewTokenParams{AccessToken: canary}
			return c.Generated().RenewToken(t.Context(), enterpriseID, developerAppID, params)
		},
	} {
		resp, err := call()
		checkError(t, name, err)
		if err == nil {
			_, err = io.Copy(io.Discard, resp.Body)
			checkError(t, name+", body", err)
			_ = resp.Body.Close()
			checkPrinting(t, name+", response", resp)
		}
	}
	checkNoCanary(t, "the debug log", log.String())
	if log.Len() == 0 {
		t.Error("nothing was logged")
	}
}
