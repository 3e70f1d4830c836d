package esper_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// thirdOperation is what somebody who needs one more endpoint adds to the description.
const thirdOperation = `paths:
  /v0/probe/{probe_id}/:
    get:
      operationId: getProbe
      parameters:
        - name: probe_id
          in: path
          required: true
          schema: {type: string}
        - $ref: '#/components/parameters/AccessToken'
      responses:
        '200':
          description: The key.
          content:
            application/json:
              schema:
                $ref: '#/components/schemas/TokenInfoV1'
`

// callThird is a program that calls the new operation.
const callThird = `package main

import (
	"context"
	"fmt"
	"os"

	"github.com/esper-go/esper-go/gen"
	"github.com/esper-go/esper-go/pkg/esper"
)

func main() {
	client, _ := esper.New(os.Args[1], esper.APIKey("third-key"))
	params := &gen.GetProbeParams{AccessToken: "third-token"}
	resp, _ := client.Generated().GetProbe(context.Background(), "7", params)
	probe, _ := gen.ParseGetProbeResponse(resp)
	fmt.Println(probe.StatusCode(), probe.JSON200.ID) // after an error, a nil pointer ends the program
}
`

// After make generate, and without editing code, a program can call a new operation. The request has the key.
func TestRegenerateWithThirdOperation(t *testing.T) {
	t.Parallel()
	if testing.Short() || runtime.GOOS == "windows" {
		t.Skip("it compiles this module, and needs make")
	}
	root, tree := filepath.Join("..", ".."), t.TempDir()
	for _, name := range []string{"go.mod", "go.sum", "tools.go", "Makefile"} {
		data, err := os.ReadFile(filepath.Join(root, name))
		must(t, errors.Join(err, os.WriteFile(filepath.Join(tree, name), data, 0o600)))
	}
	for _, dir := range []string{"api", "gen", "pkg/wire", "pkg/esper"} {
		must(t, os.CopyFS(filepath.Join(tree, dir), os.DirFS(filepath.Join(root, dir))))
	}
	spec := filepath.Join(tree, "api", "openapi.yaml")
	data, err := os.ReadFile(spec)
	must(t, err)
	changed := strings.Replace(string(data), "paths:\n", thirdOperation, 1)
	third := filepath.Join(tree, "third")
	must(t, errors.Join(os.WriteFile(spec, []byte(changed), 0o600), os.Mkdir(third, 0o755),
		os.WriteFile(filepath.Join(third, "main.go"), []byte(callThird), 0o600)))
	run := func(name string, args ...string) string {
		cmd := exec.CommandContext(t.Context(), name, args...)
		var stderr strings.Builder
		cmd.Dir, cmd.Stderr = tree, &stderr
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("%s %s: %v\n%s%s", name, strings.Join(args, " "), err, out, stderr.String())
		}
		return string(out)
	}
	run("make", "generate")
	p := newProbe(t, nil)
	equal(t, "the new operation", run("go", "run", "./third", p.URL+"/api"), "200 570\n")
	r := p.arrivals()[0]
	const want = "GET /api/v0/probe/7/?access_token=third-token third-key"
	equal(t, "its request", r.Method+" "+r.RequestURI+" "+p.keys(), want)
}

// Each link of a page leads to a file, and a link with the name of a test leads to the file with that test.
func TestPageLinks(t *testing.T) {
	root, tests := filepath.Join("..", ".."), 0
	for _, name := range []string{
		"README.md", ".github/CONTRIBUTING.md", ".github/SECURITY.md", "api/README.md", "api/DEVIATIONS.md",
		"api/conformance/README.md", "pkg/esper/PROMISES.md",
	} {
		page, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(name)))
		must(t, err)
		for _, link := range regexp.MustCompile(`\[([^\]]+)\]\(([^):#]+)[^)]*\)`).FindAllStringSubmatch(string(page), -1) {
			text, target := link[1], filepath.Join(root, filepath.Dir(name), filepath.FromSlash(link[2]))
			if link[2] == "https" {
				continue
			}
			source, err := os.ReadFile(target)
			if err != nil {
				t.Errorf("%s: [%s]: %v", name, text, err)
			} else if strings.HasPrefix(text, "Test") {
				if tests++; !strings.Contains(string(source), "\nfunc "+text+"(") {
					t.Errorf("%s: %s has no %s", name, link[2], text)
				}
			}
		}
	}
	equal(t, "30 tests or more are linked", tests >= 30, true)
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
			must(t, err)
			linked := strings.Fields(string(out))
			slices.Sort(linked)
			modules := slices.DeleteFunc(slices.Compact(linked), func(path string) bool {
				first, _, _ := strings.Cut(path, "/")
				return !strings.Contains(first, ".") && !slices.Contains(forTests, path) // another of Go's own packages
			})
			want := five
			if system == "windows" && name != "." {
				want = append(slices.Clone(five), "golang.org/x/sys") // locks of files
			}
			equal(t, name+" on "+system, strings.Join(modules, " "), strings.Join(want, " "))
		}
	}
}
