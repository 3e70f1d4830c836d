//go:build unix

// Package published lets tests run programs that stand on a page, and end them in the middle of a renewal. Only tests use
// it.
package published

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/format"
	"go/parser"
	"go/token"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/esper-go/esper-go/pkg/esper/espertest"
	"github.com/esper-go/esper-go/pkg/internal/processes"
)

// stand is what each program gets besides its own text, with which a test ends it.
//
//go:embed stand.go.txt
var stand string

// Endings are the ways in which a program ends: by a signal, because its context ends, or by itself.
func Endings() []string { return []string{"SIGTERM", "SIGINT", "context", "itself"} }

// Example returns the program that calls one function of a file with examples. It uses the server and the file of the
// test in place of the example's own, which end with the process.
func Example(t *testing.T, file, name string) string {
	t.Helper()
	source, err := os.ReadFile(file) //nolint:gosec // a page of this repository
	if err != nil {
		t.Fatal(err)
	}
	tree, err := parser.ParseFile(token.NewFileSet(), file, source, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range tree.Decls {
		if f, ok := d.(*ast.FuncDecl); ok && f.Name.Name == name {
			body := string(source[f.Pos()-1 : f.End()-1])
			for old, replacement := range map[string]string{
				"espertest.New(": "fakeServer(", "renew.Memory()": "renew.File(keyFile())",
				"func(esper.Secret) error { return nil }": "saveKey", `"foo"`: "fakeServer().URL",
			} {
				body = strings.ReplaceAll(body, old, replacement)
			}
			return imports(tree, body) + "func main() { " + name + "() }\n" + body
		}
	}
	t.Fatalf("%s has no %s", file, name)
	return ""
}

// Fragment returns the program that runs the code in the comment of a package, below a heading or, if that is empty,
// before the first one. Then it waits for the end of ctx, as a daemon does.
func Fragment(t *testing.T, file, heading string) string {
	t.Helper()
	source, err := os.ReadFile(file) //nolint:gosec // a page of this repository
	if err != nil {
		t.Fatal(err)
	}
	section := string(source)
	if heading != "" {
		_, section, _ = strings.Cut(section, "\n// # "+heading+"\n")
	}
	section, _, _ = strings.Cut(section, "\n// # ")
	lines := ""
	for line := range strings.Lines(section) {
		if code, ok := strings.CutPrefix(line, "//\t"); ok {
			lines += code
		}
	}
	if lines == "" {
		t.Fatalf("%s has no code below %q", file, heading)
	}
	for old, replacement := range map[string]string{
		`"foo"`: `os.Getenv("ESPER_ENVIRONMENT")`, `"/var/lib/myapp/esper-key.json"`: `os.Getenv("ESPER_KEY_FILE")`,
	} {
		lines = strings.ReplaceAll(lines, old, replacement)
	}
	for _, name := range []string{"client", "info"} {
		if strings.Contains(lines, name+" :=") || strings.Contains(lines, name+", err :=") {
			lines += "_ = " + name + "\n"
		}
	}
	all := &ast.File{}
	for _, name := range []string{
		"context", "errors", "os", "os/signal", "syscall", "github.com/esper-go/esper-go/pkg/esper", "github.com/esper-go/esper-go/pkg/esper/renew",
	} {
		all.Imports = append(all.Imports, &ast.ImportSpec{Path: &ast.BasicLit{Value: `"` + name + `"`}})
	}
	body := `func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	exit(fragment(ctx))
}
func fragment(ctx context.Context) error {
` + lines + `<-ctx.Done()
return nil
}`
	return imports(all, body) + body
}

// imports returns the beginning of a program that uses those packages of a file which its text names.
func imports(tree *ast.File, text string) string {
	b := "package main\n"
	for _, i := range tree.Imports {
		p := strings.Trim(i.Path.Value, `"`)
		if strings.Contains(text, path.Base(p)+".") {
			b += "import " + i.Path.Value + "\n"
		}
	}
	return b + "\n"
}

// Build compiles programs, as if they stood in the folder of the test, and returns the folder with the binaries.
func Build(t *testing.T, programs map[string]string) (folder string) {
	t.Helper()
	work, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	sources, replace, packages := t.TempDir(), map[string]string{}, []string(nil)
	folder = t.TempDir()
	for name, source := range programs {
		source = strings.NewReplacer("context.Background()", "background(context.Background())", "<-ctx.Done()", "<-done(ctx)").Replace(source)
		source = strings.ReplaceAll(source, "background(background(context.Background()))", "background(context.Background())")
		packages = append(packages, "./published/"+name)
		for file, text := range map[string]string{"main.go": source, "stand.go": stand} {
			formatted, err := format.Source([]byte(text))
			if err != nil {
				t.Fatalf("%s: %v\n%s", name, err, text)
			}
			at := filepath.Join(sources, name+"-"+file)
			if err := os.WriteFile(at, formatted, 0o600); err != nil {
				t.Fatal(err)
			}
			replace[filepath.Join(work, "published", name, file)] = at
		}
	}
	overlay := filepath.Join(sources, "overlay.json")
	data, err := json.Marshal(map[string]any{"Replace": replace})
	if err == nil {
		err = os.WriteFile(overlay, data, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	args := append([]string{"build", "-overlay", overlay, "-o", folder + string(filepath.Separator)}, packages...)
	if out, err := exec.CommandContext(t.Context(), "go", args...).CombinedOutput(); err != nil { //nolint:gosec // go itself
		t.Fatalf("%v\n%s", err, out)
	}
	return folder
}

// Life is one run of a program that renews a key.
type Life struct {
	Server *espertest.Server
	Cmd    *exec.Cmd // the program; if it has a process group, the whole group gets the signal
	Ending string
	Before int           // how many renewals the server has got before
	After  time.Duration // when it ends: zero is once the server has got the renewal, or else the time from the start
}

// Live runs the program to its end, and returns what it printed. The test fails if it does not end within two minutes.
func (l Life) Live(t *testing.T) (printed string) {
	t.Helper()
	control := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/revoke" {
			l.Server.Revoke()
			return
		}
		_, _ = io.WriteString(w, l.Server.NewKey())
	}))
	defer control.Close()
	if l.Cmd.Env == nil {
		l.Cmd.Env = os.Environ()
	}
	l.Cmd.Env = append(l.Cmd.Env, "ESPER_ENVIRONMENT="+l.Server.URL, "ESPER_API_KEY="+l.Server.Token(), "PUBLISHED_CONTROL="+control.URL, "PUBLISHED_END="+l.Ending)
	var out bytes.Buffer
	l.Cmd.Stdout, l.Cmd.Stderr = &out, &out
	in, err := l.Cmd.StdinPipe()
	if err == nil {
		err = l.Cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- l.Cmd.Wait() }()
	const longest = 2 * time.Minute
	bound := time.After(longest)
	at := time.After(l.After)
	for begun := false; !begun; {
		select {
		case <-at:
			begun = l.After > 0
			at = time.After(5 * time.Millisecond)
		case err := <-ended: // it ends before a renewal
			ended <- err
			begun = true
		case <-bound:
			begun = true
		}
		begun = begun || l.After == 0 && processes.Posts(l.Server) > l.Before
	}
	switch l.Ending {
	case "SIGTERM":
		err = signal(l.Cmd, syscall.SIGTERM)
	case "SIGINT":
		err = signal(l.Cmd, syscall.SIGINT)
	default:
		err = in.Close()
	}
	select {
	case <-ended: //nolint:errcheck // how it ends is not the question
	case <-bound:
		_ = l.Cmd.Process.Kill()
		t.Errorf("%v has not ended after %v (%v)\n%s", l, longest, err, &out)
		<-ended //nolint:errcheck // it was killed
	}
	return out.String()
}

func (l Life) String() string {
	return fmt.Sprintf("%s, ended by %s after %v", filepath.Base(l.Cmd.Path), l.Ending, l.After)
}

// signal sends a program a signal, or its whole process group, as a terminal does.
func signal(cmd *exec.Cmd, s syscall.Signal) error {
	if cmd.SysProcAttr != nil && cmd.SysProcAttr.Setpgid {
		return syscall.Kill(-cmd.Process.Pid, s)
	}
	return cmd.Process.Signal(s)
}
