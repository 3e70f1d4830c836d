package renew_test

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/esper-go/esper-go/pkg/esper"
	"github.com/esper-go/esper-go/pkg/esper/espertest"
	"github.com/esper-go/esper-go/pkg/esper/renew"
)

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
