package esper_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"

	"github.com/esper-go/esper-go/pkg/esper"
)

// hedge sends each request twice at once, returns the answer that comes first, and closes the other.
func hedge(req *http.Request, next http.RoundTripper) (*http.Response, error) {
	type result struct {
		resp *http.Response
		err  error
	}
	results := make(chan result, 2)
	for range 2 {
		go func() {
			resp, err := next.RoundTrip(req.Clone(req.Context()))
			results <- result{resp, err}
		}()
	}
	first := <-results
	if first.err != nil {
		first = <-results
		return first.resp, first.err
	}
	go func() {
		if late := <-results; late.err == nil {
			_ = late.resp.Body.Close()
		}
	}()
	return first.resp, nil
}

// unruly returns middleware that do what none should do with a renewal, and some that are in use everywhere. Arrived
// gets something when the renewal has arrived at the server.
func unruly(arrived <-chan struct{}) map[string]roundTrip {
	impatient := func(req *http.Request) *http.Request {
		ctx, cancel := context.WithCancel(req.Context())
		go func() { <-arrived; cancel() }()
		return req.WithContext(ctx)
	}
	return map[string]roundTrip{
		"passes on": func(req *http.Request, next http.RoundTripper) (*http.Response, error) { return next.RoundTrip(req) },
		"otelhttp": func(req *http.Request, next http.RoundTripper) (*http.Response, error) {
			return otelhttp.NewTransport(next).RoundTrip(req)
		},
		"hedges": hedge,
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
		"gives up": func(req *http.Request, next http.RoundTripper) (*http.Response, error) {
			return next.RoundTrip(impatient(req))
		},
		"has a timeout of its own": func(req *http.Request, next http.RoundTripper) (*http.Response, error) {
			client := &http.Client{Transport: next, Timeout: time.Hour}
			return client.Do(impatient(req))
		},
		"does not wait": func(req *http.Request, next http.RoundTripper) (*http.Response, error) {
			go func() { _, _ = next.RoundTrip(req) }()
			<-arrived
			return nil, errors.New("it takes too long")
		},
		"repeats and drains": func(req *http.Request, next http.RoundTripper) (resp *http.Response, err error) {
			for range 3 {
				if resp, err = next.RoundTrip(req); err == nil {
					_, _ = io.Copy(io.Discard, resp.Body)
					_ = resp.Body.Close()
				}
			}
			return resp, err
		},
		"answers 429": func(req *http.Request, next http.RoundTripper) (*http.Response, error) {
			_, _ = next.RoundTrip(req)
			return says(429, "")
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
		"ends a trace": func(req *http.Request, next http.RoundTripper) (*http.Response, error) {
			hints := func(int, textproto.MIMEHeader) error { return errors.New("no hints") }
			ctx := httptrace.WithClientTrace(req.Context(), &httptrace.ClientTrace{Got1xxResponse: hints})
			return next.RoundTrip(req.WithContext(ctx))
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
			other.URL.RawQuery, other.URL.Path = "", "/other"
			_, _ = next.RoundTrip(other)
			return resp, err
		},
	}
}

// Whatever a middleware does, the server gets one renewal, and only the server's answer decides what the caller gets.
func TestRenewToken_UnrulyMiddleware(t *testing.T) {
	for status, outcome := range map[int]esper.Outcome{
		201: -1, // the new key
		0:   esper.OutcomeUnknown,
		500: esper.OutcomeUnknown,
		403: esper.OutcomeNotRenewed,
	} {
		for name := range unruly(nil) {
			t.Run(fmt.Sprint(status, " ", name), func(t *testing.T) {
				arrived := make(chan struct{}, 100)
				var posts atomic.Int32
				p := newProbe(t, func(w http.ResponseWriter, r *http.Request) {
					if r.URL.Query().Get("access_token") != oldKey || r.Method != http.MethodPost {
						_, _ = io.WriteString(w, `{"token": "AnotherAnswersKeyAnother"}`)
						return
					}
					posts.Add(1)
					arrived <- struct{}{}
					w.WriteHeader(http.StatusProcessing)
					time.Sleep(10 * time.Millisecond) // who gives up does so before the answer, as a rule
					switch status {
					case 0:
						panic(http.ErrAbortHandler)
					case 201:
						answer(status, "application/json", realRenewal)(w, r)
					default:
						answer(status, "application/json", refusal)(w, r)
					}
				})
				client := clientFor(t, p.URL, oldKey, around(unruly(arrived)[name]), quickRetry(4))
				renewed, err := client.RenewToken(t.Context(), renewal(oldKey))
				if lost := (*esper.RenewalError)(nil); outcome < 0 {
					wantRenewed(t, renewed, err)
				} else if renewed != nil || !errors.As(err, &lost) || lost.Outcome != outcome {
					t.Errorf("%v, %v; want %v", renewed, err, outcome)
				}
				wantCount(t, "renewals", posts.Load(), 1)
			})
		}
	}
}

// A middleware that hedges and repeats a renewal while connections fail still sends only one, and gets its answer.
func TestRenewToken_HedgedRetries(t *testing.T) {
	hedging := around(func(req *http.Request, next http.RoundTripper) (*http.Response, error) {
		answers := make(chan *http.Response, 4)
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for range 5 {
					if resp, err := next.RoundTrip(req.Clone(req.Context())); err == nil {
						answers <- resp
						return
					}
				}
			})
		}
		wg.Wait()
		close(answers)
		if resp := <-answers; resp != nil {
			return resp, nil
		}
		return nil, errors.New("none of them")
	})
	for range 20 {
		synctest.Test(t, func(t *testing.T) {
			p, transport := memoryProbe(t, answer(201, "application/json", realRenewal))
			var dials atomic.Int32
			dial := transport.DialContext
			transport.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
				if dials.Add(1) <= 3 {
					return nil, errRefused
				}
				return dial(ctx, network, address)
			}
			client := clientFor(t, memory, oldKey, esper.WithTransport(transport), hedging, quickRetry(4))
			renewed, err := client.RenewToken(t.Context(), renewal(oldKey))
			wantRenewed(t, renewed, err)
			wantCount(t, "POSTs", p.count.Load(), 1)
		})
	}
}

// A renewal that a middleware begins when the call is over is not sent.
func TestRenewToken_MiddlewareIsLate(t *testing.T) {
	late := make(chan func() error, 1)
	p := newProbe(t, nil)
	lazy := around(func(req *http.Request, next http.RoundTripper) (*http.Response, error) {
		late <- func() error { _, err := next.RoundTrip(req); return err }
		return nil, errors.New("not now")
	})
	renewed, err := clientFor(t, p.URL, oldKey, quickRetry(1), lazy).RenewToken(t.Context(), renewal(oldKey))
	wantLost(t, renewed, err, esper.OutcomeNotRenewed, "")
	if err := (<-late)(); err == nil {
		t.Error("it was sent after all")
	}
	wantCount(t, "POSTs", p.count.Load(), 0)
}

// A middleware that fails, or answers, before it calls the next one has sent nothing. Its answer ends a renewal; only
// after 429 is the renewal tried again.
func TestRenewToken_MiddlewareIsFirst(t *testing.T) {
	fails := func(err error) roundTripFunc {
		return func(*http.Request) (*http.Response, error) { return nil, err }
	}
	answers := func(status int) roundTripFunc {
		return func(*http.Request) (*http.Response, error) { return says(status, refusal) }
	}
	reset := &net.OpError{Op: "read", Net: "tcp", Err: errors.New("connection reset by peer")}
	for name, tc := range map[string]struct {
		middleware roundTripFunc
		trips      int32
		is         error
	}{
		"an error":  {fails(errRefused), 4, errRefused},
		"a read":    {fails(reset), 4, reset},
		"the end":   {fails(io.ErrUnexpectedEOF), 4, io.ErrUnexpectedEOF},
		"a timeout": {fails(context.DeadlineExceeded), 4, context.DeadlineExceeded},
		"a panic":   {func(*http.Request) (*http.Response, error) { panic("too early") }, 1, nil},
		"400":       {answers(400), 1, esper.ErrBadRequest},
		"401":       {answers(401), 1, esper.ErrUnauthorized},
		"404":       {answers(404), 1, esper.ErrNotFound},
		"429":       {answers(429), 4, esper.ErrRateLimited},
	} {
		var trips atomic.Int32
		client := clientFor(t, "foo", oldKey, counting(&trips), instead(tc.middleware), quickRetry(4))
		_, err := client.RenewToken(t.Context(), renewal(oldKey))
		var lost *esper.RenewalError
		if !errors.As(err, &lost) || lost.Outcome != esper.OutcomeNotRenewed || tc.is != nil && !errors.Is(err, tc.is) {
			t.Errorf("%s: %v", name, err)
		}
		wantCount(t, name+": round trips", trips.Load(), tc.trips)
	}
}
