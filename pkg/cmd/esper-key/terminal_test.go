//go:build linux

package main

import (
	"io"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"

	"github.com/esper-go/esper-go/pkg/esper/espertest"
)

// TestAdoptOnATerminal: adopt asks for the key on a terminal, and does not show it.
func TestAdoptOnATerminal(t *testing.T) {
	t.Parallel()
	o := newOperator(t)
	shows := func(typed, text, command string) {
		t.Helper()
		question := map[bool]string{true: "API key"}[command == "adopt"]
		shown := o.onTerminal(o.command(command), question, typed)
		if !strings.Contains(shown, text) {
			t.Errorf("%s does not say %q after %q: %s", command, text, typed, shown)
		}
		if command != "token" {
			o.remember(shown)
		}
	}
	for _, typed := range []string{"\x03", "\x04", "\n"} { // Ctrl-C and Ctrl-D end adopt too
		shows(typed, "no key was typed", "adopt")
	}
	if exists(o.path()) {
		t.Error("adopt has stored a key that nobody typed")
	}
	shows(o.server.Token()+"\n", "The key is stored", "adopt")
	o.token()
	shows("", "the key is on the screen", "token")
	// A signal ends adopt too, and leaves the terminal as it was.
	adopt := o.command("adopt")
	adopt.Args = []string{"sh", "-c", `trap : TERM; "$0" adopt; echo "code $?"; stty -a`, adopt.Path}
	adopt.Path = "/bin/sh"
	if shown := o.onTerminal(adopt, "API key", terminate); !strings.Contains(shown, "code 143") || !strings.Contains(shown, " echo ") {
		t.Error(shown)
	}
	// What takes longer than two seconds says so.
	o.server.FailOperation("getTokenInfo", 1, espertest.Fault{Delay: 3 * time.Second})
	o.server.FailOperation("renewToken", 1, espertest.Fault{Delay: 3 * time.Second})
	shows("", "asking Esper about the key, until ", "show")
	o.due(day)
	shows("", "renewing the key, until ", "renew")
	// A key that is typed as soon as the question appears is not shown either.
	for range 20 {
		o.remember(o.onTerminal(o.command("adopt"), "API", "fake-esper-key-of-no-one\n"))
	}
}

const terminate = "\x00SIGTERM" // in place of what is typed: the signal, to all that runs on the terminal

// onTerminal runs a command on a new terminal, and returns what the terminal shows. When that has question, it types
// typed.
func (o *operator) onTerminal(cmd *exec.Cmd, question, typed string) (shown string) {
	o.t.Helper()
	terminal, err := pty.Start(cmd)
	must(o.t, err)
	defer func() { _ = terminal.Close() }()
	defer time.AfterFunc(time.Minute, func() { _ = cmd.Process.Kill() }).Stop() // a command that got no answer
	buffer := make([]byte, 4096)
	for {
		n, err := terminal.Read(buffer)
		shown += string(buffer[:n])
		if question != "" && strings.Contains(shown, question) {
			question = ""
			if typed == terminate {
				must(o.t, syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM))
				continue
			}
			_, err := io.WriteString(terminal, typed)
			must(o.t, err)
		}
		if err != nil { // EIO on Linux, when the program has ended
			_ = cmd.Wait()
			return shown
		}
	}
}
