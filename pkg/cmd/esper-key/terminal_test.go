//go:build linux

package main

import (
	"io"
	"os/exec"
	"strings"
	"testing"

	"github.com/creack/pty"
)

// TestAdoptOnATerminal: adopt asks for the key on a terminal, and does not show it.
func TestAdoptOnATerminal(t *testing.T) {
	t.Parallel()
	o := newOperator(t)
	shown := o.onTerminal(o.command("adopt"), "API key", o.server.Token()+"\n")
	if !strings.Contains(shown, "The key is stored") {
		t.Error(shown)
	}
	o.remember(shown)
	o.token()
	if shown := o.onTerminal(o.command("token"), "", ""); !strings.Contains(shown, "the key is on the screen") {
		t.Errorf("token does not warn: %q", shown)
	}
	// Ctrl-C and an empty line end adopt, and nothing is stored.
	if shown := o.onTerminal(o.command("adopt"), "API key", "\x03"); strings.Contains(shown, "stored") {
		t.Error(shown)
	}
	if shown := o.onTerminal(o.command("adopt"), "API key", "\n"); !strings.Contains(shown, "no key was typed") {
		t.Error(shown)
	}
}

// onTerminal runs a command on a new terminal, and returns what the terminal shows. When that has question, it types
// typed.
func (o *operator) onTerminal(cmd *exec.Cmd, question, typed string) (shown string) {
	o.t.Helper()
	terminal, err := pty.Start(cmd)
	must(o.t, err)
	defer func() { _ = terminal.Close() }()
	buffer := make([]byte, 4096)
	for {
		n, err := terminal.Read(buffer)
		shown += string(buffer[:n])
		if question != "" && strings.Contains(shown, question) {
			question = ""
			_, err := io.WriteString(terminal, typed)
			must(o.t, err)
		}
		if err != nil { // EIO on Linux, when the program has ended
			_ = cmd.Wait()
			return shown
		}
	}
}
