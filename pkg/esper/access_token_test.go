package esper_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/esper-go/esper-go/gen"
)

func TestOtherParametersStay(t *testing.T) {
	p := newProbe(t, nil)
	for _, query := range []string{"page=2&%s", "%s&page=2", "a%%2Fb=c&%s&access_tokens=x&&d", "%s&%%zz=1"} {
		p.seen = nil
		var above string
		c := clientFor(t, p.URL, "key", around(func(req *http.Request, next http.RoundTripper) (*http.Response, error) {
			above = req.URL.RawQuery
			return next.RoundTrip(req)
		}))
		add := func(_ context.Context, req *http.Request) error {
			req.URL.RawQuery = fmt.Sprintf(query, req.URL.RawQuery)
			return nil
		}
		resp, err := c.Generated().RenewToken(t.Context(), enterpriseID, developerAppID, &gen.RenewTokenParams{AccessToken: "made/up"}, add)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if want := fmt.Sprintf(query, "access_token=sealed"); above != want {
			t.Errorf("a middleware sees %q, want %q", above, want)
		}
		if got, want := p.only(t).URL.RawQuery, fmt.Sprintf(query, "access_token=made%2Fup"); got != want {
			t.Errorf("the server gets %q, want %q", got, want)
		}
	}
}

// A request editor may write the name access_token with an escape.
func TestAccessTokenUnderAnEscapedName(t *testing.T) {
	const escaped = "access%5ftoken=made%2Fup"
	p := newProbe(t, nil)
	var above []string
	c := clientFor(t, p.URL, "key", around(func(req *http.Request, next http.RoundTripper) (*http.Response, error) {
		above = append(above, req.URL.RawQuery)
		resp, err := next.RoundTrip(req)
		if err != nil {
			return nil, err
		}
		_ = resp.Body.Close()
		return next.RoundTrip(req)
	}))
	escape := func(_ context.Context, req *http.Request) error { req.URL.RawQuery = escaped; return nil }
	resp, err := c.Generated().RenewToken(t.Context(), enterpriseID, developerAppID, &gen.RenewTokenParams{}, escape)
	if err == nil {
		_ = resp.Body.Close()
	}
	if got := p.only(t).URL.RawQuery; got != escaped || !slices.Equal(above, []string{"access_token=sealed"}) {
		t.Errorf("a middleware sees %q, the server gets %q", above, got)
	}
}

// The key to renew may differ from the client's own key. No error shows it either.
func TestAccessTokenStaysOutOfErrors(t *testing.T) {
	p := newProbe(t, func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusBadRequest)
		_, _ = fmt.Fprintf(w, `{"message": "no token %s, sent as %s"}`, r.URL.Query().Get("access_token"), r.URL.RawQuery)
	})
	_, err := clientFor(t, p.URL, "key").RenewToken(t.Context(), renewal("Made+Up/Token"))
	if want := "[withheld: the server's text repeats the key and is not shown]"; err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "no token") {
		t.Errorf("%v, want %q", err, want)
	}
}

func TestErrorsOfAMiddlewareAreToldOnce(t *testing.T) {
	for _, cause := range []error{errors.New("boom"), context.Canceled} {
		ctx, cancel := context.WithCancel(t.Context())
		s := roundTripFunc(func(*http.Request) (*http.Response, error) {
			if errors.Is(cause, context.Canceled) {
				cancel()
			}
			return nil, cause
		})
		_, err := clientFor(t, "foo", oldKey, s.option(), quickRetry(1)).TokenInfo(ctx)
		if want := "esper: TokenInfo: " + cause.Error(); err == nil || err.Error() != want || !errors.Is(err, cause) {
			t.Errorf("%v, want %s", err, want)
		}
		cancel()
	}
}

// A trace with only one of its functions set gets no key either.
func TestTracesSeeNoKey(t *testing.T) {
	p := newProbe(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Echo", r.Header.Get("Authorization"))
		w.WriteHeader(http.StatusEarlyHints)
		answerWell(w, r)
	})
	var (
		mu   sync.Mutex
		told strings.Builder
	)
	note := func(name string, v any) {
		mu.Lock()
		defer mu.Unlock()
		_, _ = fmt.Fprintln(&told, name, v)
	}
	for want, trace := range map[string]*httptrace.ClientTrace{
		"Accept": {WroteHeaderField: func(name string, values []string) { note(name, values) }},
		"103":    {Got1xxResponse: func(code int, header textproto.MIMEHeader) error { note(fmt.Sprint(code), header); return nil }},
	} {
		each(t, clientFor(t, p.URL, canary), canary, func(t *testing.T, do func(context.Context) error) {
			told.Reset()
			if err := do(httptrace.WithClientTrace(t.Context(), trace)); err != nil {
				t.Fatal(err)
			}
			mu.Lock()
			defer mu.Unlock()
			checkNoCanary(t, "trace", told.String())
			if !strings.Contains(told.String(), want) {
				t.Errorf("the trace was told %q, want %s", told.String(), want)
			}
		})
	}
}

// A middleware that changes its request, against the contract of http.RoundTripper, changes no other call.
func TestMiddlewareChangesNoOtherCall(t *testing.T) {
	var seen []string
	client := clientFor(t, "https://foo-api.esper.cloud/api", oldKey, roundTripFunc(func(req *http.Request) (*http.Response, error) {
		seen = append(seen, req.URL.Path+" "+req.Header.Get("Accept"))
		req.URL.Path += "spoilt/"
		req.Header["Accept"][0] += ";spoilt"
		return respond(http.StatusOK, strings.NewReader(someInfo)), nil
	}).option())
	for range 3 {
		if _, err := client.TokenInfo(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	const want = "/api/v1/token-info/ application/json"
	if !slices.Equal(seen, []string{want, want, want}) {
		t.Errorf("requests: %q, want %s each time", seen, want)
	}
}
