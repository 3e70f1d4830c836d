package esper_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/esper-go/esper-go/gen"
	"github.com/esper-go/esper-go/pkg/esper"
)

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
	two, one := esper.WithMiddleware(named("a"), named("b")), esper.WithMiddleware(named("c"))
	c := clientFor(t, newProbe(t, nil).URL, "key", two, one)
	if _, err := c.TokenInfo(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(order, " "); got != "a b c /c /b /a" {
		t.Errorf("order: %s, want the first outermost", got)
	}
}

// Of the answers to a request that may be repeated, the one counts that the middleware returned. The server's answers
// have their number as the id. The odd ones take a second, the even ones two.
func TestMiddlewareOfARead(t *testing.T) {
	sending := func(req *http.Request, next http.RoundTripper, path string) (*http.Response, error) {
		other := req.Clone(req.Context())
		other.URL.Path = path
		return next.RoundTrip(other)
	}
	for name, tc := range map[string]struct {
		middleware roundTrip
		status     int // of the even answers
		want       string
	}{
		"a hedge whose loser ends last": {hedge, 200, "1"},
		"a retry that drains nothing": {func(req *http.Request, next http.RoundTripper) (*http.Response, error) {
			_, _ = sending(req, next, "/count")
			if resp, err := next.RoundTrip(req); err != nil || resp.StatusCode != 503 {
				return resp, err
			}
			return next.RoundTrip(req)
		}, 503, "3"},
		"a mirror that is down": {func(req *http.Request, next http.RoundTripper) (*http.Response, error) {
			resp, err := next.RoundTrip(req)
			_, _ = next.RoundTrip(req.Clone(req.Context()))
			if err == nil {
				resp.Body = struct{ io.ReadCloser }{resp.Body}
			}
			return resp, err
		}, 503, "1"},
		"a request of its own afterwards": {func(req *http.Request, next http.RoundTripper) (*http.Response, error) {
			resp, err := next.RoundTrip(req)
			_, _ = sending(req, next, "/other")
			return resp, err
		}, 200, "1"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var n atomic.Int32
				_, transport := memoryProbe(t, func(w http.ResponseWriter, _ *http.Request) {
					id := n.Add(1)
					time.Sleep(time.Duration(2-id%2) * time.Second)
					answer([]int{tc.status, 200}[id%2], "", fmt.Sprintf(`{"enterprise": "e", "id": %d}`, id))(w, nil)
				})
				c := clientFor(t, memory, oldKey, esper.WithTransport(transport), around(tc.middleware), quickRetry(1))
				if info, err := c.TokenInfo(t.Context()); err != nil || string(info.ID) != tc.want {
					t.Errorf("%+v, %v; want %s", info, err, tc.want)
				}
				time.Sleep(time.Minute) // until the loser has ended
			})
		})
	}
}

// A middleware may answer by itself, also without a body, or by mistake with nothing at all.
func TestMiddlewareMayAnswerByItself(t *testing.T) {
	for name, tc := range map[string]struct {
		status     int // 0: neither an answer nor an error
		info       string
		is         error
		withoutOne bool // without a body
	}{
		"a key":           {status: 201, info: realRenewal},
		"a refusal":       {status: 403, info: refusal, is: esper.ErrForbidden},
		"no body":         {status: 200, is: esper.ErrInvalidResponse, withoutOne: true},
		"no body, failed": {status: 500, is: esper.ErrServer, withoutOne: true},
		"nothing":         {status: 0},
	} {
		own := instead(func(*http.Request) (*http.Response, error) {
			switch {
			case tc.status == 0:
				return nil, nil //nolint:nilnil // the mistake that is tested
			case tc.withoutOne:
				return &http.Response{StatusCode: tc.status}, nil
			}
			return says(tc.status, tc.info)
		})
		c := clientFor(t, "foo", "key", own, quickRetry(1))
		each(t, c, "key", func(t *testing.T, do func(context.Context) error) {
			if err := do(t.Context()); (err == nil) != (tc.status == 201) || tc.is != nil && !errors.Is(err, tc.is) {
				t.Errorf("%s: %v", name, err)
			}
		})
	}
}

// A middleware that sends the request itself, in place of calling the next, sends no key. The error says so.
func TestMiddlewareThatDoesNotCallTheNext(t *testing.T) {
	p := knows(t, "made-up-key")
	astray := &http.Transport{DisableKeepAlives: true}
	_, err := clientFor(t, p.URL, "made-up-key", instead(astray.RoundTrip)).TokenInfo(t.Context())
	if !errors.Is(err, esper.ErrUnauthorized) || !strings.Contains(err.Error(), "has to call the next") {
		t.Error(err)
	}
}

// countingBody counts the calls of Close. Tracing middleware wraps a body like this, and ends its span on Close.
type countingBody struct {
	io.ReadCloser
	closes *atomic.Int32
}

func (b countingBody) Close() error { b.closes.Add(1); return b.ReadCloser.Close() }

func TestMiddlewareBodyIsClosedOnce(t *testing.T) {
	for name, handler := range map[string]http.HandlerFunc{
		"success": nil, "error": answer(400, "", "no"), "too large": answer(200, "", strings.Repeat(" ", 2*mebibyte)),
	} {
		var closes atomic.Int32
		tracing := around(func(req *http.Request, next http.RoundTripper) (*http.Response, error) {
			resp, err := next.RoundTrip(req)
			if err == nil {
				resp.Body = countingBody{resp.Body, &closes}
			}
			return resp, err
		})
		c := clientFor(t, newProbe(t, handler).URL, "key", tracing)
		each(t, c, "key", func(t *testing.T, do func(context.Context) error) {
			closes.Store(0)
			if err := do(t.Context()); (err == nil) != (name == "success") {
				t.Errorf("%s: %v", name, err)
			}
			wantCount(t, name+": closes", closes.Load(), 1)
		})
	}
}

// No other server gets the key, and a request without the call's context is not sent at all.
func TestMiddlewareCannotTakeTheKeyElsewhere(t *testing.T) {
	p, other := newProbe(t, nil), newProbe(t, nil)
	for name, change := range map[string]func(*http.Request) *http.Request{
		"host":    func(r *http.Request) *http.Request { r.URL.Host = strings.TrimPrefix(other.URL, "http://"); return r },
		"scheme":  func(r *http.Request) *http.Request { r.URL.Scheme = "https"; return r },
		"Host":    func(r *http.Request) *http.Request { r.Host = "evil.example"; return r },
		"context": func(r *http.Request) *http.Request { return r.WithContext(context.Background()) },
	} {
		var trips atomic.Int32
		astray := around(func(req *http.Request, next http.RoundTripper) (*http.Response, error) {
			return next.RoundTrip(change(req.Clone(req.Context())))
		})
		c := clientFor(t, p.URL, "key", quickRetry(3), counting(&trips), astray)
		each(t, c, "key", func(t *testing.T, do func(context.Context) error) {
			trips.Store(0)
			err := do(t.Context())
			wantCount(t, name+": tries, of which none can succeed", trips.Load(), 1)
			lost := (*esper.RenewalError)(nil)
			if err == nil || errors.As(err, &lost) && lost.Outcome != esper.OutcomeNotRenewed {
				t.Errorf("%s: %v, want an error, NotRenewed", name, err)
			}
		})
	}
	wantCount(t, "requests", p.count.Load()+other.count.Load(), 0)
}

// A middleware sees only the listed header fields of an answer, without keys. It does not see the names of other
// fields either, because a name may be a key.
func TestMiddlewareSeesListedHeaders(t *testing.T) {
	const hexKey = "4bf92f3577b34da6a3ce929d0e0e4736" // has the shape of a request's id
	p := newProbe(t, func(w http.ResponseWriter, r *http.Request) {
		for name, value := range map[string]string{
			"Set-Cookie": "session=1", "X-" + hexKey: "1", "Location": "/x", "Server": "nginx", "Www-Authenticate": "Bearer",
			"X-Request-Id": hexKey, "Retry-After": "7", "X-RateLimit-Remaining": "3", "RateLimit": "limit=1",
		} {
			w.Header().Set(name, value)
		}
		w.Header().Add("Trailer", "X-Late")
		answer(201, "application/json", `{"token": "`+hexKey+`"}`)(w, r)
		w.Header().Set("X-Late", hexKey)
	})
	var seen http.Header
	looking := around(func(req *http.Request, next http.RoundTripper) (*http.Response, error) {
		resp, err := next.RoundTrip(req)
		if err == nil {
			seen = resp.Header.Clone()
			if len(resp.Trailer) != 0 || resp.Status != "201 Created" {
				t.Errorf("trailer %v, status %q", resp.Trailer, resp.Status)
			}
		}
		return resp, err
	})
	if _, err := clientFor(t, p.URL, oldKey, looking).RenewToken(t.Context(), renewal(oldKey)); err != nil {
		t.Error(err)
	}
	delete(seen, "Date")
	delete(seen, "Content-Length")
	want := "map[Content-Type:[application/json] Ratelimit:[limit=1] Retry-After:[7] X-Ratelimit-Remaining:[3] " +
		"X-Request-Id:[[withheld: the server's text repeats the key and is not shown]]]"
	if got := fmt.Sprint(seen); got != want {
		t.Errorf("a middleware sees %s\nwant %s", got, want)
	}
}

// A middleware that changes the headers of its request changes no other request.
func TestMiddlewareHeadersAreItsOwn(t *testing.T) {
	p := newProbe(t, nil)
	spoil := func(req *http.Request, next http.RoundTripper) (*http.Response, error) {
		req.Header["Accept"][0] += ";spoilt"
		req.Header["User-Agent"][0] += " spoilt"
		return next.RoundTrip(req)
	}
	client := clientFor(t, p.URL, oldKey, around(spoil), esper.WithUserAgent("test/1"))
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			_, _ = client.TokenInfo(t.Context())
			_, _ = client.RenewToken(t.Context(), renewal(oldKey))
		})
	}
	wg.Wait()
	for _, r := range p.arrivals() {
		if got := r.Header.Get("Accept") + " " + r.UserAgent(); got != "application/json;spoilt test/1 spoilt" {
			t.Errorf("%s: %s", r.Method, got)
		}
	}
}

// The access token is sealed in the URL that a middleware sees, whatever else the query holds and however its name is
// written, and the server gets the query as it was.
func TestOtherParametersStay(t *testing.T) {
	for _, query := range []string{
		"page=2&access_token=made%2Fup", "access_token=made%2Fup&page=2", "a%2Fb=c&access_token=made%2Fup&access_tokens=x&&d",
		"access_token=made%2Fup&%zz=1", "access%5ftoken=made%2Fup",
	} {
		p := newProbe(t, nil)
		above := ""
		c := clientFor(t, p.URL, "key", around(func(req *http.Request, next http.RoundTripper) (*http.Response, error) {
			above = req.URL.RawQuery
			return next.RoundTrip(req)
		}))
		edit := func(_ context.Context, req *http.Request) error { req.URL.RawQuery = query; return nil }
		resp, err := c.Generated().RenewToken(t.Context(), enterpriseID, developerAppID, &gen.RenewTokenParams{}, edit)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		written := regexp.MustCompile(`access(_|%5f)token=made%2Fup`)
		if want := written.ReplaceAllString(query, "access_token=sealed"); above != want {
			t.Errorf("a middleware sees %q, want %q", above, want)
		}
		if got := p.only(t).URL.RawQuery; got != query {
			t.Errorf("the server gets %q, want %q", got, query)
		}
	}
}
