package renew

import (
	"net/http"
	"testing"
	"time"

	"golang.org/x/oauth2"

	"github.com/esper-go/esper-go/pkg/esper"
	"github.com/esper-go/esper-go/pkg/esper/renew/internal/policy"
)

func TestHotPathAllocatesNothing(t *testing.T) {
	source := opened(t, newStub(90*day), Memory())
	if n := testing.AllocsPerRun(1000, func() {
		if token, err := source.TokenContext(t.Context()); err != nil || token.AccessToken == "" {
			t.Fatal(token, err)
		}
	}); n != 0 {
		t.Errorf("%v allocations, want 0", n)
	}
}

// A read of the store that finds what the last one found costs little, whatever the key looks like. So a year of Run, of
// some 700,000 reads, takes seconds in a bubble of testing/synctest.
func TestReadsOfTheSameAllocateLittle(t *testing.T) {
	for _, key := range []string{stubFirst, "madeUpKeyMadeUpKeyMadeUpKey0", "made.up-key_with.dots-and_hyphens", canary} {
		store := Memory()
		put(t, store, living(key, 90*day))
		source := opened(t, newStub(90*day), store)
		if n := testing.AllocsPerRun(100, func() { _, _, _ = source.run(t.Context(), policy.Turn{}) }); n > 35 {
			t.Errorf("%s: %v allocations, want 35 at most", key, n)
		}
	}
}

// nowhere is a transport that answers without sending.
var nowhere = roundTripFunc(func(*http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody}, nil
})

// transports returns the source's transport, and that of package oauth2 with the same key.
func transports(t testing.TB) map[string]http.RoundTripper {
	source := opened(t, newStub(90*day), Memory())
	reuse := oauth2.ReuseTokenSource(&oauth2.Token{AccessToken: stubFirst, Expiry: time.Now().Add(90 * day)}, esper.APIKey(stubFirst))
	return map[string]http.RoundTripper{"source": source.Transport(nowhere), "oauth2": &oauth2.Transport{Source: reuse, Base: nowhere}}
}

// deviceRequest is a request for an endpoint that package esper has no method for.
func deviceRequest(t testing.TB) *http.Request {
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, device, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header = http.Header{"Accept": {"application/json"}, "User-Agent": {"test"}}
	return req
}

// A request through Transport allocates no more than a request through the transport of package oauth2.
func TestTransportAllocations(t *testing.T) {
	allocations := make(map[string]float64)
	for name, transport := range transports(t) {
		req := deviceRequest(t)
		allocations[name] = testing.AllocsPerRun(1000, func() {
			resp, err := transport.RoundTrip(req)
			if err != nil {
				t.Fatal(err)
			}
			_ = resp.Body.Close()
		})
	}
	if allocations["source"] > allocations["oauth2"] {
		t.Errorf("the source's transport allocates more than that of oauth2: %v", allocations)
	}
}
