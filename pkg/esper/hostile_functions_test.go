package esper_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/esper-go/esper-go/pkg/esper"
)

// A middleware that hedges and repeats a renewal while connections fail still sends only one, and gets
// its answer.
func TestRenewToken_HedgedRetries(t *testing.T) {
	base, posts := counted(t, answer(201, "application/json", realRenewal))
	for range 20 {
		posts.Store(0)
		var dials atomic.Int32
		flaky := esper.WithTransport(&http.Transport{DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			if dials.Add(1) <= 3 {
				return nil, refuse()
			}
			return new(net.Dialer).DialContext(ctx, network, address)
		}})
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
		renewed, err := clientFor(t, base, oldKey, flaky, hedging, quickRetry(4)).RenewToken(t.Context(), renewal(oldKey))
		wantRenewed(t, renewed, err)
		wantCount(t, "POSTs", posts.Load(), 1)
	}
}

// A middleware that removes the end of the request's context does not make a call endless.
func TestMiddlewareWithoutCancel(t *testing.T) {
	p := newProbe(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	lasting := around(func(req *http.Request, next http.RoundTripper) (*http.Response, error) {
		return next.RoundTrip(req.WithContext(context.WithoutCancel(req.Context())))
	})
	c := clientFor(t, p.URL, oldKey, lasting, quickRetry(1), esper.WithTimeout(50*time.Millisecond))
	each(t, c, oldKey, func(t *testing.T, do func(context.Context) error) {
		if err := do(t.Context()); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
	})
}

// The base URL of a gateway may hold a path that looks like one of the API.
func TestGatewayPaths(t *testing.T) {
	for environment, ok := range map[string]bool{
		"https://gw.example/api/v1/esper": true, "https://gw.example/api/v2/proxy/esper/api": true, "https://gw.example/esper/api/v1-proxy": true,
		"https://k8s.example:6443/api/v1/namespaces/iot/services/https:esper:443/proxy/api": true,
		"https://gw.example/api/v1": false, "https://gw.example/api/v0/enterprise/x": false, "https://gw.example/api/v1/token-info/": false,
	} {
		_, err := esper.New(environment, esper.APIKey("key"))
		if (err == nil) != ok || err != nil && !strings.Contains(err.Error(), "goes on behind /api") {
			t.Errorf("%s: %v", environment, err)
		}
	}
}
