package main

import (
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/esper-go/esper-go/pkg/esper/espertest"
	"github.com/esper-go/esper-go/pkg/esper/renew"
	"github.com/esper-go/esper-go/pkg/internal/processes"
)

// actEnv is the variable with which the test program runs as esper-key.
const actEnv = "ESPER_KEY_TEST_ACT"

func TestMain(m *testing.M) {
	if os.Getenv(actEnv) != "" {
		main()
	}
	os.Exit(m.Run())
}

const day = 24 * time.Hour

// operator runs commands against a fake server, with a store.
type operator struct {
	t       *testing.T
	server  *espertest.Server
	folder  string
	store   string
	env     []string        // variables that each command gets as well
	inside  func(*exec.Cmd) // has a command run elsewhere, as another user
	root    string          // what is the root there
	log     io.Writer       // gets the log of run, if it is not nil
	printed text            // must hold no key
}

// text is what is being written. It can be read meanwhile.
type text struct {
	mu  sync.Mutex
	all strings.Builder
}

func (t *text) Write(more []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.all.Write(more)
}

func (t *text) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.all.String()
}

// newOperator returns an operator with a new server, and an empty store in a file. At the end, the test fails if
// commands printed a key, or a name of Go.
func newOperator(t *testing.T, opts ...espertest.Option) *operator {
	t.Helper()
	o := &operator{t: t, folder: t.TempDir(), server: espertest.NewServer(t, opts...)}
	o.store = (&url.URL{Scheme: "file", Path: filepath.ToSlash(o.path())}).String()
	t.Cleanup(o.lookForKeys)
	return o
}

// adopted returns an operator whose store has the server's key.
func adopted(t *testing.T, opts ...espertest.Option) *operator {
	t.Helper()
	o := newOperator(t, opts...)
	o.input(o.server.Token(), "adopt").wants(0)
	return o
}

func (o *operator) path() string { return filepath.Join(o.folder, "store", "key.json") }

// at returns the path of a file in the operator's folder.
func (o *operator) at(name string) string { return filepath.Join(o.folder, name) }

// command prepares a command, in a process of its own.
func (o *operator) command(args ...string) *exec.Cmd {
	o.t.Helper()
	program, err := os.Executable()
	must(o.t, err)
	return o.prepare(exec.CommandContext(o.t.Context(), program, args...))
}

// prepare has a program run in the operator's folder, with the settings of commands.
func (o *operator) prepare(cmd *exec.Cmd) *exec.Cmd {
	cmd.Dir = o.folder
	own := []string{keyVariable + "=", storeVariable + "=" + o.store, environmentVariable + "=" + o.server.URL, actEnv + "=1"}
	cmd.Env = slices.Concat(os.Environ(), cmd.Env, own, o.env)
	if o.inside != nil {
		o.inside(cmd)
	}
	return cmd
}

// process is a command that runs, or has run.
type process struct {
	o        *operator
	args     []string
	cmd      *exec.Cmd
	out, log text // what it has printed so far
	ended    chan struct{}

	address string // of --listen
	client  *http.Client

	stdout, stderr string // what it has printed in all
	code           int    // -1 if a signal ended it
}

// begin starts a command.
func (o *operator) begin(cmd *exec.Cmd) *process {
	o.t.Helper()
	p := &process{o: o, args: cmd.Args[1:], cmd: cmd, ended: make(chan struct{})}
	p.cmd.Stdout = &p.out
	if p.cmd.Stderr == nil {
		p.cmd.Stderr = &p.log
	}
	p.cmd.WaitDelay = time.Minute // for what the program of --on-renew has left
	must(o.t, p.cmd.Start())
	go func() {
		defer close(p.ended)
		_ = p.cmd.Wait() // an error says what the exit code says
	}()
	o.t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		<-p.ended
	})
	return p
}

// end waits for the end. Only token and exec may print a key on standard output.
func (p *process) end() *process {
	p.o.t.Helper()
	<-p.ended
	p.stdout, p.stderr, p.code = p.out.String(), p.log.String(), p.cmd.ProcessState.ExitCode()
	if p.o.remember(p.stderr); len(p.args) == 0 || p.args[0] != "token" && p.args[0] != "exec" {
		p.o.remember(p.stdout)
	}
	return p.lacks("DATA RACE").lacks("panic:")
}

// signal sends a signal.
func (p *process) signal(s os.Signal) *process {
	p.o.t.Helper()
	must(p.o.t, p.cmd.Process.Signal(s))
	return p
}

// says waits until the log has a text.
func (p *process) says(part string) {
	p.o.t.Helper()
	defer func() {
		if p.o.t.Failed() {
			p.o.t.Log(p.log.String())
		}
	}()
	eventually(p.o.t, "the log has "+part, func() bool { return strings.Contains(p.log.String(), part) })
}

// run runs a command to its end.
func (o *operator) run(args ...string) *process { return o.input("", args...) }

// input runs a command with a text on its standard input.
func (o *operator) input(input string, args ...string) *process {
	o.t.Helper()
	cmd := o.command(args...)
	cmd.Stdin = strings.NewReader(input)
	return o.begin(cmd).end()
}

// wants checks the exit code, and that the output has these texts. If the command failed, its error is one line.
func (p *process) wants(code int, parts ...string) *process {
	p.o.t.Helper()
	if p.code != code {
		p.o.t.Errorf("%q ended with %d, not %d:\n%s%s", p.args, p.code, code, p.stdout, p.stderr)
	}
	for _, part := range parts {
		if !strings.Contains(p.stdout+p.stderr, part) {
			p.o.t.Errorf("%q does not say %q:\n%s%s", p.args, part, p.stdout, p.stderr)
		}
	}
	if lines := strings.Count(p.stderr, "\n"); code != 0 && lines > 1 {
		p.o.t.Errorf("%q prints more than one line of errors:\n%s", p.args, p.stderr)
	}
	return p
}

// prints fails the test unless the command printed this on standard output.
func (p *process) prints(text string) *process {
	p.o.t.Helper()
	if p.stdout != text {
		p.o.t.Errorf("%q prints %q on standard output, want %q; %s", p.args, p.stdout, text, p.stderr)
	}
	return p
}

// lacks fails the test if the command printed a text.
func (p *process) lacks(part string) *process {
	p.o.t.Helper()
	if strings.Contains(p.stdout+p.stderr, part) {
		p.o.t.Errorf("%q prints %q: %s%s", p.args, part, p.stdout, p.stderr)
	}
	return p
}

// remember keeps a text that must hold no key.
func (o *operator) remember(text string) { _, _ = io.WriteString(&o.printed, text) }

// lookForKeys fails the test if a key that the server was sent or has made, or a name of Go, is in what commands printed.
func (o *operator) lookForKeys() {
	printed, keys := o.printed.String(), []string{o.server.Token()}
	for _, r := range o.server.Requests() {
		if key := r.Key.Reveal(); len(key) > len("fake") {
			keys = append(keys, key)
		}
	}
	for _, key := range keys {
		if processes.Holds(printed, key) {
			o.t.Errorf("the key was printed:\n%s", printed)
		}
	}
	if name := namesOfGo().FindString(printed); name != "" {
		o.t.Errorf("commands printed %q, a name of Go:\n%s", name, printed)
	}
}

// set sets a field of the document in the store; nil removes it.
func (o *operator) set(name string, value any) {
	o.t.Helper()
	var d map[string]any
	must(o.t, json.Unmarshal([]byte(o.document()), &d))
	if d[name] = value; value == nil {
		delete(d, name)
	}
	data, err := json.Marshal(d)
	must(o.t, err)
	o.restore(string(data))
}

// begun is a renewal that another process has begun.
func begun() map[string]any {
	return map[string]any{"id": "another", "begun_at": time.Now(), "until": time.Now().Add(time.Minute)}
}

// document returns the document in the store.
func (o *operator) document() string {
	o.t.Helper()
	store, closeStore, err := openAt(o.outside(), true)
	must(o.t, err)
	defer closeStore()
	data, _, err := store.Load(o.t.Context())
	must(o.t, err)
	return string(data)
}

// restore replaces the document in the store.
func (o *operator) restore(document string) {
	o.t.Helper()
	store, closeStore, err := openAt(o.outside(), false)
	must(o.t, err)
	defer closeStore()
	_, version, err := store.Load(o.t.Context())
	must(o.t, err)
	_, err = store.Save(o.t.Context(), []byte(document), version)
	must(o.t, err)
}

// outside returns the URL of the store for this process.
func (o *operator) outside() string { return strings.Replace(o.store, ":///", "://"+o.root+"/", 1) }

// due changes the times in the document: the key is due for a renewal, and ends after left.
func (o *operator) due(left time.Duration) {
	o.t.Helper()
	o.set("issued_at", time.Now().Add(-80*day))
	o.set("expires_at", time.Now().Add(left))
	o.set("renewed_at", nil)
}

// posts counts the renewals that the server got.
func (o *operator) posts() int { return processes.Posts(o.server) }

// token runs `esper-key token`, and fails the test unless that prints the newest key of the server.
func (o *operator) token() {
	o.t.Helper()
	o.run("token").wants(0).prints(o.server.Token() + "\n")
}

// eventually waits until another process has made a condition true. The test fails if that takes too long.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	const patience = 150 * time.Second // to renew a key and to save it takes 90 seconds at most; the store is read after a minute
	for over := time.Now().Add(patience); !is(); <-time.After(20 * time.Millisecond) {
		if time.Now().After(over) {
			t.Fatalf("this did not happen in time: %s", what)
		}
	}
}

// openAt opens the store that a URL names.
func openAt(address string, readOnly bool) (store renew.Store, closeStore func(), err error) {
	a := &app{readOnly: readOnly, warn: func(string) {}}
	store, err = a.openStore(address)
	return store, a.closeStore, err
}

func must(t *testing.T, err error, out ...any) {
	t.Helper()
	if err != nil {
		t.Fatal(append([]any{err}, out...)...)
	}
}

func read(path string) string {
	data, _ := os.ReadFile(path)
	return string(data)
}

func write(t *testing.T, path, text string) {
	t.Helper()
	must(t, os.WriteFile(path, []byte(text), 0o600))
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// script writes a shell program, which runs in the operator's folder.
func (o *operator) script(name, text string) (path string) {
	o.t.Helper()
	path = o.at(name)
	write(o.t, path, "#!/bin/sh\n"+text)
	must(o.t, os.Chmod(path, 0o700))
	return path
}
