//go:build unix

package examples_test

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/esper-go/esper-go/pkg/esper"
	"github.com/esper-go/esper-go/pkg/esper/espertest"
	"github.com/esper-go/esper-go/pkg/esper/renew"
	"github.com/esper-go/esper-go/pkg/internal/processes"
	"github.com/esper-go/esper-go/pkg/internal/published"
)

// livesEnv is the variable that says how often TestPublished ends each program in each way.
const livesEnv = "ESPER_TEST_LIVES"

// program is one that is published, on a page or as a file.
type program struct {
	source string
	opts   []espertest.Option // of its server
	args   []string
	byHand bool // it stores the key alone, and not a document
	idle   bool // it renews nothing, or only a key that a person has just revoked
}

func programs(t *testing.T) map[string]program {
	t.Helper()
	read := func(name string) string {
		data, err := os.ReadFile(filepath.FromSlash(name))
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	const examples, facade = "../esper/renew/example_test.go", "../esper/example_test.go"
	all := map[string]program{
		"doc_client":        {source: published.Fragment(t, "../esper/doc.go", ""), idle: true},
		"doc_daemon":        {source: published.Fragment(t, "../esper/renew/doc.go", "A daemon")},
		"doc_job":           {source: published.Fragment(t, "../esper/renew/doc.go", "A job")},
		"example_transport": {source: published.Example(t, examples, "ExampleSource_Transport"), opts: []espertest.Option{devices()}},
		"example_adopt":     {source: published.Example(t, examples, "ExampleSource_Adopt"), idle: true},
		"example_tokens":    {source: published.Example(t, examples, "ExampleWithPersonalAccessTokens"), opts: []espertest.Option{espertest.WithRetired(http.StatusGone)}},
		"example_renew":     {source: published.Example(t, facade, "ExampleClient_RenewToken"), byHand: true},
		"daemon":            {source: read("daemon/main.go")},
		"job":               {source: read("job/main.go")},
		"cron":              {source: read("cron/main.go")},
		"reader":            {source: read("reader/main.go"), idle: true},
		"quickstart":        {source: read("quickstart/main.go"), args: []string{"-renew", "-out"}, byHand: true},
	}
	for i, block := range regexp.MustCompile("(?s)```go\n(.*?)```").FindAllStringSubmatch(read("../../README.md"), -1) {
		all[fmt.Sprint("readme", i+1)] = program{source: block[1], idle: !strings.Contains(block[1], "renew.")}
	}
	return all
}

func devices() espertest.Option {
	return espertest.WithHandler("/v0/devices/", http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
}

// TestPublished runs every program and snippet that is published against a slow server, and ends it in the middle of a
// renewal in each way in which programs end. The key that the store then has is the server's.
func TestPublished(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes long")
	}
	all, sources := programs(t), map[string]string{}
	for name, p := range all {
		sources[name] = p.source
	}
	folder := published.Build(t, sources)
	lives := 1
	if n, err := strconv.Atoi(os.Getenv(livesEnv)); err == nil {
		lives = n
	}
	var running sync.WaitGroup
	slots := make(chan struct{}, 16) // they wait more than they work
	for name, p := range all {
		for i := range lives * len(published.Endings()) {
			ending := published.Endings()[i%len(published.Endings())]
			slots <- struct{}{}
			running.Go(func() {
				defer func() { <-slots }()
				t.Run(name+" "+ending, func(t *testing.T) {
					p.live(t, filepath.Join(folder, name), ending, time.Duration(i/len(published.Endings()))*150*time.Millisecond)
				})
			})
		}
	}
	running.Wait()
	at := func(name string) string { return filepath.Join(folder, name) }
	for path, why := range map[string]string{"~/key.json": "begins with ~", "": "is empty"} {
		failsClearly(t, "in ESPER_KEY_FILE: renew: esper: invalid argument: the path of the file "+why, "foo", path,
			at("daemon"), at("job"), at("cron"), at("reader"), at("readme2"))
	}
	failsClearly(t, "401", espertest.NewServer(t).URL, "", at("readme1"))
	failsClearly(t, "set both ESPER_ENVIRONMENT and ESPER_API_KEY", "", "", at("quickstart"))
}

// failsClearly: if a program cannot do its work because of a bad setting, its output is one line that says why.
func failsClearly(t *testing.T, why, environment, path string, programs ...string) {
	t.Helper()
	for _, program := range programs {
		c := exec.CommandContext(t.Context(), program)
		c.Env = append(os.Environ(), "ESPER_ENVIRONMENT="+environment, "ESPER_KEY_FILE="+path, "ESPER_API_KEY=fake-key-1")
		out, _ := c.CombinedOutput()
		if c.ProcessState.ExitCode() != 1 || !strings.Contains(string(out), why) || strings.Count(string(out), "\n") != 1 || strings.Contains(string(out), "fake-key-1") {
			t.Errorf("%s: %v, want exit code 1 and one line\n%s", program, c.ProcessState, out)
		}
	}
}

func (p program) live(t *testing.T, binary, ending string, after time.Duration) {
	t.Helper()
	server := espertest.NewServer(t, p.opts...)
	path := filepath.Join(t.TempDir(), "esper", "key.json")
	open := func(opts ...renew.Option) *renew.Source {
		source, err := renew.Open(t.Context(), server.URL, renew.File(path), opts...)
		if err != nil {
			t.Fatal(err)
		}
		return source
	}
	args := p.args
	if p.byHand {
		path = filepath.Join(t.TempDir(), "key")
		if len(args) > 0 {
			args = append(args, path)
		}
	} else {
		source := open(renew.WithInitialToken(esper.NewSecret(server.Token())))
		if err := source.Close(); err != nil {
			t.Fatal(err)
		}
		due(t, path)
	}
	first := server.Token()
	server.Fail(-1, espertest.Fault{Delay: 200 * time.Millisecond})
	for _, operation := range []string{"renewToken", "renewPersonalAccessToken"} {
		server.FailOperation(operation, -1, espertest.Fault{Delay: time.Second, Handled: true})
	}
	cmd := exec.CommandContext(t.Context(), binary, args...)
	cmd.Env = append(os.Environ(), "ESPER_KEY_FILE="+path)
	if p.idle {
		after += 500 * time.Millisecond // it has no renewal to wait for
	}
	life := published.Life{Server: server, Cmd: cmd, Ending: ending, After: after}
	out := life.Live(t)
	stored, renewals := "", processes.Posts(server)
	if p.byHand {
		data, err := os.ReadFile(path)
		if err != nil && renewals > 0 {
			t.Error(err)
		}
		stored = strings.TrimSpace(string(data))
	} else {
		source := open(renew.ReadOnly())
		token, err := source.Token()
		if err != nil {
			t.Fatal(err)
		}
		stored = token.AccessToken
	}
	switch {
	case stored != server.Token() && (renewals > 0 && !p.idle || !p.byHand && stored != first):
		t.Errorf("%v: the key is lost: after %d renewals the stored key is not the server's\n%s", life, renewals, out)
	case ending == "itself" && strings.Contains(p.source, "This key of") && !strings.HasPrefix(out, "This key of bindya ends at 20"):
		t.Errorf("%v: %s", life, out)
	case renewals > 1 || ending == "itself" && !p.idle && renewals == 0:
		t.Errorf("%v: %d renewals\n%s", life, renewals, out)
	}
}

// due edits the document in a file: the key is due, ten minutes before its end.
func due(t *testing.T, path string) {
	t.Helper()
	document, err := os.ReadFile(path)
	for field, at := range map[string]time.Duration{"issued_at": -80 * 24 * time.Hour, "expires_at": 10 * time.Minute} {
		old := regexp.MustCompile(`"` + field + `": *"[^"]*"`)
		document = old.ReplaceAll(document, fmt.Appendf(nil, "%q: %q", field, time.Now().Add(at).Format(time.RFC3339)))
	}
	if err := errors.Join(err, os.WriteFile(path, document, 0o600)); err != nil {
		t.Fatal(err)
	}
}
