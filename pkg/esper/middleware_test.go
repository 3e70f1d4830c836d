package esper_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/esper-go/esper-go/pkg/esper"
)

type roundTrip = func(req *http.Request, next http.RoundTripper) (*http.Response, error)

// unruly holds middleware that do what none should do with a renewal, and one that only passes it on.
var unruly = map[string]roundTrip{
	"passes on": func(req *http.Request, next http.RoundTripper) (*http.Response, error) { return next.RoundTrip(req) },
	"fails afterwards": func(req *http.Request, next http.RoundTripper) (*http.Response, error) {
		_, _ = next.RoundTrip(req)
		return nil, errors.New("the middleware failed")
	},
	"returns nothing": func(req *http.Request, next http.RoundTripper) (*http.Response, error) {
		_, _ = next.RoundTrip(req)
		return nil, nil //nolint:nilnil // the mistake that is tested
	},
	"panics": func(req *http.Request, next http.RoundTripper) (*http.Response, error) {
		_, _ = next.RoundTrip(req)
		panic("the middleware panicked")
	},
	"panics in front": func(*http.Request, http.RoundTripper) (*http.Response, error) { panic("too early") },
	"sleeps": func(req *http.Request, next http.RoundTripper) (*http.Response, error) {
		resp, err := next.RoundTrip(req)
		<-req.Context().Done()
		return resp, err
	},
	"gives up": func(req *http.Request, next http.RoundTripper) (*http.Response, error) {
		ctx, cancel := context.WithTimeout(req.Context(), 10*time.Millisecond)
		defer cancel()
		return next.RoundTrip(req.WithContext(ctx))
	},
	"does not wait": func(req *http.Request, next http.RoundTripper) (*http.Response, error) {
		go func() { _, _ = next.RoundTrip(req) }()
		time.Sleep(10 * time.Millisecond)
		return nil, errors.New("it takes too long")
	},
	"hedges": hedge,
	"repeats": func(req *http.Request, next http.RoundTripper) (resp *http.Response, err error) {
		for range 3 {
			if resp, err = next.RoundTrip(req); err == nil {
				_, _ = io.Copy(io.Discard, resp.Body)
				_ = resp.Body.Close()
			}
		}
		return resp, err
	},
	"answers 429": func(req *http.Request, next http.RoundTripper) (*http.Response, error) {
		if _, err := next.RoundTrip(req); err != nil {
			return nil, err
		}
		return respond(429, strings.NewReader("")), nil
	},
	"changes the status": func(req *http.Request, next http.RoundTripper) (*http.Response, error) {
		resp, err := next.RoundTrip(req)
		if err == nil {
			resp.StatusCode = 429
		}
		return resp, err
	},
	"turns an error into 429": func(req *http.Request, next http.RoundTripper) (*http.Response, error) {
		resp, err := next.RoundTrip(req)
		if err != nil {
			return respond(429, strings.NewReader("")), nil
		}
		return resp, nil
	},
	"answers with a body of its own": func(req *http.Request, next http.RoundTripper) (*http.Response, error) {
		_, err := next.RoundTrip(req)
		return respond(201, strings.NewReader(`{"token": "NotTheServersNotTheServers"}`)), err
	},
	"reads and wraps the body": func(req *http.Request, next http.RoundTripper) (*http.Response, error) {
		resp, err := next.RoundTrip(req)
		if err == nil {
			text, _ := io.ReadAll(resp.Body)
			resp.Body = io.NopCloser(strings.NewReader(string(text)))
		}
		return resp, err
	},
	"sends a preflight": func(req *http.Request, next http.RoundTripper) (*http.Response, error) {
		for _, method := range []string{http.MethodOptions, http.MethodHead, http.MethodGet} {
			first := req.Clone(req.Context())
			first.Method = method
			if _, err := next.RoundTrip(first); err != nil {
				return nil, err
			}
		}
		return next.RoundTrip(req)
	},
	"has a timeout of its own": func(req *http.Request, next http.RoundTripper) (*http.Response, error) {
		client := &http.Client{Transport: next, Timeout: 10 * time.Millisecond}
		return client.Do(req)
	},
	"returns a nil in an error's place": func(req *http.Request, next http.RoundTripper) (*http.Response, error) {
		resp, _ := next.RoundTrip(req)
		var err *esper.APIError
		return resp, err
	},
	"wraps a body whose Close panics": func(req *http.Request, next http.RoundTripper) (*http.Response, error) {
		resp, err := next.RoundTrip(req)
		if err == nil {
			resp.Body = panicking{}
		}
		return resp, err
	},
	"ends a trace": func(req *http.Request, next http.RoundTripper) (*http.Response, error) {
		trace := &httptrace.ClientTrace{Got1xxResponse: func(int, textproto.MIMEHeader) error { return errors.New("no hints") }}
		return next.RoundTrip(req.WithContext(httptrace.WithClientTrace(req.Context(), trace)))
	},
	"tries it as GET first": func(req *http.Request, next http.RoundTripper) (*http.Response, error) {
		req.Method = http.MethodGet
		for range 3 {
			_, _ = next.RoundTrip(req)
		}
		req.Method = http.MethodPost
		return next.RoundTrip(req)
	},
	"tries it without its query first": func(req *http.Request, next http.RoundTripper) (*http.Response, error) {
		for _, method := range []string{http.MethodPost, "post", http.MethodPut} {
			other := req.Clone(req.Context())
			other.Method, other.URL.RawQuery = method, ""
			if _, err := next.RoundTrip(other); err == nil {
				return nil, errors.New("it was sent")
			}
		}
		return next.RoundTrip(req)
	},
	"asks something else afterwards": func(req *http.Request, next http.RoundTripper) (*http.Response, error) {
		resp, err := next.RoundTrip(req)
		other := req.Clone(req.Context())
		other.Method, other.URL.RawQuery, other.URL.Path = http.MethodPost, "", "/other"
		_, _ = next.RoundTrip(other)
		return resp, err
	},
}

type panicking struct{}

func (panicking) Read([]byte) (int, error) { panic("Read") }
func (panicking) Close() error             { panic("Close") }

// Whatever a middleware does, the server gets one renewal, and the caller gets the new key.
func TestRenewToken_UnrulyMiddleware(t *testing.T) {
	for name, middleware := range unruly {
		t.Run(name, func(t *testing.T) {
			defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
			var posts atomic.Int32
			p := unstartedProbe(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Query().Get("access_token") != oldKey {
					_, _ = io.WriteString(w, `{"token": "AnotherAnswersKeyAnother"}`)
					return
				}
				posts.Add(1)
				w.WriteHeader(http.StatusProcessing)
				time.Sleep(30 * time.Millisecond)
				answer(201, "application/json", realRenewal)(w, r)
			})
			p.Start()
			defer p.Close()
			client := clientFor(t, p.URL, oldKey, around(middleware), esper.WithTimeout(300*time.Millisecond), quickRetry(4))
			renewed, err := client.RenewToken(t.Context(), renewal(oldKey))
			if name == "panics in front" {
				wantLost(t, renewed, err, esper.OutcomeNotRenewed, "")
				wantCount(t, "renewals", posts.Load(), 0)
				return
			}
			wantRenewed(t, renewed, err)
			wantCount(t, "renewals", posts.Load(), 1)
		})
	}
}

// If the server does not answer a renewal, or answers with an error, the renewal is not sent again, and
// only the server's answer decides its outcome, whatever a middleware does.
func TestRenewToken_UnrulyMiddlewareAndAServerThatFails(t *testing.T) {
	for status, outcome := range map[int]esper.Outcome{0: esper.OutcomeUnknown, 500: esper.OutcomeUnknown, 403: esper.OutcomeNotRenewed} {
		for name, middleware := range unruly {
			if name == "panics in front" {
				continue
			}
			t.Run(fmt.Sprint(status, " ", name), func(t *testing.T) {
				var posts atomic.Int32
				p := newProbe(t, func(w http.ResponseWriter, r *http.Request) {
					if r.URL.Query().Get("access_token") != oldKey {
						return
					}
					posts.Add(1)
					if status == 0 {
						panic(http.ErrAbortHandler)
					}
					time.Sleep(30 * time.Millisecond)
					w.WriteHeader(status)
					_, _ = io.WriteString(w, refusal)
				})
				client := clientFor(t, p.URL, oldKey, around(middleware), esper.WithTimeout(300*time.Millisecond), quickRetry(4))
				renewed, err := client.RenewToken(t.Context(), renewal(oldKey))
				var lost *esper.RenewalError
				if renewed != nil || !errors.As(err, &lost) || lost.Outcome != outcome {
					t.Errorf("%v, %v; want %v", renewed, err, outcome)
				}
				wantCount(t, "renewals", posts.Load(), 1)
			})
		}
	}
}

// A renewal that a middleware begins when the call is over is not sent.
func TestRenewToken_MiddlewareIsLate(t *testing.T) {
	base, posts := counted(t, answer(201, "application/json", realRenewal))
	late := make(chan func() error, 1)
	client := clientFor(t, base, oldKey, quickRetry(1), around(func(req *http.Request, next http.RoundTripper) (*http.Response, error) {
		late <- func() error { _, err := next.RoundTrip(req); return err }
		return nil, errors.New("not now")
	}))
	renewed, err := client.RenewToken(t.Context(), renewal(oldKey))
	wantLost(t, renewed, err, esper.OutcomeNotRenewed, "")
	if err := (<-late)(); err == nil {
		t.Error("it was sent after all")
	}
	wantCount(t, "POSTs", posts.Load(), 0)
}

// A middleware may answer with a body that begins a renewal when it is read. That renewal is not sent,
// because the middleware has returned.
func TestRenewToken_BodySends(t *testing.T) {
	base, posts := counted(t, answer(201, "application/json", realRenewal))
	client := clientFor(t, base, oldKey, quickRetry(1), around(func(req *http.Request, next http.RoundTripper) (*http.Response, error) {
		return respond(500, readFunc(func([]byte) (int, error) {
			_, err := next.RoundTrip(req)
			return 0, errors.Join(err, io.EOF)
		})), nil
	}))
	if _, err := client.RenewToken(t.Context(), renewal(oldKey)); !errors.Is(err, esper.ErrServer) {
		t.Error(err)
	}
	wantCount(t, "POSTs", posts.Load(), 0)
}

type readFunc func([]byte) (int, error)

func (f readFunc) Read(p []byte) (int, error) { return f(p) }

// A panic of a middleware becomes an error.
func TestMiddlewarePanics(t *testing.T) {
	p := newProbe(t, nil)
	panicking := around(func(*http.Request, http.RoundTripper) (*http.Response, error) { panic("oh no") })
	each(t, clientFor(t, p.URL, "key", quickRetry(1), panicking), "key", func(t *testing.T, do func(context.Context) error) {
		if err := do(t.Context()); err == nil || !strings.Contains(err.Error(), "panicked: oh no") {
			t.Error(err)
		}
	})
}

// A middleware sees only the listed header fields of an answer, without keys. It does not see the names
// of other fields either, because a name may be a key.
func TestMiddlewareSeesListedHeaders(t *testing.T) {
	const fresh = "NewMadeUpKeyNewMadeUpKeyNewM02"
	p := newProbe(t, func(w http.ResponseWriter, r *http.Request) {
		for name, value := range map[string]string{
			"Set-Cookie": "session=1", "X-" + fresh: "1", "Location": "/x", "Server": "nginx", "X-Powered-By": "x", "Www-Authenticate": "Bearer",
			"X-Request-Id": "request " + fresh, "Retry-After": "7", "X-RateLimit-Remaining": "3", "RateLimit": "limit=1",
		} {
			w.Header().Set(name, value)
		}
		w.Header().Add("Trailer", "X-Late")
		answer(201, "application/json", realRenewal)(w, r)
		w.Header().Set("X-Late", fresh)
	})
	var seen http.Header
	client := clientFor(t, p.URL, oldKey, around(func(req *http.Request, next http.RoundTripper) (*http.Response, error) {
		resp, err := next.RoundTrip(req)
		if err == nil {
			seen = resp.Header.Clone()
			if len(resp.Trailer) != 0 || resp.Status != "201 Created" {
				t.Errorf("trailer %v, status %q", resp.Trailer, resp.Status)
			}
		}
		return resp, err
	}))
	renewed, err := client.RenewToken(t.Context(), renewal(oldKey))
	wantRenewed(t, renewed, err)
	delete(seen, "Date")
	delete(seen, "Content-Length")
	want := "map[Content-Type:[application/json] Ratelimit:[limit=1] Retry-After:[7] X-Ratelimit-Remaining:[3] X-Request-Id:[[withheld: the server's text repeats the key and is not shown]]]"
	if got := fmt.Sprint(seen); got != want {
		t.Errorf("a middleware sees %s\nwant %s", got, want)
	}
}
