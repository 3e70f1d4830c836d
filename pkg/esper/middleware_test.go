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
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"

	"github.com/esper-go/esper-go/gen"
	"github.com/esper-go/esper-go/pkg/esper"
)

// hedge sends each request twice at once, five times each if it fails, and returns the answer that comes first.
func hedge(req *http.Request, next http.RoundTripper) (*http.Response, error) {
	answers := make(chan *http.Response, 2)
	for range 2 {
		go func() {
			var resp *http.Response
			for err, n := io.EOF, 0; err != nil && n < 5; n++ {
				resp, err = next.RoundTrip(req.Clone(req.Context()))
			}
			answers <- resp
		}()
	}
	for range 2 {
		if resp := <-answers; resp != nil {
			return resp, nil
		}
	}
	return nil, errors.New("none of them")
}

// afterwards is a middleware that does something else with an answer than to return it.
func afterwards(then func(resp *http.Response, err error) (*http.Response, error)) roundTrip {
	return func(req *http.Request, next http.RoundTripper) (*http.Response, error) {
		return then(next.RoundTrip(req))
	}
}

// first is a middleware that sends other requests before its own, which need not succeed.
func first(others ...func(*http.Request)) roundTrip {
	return func(req *http.Request, next http.RoundTripper) (*http.Response, error) {
		for _, change := range others {
			other := req.Clone(req.Context())
			change(other)
			_, _ = next.RoundTrip(other)
		}
		return next.RoundTrip(req)
	}
}

// unruly returns middleware that do what none should do with a renewal, and some that are in use everywhere. Arrived
// gets something when the renewal has arrived at the server.
func unruly(arrived <-chan struct{}) map[string]roundTrip {
	method := func(name string) func(*http.Request) { return func(req *http.Request) { req.Method = name } }
	bare := func(name string) func(*http.Request) {
		return func(r *http.Request) { r.Method, r.URL.RawQuery = name, "" }
	}
	broken := &http.Response{StatusCode: 500, Body: struct{ io.ReadCloser }{}} // its methods are those of nil
	return map[string]roundTrip{
		"hedges": hedge,
		"wraps the body": func(req *http.Request, next http.RoundTripper) (*http.Response, error) {
			return otelhttp.NewTransport(next).RoundTrip(req)
		},
		"fails": afterwards(func(*http.Response, error) (*http.Response, error) { return nil, errors.New("failed") }),
		"returns nothing": afterwards(func(*http.Response, error) (*http.Response, error) {
			return nil, nil //nolint:nilnil // the mistake that is tested
		}),
		"panics":          afterwards(func(*http.Response, error) (*http.Response, error) { panic("afterwards") }),
		"has no status":   afterwards(func(*http.Response, error) (*http.Response, error) { return says(0, "") }),
		"its body panics": afterwards(func(*http.Response, error) (*http.Response, error) { return broken, nil }),
		"answers 429":     afterwards(func(*http.Response, error) (*http.Response, error) { return says(429, "") }),
		"answers": afterwards(func(*http.Response, error) (*http.Response, error) {
			return says(201, `{"token": "NotTheServersNotTheServers"}`)
		}),
		"has a timeout of its own": func(req *http.Request, next http.RoundTripper) (*http.Response, error) {
			return (&http.Client{Transport: next, Timeout: time.Microsecond}).Do(req)
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
		"ends a trace": func(req *http.Request, next http.RoundTripper) (*http.Response, error) {
			hints := func(int, textproto.MIMEHeader) error { return errors.New("no hints") }
			ctx := httptrace.WithClientTrace(req.Context(), &httptrace.ClientTrace{Got1xxResponse: hints})
			return next.RoundTrip(req.WithContext(ctx))
		},
		"sends a preflight":        first(method(http.MethodOptions), method(http.MethodGet)),
		"leaves out the query":     first(bare(http.MethodPost), bare("post"), bare(http.MethodPut)),
		"asks for something else":  first(func(req *http.Request) { req.URL.RawQuery, req.URL.Path = "", "/other" }),
		"asks for another renewal": first(func(req *http.Request) { req.URL.Path += "/other" }),
	}
}

// Whatever a middleware does, the server gets one renewal, and only the server's answer decides what the caller gets.
func TestRenewToken_UnrulyMiddleware(t *testing.T) {
	for answer, outcome := range map[string]esper.Outcome{
		raw(201, realRenewal): renewedKey, "": esper.OutcomeUnknown, raw(500, refusal): esper.OutcomeUnknown,
		raw(403, refusal): esper.OutcomeNotRenewed,
	} {
		for name := range unruly(nil) {
			test := func(t *testing.T) {
				arrived := make(chan struct{}, 2)
				var posts atomic.Int32
				failing := map[string]int32{"hedges": 3}[name] // dials
				server := pipedLate(failing, func(conn net.Conn, r *http.Request) {
					isPost := r.Method == http.MethodPost && strings.HasSuffix(r.RequestURI, "/renew-token/?access_token="+oldKey)
					isPut := r.Method == http.MethodPut && strings.HasSuffix(r.RequestURI, "/"+tokenID)
					if r.Method != http.MethodPost && r.Method != http.MethodPut {
						saying(raw(200, `{"token": "AnotherAnswersKeyAnother"}`))(conn)
						return
					}
					equal(t, r.Method+" "+r.RequestURI+" is the renewal", isPost || isPut, true)
					posts.Add(1)
					arrived <- struct{}{}
					saying("HTTP/1.1 102 Processing\r\n\r\n")(conn)
					time.Sleep(time.Millisecond) // who gives up does so before the answer, as a rule
					saying(answer)(conn)
				})
				client := clientFor(t, memory, oldKey, server, around(unruly(arrived)[name]), quickRetry(5))
				for _, op := range operations(client, oldKey)[1:3] {
					posts.Store(0)
					_, key, err := op.do(t.Context())
					_, body, _ := strings.Cut(answer, "\r\n\r\n")
					wantOutcome(t, name, key, err, outcome, body)
					equal(t, "renewals", posts.Load(), 1)
				}
			}
			if name == "has a timeout of its own" { // it ends while the server sleeps, and not before
				synctest.Test(t, func(t *testing.T) {
					test(t)
					time.Sleep(time.Second) // until the server has ended too
				})
				continue
			}
			t.Run(name, test) // some wait for a lock, for which a bubble's time stands still
		}
	}
}

// Of the answers to a request that may be repeated, the one counts that the middleware returned. The server's answers
// have their number as the id. The odd ones take a second, the even ones two.
func TestMiddlewareOfARead(t *testing.T) {
	sending := func(req *http.Request, next http.RoundTripper, path string) {
		other := req.Clone(req.Context())
		other.URL.Path = path
		_, _ = next.RoundTrip(other)
	}
	for name, tc := range map[string]struct {
		middleware roundTrip
		status     int // of the even answers
		want       string
	}{
		"a hedge whose loser ends last": {hedge, 200, "1"},
		"a retry that drains nothing": {func(req *http.Request, next http.RoundTripper) (*http.Response, error) {
			sending(req, next, "/count")
			if resp, err := next.RoundTrip(req); err != nil || resp.StatusCode != 503 {
				return resp, err
			}
			return next.RoundTrip(req)
		}, 503, "3"},
		"a mirror that is down": {func(req *http.Request, next http.RoundTripper) (*http.Response, error) {
			resp, err := next.RoundTrip(req)
			sending(req, next, req.URL.Path)
			return resp, err
		}, 503, "1"},
		"a request of its own afterwards": {func(req *http.Request, next http.RoundTripper) (*http.Response, error) {
			resp, err := next.RoundTrip(req)
			sending(req, next, "/other")
			return resp, err
		}, 200, "1"},
	} {
		synctest.Test(t, func(t *testing.T) {
			var n atomic.Int32
			server := piped(func(conn net.Conn) {
				id := n.Add(1)
				time.Sleep(time.Duration(2-id%2) * time.Second)
				saying(raw([]int{tc.status, 200}[id%2], fmt.Sprintf(`{"enterprise": "e", "id": %d}`, id)))(conn)
			})
			c := clientFor(t, memory, oldKey, server, around(tc.middleware), quickRetry(1))
			info, err := c.TokenInfo(t.Context())
			must(t, err)
			equal(t, name, string(info.ID), tc.want)
			time.Sleep(time.Minute) // until the loser has ended
		})
	}
}

// A middleware that fails, or answers by itself, also without a body or by mistake with nothing at all, has sent
// nothing. Its answer counts; only after 429 is a renewal tried again. No error shows the key.
func TestMiddlewareByItself(t *testing.T) {
	const notRenewed, unreadable = esper.OutcomeNotRenewed, esper.OutcomeUnreadable
	own := func(f roundTripFunc, s situation) situation {
		s.opts = []esper.Option{esper.WithMiddleware(func(http.RoundTripper) http.RoundTripper { return f })}
		return s
	}
	fails := func(tries int32, is, err error) situation {
		f := func(*http.Request) (*http.Response, error) { return nil, err }
		return own(f, situation{tries: tries, is: is, outcome: notRenewed})
	}
	shared := http.Header{"X-Own": {"one for all answers"}}
	answers := func(status int, text string, tries int32, is error, outcome esper.Outcome) situation {
		return own(func(*http.Request) (*http.Response, error) {
			resp, err := says(status, text)
			if resp.Header = shared; text == "" {
				resp.Body = nil
			}
			return resp, err
		}, situation{status: status, body: text, tries: tries, is: is, outcome: outcome})
	}
	unsent, late := newProbe(t, nil), []func() error(nil)
	begins := func(req *http.Request, next http.RoundTripper) (*http.Response, error) {
		if req.Method != http.MethodGet {
			late = append(late, func() error { _, err := next.RoundTrip(req); return err })
		}
		return nil, io.ErrNoProgress
	}
	panics := func(*http.Request) (*http.Response, error) { panic(canary) }
	escaped := url.QueryEscape(canary)
	reset := &net.OpError{Op: "read", Net: "tcp", Err: errors.New("connection reset by peer")}
	for name, s := range map[string]situation{
		"an error":        fails(3, errRefused, errRefused),
		"a read":          fails(3, reset, reset),
		"a timeout":       fails(3, context.DeadlineExceeded, context.DeadlineExceeded),
		"its key":         fails(3, nil, fmt.Errorf("%s: %w", canary, io.ErrNoProgress)),
		"a key, ended":    fails(3, context.Canceled, fmt.Errorf("%q: %w", escaped, context.Canceled)),
		"nothing":         fails(1, nil, nil),
		"401":             answers(401, refusal, 1, esper.ErrUnauthorized, notRenewed),
		"429":             answers(429, refusal, 3, esper.ErrRateLimited, notRenewed),
		"no body":         answers(200, "", 1, esper.ErrInvalidResponse, unreadable),
		"no body, failed": answers(500, "", 3, esper.ErrServer, esper.OutcomeUnknown),
		"a key":           answers(201, realRenewal, 1, nil, renewedKey),
		"a panic":         own(panics, situation{tries: 1, outcome: notRenewed}),
		"without the key": own((&http.Transport{DisableKeepAlives: true}).RoundTrip, situation{
			environment: knows(t, canary).URL, status: 401, body: refusal, tries: 1, is: esper.ErrUnauthorized,
			says: "has to call the next", outcome: notRenewed,
		}),
		"is late": {environment: unsent.URL, opts: []esper.Option{around(begins)}, outcome: notRenewed, tries: 3},
	} {
		s.check(t, name)
	}
	for _, begin := range late {
		equal(t, "a renewal was sent when its call was over", begin() == nil, false)
	}
	equal(t, "renewals that began when the call was over", len(unsent.arrivals()), 0)
	equal(t, "fields of the header that a middleware shares between its answers", len(shared), 1)
}

// The first middleware is outermost. It sees the query with the access token sealed, whatever else the query holds and
// however its name is written; the server gets it as it was. Of an answer, it sees only the listed header fields, without
// keys, and no names of other fields, because a name may be a key.
func TestWhatMiddlewareSees(t *testing.T) {
	const hexKey = "4bf92f3577b34da6a3ce929d0e0e4736" // has the shape of a request's id
	answer := raw(201, `{"token": "`+hexKey+`"}`, "Set-Cookie: session=1", "X-"+hexKey+": 1", "Location: /x",
		"Server: nginx", "WWW-Authenticate: Bearer", "X-Request-Id: "+hexKey, "Retry-After: 7", "X-RateLimit-Remaining: 3",
		"RateLimit: limit=1", "Content-Type: application/json")
	const param, query = "access%5ftoken=made%2Fup", "a%2Fb=c&access%5ftoken=made%2Fup&access_tokens=x&&d&%zz=1"
	want := "a b /b /a " + strings.Replace(query, param, "access_token=sealed", 1) + " 201 Created map[Content-Length:[45] Content-Type:[application/json] Ratelimit:[limit=1] " +
		"Retry-After:[7] X-Ratelimit-Remaining:[3] X-Request-Id:[[withheld: the text repeats the key and is not shown]]]"
	var order, seen, arrived string
	named := func(name string) esper.Option {
		return around(func(req *http.Request, next http.RoundTripper) (*http.Response, error) {
			order += name + " "
			defer func() { order += "/" + name + " " }()
			resp, err := next.RoundTrip(req)
			if err == nil && name == "a" {
				seen = fmt.Sprint(req.URL.RawQuery, " ", resp.Status, " ", resp.Header)
			}
			return resp, err
		})
	}
	server := pipedLate(0, func(conn net.Conn, r *http.Request) {
		arrived = r.URL.RawQuery
		saying(answer)(conn)
	})
	generated, none := clientFor(t, memory, oldKey, named("a"), named("b"), server).Generated(), new(gen.RenewTokenParams)
	edit := func(_ context.Context, req *http.Request) error { req.URL.RawQuery = query; return nil }
	_, _, err := readAll(generated.RenewToken(t.Context(), enterpriseID, developerAppID, none, edit))
	must(t, err)
	equal(t, "seen", order+seen, want)
	equal(t, "the server gets", arrived, query)
}

// The key goes to the base URL's server alone, in every way to write it, and without the call's context nowhere.
func TestMiddlewareCannotTakeTheKeyElsewhere(t *testing.T) {
	const none, opaque = "http://foo.example background", "http://foo.example opaque"
	var requests atomic.Int32
	server := piped(func(conn net.Conn) {
		requests.Add(1)
		saying(raw(200, goodAnswer))(conn)
	})
	for target, ok := range map[string]bool{ // URL, Host field
		"http://foo.example foo.example": true, "http://foo.example ": true, "http://Foo.Example FOO.example": true,
		"http://foo.example:80 foo.example:80": true, "http://foo.example. foo.example.": true,
		"http://foo.example.:080 ": true, "http://bar.example ": false, "http://foo.example.evil.example ": false,
		"http://foo.example:8443 ": false, "http://foo.example: ": false, "https://foo.example ": false,
		"http://foo.example:443 ": false, "http://foo.example evil.example": false, "http:// foo.example": false,
		"http://foo.example foo.example:8443": false, "http://foo.example@evil.example ": false, none: false, "": false,
		"http:/x foo.example": false, opaque: false,
	} {
		address, name, _ := strings.Cut(target, " ")
		to := parsed(t, address)
		astray := around(func(req *http.Request, next http.RoundTripper) (*http.Response, error) {
			other := req.Clone(req.Context())
			other.URL.Scheme, other.URL.User, other.URL.Host = to.Scheme, to.User, to.Host
			switch other.Host = name; target {
			case none:
				other = req.WithContext(context.Background())
			case opaque:
				other.Host, other.URL.Opaque = "", "//evil.example/x"
			case "":
				other.URL = nil
			}
			return next.RoundTrip(other)
		})
		s := situation{environment: "http://foo.example", opts: []esper.Option{server, astray}, tries: 1}
		if s.outcome = esper.OutcomeNotRenewed; ok {
			s.status, s.outcome = 200, renewedKey
		}
		requests.Store(0)
		s.check(t, target)
		equal(t, target+": requests", requests.Load(), map[bool]int32{true: 6}[ok])
	}
}
