package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/esper-go/esper-go/pkg/benchmarks/internal/child"
	"github.com/esper-go/esper-go/pkg/benchmarks/internal/measure"
	"github.com/esper-go/esper-go/pkg/benchmarks/internal/peers"
)

const (
	pythonScript       = "python/bench.py"
	pythonRequirements = "python/requirements.txt"
)

// python is the interpreter of an environment with the vendor's client; empty to leave it out.
type python string

// newPython makes the environment, unless it is there already.
func newPython(ctx context.Context, interpreter string) (python, error) {
	if interpreter == "" {
		return "", nil
	}
	want, err := os.ReadFile(pythonRequirements)
	if err != nil {
		return "", err
	}
	folder := filepath.Join(buildFolder, "venv")
	stamp, bin := filepath.Join(folder, "installed.txt"), filepath.Join(folder, "bin", "python")
	if have, err := os.ReadFile(stamp); err == nil && bytes.Equal(have, want) { //nolint:gosec // our own folder
		return python(bin), nil
	}
	for _, args := range [][]string{
		{interpreter, "-m", "venv", "--clear", folder},
		{bin, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "-r", pythonRequirements},
	} {
		if text, err := exec.CommandContext(ctx, args[0], args[1:]...).CombinedOutput(); err != nil { //nolint:gosec // as the user asked
			return "", fmt.Errorf("%v: %w\n%s\n(-python '' leaves the vendor's client out)", args, err, text)
		}
	}
	return python(bin), os.WriteFile(stamp, want, 0o600) //nolint:gosec // our own folder
}

// worker starts a process whose blocks can be paired with ours.
func (p python) worker(ctx context.Context, base string) (*child.Child, error) {
	return child.Start(ctx, string(p), pythonScript, "worker", base)
}

// subject measures what, a word that the worker knows.
func (p python) subject(c *child.Child, what string) measure.Subject {
	return measure.Subject{Name: peers.Python, Block: func(n int) (time.Duration, error) {
		text, err := c.Ask(what + " " + strconv.Itoa(n))
		if err != nil {
			return 0, err
		}
		ns, err := strconv.ParseInt(text, 10, 64)
		return time.Duration(ns), err
	}}
}

// run runs the script once and returns what it prints.
func (p python) run(ctx context.Context, args ...string) (string, error) {
	return output(ctx, string(p), append([]string{pythonScript}, args...)...)
}

// output runs a program and returns the one line that it prints.
func output(ctx context.Context, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...) //nolint:gosec // the harness's own programs
	var failure bytes.Buffer
	cmd.Stderr = &failure
	text, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s %v: %w: %s", name, args, err, &failure)
	}
	return strings.TrimSpace(string(text)), nil
}

// self runs this program with a command of its own.
func self(ctx context.Context, args ...string) (string, error) {
	program, err := os.Executable()
	if err != nil {
		return "", err
	}
	return output(ctx, program, args...)
}
