package esper_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"go.uber.org/goleak"

	"github.com/esper-go/esper-go/pkg/esper"
)

func TestConnectionsAreKept(t *testing.T) {
	const callers, mostDialled = 64, 140 // net/http dials more connections than there are callers
	const calls = int64(6_400)
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	var dialled atomic.Int64
	p := unstartedProbe(nil)
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
	if n := int64(p.count.Load()); n != calls {
		t.Errorf("%d requests were served, want %d", n, calls)
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
	for name, handler := range map[string]http.HandlerFunc{
		"refused":   answer(http.StatusForbidden, "", "no"),
		"too large": answer(http.StatusOK, "", strings.Repeat("x", 2*mebibyte)),
		"redirect":  answer(http.StatusFound, "", ""),
		"aborted":   abort,
		"silent":    untilTheEnd,
	} {
		synctest.Test(t, func(t *testing.T) { // which fails if a goroutine is left
			_, transport := memoryProbe(t, handler)
			keeping := around(func(req *http.Request, next http.RoundTripper) (*http.Response, error) {
				resp, err := next.RoundTrip(req)
				if err == nil && resp.StatusCode == http.StatusForbidden {
					return nil, errors.New("the middleware keeps the answer") // and does not close it
				}
				return resp, err
			})
			c := clientFor(t, memory, "key", esper.WithTransport(transport), quickRetry(1), keeping)
			each(t, c, "key", func(t *testing.T, do func(context.Context) error) {
				if err := do(t.Context()); err == nil {
					t.Errorf("%s: no error", name)
				}
			})
		})
	}
}

// TestDependencies limits the modules that a program links when it imports these packages.
func TestDependencies(t *testing.T) {
	const format = "{{with .Module}}{{if not .Main}}{{.Path}}{{end}}{{end}}"
	five := []string{
		"github.com/apapsch/go-jsonmerge/v2", "github.com/cenkalti/backoff/v5", "github.com/google/uuid",
		"github.com/oapi-codegen/runtime", "golang.org/x/oauth2",
	}
	for _, name := range []string{".", "./renew", "./renew/sqlstore"} {
		out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", "-f", format, name).Output()
		if err != nil {
			t.Fatal(err)
		}
		modules := strings.Fields(string(out))
		slices.Sort(modules)
		if modules = slices.Compact(modules); !slices.Equal(modules, five) {
			t.Errorf("%s needs %q, want %q", name, modules, five)
		}
	}
}
