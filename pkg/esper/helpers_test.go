package esper_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/oauth2"

	"github.com/esper-go/esper-go/pkg/esper"
)

// Made-up ids and keys, the keys of the length that real ones have.
const (
	enterpriseID   = "f44373cb-1800-43c6-aab3-c81f8b1f435c"
	developerAppID = "5fa87c46-bef7-4c1f-9ca8-ebf022d118b6"
	oldKey         = "OldMadeUpKey" + "OldMadeUpKey" + "OldM01"
	newKey         = "NewMadeUpKey" + "NewMadeUpKey" + "NewM02"
)

const (
	infoAnswer = `{"id":"570","enterprise":"f44373cb-1800-43c6-aab3-c81f8b1f435c","token":"info-token"}`
	// refusal has Esper's envelope. Its key does not count, because the status is not 2xx.
	refusal       = `{"errors":["no"],"message":"no","status":403,"token":"` + newKey + `"}`
	renewalAnswer = `{"id":571,"enterprise":"Esper [f44373cb-1800-43c6-aab3-c81f8b1f435c]","token":"new-token"}`
	// realRenewal is a renewal's answer as the server sends it.
	realRenewal = `{"id": 571, "user": "bindya", "enterprise": "Esper [` + enterpriseID + `]",` +
		` "developerapp": "DeveloperApp object (` + developerAppID + `)", "token": "` + newKey + `",` +
		` "expires_at": "2023-07-03T04:29:53.906020Z", "scope": "read write update introspection sdk register",` +
		` "created_on": "2023-04-04T04:29:53.906020Z", "updated_on": "2023-04-05T04:29:53.906020Z"}`
)

type roundTripFunc func(*http.Request) (*http.Response, error)

func (f roundTripFunc) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

// instead lets f answer in place of the network.
func instead(f roundTripFunc) esper.Option {
	return esper.WithMiddleware(func(http.RoundTripper) http.RoundTripper { return f })
}

// roundTrip is a middleware of one function.
type roundTrip = func(req *http.Request, next http.RoundTripper) (*http.Response, error)

func around(f roundTrip) esper.Option {
	return esper.WithMiddleware(func(next http.RoundTripper) http.RoundTripper {
		return roundTripFunc(func(req *http.Request) (*http.Response, error) { return f(req, next) })
	})
}

// watching shows f each request and its response.
func watching(f func(*http.Request, *http.Response)) esper.Option {
	return around(func(req *http.Request, next http.RoundTripper) (*http.Response, error) {
		resp, err := next.RoundTrip(req)
		if err == nil {
			f(req, resp)
		}
		return resp, err
	})
}

// counting counts the round trips, those that send nothing too.
func counting(n *atomic.Int32) esper.Option {
	return around(func(req *http.Request, next http.RoundTripper) (*http.Response, error) {
		n.Add(1)
		return next.RoundTrip(req)
	})
}

func clientFor(t testing.TB, environment, key string, opts ...esper.Option) *esper.Client {
	t.Helper()
	return clientOf(t, environment, esper.APIKey(key), opts...)
}

func clientOf(t testing.TB, environment string, source oauth2.TokenSource, opts ...esper.Option) *esper.Client {
	t.Helper()
	c, err := esper.New(environment, source, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.CloseIdleConnections)
	return c
}

// quickRetry waits next to nothing between attempts.
func quickRetry(attempts int) esper.Option {
	return esper.WithRetry(esper.Retry{MaxAttempts: attempts, MinWait: time.Millisecond, MaxWait: 5 * time.Millisecond})
}

func renewal(key string) esper.RenewRequest {
	return esper.RenewRequest{
		EnterpriseID: enterpriseID, DeveloperAppID: developerAppID, AccessToken: esper.NewSecret(key),
	}
}

// each runs call for TokenInfo and for RenewToken of c.
func each(t *testing.T, c *esper.Client, key string, call func(t *testing.T, do func(context.Context) error)) {
	t.Helper()
	call(t, func(ctx context.Context) error { _, err := c.TokenInfo(ctx); return err })
	call(t, func(ctx context.Context) error { _, err := c.RenewToken(ctx, renewal(key)); return err })
}

// renewedKey is the outcome of a renewal that brings a key, and noRenewal that of another call.
const renewedKey, noRenewal esper.Outcome = -1, -2

func outcomeOf(err error) esper.Outcome {
	if failed, ok := errors.AsType[*esper.RenewalError](err); ok {
		return failed.Outcome
	} else if err != nil {
		return noRenewal
	}
	return renewedKey
}

// wantLost checks that err is a RenewalError with this outcome and body.
func wantLost(t testing.TB, renewed *esper.RenewedToken, err error, outcome esper.Outcome, body string) {
	t.Helper()
	failed, ok := errors.AsType[*esper.RenewalError](err)
	if renewed != nil || !ok || failed.Outcome != outcome || failed.Err == nil {
		t.Errorf("%v, %v; want %v", renewed, err, outcome)
	} else if string(failed.Body) != body {
		t.Errorf("kept %d bytes %.60q, want %d bytes %.60q", len(failed.Body), failed.Body, len(body), body)
	}
}

// wantRenewed checks that the renewal brought newKey, and returns renewed.
func wantRenewed(t testing.TB, renewed *esper.RenewedToken, err error) *esper.RenewedToken {
	t.Helper()
	if err != nil || renewed == nil {
		t.Fatalf("RenewToken: %v, %v", renewed, err)
	}
	if got := renewed.Token.Reveal(); got != newKey {
		t.Fatalf("key %q, want %q", got, newKey)
	}
	return renewed
}

func parsed(t *testing.T, address string) *url.URL {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func wantCount(t testing.TB, what string, got, want int32) {
	t.Helper()
	if got != want {
		t.Errorf("%s: %d, want %d", what, got, want)
	}
}

// says returns a middleware's own answer of one text.
func says(status int, text string) (*http.Response, error) {
	return &http.Response{StatusCode: status, Body: io.NopCloser(strings.NewReader(text))}, nil
}
