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
	"time"

	"github.com/esper-go/esper-go/pkg/internal/processes"
)

// results are what the tests have measured, for the page STORES.md.
var results = struct {
	mu    sync.Mutex
	tried map[string]*tried
	costs map[string][]string // by engine
	rates []string
	says  map[string]map[string]string // by situation and engine: what came out
}{tried: make(map[string]*tried), costs: make(map[string][]string), says: make(map[string]map[string]string)}

// tried has the results of one fault, by engine.
type tried struct {
	renewals map[string]int           // how many renewals were sent
	times    map[string]int           // how often the fault was tried
	longest  map[string]time.Duration // the longest time until all processes had the new key
}

// report notes how often a fault was tried, how many renewals were sent, and how long it took until all processes had
// the new key. A lost key fails the test that finds it, so the page has none.
func report(e *engine, fault string, times, renewals int, longest time.Duration) {
	results.mu.Lock()
	defer results.mu.Unlock()
	r := results.tried[fault]
	if r == nil {
		r = &tried{make(map[string]int), make(map[string]int), make(map[string]time.Duration)}
		results.tried[fault] = r
	}
	r.times[e.name] += times
	r.renewals[e.name] += renewals
	r.longest[e.name] = max(r.longest[e.name], longest)
}

// outcome notes what came out of a situation, in the words that an operator reads.
func outcome(e *engine, situation, text string) {
	results.mu.Lock()
	defer results.mu.Unlock()
	text = strings.ReplaceAll(strings.TrimPrefix(text, "esper-key: "), "|", "\\|")
	text = regexp.MustCompile(`/tmp/[^ ,;:]*/`).ReplaceAllString(text, "/…/")
	text = regexp.MustCompile(`\bkey-\d+\b`).ReplaceAllString(text, "NAME")
	came(e.name, situation, regexp.MustCompile(`127\.0\.0\.1:\d+`).ReplaceAllString(text, "HOST"))
}

// came notes what came out of a situation. The caller holds results.mu, or is the last one.
func came(engine, situation, text string) {
	if results.says[situation] == nil {
		results.says[situation] = make(map[string]string)
	}
	results.says[situation][engine] = text
}

// reportCost notes what an hour without a renewal costs, and what a renewal costs.
func reportCost(e *engine, processes int, calls, bytes float64, renewalCalls, renewalBytes int64) {
	results.mu.Lock()
	defer results.mu.Unlock()
	row := func(processes string, times float64) string {
		return fmt.Sprintf("| %s | %s | %.0f | %.1f | %.0f | %.1f |", e.name, processes,
			times*calls, times*bytes/1e6, times*float64(renewalCalls), times*float64(renewalBytes)/1e6)
	}
	rows := results.costs[e.name]
	rows = append(rows, row(fmt.Sprint(processes), 1))
	if processes == 100 {
		rows = append(rows, row("computed: 10,000", 100))
	}
	slices.SortFunc(rows, func(a, b string) int { return len(a) - len(b) })
	results.costs[e.name] = rows
}

// reportRate notes how many reads a second an engine answered.
func reportRate(e *engine, perSecond float64) {
	results.mu.Lock()
	defer results.mu.Unlock()
	results.rates = append(results.rates, fmt.Sprintf("%s %.0f", e.name, perSecond))
}

// tables is the part of STORES.md that is measured.
func tables() string {
	engines := slices.Sorted(maps.Keys(started.all))
	var b strings.Builder
	b.WriteString("Engines: ")
	for i, name := range engines {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(name + " " + started.all[name].version)
	}
	b.WriteString(".\n\n| store | what was done to it | what came out |\n|---|---|---|\n")
	for situation, r := range results.tried {
		for name, times := range r.times {
			text := fmt.Sprintf("tries: %d, renewals: %d, keys lost: 0", times, r.renewals[name])
			if longest := r.longest[name]; longest > 0 {
				text += fmt.Sprintf("; every process had the new key within %.0f s", math.Ceil(longest.Seconds()))
			}
			came(name, situation, text)
		}
	}
	var rows []string
	for situation, of := range results.says {
		by := make(map[string][]string) // the engines of which the same came out
		for _, name := range slices.Sorted(maps.Keys(of)) {
			by[of[name]] = append(by[of[name]], name)
		}
		for text, names := range by {
			rows = append(rows, fmt.Sprintf("| %s | %s | %s |\n", strings.Join(names, ", "), situation, text))
		}
	}
	slices.Sort(rows)
	b.WriteString(strings.Join(rows, ""))
	b.WriteString("\n| engine | processes | calls an hour | MB an hour | calls for a renewal | MB for a renewal |\n|---|---|---|---|---|---|\n")
	for _, name := range slices.Sorted(maps.Keys(results.costs)) {
		b.WriteString(strings.Join(results.costs[name], "\n") + "\n")
	}
	slices.Sort(results.rates)
	b.WriteString("\nReads a second by eight callers that do nothing else, with the callers and the engine on the same two cores: " + strings.Join(results.rates, ", ") + ".\n")
	return b.String()
}

const marker = "<!-- What follows is measured: make stores STORES_UPDATE=1 writes it. -->\n"

// writeReport prints the tables, and writes them into the page if STORES_UPDATE is set.
func writeReport() error {
	if os.Getenv("ESPER_STORETEST_TEST") != "" || processes.Started() || len(results.tried)+len(results.says) == 0 {
		return nil
	}
	fmt.Println(tables())
	if os.Getenv("STORES_UPDATE") == "" {
		return nil
	}
	const page = "../esper/renew/STORES.md"
	text, err := os.ReadFile(page)
	if err != nil {
		return err
	}
	kept, _, found := strings.Cut(string(text), marker)
	if !found {
		return fmt.Errorf("%s has no line %s", page, marker)
	}
	return os.WriteFile(page, []byte(kept+marker+"\n"+tables()), 0o644)
}
