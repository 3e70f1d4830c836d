package renew_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/esper-go/esper-go/pkg/esper"
	"github.com/esper-go/esper-go/pkg/esper/espertest"
	"github.com/esper-go/esper-go/pkg/esper/renew"
	"github.com/esper-go/esper-go/pkg/internal/processes"
)

// livesEnv is the variable that says how many programs TestProgramsThatEnd runs. The default is enough to find a
// program that ends without waiting for its renewal.
const livesEnv = "ESPER_TEST_LIVES"

// build compiles the example programs.
func build(t *testing.T) (folder string) {
	t.Helper()
	folder = t.TempDir()
	out, err := exec.CommandContext(t.Context(), "go", "build", "-o", folder+string(filepath.Separator),
		"github.com/esper-go/esper-go/pkg/examples/daemon", "github.com/esper-go/esper-go/pkg/examples/job",
		"github.com/esper-go/esper-go/pkg/examples/cron", "github.com/esper-go/esper-go/pkg/examples/reader").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return folder
}

// dueFile makes a key file whose key is due, ten minutes before its end.
func dueFile(t *testing.T, server *espertest.Server) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "esper", "key.json")
	source, err := renew.Open(t.Context(), server.URL, renew.File(path), renew.WithInitialToken(esper.NewSecret(server.Token())))
	if err == nil {
		err = source.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	edit(t, path, func(d map[string]any) {
		d["issued_at"], d["expires_at"] = time.Now().Add(-80*24*time.Hour), time.Now().Add(10*time.Minute)
	})
	return path
}

// edit changes the document in the file at path, as a person could with an editor.
func edit(t *testing.T, path string, change func(d map[string]any)) {
	t.Helper()
	d := fields(t, path)
	change(d)
	data, err := json.Marshal(d)
	if err == nil {
		err = os.WriteFile(path, data, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func fields(t *testing.T, path string) (d map[string]any) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(data, &d)
	}
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// life says how one program is run.
type life struct {
	program       string
	before, after time.Duration // how long the server waits: before it acts or, if after is longer, before it answers
	signal        time.Duration // the time until SIGTERM; 0: no signal
}

func (l life) String() string {
	return fmt.Sprintf("%s, server %v+%v, SIGTERM after %v", l.program, l.before, l.after, l.signal)
}

// TestProgramsThatEnd runs the example programs. They get SIGTERM at any moment of a renewal, or end by themselves.
// No key is lost or renewed twice, and a program that gets no signal renews the key.
func TestProgramsThatEnd(t *testing.T) {
	t.Parallel()
	notShort(t)
	if runtime.GOOS == "windows" {
		t.Log("there is no SIGTERM on Windows; TestRun has the same within one process")
		return
	}
	lives := 40
	if n, err := strconv.Atoi(os.Getenv(livesEnv)); err == nil {
		lives = n
	}
	folder := build(t)
	delays := []time.Duration{0, 50 * time.Millisecond, 200 * time.Millisecond, 500 * time.Millisecond}
	slots := make(chan struct{}, 8)
	var all sync.WaitGroup
	for i := range lives {
		l := life{program: []string{"daemon", "job", "cron"}[i%3], before: delays[i/3%4], after: delays[i/12%4]}
		if steps := int((l.before+l.after)/(50*time.Millisecond)) + 3; i%2 == 0 || l.program == "daemon" {
			l.signal = time.Duration(i*7%steps+1) * 50 * time.Millisecond
		}
		slots <- struct{}{}
		all.Go(func() {
			defer func() { <-slots }()
			l.live(t, folder)
		})
	}
	all.Wait()
}

func (l life) live(t *testing.T, folder string) {
	server := espertest.NewServer(t)
	path := dueFile(t, server)
	old := server.Token()
	// Handled says that the server acts before the delay, and not after it.
	server.FailOperation("renewToken", -1, espertest.Fault{Delay: l.before + l.after, Handled: l.before < l.after})
	c := exec.CommandContext(t.Context(), filepath.Join(folder, l.program))
	c.Env = append(os.Environ(), "ESPER_ENVIRONMENT="+server.URL, "ESPER_KEY_FILE="+path, "ESPER_API_KEY="+old)
	var out bytes.Buffer
	c.Stdout, c.Stderr = &out, &out
	if err := c.Start(); err != nil {
		t.Error(err)
		return
	}
	ended := make(chan error, 1)
	go func() { ended <- c.Wait() }()
	if l.signal > 0 {
		select {
		case <-time.After(l.signal):
		case err := <-ended:
			ended <- err
		}
		_ = c.Process.Signal(syscall.SIGTERM)
	}
	select {
	case <-ended:
	case <-time.After(time.Minute):
		t.Errorf("%v: the program has not ended after a minute", l)
		_ = c.Process.Kill()
		return
	}
	key := fields(t, path)["key"]
	renewals := processes.Posts(server)
	switch {
	case key != server.Token():
		t.Errorf("%v: after %d renewals the stored key is not the server's\n%s", l, renewals, &out)
	case renewals > 1:
		t.Errorf("%v: %d renewals, want 1 at most", l, renewals)
	case l.signal == 0 && renewals != 1:
		t.Errorf("%v: the key was due, and was not renewed\n%s", l, &out)
	case renewals == 1 && key == old:
		t.Errorf("%v: the key was renewed, and the old key is still stored", l)
	}
}

// A job whose calls take less time than the renewal still renews, in its very first run.
func TestJobRenewsWhenItIsQuick(t *testing.T) {
	t.Parallel()
	notShort(t)
	folder, server := build(t), espertest.NewServer(t)
	path := dueFile(t, server)
	server.FailOperation("renewToken", 1, espertest.Fault{Delay: 300 * time.Millisecond, Handled: true})
	for range 2 {
		c := exec.CommandContext(t.Context(), filepath.Join(folder, "job"))
		c.Env = append(os.Environ(), "ESPER_ENVIRONMENT="+server.URL, "ESPER_KEY_FILE="+path)
		if out, err := c.CombinedOutput(); err != nil || !strings.HasPrefix(string(out), "key 57") {
			t.Errorf("%v\n%s", err, out)
		}
	}
	if n := processes.Posts(server); n != 1 || fields(t, path)["key"] != server.Token() {
		t.Errorf("after two runs: %d renewals, want 1, with the new key stored", n)
	}
}

// If a program cannot start because of a bad setting, its output is one line that says why.
func TestProgramsFailClearly(t *testing.T) {
	t.Parallel()
	notShort(t)
	folder := build(t)
	for _, program := range []string{"daemon", "job", "cron"} {
		c := exec.CommandContext(t.Context(), filepath.Join(folder, program))
		c.Env = append(os.Environ(), "ESPER_ENVIRONMENT=foo", "ESPER_KEY_FILE=~/key.json", "ESPER_API_KEY=fake-key-1")
		out, err := c.CombinedOutput()
		exit := (*exec.ExitError)(nil)
		if !errors.As(err, &exit) || exit.ExitCode() != 1 || !strings.Contains(string(out), "begins with ~") || strings.Count(string(out), "\n") != 1 {
			t.Errorf("%s: %v, want exit code 1 and one line\n%s", program, err, out)
		}
	}
}
