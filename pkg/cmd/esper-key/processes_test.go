//go:build linux

package main

import (
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"

	"github.com/esper-go/esper-go/pkg/esper/espertest"
)

// TestHundredAtOnce runs a hundred commands at the same time when the key is due: the key is renewed once.
func TestHundredAtOnce(t *testing.T) {
	o := adopted(t)
	o.due(day)
	o.server.FailOperation("renewToken", 1, espertest.Fault{Delay: time.Second})
	const processes = 100
	var all sync.WaitGroup
	for i := range processes {
		all.Go(func() {
			if i%2 == 0 {
				o.run("exec", "--", "sh", "-c", `echo "$ESPER_API_KEY"`).wants(0).prints(o.server.Token() + "\n")
				return
			}
			o.token()
		})
	}
	all.Wait()
	if n := o.posts(); n != 1 {
		t.Errorf("%d renewals, want 1", n)
	}
}

// TestSignals sends each command a signal, twice, while it renews: it says at once that it finishes the renewal first, and
// does so. Its exit code tells whether it did what it was asked. What run delivers, it still delivers.
func TestSignals(t *testing.T) {
	t.Parallel()
	signal.Notify(make(chan os.Signal, 1), syscall.SIGHUP) // the commands end at SIGHUP even if these tests run under nohup
	for command, code := range map[string]int{             // beside that of the signal
		"token": 128, "renew": 0, "renew --now": 0, "exec -- true": 128, "run --write-token delivered --on-renew ./program": 0,
	} {
		for _, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGQUIT} {
			t.Run(command+", "+signal.String(), func(t *testing.T) {
				t.Parallel()
				o := adopted(t)
				o.due(day)
				o.script("program", "cp delivered seen")
				o.server.FailOperation("renewToken", 1, espertest.Fault{Delay: 2 * time.Second})
				p := o.begin(o.command(strings.Fields(command)...))
				eventually(t, "the renewal begins", func() bool { return o.posts() == 1 })
				for n := range 2 {
					p.signal(signal)
					eventually(t, "it says that it finishes the renewal", func() bool { return strings.Count(p.log.String(), "is finished first") > n })
				}
				want := code
				if want > 0 {
					want += int(signal)
				}
				if p.end(); p.code != want || !strings.Contains(read(o.path()), o.server.Token()) {
					t.Errorf("it ended with %d, not with %d, or has not stored the new key: %s", p.code, want, p.stderr)
				}
				if strings.HasPrefix(command, "run") && read(o.at("seen")) != o.server.Token() {
					t.Errorf("the new key is not delivered: %s", p.stderr)
				}
				o.token()
			})
		}
	}
}

// TestPipeWithoutEnd: a signal ends adopt and run while they wait for a key from a pipe.
func TestPipeWithoutEnd(t *testing.T) {
	t.Parallel()
	o := newOperator(t)
	pipe := o.at("pipe")
	must(t, syscall.Mkfifo(pipe, 0o600))
	silent, writer, err := os.Pipe()
	must(t, err)
	defer func() { _, _ = silent.Close(), writer.Close() }()
	for _, args := range []string{"adopt", "adopt --key-file " + pipe, "run --key-file " + pipe} {
		cmd := o.command(strings.Fields(args)...)
		cmd.Stdin = silent
		p := o.begin(cmd)
		time.Sleep(time.Second) // it may not have come to the pipe yet, and ends all the same
		p.signal(syscall.SIGTERM).end()
		if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || status.Signal() != syscall.SIGTERM {
			t.Errorf("%q ended with %v, want the signal", args, cmd.ProcessState)
		}
	}
}

// TestExec: the program gets the same arguments, environment, input and signals as without exec, and the key.
func TestExec(t *testing.T) {
	t.Parallel()
	o := adopted(t)
	write(t, o.at("plain"), "no program")
	for _, test := range []struct {
		args []string
		code int
		text string
	}{
		{[]string{"sh", "-c", "exit 42"}, 42, ""},
		{[]string{"--", "sh", "-c", "kill -TERM $$"}, -1, ""}, // a signal ended the program
		{[]string{"--", o.at("none")}, execNotFound, "no program"},
		{[]string{"--", o.folder}, execCannotRun, ""},
		{[]string{"--", o.at("plain")}, execCannotRun, ""},
	} {
		o.run(append([]string{"exec"}, test.args...)...).wants(test.code, test.text)
	}
	o.input("typed", "exec", "--", "cat", "-").wants(0).prints("typed")
	o.env = append(o.env, keyVariable+"=another")
	o.run("exec", "--", "env").wants(0, urlVariable+"="+o.server.URL+"\n", keyVariable+"="+o.server.Token()+"\n", environmentVariable+"="+o.server.URL+"\n").
		lacks(keyVariable + "=another")
	// The program runs in the process of the command, so it gets the signals.
	p := o.begin(o.command("exec", "--", "sh", "-c", `trap "echo caught; exit 3" TERM; echo $$ >pid; while :; do sleep 0.05; done`))
	eventually(t, "the program runs", func() bool { return strings.HasSuffix(read(o.at("pid")), "\n") })
	p.signal(syscall.SIGTERM).end().wants(3).prints("caught\n")
	o.server.Revoke()
	o.set("expires_at", time.Now().Add(-time.Hour))
	o.run("exec", "--", "true").wants(execFailed)
}

// TestSecrets looks for the key wherever other users and other programs could see it.
func TestSecrets(t *testing.T) {
	t.Parallel()
	const canary = "MadeUpKeyMadeUpKeyMadeUpKeyM01"
	o := newOperator(t, espertest.WithToken(canary))
	sees := func(p *process) {
		t.Helper()
		for _, name := range []string{"cmdline", "environ"} {
			if text := read(filepath.Join("/proc", strconv.Itoa(p.cmd.Process.Pid), name)); text == "" || strings.Contains(text, canary) {
				t.Errorf("the key is in %s of %q", name, p.args)
			}
		}
	}
	write(t, o.at("first"), canary)
	o.server.Fail(1, espertest.Fault{Delay: time.Second})
	adopt := o.begin(o.command("adopt", "--key-file", o.at("first")))
	eventually(t, "adopt asks Esper", func() bool { return len(o.server.Requests()) > 0 })
	sees(adopt)
	adopt.end().wants(0)
	p := o.start("--write-token", o.at("token"))
	sees(p)
	for _, fault := range []espertest.Fault{
		{Status: 500, Body: canary},
		{Status: 200, Body: `{"token":"` + canary + `"}`},
		{Status: 401, Body: `{"message":"` + canary + `"}`},
		{Status: 400, Body: `{"errors":["` + canary + `"]}`},
		{Body: canary},
		{Reset: espertest.InBody},
		{Status: 302, Body: canary},
	} {
		for _, command := range []string{"show", "show -o json", "check", "renew --now"} {
			fault.Header = map[string][]string{"Location": {"https://" + canary}, "X-Request-Id": {canary}}
			o.server.Fail(1, fault)
			o.run(strings.Fields(command)...)
			o.set("attempt", nil) // else the next command waits for its end
		}
	}
	for _, path := range []string{o.at("token"), o.path(), o.path() + ".lock"} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", path, info.Mode(), err)
		}
	}
	p.get("/metrics")
	p.signal(syscall.SIGTERM).end().wants(0)
}

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
	for typed, code := range map[string]int{"\x03": 130, "\x04": exitUsage, "\n": exitUsage} { // Ctrl-C and Ctrl-D end adopt too
		cmd := o.command("adopt")
		if shown := o.onTerminal(cmd, "API key", typed); !strings.Contains(shown, "no key was typed") || cmd.ProcessState.ExitCode() != code {
			t.Errorf("after %q, adopt ends with %v: %s", typed, cmd.ProcessState, shown)
		}
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
