//go:build linux

package main

import (
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

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
			args := []string{"token"}
			if i%2 == 0 {
				args = []string{"exec", "--", "sh", "-c", `echo "$ESPER_API_KEY"`}
			}
			r := o.run(args...)
			if r.code != 0 || r.stdout != o.server.Token()+"\n" {
				t.Errorf("%q: %d, %q, %s", args, r.code, r.stdout, r.stderr)
			}
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
				s := o.begin(strings.Fields(command)...)
				eventually(t, "the renewal begins", func() bool { return o.posts() == 1 })
				for n := range 2 {
					must(t, s.cmd.Process.Signal(signal))
					eventually(t, "it says that it finishes the renewal", func() bool { return strings.Count(s.text(), "is finished first") > n })
				}
				want := code
				if want > 0 {
					want += int(signal)
				}
				if got := s.end(); got != want {
					t.Errorf("%q ended with %d, not with %d: %s", command, got, want, s.text())
				}
				if !strings.Contains(read(o.path()), o.server.Token()) {
					t.Error("the new key is not stored")
				}
				if strings.HasPrefix(command, "run") && read(filepath.Join(o.folder, "seen")) != o.server.Token() {
					t.Errorf("the new key is not delivered: %s", s.text())
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
	pipe := filepath.Join(o.folder, "pipe")
	must(t, syscall.Mkfifo(pipe, 0o600))
	silent, writer, err := os.Pipe()
	must(t, err)
	defer func() { _, _ = silent.Close(), writer.Close() }()
	for _, args := range [][]string{{"adopt"}, {"adopt", "--key-file", pipe}, {"run", "--key-file", pipe}} {
		cmd := o.command(args...)
		cmd.Stdin = silent
		must(t, cmd.Start())
		time.Sleep(time.Second) // it may not have come to the pipe yet, and ends all the same
		must(t, cmd.Process.Signal(syscall.SIGTERM))
		_ = cmd.Wait()
		if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || status.Signal() != syscall.SIGTERM {
			t.Errorf("%q ended with %v, want the signal", args, cmd.ProcessState)
		}
	}
}

// TestExec: the program gets the same arguments, environment, input and signals as without exec, and the key.
func TestExec(t *testing.T) {
	t.Parallel()
	o := adopted(t)
	o.run("exec", "sh", "-c", "exit 42").wants(42)
	o.run("exec", "--", "sh", "-c", "kill -TERM $$").wants(-1) // -1 is a program that a signal ended
	o.run("exec", "--", filepath.Join(o.folder, "none")).wants(execNotFound, "no program")
	o.run("exec", "--", o.folder).wants(execCannotRun)
	plain := filepath.Join(o.folder, "plain")
	write(t, plain, "no program")
	o.run("exec", "--", plain).wants(execCannotRun)
	if r := o.input("typed", "exec", "--", "cat", "-"); r.stdout != "typed" {
		t.Errorf("the program prints %q, want its input", r.stdout)
	}
	o.env = append(o.env, keyVariable+"=another")
	if r := o.run("exec", "--", "env"); strings.Count(r.stdout, keyVariable+"=") != 1 || !strings.Contains(r.stdout, urlVariable+"="+o.server.URL+"\n") || !strings.Contains(r.stdout, keyVariable+"="+o.server.Token()+"\n") ||
		!strings.Contains(r.stdout, environmentVariable+"="+o.server.URL+"\n") {
		t.Errorf("the environment does not have the key and the tenant once: %s", r.stdout)
	}
	// The program runs in the process of the command, so it gets the signals.
	cmd := o.command("exec", "--", "sh", "-c", `trap "echo caught >caught; exit 3" TERM; echo $$ >pid; while :; do sleep 0.05; done`)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the program runs", func() bool { return strings.HasSuffix(read(filepath.Join(o.folder, "pid")), "\n") })
	_ = cmd.Process.Signal(syscall.SIGTERM)
	_ = cmd.Wait()
	if cmd.ProcessState.ExitCode() != 3 || read(filepath.Join(o.folder, "caught")) != "caught\n" {
		t.Errorf("%v, want exit code 3 after SIGTERM was caught", cmd.ProcessState)
	}
	o.server.Revoke()
	o.edit(func(d map[string]any) { d["expires_at"] = time.Now().Add(-time.Hour) })
	o.run("exec", "--", "true").wants(execFailed)
}

// TestSecrets looks for the key wherever other users and other programs could see it.
func TestSecrets(t *testing.T) {
	t.Parallel()
	const canary = "MadeUpKeyMadeUpKeyMadeUpKeyM01"
	o := newOperator(t, espertest.WithToken(canary))
	sees := func(s *service) {
		t.Helper()
		for _, name := range []string{"cmdline", "environ"} {
			if text := read(filepath.Join("/proc", strconv.Itoa(s.cmd.Process.Pid), name)); text == "" || strings.Contains(text, canary) {
				t.Errorf("the key is in %s of %q", name, s.cmd.Args)
			}
		}
	}
	first := filepath.Join(o.folder, "first")
	write(t, first, canary)
	o.server.Fail(1, espertest.Fault{Delay: time.Second})
	adopt := o.begin("adopt", "--key-file", first)
	eventually(t, "adopt asks Esper", func() bool { return len(o.server.Requests()) > 0 })
	sees(adopt)
	if code := adopt.end(); code != 0 {
		t.Errorf("adopt ended with %d: %s", code, adopt.text())
	}
	file := filepath.Join(o.folder, "token")
	s := o.start("--write-token", file)
	sees(s)
	for _, fault := range []espertest.Fault{
		{Status: 500, Body: canary},
		{Status: 200, Body: `{"token":"` + canary + `"}`},
		{Status: 401, Body: `{"message":"` + canary + `"}`},
		{Status: 400, Body: `{"errors":["` + canary + `"]}`},
		{Body: canary},
		{Reset: espertest.InBody},
		{Status: 302, Body: canary},
	} {
		for _, args := range [][]string{{"show"}, {"show", "-o", "json"}, {"check"}, {"renew", "--now"}} {
			fault.Header = map[string][]string{"Location": {"https://" + canary}, "X-Request-Id": {canary}}
			o.server.Fail(1, fault)
			o.run(args...)
			o.edit(func(d map[string]any) { delete(d, "attempt") }) // else the next command waits for its end
		}
	}
	for _, path := range []string{file, o.path(), o.path() + ".lock"} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", path, info.Mode(), err)
		}
	}
	left, _ := filepath.Glob(filepath.Join(o.folder, ".token*"))
	if len(left) > 0 {
		t.Errorf("temporary files are left: %q", left)
	}
	s.get("/metrics")
	if code := s.stop(syscall.SIGTERM); code != 0 {
		t.Errorf("run ended with %d, want 0", code)
	}
}
