package esper_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

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

func TestMiddlewareMayHedge(t *testing.T) {
	var n atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		id := n.Add(1)
		time.Sleep(time.Duration(id-1) * 10 * time.Millisecond)
		_, _ = fmt.Fprintf(w, `{"enterprise": "e", "id": `)
		_ = http.NewResponseController(w).Flush()
		time.Sleep(30 * time.Millisecond) // the other answer begins meanwhile
		_, _ = fmt.Fprintf(w, `%d}`, id)
	}))
	defer server.Close()
	client := clientFor(t, server.URL, oldKey, around(hedge), quickRetry(1))
	defer client.CloseIdleConnections()
	for range 5 {
		n.Store(0)
		if info, err := client.TokenInfo(t.Context()); err != nil || info.ID != "1" {
			t.Errorf("%+v %v", info, err)
		}
	}
}

func TestMiddlewareCannotHedgeARenewal(t *testing.T) {
	var posts atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		posts.Add(1)
		time.Sleep(20 * time.Millisecond)
		w.WriteHeader(http.StatusCreated)
		_, _ = io.WriteString(w, realRenewal)
	}))
	defer server.Close()
	client := clientFor(t, server.URL, oldKey, around(hedge), quickRetry(1))
	for range 5 {
		posts.Store(0)
		if renewed, err := client.RenewToken(t.Context(), renewal(oldKey)); err != nil || renewed.Token.Reveal() != newKey || posts.Load() != 1 {
			t.Errorf("%v, %d posts", err, posts.Load())
		}
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
