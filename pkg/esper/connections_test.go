package esper_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/esper-go/esper-go/pkg/esper"
)

// rawServer answers the first request of each connection with exactly answer, and closes the connection.
func rawServer(t testing.TB, answer string) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	t.Cleanup(func() { _ = l.Close(); wg.Wait() })
	wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer conn.Close()
				if _, err := http.ReadRequest(bufio.NewReader(conn)); err == nil {
					_, _ = io.WriteString(conn, answer)
				}
			})
		}
	})
	return "http://" + l.Addr().String()
}

func TestMiddlewareMayRetryAGet(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	var n atomic.Int32
	p := unstartedProbe(func(w http.ResponseWriter, r *http.Request) {
		if n.Add(1)%2 == 1 {
			http.Error(w, strings.Repeat("busy ", 1000), http.StatusServiceUnavailable)
			return
		}
		answerWell(w, r)
	})
	p.Start()
	defer p.Close()
	c := clientFor(t, p.URL, "key", around(func(req *http.Request, next http.RoundTripper) (*http.Response, error) {
		resp, err := next.RoundTrip(req)
		if err == nil && resp.StatusCode == http.StatusServiceUnavailable && req.Method == http.MethodGet {
			return next.RoundTrip(req) // without closing the first body, as careless ones do
		}
		return resp, err
	}))
	for range 20 {
		if info, err := c.TokenInfo(t.Context()); err != nil || info.Token.Reveal() != "info-token" {
			t.Fatalf("%+v, %v", info, err)
		}
	}
	c.CloseIdleConnections()
}

func TestConnectionsAreKept(t *testing.T) {
	const callers, mostDialled = 64, 140 // net/http dials more connections than there are callers
	const calls = int64(6_400)
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	var dialled, served atomic.Int64
	p := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		served.Add(1)
		answerWell(w, r)
	}))
	p.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			dialled.Add(1)
		}
	}
	p.Start()
	defer p.Close()
	c := clientFor(t, p.URL, "key")
	defer c.CloseIdleConnections()
	var next atomic.Int64
	var wg sync.WaitGroup
	for range callers {
		wg.Go(func() {
			for next.Add(1) <= calls {
				if _, err := c.TokenInfo(t.Context()); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	if served.Load() != calls {
		t.Errorf("%d requests were served, want %d", served.Load(), calls)
	}
	if n := dialled.Load(); n > mostDialled {
		t.Errorf("%d calls by %d callers dialled %d connections, want at most %d", calls, callers, n, mostDialled)
	}
}

func TestCloseIdleConnectionsClosesThoseOfACallersTransport(t *testing.T) {
	closed := make(chan struct{}, 1)
	p := unstartedProbe(nil)
	p.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateClosed {
			closed <- struct{}{}
		}
	}
	p.Start()
	defer p.Close()
	transport := &http.Transport{}
	pass := func(next http.RoundTripper) http.RoundTripper { return roundTripFunc(next.RoundTrip) }
	c := clientFor(t, p.URL, "key", esper.WithTransport(transport), esper.WithMiddleware(pass))
	for range 2 { // the client remains usable
		if _, err := c.TokenInfo(t.Context()); err != nil {
			t.Fatal(err)
		}
		c.CloseIdleConnections()
		<-closed
	}
}

func TestNothingIsLeftAfterFailures(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	answers := []http.HandlerFunc{
		func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusForbidden) },
		func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, strings.Repeat("x", 2<<20)) },
		func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Location", "/x"); w.WriteHeader(302) },
		func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
	}
	var n atomic.Int64
	p := unstartedProbe(func(w http.ResponseWriter, r *http.Request) { answers[int(n.Add(1))%len(answers)](w, r) })
	p.Start()
	defer p.Close()
	c := clientFor(t, p.URL, "key", esper.WithRetry(esper.Retry{MaxAttempts: 1}), esper.WithTimeout(50*time.Millisecond),
		around(func(req *http.Request, next http.RoundTripper) (*http.Response, error) {
			resp, err := next.RoundTrip(req)
			if err == nil && resp.StatusCode == http.StatusForbidden {
				return nil, errors.New("the middleware keeps the answer") // and does not close it
			}
			return resp, err
		}))
	for range answers {
		each(t, c, "key", func(t *testing.T, do func(context.Context) error) {
			if err := do(t.Context()); err == nil {
				t.Error("no error")
			}
		})
	}
	c.CloseIdleConnections()
}

// TestDependencies limits the modules that a program links when it imports these packages.
func TestDependencies(t *testing.T) {
	const format = "{{with .Module}}{{if not .Main}}{{.Path}}{{end}}{{end}}"
	five := []string{
		"github.com/apapsch/go-jsonmerge/v2", "github.com/cenkalti/backoff/v5", "github.com/google/uuid",
		"github.com/oapi-codegen/runtime", "golang.org/x/oauth2",
	}
	seven := append([]string{"github.com/gofrs/flock", "golang.org/x/sys"}, five...)
	for name, want := range map[string][]string{".": five, "./renew": seven, "./renew/sqlstore": seven} {
		out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", "-f", format, name).Output()
		if err != nil {
			t.Fatal(err)
		}
		modules := strings.Fields(string(out))
		slices.Sort(modules)
		slices.Sort(want)
		if modules = slices.Compact(modules); !slices.Equal(modules, want) {
			t.Errorf("%s needs %q, want %q", name, modules, want)
		}
	}
}
