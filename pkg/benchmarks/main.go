// The benchmarks compare this repository's client with others, and write RESULTS.md (make bench). Blocks of calls of the
// clients take turns in one process, so that other load on the machine slows down all of them alike. What a call may
// allocate is a test (make bench-guard).
package main

import (
	"context"
	_ "embed"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"golang.org/x/oauth2"

	"github.com/esper-go/esper-go/pkg/esper"
	"github.com/esper-go/esper-go/pkg/esper/renew"
)

//go:embed command.md
var command string // was measured by hand

func main() {
	var err error
	if len(os.Args) > 1 && os.Args[1] == serverCommand {
		err = serve()
	} else {
		err = run(os.Args[1:])
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1) //nolint:forbidigo // a main program
	}
}

func run(args []string) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	flags := flag.NewFlagSet("benchmarks", flag.ContinueOnError)
	short := flags.Bool("short", false, "few and small blocks, whose figures mean nothing")
	out := flags.String("out", "RESULTS.md", "where the page goes")
	if err := flags.Parse(args); err != nil {
		return err
	}
	base, end, err := startServer(ctx)
	if err != nil {
		return err
	}
	defer end()
	b := &bench{base: base, blocks: 200, began: time.Now()}
	if *short {
		b.blocks = 2
	}
	for _, step := range []func(context.Context) error{b.calls, b.transport, b.token, b.hostile} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(filepath.Dir(*out), 0o750); err != nil {
		return err
	}
	page, err := b.page()
	if err != nil {
		return err
	}
	return os.WriteFile(*out, []byte(page), 0o644) //nolint:gosec // for everyone to read
}

// bench is one run of the benchmarks.
type bench struct {
	base        string // the server's URL
	blocks      int    // how many blocks of each subject are measured
	began       time.Time
	aims        strings.Builder // rows of the table of aims
	allocations strings.Builder // rows of the table of allocations
	costly      strings.Builder // rows of the table of hostile answers
}

// compare adds a row to the table of aims: how the times of esper-go are to those of another subject.
func (b *bench) compare(name, aim string, times map[string][]float64, other string) {
	r := ratioOf(times[ours], times[other])
	fmt.Fprintf(&b.aims, "| %s | %s | %.3f [%.3f, %.3f] |\n", name, aim, r.median, r.low, r.high)
}

// calls measures TokenInfo and RenewToken of all clients, over loopback.
func (b *bench) calls(context.Context) error {
	ctx := context.Background() // a context that can be cancelled would cost every client more
	working, err := clients(b.base + good)
	if err != nil {
		return err
	}
	refusing, err := clients(b.base + refused)
	if err != nil {
		return err
	}
	var subjects []subject
	for i, c := range working {
		tokenInfo := func() error { _, err := c.tokenInfo(ctx); return err }
		subjects = append(subjects, subject{c.name, tokenInfo})
		fmt.Fprintf(&b.allocations, "| %s |", c.name)
		for _, call := range []func() error{
			tokenInfo,
			func() error { _, _ = refusing[i].tokenInfo(ctx); return nil },
			func() error { _, err := c.renewToken(ctx); return err },
		} {
			n, err := allocations(call)
			if err != nil {
				return fmt.Errorf("%s: %w", c.name, err)
			}
			fmt.Fprintf(&b.allocations, " %.0f |", n)
		}
		b.allocations.WriteString("\n")
	}
	times, err := paired(subjects, b.blocks, b.blocks)
	if err != nil {
		return err
	}
	b.compare("TokenInfo beside a careful client", "≤ 1.05", times, careful)
	b.compare("TokenInfo beside a bare client", "–", times, bare)
	return nil
}

// instant is a transport that answers without a network.
type instant struct{}

func (instant) RoundTrip(*http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody}, nil
}

const theirs = "oauth2"

// sources returns a source of package renew, and one of package oauth2, that hold a valid key.
func sources(ctx context.Context, base string) (*renew.Source, oauth2.TokenSource, error) {
	source, err := renew.Open(ctx, base, renew.Memory(), renew.WithInitialToken(esper.NewSecret(key)))
	valid := &oauth2.Token{AccessToken: key, TokenType: "Bearer", Expiry: time.Now().Add(24 * time.Hour)}
	return source, oauth2.ReuseTokenSource(valid, esper.APIKey(key)), err
}

// transports returns subjects that add the key to a request for another endpoint.
func transports(ctx context.Context, base string) (subjects []subject, err error) {
	source, reused, err := sources(ctx, base)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, base+"/v0/enterprise/1/device/", nil)
	if err != nil {
		return nil, err
	}
	req.Header = http.Header{"Accept": {"application/json"}, "User-Agent": {"benchmark"}}
	for name, transport := range map[string]http.RoundTripper{
		ours: source.Transport(instant{}), theirs: &oauth2.Transport{Source: reused, Base: instant{}},
	} {
		subjects = append(subjects, subject{name, func() error {
			resp, err := transport.RoundTrip(req)
			if err != nil {
				return err
			}
			return resp.Body.Close()
		}})
	}
	return subjects, nil
}

func (b *bench) transport(ctx context.Context) error {
	subjects, err := transports(ctx, b.base+good)
	if err != nil {
		return err
	}
	times, err := paired(subjects, b.blocks, 50*b.blocks)
	if err != nil {
		return err
	}
	b.compare("a request through `Source.Transport` beside `oauth2.Transport`", "≤ 0.95", times, theirs)
	for _, s := range subjects {
		n, err := allocations(s.call)
		if err != nil {
			return err
		}
		fmt.Fprintf(&b.aims, "| allocations of that request, %s | – | %.0f |\n", s.name, n)
	}
	return nil
}

// token measures how long a caller takes to get a valid key.
func (b *bench) token(ctx context.Context) error {
	source, reused, err := sources(ctx, b.base+good)
	if err != nil {
		return err
	}
	times, err := paired([]subject{
		{ours, func() error { _, err := source.Token(); return err }},
		{theirs, func() error { _, err := reused.Token(); return err }},
	}, b.blocks, 300*b.blocks)
	b.compare("`Source.Token` beside `oauth2.ReuseTokenSource`", "≤ 0.95", times, theirs)
	return err
}

// stores returns the table of what a store costs, which make stores measures.
func stores() (string, error) {
	text, err := os.ReadFile("../esper/renew/STORES.md")
	_, table, found := strings.Cut(string(text), "\n| engine | processes")
	if err == nil && !found {
		err = errors.New("STORES.md has no table of costs")
	}
	table, _, _ = strings.Cut(table, "\n\n")
	return "| engine | processes" + strings.TrimRight(table, "\n"), err
}

// load returns how many processes have wanted a processor in the last 15 minutes, as Linux counts them.
func load() string {
	text, _ := os.ReadFile("/proc/loadavg")
	if fields := strings.Fields(string(text)); len(fields) > 2 {
		return "a load of " + fields[2]
	}
	return "an unknown load"
}

func (b *bench) page() (string, error) {
	costs, err := stores()
	return strings.ReplaceAll(fmt.Sprintf(`# Numbers

For whoever weighs this client against another, or against a page of code of their own. Made by ~make bench~; not to be
edited. %s, %s/%s, %d processors under %s, %s in all.

Times are ratios, taken in pairs: %d blocks of calls of each, in random order in one process, against one server in
another. A ratio is the median over the blocks; 95 %% of such medians lie in the brackets. Below 1, esper-go is faster.

| measure | aim | result |
|---|---|---|
%s
"Careful" is a client written by hand with what esper-go has too: a time limit, a size limit, no redirects. "Bare" is one
without them: it hangs with a server that hangs, reads an answer of any length, and carries the key to where a redirect
leads.

## Allocations of a call

Over loopback, all goroutines of the client's process. Each renewal dials, with every client, since an answer can be lost
on a used connection. ~make bench-guard~ fails if a call of esper-go allocates more than its limit.

| client | TokenInfo | 401 | RenewToken |
|---|---|---|---|
%s
## Answers that make work

Of 1 MiB each, the most that is read of an answer; the header line is of 9 MiB. The ratio is to net/http alone, which only
reads them. The aim is 3.

| answer | ratio |
|---|---|
%s
## What a store costs an hour

Of processes that share one key, as ~make stores~ has measured it. [STORES.md](../esper/renew/STORES.md) has more about them.

%s

%s`, runtime.Version(), runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), load(), time.Since(b.began).Round(time.Second), b.blocks,
		b.aims.String(), b.allocations.String(), b.costly.String(), costs, command), "~", "`"), err
}
