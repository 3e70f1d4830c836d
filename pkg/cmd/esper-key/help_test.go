package main

import (
	"bytes"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/spf13/cobra"
)

// TestHelp: the help of each command fits a terminal of 80 columns, and has an example.
func TestHelp(t *testing.T) {
	var all func(c *cobra.Command)
	all = func(c *cobra.Command) {
		var out bytes.Buffer
		path := strings.Fields(c.CommandPath())[1:]
		if code := (&app{stderr: &out}).execute(t.Context(), append(path, "--help"), &out); code != 0 {
			t.Errorf("%s --help: %d", c.CommandPath(), code)
		}
		generated := len(path) > 0 && (path[0] == "completion" || path[0] == "help") // the texts are Cobra's
		for line := range strings.Lines(out.String()) {
			if n := utf8.RuneCountInString(strings.TrimRight(line, "\n")); n > 80 && !generated {
				t.Errorf("%s: %d columns: %s", c.CommandPath(), n, line)
			}
		}
		if c.Example == "" && !generated {
			t.Errorf("%s has no example", c.CommandPath())
		}
		for _, sub := range c.Commands() {
			all(sub)
		}
	}
	all(new(app).root())
}
