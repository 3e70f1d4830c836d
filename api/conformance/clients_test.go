//go:build conformance

package conformance

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
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

	name    string // the name of the folder, and of the description if that is not openapi.yaml
	dir     string
	spec    string
	work    string    // the copy of the folder in which the client is built
	program *program  // of the client, which runs
	found   []finding // what the client got wrong; nil if it was not tried, empty if all is well
	habits  []finding // what it does by itself where no answer comes
}

// findClients reads each client.json, and returns a client for each description that it names.
func findClients(t *testing.T) (found []*client) {
	t.Helper()
	files, err := filepath.Glob("*/client.json")
	must(t, err)
	for _, file := range files {
		data, err := os.ReadFile(file)
		must(t, err)
		dec := json.NewDecoder(bytes.NewReader(data))
		dec.DisallowUnknownFields()
		c := client{Specs: []string{"openapi.yaml"}, dir: filepath.Dir(file)}
		must(t, dec.Decode(&c))
		for _, c.spec = range c.Specs {
			c.name = c.dir
			if c.spec != "openapi.yaml" {
				c.name += "-" + strings.TrimSuffix(c.spec, ".yaml")
			}
			one := c
			one.Generate = strings.ReplaceAll(c.Generate, "openapi.yaml", c.spec)
			if c.spec == vendorSpec {
				one.Operations = []string{"getTokenInfo", "renewToken"} // the others have no id there
			}
			found = append(found, &one)
		}
	}
	slices.SortStableFunc(found, func(a, b *client) int { return cmp.Compare(a.Language, b.Language) })
	return found
}

// try builds the client and has it make the call of each scenario. It keeps what the client got wrong.
func (c *client) try(t *testing.T, scenarios []scenario) {
	for _, operation := range c.Operations {
		if !slices.ContainsFunc(scenarios, func(s scenario) bool { return s.operation == operation }) {
			t.Fatalf("client.json: no scenario has the operation %q", operation)
		}
	}
	c.build(t)
	c.start(t)
	found := []finding{}
	for _, s := range scenarios {
		if c.Operations != nil && !slices.Contains(c.Operations, s.operation) {
			continue
		}
		t.Run(s.Name+" "+s.operation, func(t *testing.T) {
			got, arrived := c.call(t, s, false)
			if problem := s.judge(got, arrived); problem != "" {
				t.Logf("%s; the client says %+v", problem, got)
				found = append(found, finding{problem, s})
			}
			if s.Broken != "" && c.Once != "" && c.spec == c.Specs[0] {
				_, arrived = c.call(t, s, true)
			}
			if s.Broken != "" && arrived != 1 {
				method := map[string]string{"renewToken": "POST", "renewPersonalAccessToken": "PUT"}[s.operation]
				c.habits = append(c.habits, finding{fmt.Sprintf("%s %d times", method, arrived), s})
			}
		})
	}
	c.program.end(t)
	c.found = found
}

// These bound a call: usually, and where the answer never comes.
const (
	timeout = 20
	soon    = 2
)

// politely is a listener whose connections end with FIN where those of the fake server end with RST.
type politely struct{ net.Listener }

func (l politely) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	return struct{ net.Conn }{conn}, err // without SetLinger
}

// call has the client call a server that answers as the scenario says, or whose connections break. It returns what the
// client says and how many renewals arrived. With byItself, the program leaves its setting against repetition out.
func (c *client) call(t *testing.T, s scenario, byItself bool) (got reply, arrived int) {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	must(t, err)
	if s.Broken != "reset" {
		l = politely{l}
	}
	// This fails the test if a request breaks the description.
	server := espertest.NewServer(t, espertest.WithListener(l), espertest.WithToken(s.Key))
	cmd := command{
		Operation: s.operation, URL: server.URL, Key: server.Token(), EnterpriseID: server.EnterpriseID,
		DeveloperAppID: server.DeveloperAppID, TokenID: tokenID, ExpiryAt: expiryAt, Timeout: timeout, ByItself: byItself,
	}
	fault := espertest.Fault{Reset: espertest.BeforeHeader}
	switch s.Broken {
	case "":
		fault = espertest.Fault{Status: s.Answer.Status, Header: http.Header{}, Body: s.answer()}
		for name, value := range map[string]string{"Retry-After": s.Answer.RetryAfter, "Content-Type": s.Answer.Type} {
			if value != "" {
				fault.Header.Set(name, value)
			}
		}
	case "kept":
		cmd.InfoFirst = true // the connection is kept after that
	case "cut":
		fault = espertest.Fault{Body: `{"id":571,"token":"example-new-key"}`, Reset: espertest.InBody}
	case "late":
		fault, cmd.Timeout = espertest.Fault{Delay: time.Hour}, soon
	}
	if !s.Own {
		server.FailOperation(s.operation, -1, fault)
	}
	if got, err = c.program.ask(cmd); err != nil { // the failure is the answer
		c.program.kill()
		c.start(t)
		got = reply{Failure: err.Error()}
	}
	for _, r := range server.Requests() {
		if r.Method != http.MethodGet {
			arrived++
		}
	}
	return got, arrived
}

// build generates and builds the client in a copy of its folder. Files of an earlier build stay there, for tools that
// build only what has changed.
func (c *client) build(t *testing.T) {
	t.Helper()
	work, err := filepath.Abs(filepath.Join(".build", c.name))
	must(t, err)
	c.work = work
	copyTo(t, work, c.dir+"/.", "../openapi.yaml", "../openapi-3.1.yaml")
	if c.spec == vendorSpec {
		writeVendorSpec(t, filepath.Join(work, vendorSpec))
	}
	run(t, work, "", "sh", "-exc", strings.Join(slices.Concat(c.Setup, []string{c.Generate}, c.Build), "\n"))
}

// copyTo copies files to a folder. It keeps those that are not older there, for tools that build only what has changed.
func copyTo(t *testing.T, folder string, files ...string) {
	t.Helper()
	must(t, os.MkdirAll(folder, 0o750))
	run(t, ".", "", append(append([]string{"cp", "-Rpu"}, files...), folder)...)
}

// run runs a command without a terminal, with input as its standard input, and returns its output. Programs of Python
// in the folder come first.
func run(t *testing.T, folder, input string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), args[0], args[1:]...)
	cmd.Dir, cmd.Stdin = folder, strings.NewReader(input)
	cmd.SysProcAttr, cmd.WaitDelay = &syscall.SysProcAttr{Setsid: true}, time.Second
	cmd.Env = append(os.Environ(), "PATH="+filepath.Join(folder, ".venv", "bin")+string(os.PathListSeparator)+os.Getenv("PATH"))
	out, err := cmd.CombinedOutput()
	if err != nil {
		lines := strings.Split(strings.TrimSpace(string(out)), "\n")
		t.Fatalf("%q: %v\n%s", args, err, strings.Join(lines[max(0, len(lines)-60):], "\n"))
	}
	return string(out)
}
