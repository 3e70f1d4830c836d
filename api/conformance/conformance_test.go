//go:build conformance

package conformance

import (
	"flag"
	"os"
	"slices"
	"strings"
	"testing"
)

var (
	all    = flag.Bool("all", false, "try the clients that are tried nightly too")
	update = flag.Bool("update", false, "with -all: write RESULTS.md")
)

// TestConformance generates, builds and runs each client, and compares the results with RESULTS.md.
func TestConformance(t *testing.T) {
	scenarios, err := loadScenarios()
	if err != nil {
		t.Fatal(err)
	}
	clients, err := findClients()
	if err != nil {
		t.Fatal(err)
	}
	if !*all {
		clients = slices.DeleteFunc(clients, func(c *client) bool { return c.Nightly })
	}
	old, err := os.ReadFile("RESULTS.md")
	if err != nil && !*update {
		t.Fatal(err)
	}
	t.Run("clients", func(t *testing.T) {
		for _, c := range clients {
			t.Run(c.name, func(t *testing.T) {
				t.Parallel()
				c.try(t, scenarios)
				rows := []string{c.row()}
				if c.spec == c.Specs[0] {
					rows = append(rows, c.repeats())
				}
				for _, row := range rows {
					if !*update && !strings.Contains(string(old), row) {
						t.Errorf("RESULTS.md does not have this result (make conformance-all CONFORMANCE=-update writes it):\n%s", row)
					}
				}
			})
		}
	})
	if whole := results(clients, len(scenarios)); *all && !t.Failed() {
		switch {
		case slices.ContainsFunc(clients, func(c *client) bool { return c.found == nil }): // the flag -run has left some out
		case *update:
			err = os.WriteFile("RESULTS.md", []byte(whole), 0o644)
		case whole != string(old):
			t.Error("RESULTS.md differs from the results: make conformance-all CONFORMANCE=-update writes it")
		}
	}
	if err != nil {
		t.Error(err)
	}
}
