package main

import (
	"bytes"
	"errors"
	"io/fs"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/spf13/cobra"
)

// TestWords: no text of the library that may reach an operator names something of Go once the command shows it. The texts
// are taken from the library's code.
func TestWords(t *testing.T) {
	t.Parallel()
	comment, sum := regexp.MustCompile(`(?m)^\s*//.*$|\s// .*$`), regexp.MustCompile(`"\s*\+\s*"`)
	literal := regexp.MustCompile(`"(\\.|[^"\\\n])*"`)
	// An operator passes no arguments to Go functions.
	arguments := regexp.MustCompile(`^"(%s is |the store is nil|Retry\.|WithRenewBefore is|WithLifetime is|the token source renews)`)
	names := func(text string) string {
		return namesOfGo().FindString(regexp.MustCompile(`RUNBOOK\.md|README\.md|TOKENS\.md|127\.0\.0\.1`).ReplaceAllString(text, ""))
	}
	texts := 0
	for _, root := range []string{"../../esper", "../../internal/keyfile"} {
		must(t, filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			switch {
			case err != nil:
				return err
			case d.IsDir() && (d.Name() == "espertest" || d.Name() == "storetest" || d.Name() == "testdata"):
				return fs.SkipDir
			case !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go"):
				return nil
			}
			for _, text := range literal.FindAllString(sum.ReplaceAllString(comment.ReplaceAllString(read(path), ""), ""), -1) {
				if strings.Count(text, " ") < 2 || arguments.MatchString(text) || names(text) == "" {
					continue
				}
				texts++
				if said := oneLine(errors.New(text)); names(said) != "" {
					t.Errorf("%s: %s", path, said)
				}
			}
			return nil
		}))
	}
	if texts < 5 {
		t.Errorf("only %d texts name something of Go: are these the library's texts?", texts)
	}
}

// namesOfGo finds names of the library and of Go's own packages in a text.
func namesOfGo() *regexp.Regexp {
	return regexp.MustCompile(`\b(With[A-Z]\w+|[a-zA-Z]\w*\.[A-Z]\w*|RenewRequest|TokenInfo|RenewToken|\w+PersonalAccessTokens?|File|Open|Adopt|GroupReadable|ReadOnly|TLSClientConfig|RootCAs|Dialect)\b`)
}

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
