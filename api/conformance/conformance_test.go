//go:build conformance

package conformance

import (
	"flag"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/esper-go/esper-go/pkg/esper/espertest"
)

var (
	all    = flag.Bool("all", false, "try the clients that are tried nightly too")
	update = flag.Bool("update", false, "with -all: write RESULTS.md")
)

// TestReadmeClient runs the program in Python of ../README.md with the client that its command makes. The other README has
// that command too.
func TestReadmeClient(t *testing.T) {
	clients := findClients(t)
	c := clients[slices.IndexFunc(clients, func(c *client) bool { return c.name == "openapi-python-client" })]
	c.build(t)
	page, err := os.ReadFile("../README.md")
	other, otherErr := os.ReadFile("../../README.md")
	want := strings.Replace(c.Generate, "openapi.yaml", "api/openapi.yaml", 1)
	if err != nil || otherErr != nil || !strings.Contains(string(page), "\n"+c.Generate+"\n") || !strings.Contains(string(other), "\n"+want+"\n") {
		t.Errorf("a README does not have the command %q", c.Generate)
	}
	_, program, _ := strings.Cut(string(page), "```python\n")
	program, _, _ = strings.Cut(program, "```")
	server := espertest.NewServer(t)
	program = "key = '" + server.Token() + "'\n" + strings.Replace(program, "https://foo-api.esper.cloud/api", server.URL, 1)
	out := run(t, c.work, "", ".venv/bin/python", "-c", program)
	if year := strconv.Itoa(time.Now().Add(90 * 24 * time.Hour).Year()); !strings.HasPrefix(out, year) || len(server.Requests()) != 1 {
		t.Errorf("%s: %q; want the end of the key", program, out)
	}
}

// TestConformance generates, builds and runs each client, and compares the results with RESULTS.md.
func TestConformance(t *testing.T) {
	scenarios, clients := loadScenarios(t), findClients(t)
	if !*all {
		clients = slices.DeleteFunc(clients, func(c *client) bool { return c.Nightly })
	}
	old, err := os.ReadFile("RESULTS.md")
	must(t, err)
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
	if whole := results(string(old), clients, len(scenarios)); *all && !t.Failed() {
		switch {
		case slices.ContainsFunc(clients, func(c *client) bool { return c.found == nil }): // the flag -run has left some out
		case *update:
			must(t, os.WriteFile("RESULTS.md", []byte(whole), 0o644))
		case whole != string(old):
			t.Error("RESULTS.md differs from the results: make conformance-all CONFORMANCE=-update writes it")
		}
	}
}
