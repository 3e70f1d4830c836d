package esper_test

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"

	"github.com/esper-go/esper-go/pkg/esper"
)

// Many callers share the connections, and so do calls whose answer is an error, unless it is too large to be read.
// CloseIdleConnections closes them.
func TestConnectionsAreKept(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	for name, tc := range map[string]struct {
		handler           http.HandlerFunc
		transport         *http.Transport
		callers, calls    int32
		fewest, mostDials int32 // net/http dials more connections than there are callers
	}{
		"many callers":   {nil, nil, 64, 6400, 1, 140},
		"an error":       {answer(404, "application/json", `{"message": "no"}`), nil, 1, 5, 1, 1},
		"a large error":  {answer(404, "text/html", strings.Repeat("x", mebibyte/2)), new(http.Transport), 1, 5, 1, 1},
		"an empty error": {answer(401, "", ""), nil, 1, 5, 1, 1},
		"too large":      {answer(200, "text/html", strings.Repeat("x", 2*mebibyte)), nil, 1, 5, 5, 5},
	} {
		p := unstartedProbe(tc.handler)
		p.Start()
		c := clientFor(t, p.URL, "key", quickRetry(1), esper.WithTransport(tc.transport), counting(new(atomic.Int32)))
		var next atomic.Int32
		var wg sync.WaitGroup
		for range tc.callers {
			wg.Go(func() {
				for next.Add(1) <= tc.calls {
					if _, err := c.TokenInfo(t.Context()); (err == nil) != (tc.handler == nil) {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		wantCount(t, name+": requests", p.count.Load(), tc.calls)
		if n := p.dialled.Load(); n < tc.fewest || n > tc.mostDials {
			t.Errorf("%s: %d calls by %d callers dialled %d connections", name, tc.calls, tc.callers, n)
		}
		before := p.dialled.Load()
		c.CloseIdleConnections() // the client remains usable, and dials anew
		_, _ = c.TokenInfo(t.Context())
		wantCount(t, name+": connections afterwards", p.dialled.Load(), before+1)
		c.CloseIdleConnections()
		p.Close()
	}
}

// TestDependencies limits the modules that a program links when it imports these packages.
func TestDependencies(t *testing.T) {
	// Module is nil for Go's own packages.
	const format = "{{with .Module}}{{if not .Main}}{{.Path}}{{end}}{{else}}{{.ImportPath}}{{end}}"
	five := []string{
		"github.com/apapsch/go-jsonmerge/v2", "github.com/cenkalti/backoff/v5", "github.com/google/uuid",
		"github.com/oapi-codegen/runtime", "golang.org/x/oauth2",
	}
	forTests := []string{"testing", "net/http/httptest", "encoding/gob"}
	for _, system := range []string{"linux", "darwin", "windows"} {
		for _, name := range []string{".", "./renew", "./renew/sqlstore"} {
			cmd := exec.CommandContext(t.Context(), "go", "list", "-deps", "-f", format, name)
			cmd.Env = append(os.Environ(), "GOOS="+system)
			out, err := cmd.Output()
			if err != nil {
				t.Fatal(err)
			}
			linked := strings.Fields(string(out))
			slices.Sort(linked)
			modules := slices.DeleteFunc(slices.Compact(linked), func(path string) bool {
				if slices.Contains(forTests, path) {
					t.Errorf("%s on %s links %s", name, system, path)
				}
				first, _, _ := strings.Cut(path, "/")
				return !strings.Contains(first, ".") // one of Go's own packages
			})
			want := five
			if system == "windows" && name != "." {
				want = append(slices.Clone(five), "golang.org/x/sys") // locks of files
			}
			if !slices.Equal(modules, want) {
				t.Errorf("%s on %s needs %q, want %q", name, system, modules, want)
			}
		}
	}
}

const (
	mebibyte = 1 << 20
	maxExtra = 8 * mebibyte // bytes that a call may allocate, whatever the size of the answer
)

// lean fails the test if call, the server's part of it included, allocates maxExtra or more.
func lean(t *testing.T, call func()) {
	t.Helper()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	call()
	runtime.ReadMemStats(&after)
	if grown := after.TotalAlloc - before.TotalAlloc; grown >= maxExtra {
		t.Errorf("%.1f MiB allocated", float64(grown)/mebibyte)
	}
}

// Of an answer without an end, or a gzip bomb, one mebibyte is read and kept, whether it holds the key or a refusal. An
// answer of exactly one mebibyte is not too large.
func TestBody_Huge(t *testing.T) {
	for _, zipped := range []bool{false, true} {
		for begin, s := range map[string]situation{
			`{"id": 571, "pad": "`:                 {status: 201, is: esper.ErrResponseTooLarge, outcome: esper.OutcomeUnreadable},
			`{"token": "` + newKey + `", "pad": "`: {status: 201, is: esper.ErrResponseTooLarge, outcome: renewedKey},
			`{"message": "no"}`:                    {status: 400, is: esper.ErrBadRequest, outcome: esper.OutcomeNotRenewed},
		} {
			sent, more := begin, strings.Repeat(" ", mebibyte)
			if zipped {
				sent, more = gzipped(t, sent), gzipped(t, more) // members of one stream
			}
			rest := []byte(more) // allocated beforehand, so that lean does not count it
			s.serve = func(conn net.Conn) {
				_, err := fmt.Fprintf(conn, "HTTP/1.1 %d Huge\r\n\r\n%s", s.status, sent)
				for n := 0; n < 256 && err == nil; n++ {
					_, err = conn.Write(rest)
				}
			}
			s.tries, s.body = 1, begin+strings.Repeat(" ", mebibyte-len(begin))
			s.check(t, begin)
		}
	}
	full := clientFor(t, memory, oldKey, piped(saying(raw(200, strings.Repeat("x", mebibyte)))))
	if _, _, err := readAll(full.Generated().GetTokenInfo(t.Context())); err != nil {
		t.Errorf("one mebibyte: %v", err)
	}
}
