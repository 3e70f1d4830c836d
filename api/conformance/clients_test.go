//go:build conformance

package conformance

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/esper-go/esper-go/pkg/esper/espertest"
)

// client is a client to test: a folder with a client.json, and the OpenAPI description to generate it from.
type client struct {
	Title    string   `json:"title"`
	Language string   `json:"language"`
	Versions string   `json:"versions"`
	Specs    []string `json:"specs"`
	Setup    []string `json:"setup"`
	Generate string   `json:"generate"`
	Build    []string `json:"build"`
	Run      []string `json:"run"`
	Snippet  string   `json:"snippet"`
	Nightly  bool     `json:"nightly"`
	About    string   `json:"about"`
	Once     string   `json:"once"` // the setting without which the client may send a renewal more than once
	// Operations are the operations that the client has; not in client.json if it has all.
	Operations []string `json:"operations"`

	name   string // the name of the folder, and of the description if that is not openapi.yaml
	dir    string
	spec   string
	work   string    // the copy of the folder in which the client is built
	found  []finding // what the client got wrong; nil if it was not tried, empty if all is well
	habits []habit   // what it does by itself where no answer comes
}

// findClients reads each client.json, and returns a client for each description that it names.
func findClients() ([]*client, error) {
	files, err := filepath.Glob("*/client.json")
	if err != nil {
		return nil, err
	}
	var found []*client
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		dec := json.NewDecoder(bytes.NewReader(data))
		dec.DisallowUnknownFields()
		c := client{Specs: []string{"openapi.yaml"}, dir: filepath.Dir(file)}
		if err := dec.Decode(&c); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		if c.Title == "" || c.Language == "" || c.Versions == "" || len(c.Run) == 0 || c.Snippet == "" {
			return nil, fmt.Errorf("%s lacks title, language, versions, run or snippet", file)
		}
		for _, c.spec = range c.Specs {
			c.name = c.dir
			if c.spec != "openapi.yaml" {
				c.name += "-" + strings.TrimSuffix(c.spec, ".yaml")
			}
			one := c
			one.Generate = strings.ReplaceAll(c.Generate, "openapi.yaml", c.spec)
			if c.spec == vendorSpec {
				one.Operations = vendorOperations()
			}
			found = append(found, &one)
		}
	}
	slices.SortStableFunc(found, func(a, b *client) int { return cmp.Compare(a.Language, b.Language) })
	return found, nil
}

// try builds the client and has it make the call of each scenario. It keeps what the client got wrong.
func (c *client) try(t *testing.T, scenarios []scenario) {
	for _, operation := range c.Operations {
		if !slices.ContainsFunc(scenarios, func(s scenario) bool { return s.operation == operation }) {
			t.Fatalf("client.json: no scenario has the operation %q", operation)
		}
	}
	c.build(t)
	p := c.start(t)
	found := []finding{}
	for _, s := range scenarios {
		if c.Operations != nil && !slices.Contains(c.Operations, s.operation) {
			continue
		}
		t.Run(s.Name+" "+s.operation, func(t *testing.T) {
			if s.Broken != "" {
				got, arrived := c.provoke(t, &p, s, false)
				if problem := s.judgeBroken(got, arrived); problem != "" {
					t.Logf("%s; the client says %+v", problem, got)
					found = append(found, finding{problem, s})
				}
				if c.Once != "" && c.spec == c.Specs[0] {
					_, arrived = c.provoke(t, &p, s, true)
				}
				c.note(s, arrived)
				return
			}
			var options []espertest.Option
			if s.Key != "" {
				options = append(options, espertest.WithToken(s.Key))
			}
			server := espertest.NewServer(t, options...) // fails the test if a request breaks the description
			if !s.Own {
				server.Fail(-1, espertest.Fault{Status: s.Answer.Status, Header: s.header(), Body: s.answer()})
			}
			got := c.ask(t, &p, command{
				Operation: s.operation, URL: server.URL, Key: server.Token(), EnterpriseID: server.EnterpriseID,
				DeveloperAppID: server.DeveloperAppID, TokenID: tokenID, ExpiryAt: expiryAt, Timeout: timeout,
			})
			if problem := s.judge(got); problem != "" {
				t.Logf("%s; the client says %+v", problem, got)
				found = append(found, finding{problem, s})
			}
		})
	}
	if err := p.end(); err != nil {
		t.Error(err)
	}
	c.found = found
}

// ask has the program make a call. If it fails, its failure is the answer, and it is started anew.
func (c *client) ask(t *testing.T, p **program, cmd command) reply {
	t.Helper()
	got, err := (*p).ask(cmd)
	if err != nil {
		(*p).kill()
		*p = c.start(t)
		got = reply{Failure: err.Error()}
	}
	return got
}

// build generates and builds the client in a copy of its folder. Files of an earlier build stay there, for tools that
// build only what has changed.
func (c *client) build(t *testing.T) {
	t.Helper()
	work, err := filepath.Abs(filepath.Join(".build", c.name))
	if err != nil {
		t.Fatal(err)
	}
	c.work = work
	copyFolder(t, c.dir, work)
	for _, name := range []string{"openapi.yaml", "openapi-3.1.yaml"} {
		copyFile(t, filepath.Join("..", name), filepath.Join(work, name))
	}
	if c.spec == vendorSpec {
		writeVendorSpec(t, filepath.Join(work, vendorSpec))
	}
	for _, line := range slices.Concat(c.Setup, []string{c.Generate}, c.Build) {
		if line == "" {
			continue
		}
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Minute) // for a first Maven build
		cmd := exec.CommandContext(ctx, "sh", "-c", line)
		cmd.Dir, cmd.WaitDelay = work, time.Second
		cmd.Env = append(os.Environ(), "PATH="+filepath.Join(work, ".venv", "bin")+string(os.PathListSeparator)+os.Getenv("PATH"))
		out, err := cmd.CombinedOutput()
		cancel()
		if err != nil {
			t.Fatalf("%s: %v\n%s", line, err, tail(out))
		}
	}
}

func copyFolder(t *testing.T, from, to string) {
	t.Helper()
	err := filepath.WalkDir(from, func(path string, entry os.DirEntry, err error) error {
		if err == nil && entry.Type().IsRegular() {
			rel, _ := filepath.Rel(from, path)
			copyFile(t, path, filepath.Join(to, rel))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	data, err := os.ReadFile(from)
	if err == nil {
		err = os.MkdirAll(filepath.Dir(to), 0o750)
	}
	if old, readErr := os.ReadFile(to); readErr == nil && bytes.Equal(old, data) {
		return // keep the file, and its time of change
	}
	if err == nil {
		err = os.WriteFile(to, data, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func tail(out []byte) string {
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	return strings.Join(lines[max(0, len(lines)-60):], "\n")
}

func (s *scenario) header() http.Header {
	header := http.Header{}
	if s.Answer.RetryAfter != "" {
		header.Set("Retry-After", s.Answer.RetryAfter)
	}
	if s.Answer.Type != "" {
		header.Set("Content-Type", s.Answer.Type)
	}
	return header
}
