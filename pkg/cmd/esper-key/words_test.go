package main

import (
	"bytes"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/spf13/cobra"
)

// TestWords: no text of the library that may reach an operator names something of Go once the command shows it. The texts
// are taken from the library's code.
func TestWords(t *testing.T) {
	t.Parallel()
	ofGo := namesOfGo()
	ofOthers := regexp.MustCompile(`RUNBOOK\.md|README\.md|TOKENS\.md|127\.0\.0\.1`)
	// An operator passes no arguments to Go functions.
	arguments := regexp.MustCompile(`^(%s is |the store is nil|Retry\.|WithRenewBefore is|WithLifetime is|the token source renews)`)
	texts := 0
	for _, root := range []string{"../../esper", "../../internal/keyfile"} {
		err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			switch {
			case err != nil:
				return err
			case d.IsDir() && (d.Name() == "espertest" || d.Name() == "storetest" || d.Name() == "testdata"):
				return fs.SkipDir
			case !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go"):
				return nil
			}
			file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
			if err != nil {
				return err
			}
			ast.Inspect(file, func(n ast.Node) bool {
				text, ok := literal(n)
				if !ok {
					return true
				}
				if strings.Count(text, " ") > 1 && !arguments.MatchString(text) && ofGo.MatchString(ofOthers.ReplaceAllString(text, "")) {
					texts++
					if said := oneLine(errors.New(text)); ofGo.MatchString(ofOthers.ReplaceAllString(said, "")) {
						t.Errorf("%s: %q", path, said)
					}
				}
				return false
			})
			return nil
		})
		must(t, err)
	}
	if texts < 5 {
		t.Errorf("only %d texts name something of Go: are these the library's texts?", texts)
	}
}

// namesOfGo finds names of the library and of Go's own packages in a text.
func namesOfGo() *regexp.Regexp {
	return regexp.MustCompile(`\b(With[A-Z]\w+|[a-zA-Z]\w*\.[A-Z]\w*|RenewRequest|TokenInfo|RenewToken|\w+PersonalAccessTokens?|File|Open|Adopt|GroupReadable|ReadOnly|TLSClientConfig|RootCAs|Dialect)\b`)
}

// literal returns the text of a string, or of a sum of strings.
func literal(n ast.Node) (text string, ok bool) {
	switch n := n.(type) {
	case *ast.BasicLit:
		text, err := strconv.Unquote(n.Value)
		return text, n.Kind == token.STRING && err == nil
	case *ast.BinaryExpr:
		left, ok := literal(n.X)
		right, both := literal(n.Y)
		return left + right, ok && both
	}
	return "", false
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
