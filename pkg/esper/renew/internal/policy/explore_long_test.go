//go:build slow

package policy

import (
	"os"
	"strconv"
	"testing"
)

// TestExploreLong is TestExplore with three processes and twice as many faults of each kind, except wrong refusals: with
// more of these, giving up a good key would be right. EXPLORE_LIMIT limits the states of each configuration.
func TestExploreLong(t *testing.T) {
	limit := 300_000
	if n, err := strconv.Atoi(os.Getenv("EXPLORE_LIMIT")); err == nil {
		limit = n
	}
	all := append(everything[:len(everything):len(everything)],
		config{name: "everything", budget: budget{Crash: 1, Disk: 1, Net: 1, Person: 1, Wrong: 2, Leave: 1}},
		config{name: "everything, old keys kept, stalls", budget: budget{Crash: 1, Disk: 1, Net: 1, Person: 1, Wrong: 1, Leave: 1}, keepOld: true, stall: true})
	for _, c := range all {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.procs, c.limit = 3, limit
			for _, b := range []*int8{&c.budget.Crash, &c.budget.Disk, &c.budget.Net, &c.budget.Person, &c.budget.Leave} {
				*b *= 2
			}
			explore(t, c)
		})
	}
}
