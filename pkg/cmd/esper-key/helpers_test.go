package main

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/esper-go/esper-go/pkg/esper/espertest"
	"github.com/esper-go/esper-go/pkg/esper/renew"
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
	t      *testing.T
	server *espertest.Server
	folder string
	store  string
	env    []string        // variables that each command gets as well
	inside func(*exec.Cmd) // has a command run elsewhere, as another user
	root   string          // what is the root there

	mu      sync.Mutex
	printed bytes.Buffer // what commands printed; must hold no key
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

// result is what a command printed, and its exit code.
type result struct {
	t              *testing.T
	args           []string
	stdout, stderr string
	code           int
}

// command prepares a command, in a process of its own.
func (o *operator) command(args ...string) *exec.Cmd {
	o.t.Helper()
	program, err := os.Executable()
	if err != nil {
		o.t.Fatal(err)
	}
	cmd := exec.CommandContext(o.t.Context(), program, args...)
	cmd.Dir = o.folder
	cmd.Env = append(os.Environ(), keyVariable+"=", storeVariable+"="+o.store, environmentVariable+"="+o.server.URL, actEnv+"=1")
	cmd.Env = append(cmd.Env, o.env...)
	if o.inside != nil {
		o.inside(cmd)
	}
	return cmd
}

// run runs a command to its end.
func (o *operator) run(args ...string) *result { return o.input("", args...) }

// input runs a command with a text on its standard input.
func (o *operator) input(input string, args ...string) *result {
	o.t.Helper()
	cmd := o.command(args...)
	cmd.Stdin = strings.NewReader(input)
	return o.end(cmd)
}

// end runs cmd to its end. Only token and exec may print a key on standard output.
func (o *operator) end(cmd *exec.Cmd) *result {
	o.t.Helper()
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	var ended *exec.ExitError
	if err != nil && !errors.As(err, &ended) {
		o.t.Fatal(err)
	}
	r := &result{o.t, cmd.Args[1:], stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()}
	o.remember(r.stderr)
	if len(r.args) > 0 && r.args[0] != "token" && r.args[0] != "exec" {
		o.remember(r.stdout)
	}
	if strings.Contains(r.stderr, "DATA RACE") || strings.Contains(r.stderr, "panic:") {
		o.t.Errorf("%q: %s", r.args, r.stderr)
	}
	return r
}

// remember keeps a text that must hold no key.
func (o *operator) remember(text string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.printed.WriteString(text)
}

// wants checks the exit code, and that the output has these texts. If the command failed, its error is one line.
func (r *result) wants(code int, parts ...string) *result {
	r.t.Helper()
	if r.code != code {
		r.t.Errorf("%q ended with %d, not %d:\n%s%s", r.args, r.code, code, r.stdout, r.stderr)
	}
	for _, part := range parts {
		if !strings.Contains(r.stdout+r.stderr, part) {
			r.t.Errorf("%q does not say %q:\n%s%s", r.args, part, r.stdout, r.stderr)
		}
	}
	if lines := strings.Count(r.stderr, "\n"); code != 0 && lines > 1 {
		r.t.Errorf("%q prints more than one line of errors:\n%s", r.args, r.stderr)
	}
	return r
}

// silent fails the test if the command printed anything on standard output.
func (r *result) silent() *result {
	r.t.Helper()
	if r.stdout != "" {
		r.t.Errorf("%q prints %q on standard output, want nothing", r.args, r.stdout)
	}
	return r
}

// lookForKeys fails the test if a key that the server was sent or has made, or a name of Go, is in what commands printed.
func (o *operator) lookForKeys() {
	o.mu.Lock()
	defer o.mu.Unlock()
	keys := []string{o.server.Token()}
	for _, r := range o.server.Requests() {
		if key := r.Key.Reveal(); len(key) > len("fake") {
			keys = append(keys, key)
		}
	}
	for _, key := range keys {
		if form := holds(o.printed.String(), key); form != "" {
			o.t.Errorf("the key was printed, as %q:\n%s", form, o.printed.String())
		}
	}
	if name := namesOfGo().FindString(o.printed.String()); name != "" {
		o.t.Errorf("commands printed %q, a name of Go:\n%s", name, o.printed.String())
	}
}

// holds returns the encoding in which a text has a key, or "".
func holds(text, key string) (form string) {
	for _, form := range []string{key, hex.EncodeToString([]byte(key)), strings.TrimRight(base64.StdEncoding.EncodeToString([]byte(key)), "="), url.QueryEscape(key)} {
		if strings.Contains(text, form) {
			return form
		}
	}
	return ""
}

// edit changes the document in the store.
func (o *operator) edit(change func(d map[string]any)) {
	o.t.Helper()
	var d map[string]any
	must(o.t, json.Unmarshal([]byte(o.document()), &d))
	change(d)
	data, err := json.Marshal(d)
	must(o.t, err)
	o.restore(string(data))
}

// document returns the document in the store.
func (o *operator) document() (document string) {
	o.t.Helper()
	o.with(func(store renew.Store) {
		data, _, err := store.Load(o.t.Context())
		must(o.t, err)
		document = string(data)
	})
	return document
}

// restore replaces the document in the store.
func (o *operator) restore(document string) {
	o.t.Helper()
	o.with(func(store renew.Store) {
		_, version, err := store.Load(o.t.Context())
		must(o.t, err)
		_, err = store.Save(o.t.Context(), []byte(document), version)
		must(o.t, err)
	})
}

// with opens the store that the commands use.
func (o *operator) with(f func(store renew.Store)) {
	o.t.Helper()
	store, closeStore, err := openAt(strings.Replace(o.store, ":///", "://"+o.root+"/", 1), false)
	must(o.t, err)
	defer closeStore()
	f(store)
}

// due edits the times in the document: the key is due for a renewal, and ends after left.
func (o *operator) due(left time.Duration) {
	o.t.Helper()
	o.edit(func(d map[string]any) {
		d["issued_at"], d["expires_at"] = time.Now().Add(-80*day), time.Now().Add(left)
		delete(d, "renewed_at")
	})
}

// posts counts the renewals that the server got.
func (o *operator) posts() (n int) {
	for _, r := range o.server.Requests() {
		if r.Method == http.MethodPost {
			n++
		}
	}
	return n
}

// token runs `esper-key token`, and fails the test unless that prints the newest key of the server.
func (o *operator) token() {
	o.t.Helper()
	r := o.run("token").wants(0)
	if r.stdout != o.server.Token()+"\n" {
		o.t.Errorf("token prints %q, which is not the newest key; %s", r.stdout, r.stderr)
	}
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

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// script writes a shell program, which runs in the operator's folder.
func (o *operator) script(name, text string) (path string) {
	o.t.Helper()
	path = filepath.Join(o.folder, name)
	write(o.t, path, "#!/bin/sh\n"+text)
	must(o.t, os.Chmod(path, 0o700))
	return path
}
