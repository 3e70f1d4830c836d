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

const canary = "canary-esper+key/with%oddly&czars=;x y"

// canaryForms are pieces of canary as text, in hexadecimal and as the numbers of their bytes.
var canaryForms = func() (forms []string) {
	for _, piece := range []string{"canary-e", "oddly", "czars"} {
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
