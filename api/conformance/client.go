package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/esper-go/esper-go/api"
)

// client is a folder with a client.json.
type client struct {
	Title    string   `json:"title"`
	Language string   `json:"language"`
	Versions string   `json:"versions"`
	Setup    []string `json:"setup"`
	Generate string   `json:"generate"`
	Build    []string `json:"build"`
	Run      []string `json:"run"`
	Only     []string `json:"only"`
	Lacks    []string `json:"lacks"`

	name string // of the folder
	src  string // the folder
	work string // the copy that it is built in
	log  string
	err  error // why client.json is of no use
}

// findClients returns the named clients, or all, by name.
func findClients(dir string, names []string) ([]client, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*", "client.json"))
	if err != nil {
		return nil, err
	}
	build, err := filepath.Abs(filepath.Join(dir, ".build"))
	if err != nil {
		return nil, err
	}
	var found []client
	known := make(map[string]bool)
	for _, file := range files {
		src := filepath.Dir(file)
		c := client{Title: filepath.Base(src)}
		c.err = c.read(file)
		c.name, c.src = filepath.Base(src), src
		c.work = filepath.Join(build, c.name)
		c.log = c.work + ".log"
		known[c.name] = true
		if len(names) == 0 || slices.Contains(names, c.name) {
			found = append(found, c)
		}
	}
	for _, name := range names {
		if !known[name] {
			return nil, fmt.Errorf("there is no client %q in %s", name, dir)
		}
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("there is no client in %s", dir)
	}
	return found, nil
}

func (c *client) read(file string) error {
	b, err := os.ReadFile(file) //nolint:gosec // it is the repository's own
	if err != nil {
		return err
	}
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	if err := dec.Decode(c); err != nil {
		return fmt.Errorf("client.json: %w", err)
	}
	if c.Title == "" || c.Language == "" || c.Versions == "" || len(c.Run) == 0 {
		return errors.New("client.json: title, language, versions and run have to be there")
	}
	return nil
}

// does reports whether the client has the operation.
func (c *client) does(operation string) bool {
	return len(c.Only) == 0 || slices.Contains(c.Only, operation)
}

// steps are the command lines that make the client.
func (c *client) steps() []string {
	lines := slices.Clone(c.Setup)
	if c.Generate != "" {
		lines = append(lines, c.Generate)
	}
	return append(lines, c.Build...)
}

// build makes the client in its working folder, unless it lies there, made from the same files.
func (d *driver) build(ctx context.Context, c client) error {
	sum, err := c.sum()
	if err != nil {
		return err
	}
	stamp := c.work + ".sum"
	if old, err := os.ReadFile(stamp); err == nil && string(old) == sum { //nolint:gosec // written below
		return nil
	}
	for _, path := range []string{stamp, c.log, c.work} {
		if err := os.RemoveAll(path); err != nil {
			return err
		}
	}
	if err := os.CopyFS(c.work, os.DirFS(c.src)); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(c.work, "openapi.yaml"), api.Spec, 0o600); err != nil {
		return err
	}
	log, err := os.Create(c.log)
	if err != nil {
		return err
	}
	defer log.Close() //nolint:errcheck // nobody reads what is lost
	for _, line := range c.steps() {
		fmt.Fprintf(log, "$ %s\n", line)
		if err := d.sh(ctx, c.work, line, log); err != nil {
			return fmt.Errorf("%s: %w\n%s", line, err, tail(c.log))
		}
	}
	return os.WriteFile(stamp, []byte(sum), 0o600)
}

// sh runs a command line, which finds what a set-up has installed into .venv.
func (d *driver) sh(ctx context.Context, dir, line string, log *os.File) error {
	ctx, cancel := context.WithTimeout(ctx, d.commandTime)
	defer cancel()
	shell := func(args ...string) *exec.Cmd {
		cmd := exec.CommandContext(ctx, "sh", append([]string{"-c"}, args...)...) //nolint:gosec // the repository's own
		cmd.Dir = dir
		path := filepath.Join(dir, ".venv", "bin") + string(filepath.ListSeparator) + os.Getenv("PATH")
		cmd.Env = append(os.Environ(), "PATH="+path)
		ownGroup(cmd)
		return cmd
	}
	plain := regexp.MustCompile(`^[A-Za-z0-9_.+-]+$`) // neither a path, nor an assignment, nor syntax
	word, _, _ := strings.Cut(line, " ")
	// The shell looks, for it knows its own commands too.
	if plain.MatchString(word) && shell(`command -v "$1"`, "sh", word).Run() != nil {
		return fmt.Errorf("it needs %s, which is not on the PATH", word)
	}
	cmd := shell(line)
	cmd.Stdout, cmd.Stderr = log, log
	err := cmd.Run()
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return fmt.Errorf("killed after %v", d.commandTime)
	}
	return err
}

// sum is a hash of all that the client is made from.
func (c *client) sum() (string, error) {
	h := sha256.New()
	h.Write(api.Spec)
	err := fs.WalkDir(os.DirFS(c.src), ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(filepath.Join(c.src, path)) //nolint:gosec // it is the repository's own
		fmt.Fprintf(h, "%s %d\n%s", path, len(b), b)
		return err
	})
	return hex.EncodeToString(h.Sum(nil)), err
}

// tail is the end of a log.
func tail(file string) string {
	const lines = 60
	b, _ := os.ReadFile(file) //nolint:gosec // a log that was written above
	all := strings.Split(strings.TrimSpace(string(b)), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}
