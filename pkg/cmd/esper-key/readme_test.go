//go:build linux

package main

import (
	"os"
	"strings"
	"testing"
)

// TestReadme runs the commands of the README's section for operators in order, with a folder of this test's.
func TestReadme(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile("../../../README.md")
	must(t, err)
	_, section, _ := strings.Cut(string(data), "\n## For operators")
	_, block, found := strings.Cut(section, "```sh\n")
	block, _, _ = strings.Cut(block, "```")
	install, commands, _ := strings.Cut(block, "\n")
	if !found || !strings.HasPrefix(install, "go install github.com/esper-go/esper-go/pkg/cmd/esper-key@latest #") { // TestShip does so
		t.Fatalf("the README has no such section: %q", block)
	}
	o := newOperator(t)
	for _, change := range [][2]string{
		{"ESPER_ENVIRONMENT=foo", "ESPER_ENVIRONMENT=" + o.server.URL},
		{"file:///var/lib/esper-key/key.json", o.store},
		{"esper-key run ", "esper-key run & sleep 1; kill -TERM $!; wait $! # "},
	} {
		if strings.Count(commands, change[0]) != 1 {
			t.Fatalf("the README has no %q", change[0])
		}
		commands = strings.Replace(commands, change[0], change[1], 1)
	}
	cmd := o.shell("bash", "-euc", commands+"\necho token $TOKEN")
	cmd.Stdin = strings.NewReader(o.server.Token() + "\n")
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.HasSuffix(string(out), "\ntoken "+o.server.Token()+"\n") {
		t.Errorf("%v: %s", err, out)
	}
	o.token()
}
