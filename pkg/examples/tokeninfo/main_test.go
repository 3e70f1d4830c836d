package main_test

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/esper-go/esper-go/pkg/esper/espertest"
)

// TestProgram builds the program and runs it against a server that is slow and fails at the first request.
func TestProgram(t *testing.T) {
	program := filepath.Join(t.TempDir(), "tokeninfo.exe")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", program, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	server := espertest.NewServer(t)
	run := func(key string) (string, error) {
		cmd := exec.CommandContext(t.Context(), program)
		cmd.Env = append(cmd.Environ(), "ESPER_ENVIRONMENT="+server.URL, "ESPER_API_KEY="+key)
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	server.Fail(1, espertest.Fault{Status: 503, Delay: time.Second})
	if out, err := run(server.Token()); err != nil || !strings.HasPrefix(out, "This key of bindya ends at 20") {
		t.Errorf("%v: %s", err, out)
	}
	if out, err := run("another-key"); err == nil || !strings.Contains(out, "401") || strings.Contains(out, "another-key") {
		t.Errorf("%v: %s", err, out)
	}
}
