//go:build unix

package main

import (
	"math/rand/v2"
	"os"
	"os/exec"
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

// TestKilled kills commands with SIGKILL at random moments of a renewal. The store then holds the newest key, or the
// note of the one attempt whose answer was lost with the process.
func TestKilled(t *testing.T) {
	const kills = 40
	lost := 0
	for range kills {
		o := adopted(t)
		o.due(day)
		o.server.FailOperation("renewToken", 1, espertest.Fault{Delay: 20 * time.Millisecond})
		cmd := o.command([][]string{{"token"}, {"renew"}, {"run"}}[rand.IntN(3)]...)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		<-time.After(rand.N(60 * time.Millisecond))
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // it was killed
		stored := strings.Contains(read(o.path()), `"`+o.server.Token()+`"`)
		if !stored {
			lost++
		}
		// If the answer to the renewal was lost with the process, the note of the attempt has to be in the store.
		if posts := o.posts(); posts > 1 || !stored && (posts != 1 || !strings.Contains(read(o.path()), `"attempt"`)) {
			t.Errorf("after %d renewals, want one at most, the store holds neither the newest key nor the attempt: %s", posts, read(o.path()))
		}
	}
	t.Logf("%d of %d commands were killed after the server had renewed the key, and before it was saved", lost, kills)
	if lost > kills/2 {
		t.Errorf("%d of %d keys were lost", lost, kills)
	}
}

// TestSignals sends each command a signal, twice, while it renews: it says at once that it finishes the renewal first, and
// does so. Its exit code tells whether it did what it was asked.
func TestSignals(t *testing.T) {
	hearHangups()
	for _, test := range []struct {
		args []string
		code int // beside that of the signal
	}{{[]string{"token"}, 128}, {[]string{"renew"}, 0}, {[]string{"renew", "--now"}, 0}, {[]string{"exec", "--", "true"}, 128}, {[]string{"run"}, 0}} {
		for _, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP} {
			o := adopted(t)
			o.due(day)
			o.server.FailOperation("renewToken", 1, espertest.Fault{Delay: 2 * time.Second})
			s := o.begin(test.args...)
			eventually(t, "the renewal begins", func() bool { return o.posts() == 1 })
			for n := range 2 {
				must(t, s.cmd.Process.Signal(signal))
				eventually(t, "it says that it finishes the renewal", func() bool { return strings.Count(s.text(), "is finished first") > n })
			}
			want := test.code
			if want > 0 {
				want += int(signal)
			}
			if code := s.end(); code != want {
				t.Errorf("%q ended with %d after %v, not with %d: %s", test.args, code, signal, want, s.text())
			}
			if !strings.Contains(read(o.path()), o.server.Token()) {
				t.Errorf("%q, %v: the new key is not stored", test.args, signal)
			}
			o.token()
		}
	}
}

// TestPipeWithoutEnd: a signal ends adopt and run while they wait for a key from a pipe.
func TestPipeWithoutEnd(t *testing.T) {
	hearHangups()
	o := newOperator(t)
	pipe := filepath.Join(o.folder, "pipe")
	must(t, syscall.Mkfifo(pipe, 0o600))
	silent, writer, err := os.Pipe()
	must(t, err)
	defer func() { _, _ = silent.Close(), writer.Close() }()
	for _, args := range [][]string{{"adopt"}, {"adopt", "--key-file", pipe}, {"run", "--key-file", pipe}} {
		var printed strings.Builder
		code := -1
		for wait := time.Second; code == -1 && wait < time.Minute; wait *= 4 { // -1: it had not started, and died of the signal
			cmd := o.command(args...)
			cmd.Stdin, cmd.Stderr = silent, &printed
			must(t, cmd.Start())
			time.Sleep(wait)
			must(t, cmd.Process.Signal(syscall.SIGTERM))
			bound := time.AfterFunc(10*time.Second, func() { _ = cmd.Process.Kill() })
			_ = cmd.Wait()
			bound.Stop()
			code = cmd.ProcessState.ExitCode()
		}
		if code != 128+int(syscall.SIGTERM) || !strings.Contains(printed.String(), "stopped by a signal") {
			t.Errorf("%q ended with %d: %s", args, code, printed.String())
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
	cmd := o.command("exec", "--", "sh", "-c", `echo $$ >pid; trap "echo caught >caught; exit 3" TERM; while :; do sleep 0.05; done`)
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
	input := o.command("adopt")
	input.Stdin = strings.NewReader(canary)
	o.server.Fail(2, espertest.Fault{Delay: 500 * time.Millisecond})
	if err := input.Start(); err != nil {
		t.Fatal(err)
	}
	seen := watch(t, input, canary)
	if err := input.Wait(); err != nil {
		t.Fatal(err)
	}
	if seen() != "" {
		t.Errorf("the key is in %s of adopt", seen())
	}
	file := filepath.Join(o.folder, "token")
	s := o.start("--write-token", file, "--listen", ":0")
	s.get("/metrics")
	if where := seesKey(s.cmd, canary); where != "" {
		t.Errorf("the key is in %s of run", where)
	}
	for _, fault := range []espertest.Fault{
		{Status: 500, Body: canary},
		{Status: 200, Body: `{"token":"` + canary + `"}`},
		{Status: 401, Body: `{"message":"` + canary + `"}`},
		{Status: 400, Body: `{"errors":["` + canary + `"]}`},
		{Body: canary},
		{Reset: espertest.InBody},
		{Status: 302, Body: canary},
	} {
		for _, args := range [][]string{{"show"}, {"show", "-o", "json"}, {"check"}, {"check", "-o", "json"}, {"renew", "--now"}} {
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

// watch looks for the key again and again in what ps shows of a process. The function that it returns ends that, and
// says where the key was.
func watch(t *testing.T, cmd *exec.Cmd, key string) (seen func() string) {
	t.Helper()
	where, ended := "", make(chan struct{})
	stop := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			if found := seesKey(cmd, key); found != "" {
				where = found
			}
			select {
			case <-stop:
				return
			case <-time.After(5 * time.Millisecond):
			}
		}
	}()
	return sync.OnceValue(func() string { close(stop); <-ended; return where })
}

// seesKey looks for the key in what ps shows of a process: its arguments, and to its owner its environment.
func seesKey(cmd *exec.Cmd, key string) (where string) {
	for _, name := range []string{"cmdline", "environ"} {
		data, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(cmd.Process.Pid), name))
		if err == nil && strings.Contains(string(data), key) {
			return name
		}
	}
	return ""
}
