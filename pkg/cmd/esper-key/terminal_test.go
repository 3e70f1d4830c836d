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
	shown := o.onTerminal(o.command("adopt"), "API key", o.server.Token()+"\n")
	if !strings.Contains(shown, "The key is stored") {
		t.Error(shown)
	}
	o.remember(shown)
	o.token()
	if shown := o.onTerminal(o.command("token"), "", ""); !strings.Contains(shown, "the key is on the screen") {
		t.Errorf("token does not warn: %q", shown)
	}
	// Ctrl-C, Ctrl-D and an empty line end adopt, and nothing is stored.
	for _, typed := range []string{"\x03", "\x04", "\n"} {
		shown := o.onTerminal(o.command("adopt"), "API key", typed)
		if !strings.Contains(shown, "no key was typed") || strings.Contains(shown, "stored") {
			t.Errorf("%q: %s", typed, shown)
		}
	}
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
	for _, test := range [][]string{{"show", "asking Esper about the key, until "}, {"renew", "renewing the key, until "}} {
		if test[0] == "renew" {
			o.due(day)
		}
		if shown := o.onTerminal(o.command(test[0]), "", ""); !strings.Contains(shown, test[1]) {
			t.Errorf("%s does not say %q: %s", test[0], test[1], shown)
		}
	}
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
