package esper_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptrace"
	"net/http/httputil"
	"net/textproto"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/esper-go/esper-go/pkg/esper"
)

// spy is a middleware that looks for the key in everything that it gets. It appends the responses to kept.
func spy(t *testing.T, kept *[]*http.Response) esper.Option {
	var mu sync.Mutex
	look := func(what string, values ...any) {
		for _, v := range values {
			checkPrinting(t, fmt.Sprintf("middleware, %s %T", what, v), v)
		}
	}
	lookAt := func(what string, req *http.Request) {
		lasting := req.WithContext(context.WithoutCancel(req.Context())) // a time limit must not end the dump
		if dump, err := httputil.DumpRequestOut(lasting, true); err != nil {
			t.Error(err)
		} else {
			look(what, string(dump))
		}
		look(what, req, *req.URL, req.URL.String(), req.Header, req.Context())
	}
	return esper.WithMiddleware(func(next http.RoundTripper) http.RoundTripper {
		return roundTripFunc(func(req *http.Request) (*http.Response, error) {
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
			look("response", string(dump), resp, resp.Status, resp.Header, resp.Trailer, resp.Request, err)
			lookAt("request of the response", resp.Request)
			mu.Lock()
			defer mu.Unlock()
			*kept = append(*kept, resp)
			return resp, nil
		})
	})
}

func TestDumpingTheAnswerDoesNotSpoilIt(t *testing.T) {
	var kept []*http.Response
	c := clientFor(t, newProbe(t, nil).URL, "key", spy(t, &kept))
	info, err := c.TokenInfo(t.Context())
	if err != nil || info.Token.Reveal() != "info-token" || info.ID != "570" {
		t.Errorf("TokenInfo = %+v, %v", info, err)
	}
	renewed, err := c.RenewToken(t.Context(), renewal("key"))
	if err != nil || renewed.Token.Reveal() != "new-token" || renewed.Enterprise.ID != enterpriseID {
		t.Errorf("RenewToken = %+v, %v", renewed, err)
	}
	resp, err := c.Generated().GetTokenInfo(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, err := io.ReadAll(resp.Body); err != nil || string(body) != infoAnswer || resp.ContentLength != int64(len(infoAnswer)) {
		t.Errorf("Generated: %q, length %d, %v", body, resp.ContentLength, err)
	}
}

func TestMiddlewareOrder(t *testing.T) {
	var order []string
	named := func(name string) func(http.RoundTripper) http.RoundTripper {
		return func(next http.RoundTripper) http.RoundTripper {
			return roundTripFunc(func(req *http.Request) (*http.Response, error) {
				order = append(order, name)
				defer func() { order = append(order, "/"+name) }()
				return next.RoundTrip(req)
			})
		}
	}
	c := clientFor(t, newProbe(t, nil).URL, "key", esper.WithMiddleware(named("a"), named("b")), esper.WithMiddleware(named("c")))
	if _, err := c.TokenInfo(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(order, " "); got != "a b c /c /b /a" {
		t.Errorf("order: %s, want the first outermost", got)
	}
}

func TestMiddlewareMayAnswerByItself(t *testing.T) {
	p := newProbe(t, nil)
	own := func(req *http.Request, _ http.RoundTripper) (*http.Response, error) {
		if req.Method == http.MethodPost {
			return &http.Response{StatusCode: http.StatusCreated, Body: io.NopCloser(strings.NewReader(renewalAnswer)), Request: req}, nil
		}
		return &http.Response{StatusCode: http.StatusForbidden, Body: io.NopCloser(strings.NewReader(`{"message":"not on Sundays","status":403}`)), Request: req}, nil
	}
	c := clientFor(t, p.URL, "key", around(own))
	if _, err := c.TokenInfo(t.Context()); !errors.Is(err, esper.ErrForbidden) || !strings.Contains(err.Error(), "not on Sundays") {
		t.Errorf("TokenInfo: %v", err)
	}
	if renewed, err := c.RenewToken(t.Context(), renewal("key")); err != nil || renewed.Token.Reveal() != "new-token" {
		t.Errorf("RenewToken = %+v, %v", renewed, err)
	}
	if n := len(p.arrivals()); n != 0 {
		t.Errorf("%d requests were sent", n)
	}
}

// countingBody counts the calls of Close. Tracing middleware wraps a body like this, and ends its span on Close.
type countingBody struct {
	io.ReadCloser
	closes *atomic.Int32
}

func (b countingBody) Close() error { b.closes.Add(1); return b.ReadCloser.Close() }

func TestMiddlewareBodyIsClosedOnce(t *testing.T) {
	for name, answer := range map[string]http.HandlerFunc{
		"success": nil,
		"error":   func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusBadRequest) },
		"too large": func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, "{"+strings.Repeat(" ", 2<<20)) // the client hangs up
		},
	} {
		{
			var closes atomic.Int32
			c := clientFor(t, newProbe(t, answer).URL, "key",
				around(func(req *http.Request, next http.RoundTripper) (*http.Response, error) {
					resp, err := next.RoundTrip(req)
					if err == nil {
						resp.Body = countingBody{resp.Body, &closes}
					}
					return resp, err
				}))
			each(t, c, "key", func(t *testing.T, do func(context.Context) error) {
				closes.Store(0)
				if err := do(t.Context()); (err == nil) != (name == "success") {
					t.Errorf("%s: %v", name, err)
				}
				if n := closes.Load(); n != 1 {
					t.Errorf("%s: the body was closed %d times, want once", name, n)
				}
			})
		}
	}
}

func TestMiddlewareCannotSendARenewalTwice(t *testing.T) {
	for status, outcome := range map[int]esper.Outcome{201: esper.OutcomeUnreadable, 429: esper.OutcomeNotRenewed, 503: esper.OutcomeUnknown} {
		p := newProbe(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) })
		c := clientFor(t, p.URL, "key", esper.WithRetry(esper.Retry{MaxAttempts: 1}), around(func(req *http.Request, next http.RoundTripper) (*http.Response, error) {
			if resp, err := next.RoundTrip(req); err == nil {
				_ = resp.Body.Close()
			}
			return next.RoundTrip(req)
		}))
		_, err := c.RenewToken(t.Context(), renewal("key"))
		var lost *esper.RenewalError
		if !errors.As(err, &lost) || lost.Outcome != outcome {
			t.Errorf("%d: %v, want %v, which follows from the server's answer", status, err, outcome)
		}
		if n := len(p.arrivals()); n != 1 {
			t.Errorf("%d: %d POSTs, want 1", status, n)
		}
	}
}

func TestMiddlewareCannotTakeTheKeyElsewhere(t *testing.T) {
	p, other := newProbe(t, nil), newProbe(t, nil)
	for name, change := range map[string]func(*http.Request) *http.Request{
		"host":    func(r *http.Request) *http.Request { r.URL.Host = strings.TrimPrefix(other.URL, "http://"); return r },
		"scheme":  func(r *http.Request) *http.Request { r.URL.Scheme = "https"; return r },
		"context": func(r *http.Request) *http.Request { return r.WithContext(context.Background()) },
	} {
		tries := 0
		c := clientFor(t, p.URL, "key", quickRetry(3), around(func(req *http.Request, next http.RoundTripper) (*http.Response, error) {
			tries++
			return next.RoundTrip(change(req.Clone(req.Context())))
		}))
		each(t, c, "key", func(t *testing.T, do func(context.Context) error) {
			tries = 0
			err := do(t.Context())
			if tries != 1 {
				t.Errorf("%s: tried %d times, though no try can succeed", name, tries)
			}
			var lost *esper.RenewalError
			if err == nil || !strings.Contains(err.Error(), "esper: ") || errors.As(err, &lost) && lost.Outcome != esper.OutcomeNotRenewed {
				t.Errorf("%s: %v, want an error, NotRenewed", name, err)
			}
		})
	}
	if n := len(p.arrivals()) + len(other.arrivals()); n != 0 {
		t.Errorf("%d requests were sent", n)
	}
}

func TestLogAndUserAgent(t *testing.T) {
	var log strings.Builder
	noTime := &slog.HandlerOptions{Level: slog.LevelDebug, ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey || a.Key == "duration" && a.Value.Duration() > 0 {
			return slog.Attr{}
		}
		return a
	}}
	var n atomic.Int32
	p := newProbe(t, func(w http.ResponseWriter, r *http.Request) {
		if n.Add(1) == 1 {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		answerWell(w, r)
	})
	c := clientFor(t, p.URL+"/api", "key", quickRetry(2), esper.WithUserAgent("mine/1"), esper.WithLogger(slog.New(slog.NewTextHandler(&log, noTime))))
	each(t, c, "key", func(t *testing.T, do func(context.Context) error) {
		if err := do(t.Context()); err != nil {
			t.Fatal(err)
		}
	})
	want := `level=DEBUG msg="esper call" operation=TokenInfo method=GET path=/v1/token-info/ status=502 attempt=1
level=DEBUG msg="esper call" operation=TokenInfo method=GET path=/v1/token-info/ status=200 attempt=2
level=DEBUG msg="esper call" operation=RenewToken method=POST path=/v0/enterprise/{enterprise_id}/developerapp/{developerapp_id}/renew-token/ status=201 attempt=1
`
	if log.String() != want {
		t.Errorf("log:\n%s\nwant:\n%s", log.String(), want)
	}
	if got := fmt.Sprint(p.arrivals()[0].Header["User-Agent"]); got != "[mine/1]" {
		t.Errorf("User-Agent = %s", got)
	}
}
