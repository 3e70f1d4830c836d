package esper_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// thirdOperation is what somebody who needs one more endpoint adds to the description.
const thirdOperation = `paths:
  /v0/probe/{probe_id}/:
    get:
      operationId: getProbe
      description: An operation that only this test knows.
      parameters:
        - name: probe_id
          in: path
          required: true
          schema: {type: string}
        - $ref: '#/components/parameters/AccessToken'
      responses:
        '200':
          description: Nothing.
`

// callThird calls it, and sees what a middleware and the server see.
const callThird = `package main

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/esper-go/esper-go/gen"
	"github.com/esper-go/esper-go/pkg/esper"
)

func main() {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Println("server", r.Method, r.URL.Path, r.Header.Get("Authorization"), r.URL.Query().Get("access_token"))
	}))
	defer server.Close()
	watch := func(next http.RoundTripper) http.RoundTripper {
		return roundTripper(func(req *http.Request) (*http.Response, error) {
			fmt.Println("middleware", req.Header.Get("Authorization"), req.URL.RawQuery)
			return next.RoundTrip(req)
		})
	}
	client, err := esper.New(server.URL+"/api", esper.APIKey("third-key"), esper.WithMiddleware(watch))
	if err != nil {
		panic(err)
	}
	resp, err := client.Generated().GetProbe(context.Background(), "7", &gen.GetProbeParams{AccessToken: "third-token"})
	if err != nil {
		panic(err)
	}
	fmt.Println("status", resp.StatusCode, resp.Body.Close())
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }
`

// A new operation is callable after regenerating, authenticated and sealed, with no hand edit.
func TestRegenerateWithThirdOperation(t *testing.T) {
	root, tree := filepath.Join("..", ".."), t.TempDir()
	for _, name := range []string{"go.mod", "go.sum", "tools.go"} {
		copyFile(t, filepath.Join(root, name), filepath.Join(tree, name))
	}
	for _, dir := range []string{"api", "gen", "pkg/wire", "pkg/esper"} {
		if err := os.MkdirAll(filepath.Join(tree, dir), 0o755); err != nil {
			t.Fatal(err)
		}
		files, err := filepath.Glob(filepath.Join(root, dir, "*.*"))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			if !strings.HasSuffix(file, "_test.go") {
				copyFile(t, file, filepath.Join(tree, dir, filepath.Base(file)))
			}
		}
	}
	spec := filepath.Join(tree, "api", "openapi.yaml")
	before, err := os.ReadFile(spec)
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, spec, strings.Replace(string(before), "paths:\n", thirdOperation, 1))
	if err := os.Mkdir(filepath.Join(tree, "third"), 0o755); err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(tree, "third", "main.go"), callThird)

	goCommand(t, tree, "generate", "./gen/...")
	got := goCommand(t, tree, "run", "./third")
	want := "middleware  access_token=sealed\nserver GET /api/v0/probe/7/ Bearer third-key third-token\nstatus 200 <nil>\n"
	if got != want {
		t.Errorf("the new operation:\n%s\nwant:\n%s", got, want)
	}
}

func goCommand(t *testing.T, dir string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", args...)
	cmd.Dir = dir
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go %s: %v\n%s%s", strings.Join(args, " "), err, out, stderr.String())
	}
	return string(out)
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	data, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, to, string(data))
}

func writeFile(t *testing.T, name, data string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(data), 0o600); err != nil {
		t.Fatal(err)
	}
}
