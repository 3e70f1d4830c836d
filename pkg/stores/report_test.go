//go:build linux

package stores

import (
	"fmt"
	"maps"
	"math"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/esper-go/esper-go/pkg/esper"
	"github.com/esper-go/esper-go/pkg/esper/renew"
	"github.com/esper-go/esper-go/pkg/internal/processes"
)

// results are what the tests have found, for the page STORES.md.
var results = struct {
	mu    sync.Mutex
	found map[cell]result
	costs []string
}{found: make(map[cell]result)}

// cell is what was done to one engine.
type cell struct{ situation, engine string }

// result is what came of it: a text, or how often a fault was tried, how many renewals were sent, and the longest time until
// all processes had the new key.
type result struct {
	text            string
	times, renewals int
	longest         time.Duration
}

// report notes what came of a fault. A lost key fails the test that finds it, so the page has none.
func report(e *engine, fault string, times, renewals int, longest time.Duration) {
	results.mu.Lock()
	defer results.mu.Unlock()
	c := cell{fault, e.name}
	r := results.found[c]
	r = result{"", r.times + times, r.renewals + renewals, max(r.longest, longest)}
	r.text = fmt.Sprintf("tries: %d, renewals: %d, keys lost: 0", r.times, r.renewals)
	if r.longest > 0 {
		r.text += fmt.Sprintf("; every process had the new key within %.0f s", math.Ceil(r.longest.Seconds()))
	}
	results.found[c] = r
}

// outcome notes what came out of a situation, in the words that an operator reads.
func outcome(e *engine, situation, text string) {
	results.mu.Lock()
	defer results.mu.Unlock()
	text = strings.ReplaceAll(strings.TrimPrefix(text, "esper-key: "), "|", "\\|")
	text = regexp.MustCompile(`/tmp/[^ ,;:]*/`).ReplaceAllString(text, "/…/")
	text = regexp.MustCompile(`\bkey-\d+\b`).ReplaceAllString(text, "NAME")
	text = regexp.MustCompile(`127\.0\.0\.1:\d+`).ReplaceAllString(text, "HOST")
	results.found[cell{situation, e.name}] = result{text: text}
}

// hourly is how often a process that makes no calls reads the store, as TestPollingIsSpread of package renew shows.
const hourly = 80

// TestCost measures the bytes that a read and a renewal send and receive. The page has what processes that share a key cost
// in an hour without a renewal, and for a renewal, which takes two saves, as TestRenewNow of package renew shows, and a read by each process.
func TestCost(t *testing.T) {
	const reads = 100
	for name := range strings.FieldsSeq(servers) {
		e, server := get(t, name), newServer(t)
		r := relayTo(t, e.listens, nil)
		store := storeAt(t, e.via(r.listens).at(newName()))
		source, err := renew.Open(t.Context(), server.URL, store, renew.WithInitialToken(esper.NewSecret(server.Token())))
		must(t, err)
		before := len(r.sent.String())
		must(t, source.Renew(t.Context()))
		must(t, source.Close())
		renewal := float64(len(r.sent.String()) - before)
		before = len(r.sent.String())
		for range reads {
			_, _, err := store.Load(t.Context())
			must(t, err)
		}
		read := float64(len(r.sent.String())-before) / reads
		for _, n := range []float64{1, 100, 10_000} {
			results.costs = append(results.costs, fmt.Sprintf("| %s | %.0f | %.0f | %.1f | %.0f | %.1f |\n", name, n, hourly*n, hourly*n*read/1e6, 2+n, (renewal+n*read)/1e6))
		}
	}
}

// tables is the part of STORES.md that is made.
func tables() string {
	var engines, rows []string
	for _, name := range slices.Sorted(maps.Keys(started.all)) {
		engines = append(engines, name+" "+started.all[name].version)
	}
	by := make(map[cell][]string) // the engines of which the same came out
	for c, r := range results.found {
		row := cell{c.situation, r.text}
		by[row] = append(by[row], c.engine)
	}
	for row, names := range by {
		rows = append(rows, fmt.Sprintf("| %s | %s | %s |\n", strings.Join(slices.Sorted(slices.Values(names)), ", "), row.situation, row.engine))
	}
	slices.Sort(rows)
	return fmt.Sprintf(`Engines: %s.

| store | what was done to it | what came out |
|---|---|---|
%s
| engine | processes | calls an hour | MB an hour | calls for a renewal | MB for a renewal |
|---|---|---|---|---|---|
%s`, strings.Join(engines, ", "), strings.Join(rows, ""), strings.Join(results.costs, ""))
}

const marker = "<!-- What follows is measured: make stores STORES_UPDATE=1 writes it. -->\n"

// writeReport prints the tables, and writes them into the page if STORES_UPDATE is set.
func writeReport() error {
	if os.Getenv("ESPER_STORETEST_TEST") != "" || processes.Started() || len(results.found) == 0 {
		return nil
	}
	fmt.Println(tables())
	if os.Getenv("STORES_UPDATE") == "" {
		return nil
	}
	const page = "../esper/renew/STORES.md"
	text, err := os.ReadFile(page)
	kept, _, found := strings.Cut(string(text), marker)
	if !found {
		return fmt.Errorf("%s has no line %s: %w", page, marker, err)
	}
	return os.WriteFile(page, []byte(kept+marker+"\n"+tables()), 0o644)
}
