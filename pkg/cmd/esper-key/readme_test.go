//go:build linux

package main

import (
	"net/http"
	"os"
	"strings"
	"testing"
)

// TestReadme runs the commands of the README's section for operators in order, with a store in a folder of the test.
func TestReadme(t *testing.T) {
	t.Parallel()
	install, commands, _ := strings.Cut(firstCommands(t, "../../../README.md", "\n## For operators"), "\n")
	if !strings.HasPrefix(install, "go install github.com/esper-go/esper-go/pkg/cmd/esper-key@latest #") { // TestShip runs it
		t.Fatalf("the first command of the README does not install esper-key: %q", install)
	}
	o := newOperator(t)
	out := o.paste(commands+"\necho token $TOKEN", [][2]string{
		{"ESPER_ENVIRONMENT=foo", "ESPER_ENVIRONMENT=" + o.server.URL},
		{"file:///var/lib/esper-key/key.json", o.store},
		{"esper-key run ", "esper-key run & sleep 1; kill -TERM $!; wait $! # "},
	})
	if !strings.HasSuffix(out, "\ntoken "+o.server.Token()+"\n") {
		t.Error(out)
	}
	o.token()
}

// TestTokensPage runs the commands of TOKENS.md with which an operator tries personal access tokens.
func TestTokensPage(t *testing.T) {
	t.Parallel()
	o := newOperator(t)
	o.server.Retire(http.StatusGone)
	out := o.paste(firstCommands(t, "../../esper/renew/TOKENS.md", "\n## Try it without risk"), [][2]string{
		{"ESPER_ENVIRONMENT=foo", "ESPER_ENVIRONMENT=" + o.server.URL},
		{"file:///tmp/esper-trial/key.json", o.store},
	})
	if !strings.Contains(out, "renewable   via personal-access-token: yes") || !strings.Contains(out, "was renewed") {
		t.Error(out)
	}
	o.token()
}

// firstCommands returns the first block of commands below a heading of a page.
func firstCommands(t *testing.T, path, heading string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	must(t, err)
	_, section, _ := strings.Cut(string(data), heading)
	_, block, found := strings.Cut(section, "```sh\n")
	block, _, _ = strings.Cut(block, "```")
	if !found {
		t.Fatalf("%s has no commands below %q", path, heading)
	}
	return block
}

// paste runs commands in a shell, with the key on standard input, and returns what they print. Before that it makes the
// changes, each a text of the commands and its replacement.
func (o *operator) paste(commands string, changes [][2]string) string {
	o.t.Helper()
	for _, change := range changes {
		if strings.Count(commands, change[0]) != 1 {
			o.t.Fatalf("the commands do not have %q once", change[0])
		}
		commands = strings.Replace(commands, change[0], change[1], 1)
	}
	cmd := o.shell("bash", "-euc", commands)
	cmd.Stdin = strings.NewReader(o.server.Token() + "\n")
	out, err := cmd.CombinedOutput()
	if err != nil {
		o.t.Fatalf("%v: %s", err, out)
	}
	return string(out)
}
