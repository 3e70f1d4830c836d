package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/esper-go/esper-go/pkg/esper/espertest"
)

// TestAdoptReads: adopt reads the key as editors, shells and people write it, and nothing from standard input if the key is
// in the environment.
func TestAdoptReads(t *testing.T) {
	t.Parallel()
	o := newOperator(t)
	for name, as := range map[string]func(key string) string{
		"a line end of Windows": func(key string) string { return key + "\r\n" },
		"no line end":           func(key string) string { return key },
		"blanks":                func(key string) string { return "  " + key + " \t\n\n" },
		"a byte order mark":     func(key string) string { return "\ufeff" + key + "\n" },
		"UTF-16": func(key string) string {
			return "\xff\xfe" + strings.Join(strings.Split(key+"\r\n", ""), "\x00") + "\x00"
		},
	} {
		o.input(as(o.server.NewKey()), "adopt").wants(0, "The key is stored and in use; it came from standard input")
		o.token()
		write(t, o.at("key"), as(o.server.NewKey()))
		o.run("adopt", "--key-file", o.at("key")).wants(0)
		if o.token(); t.Failed() {
			t.Fatal(name)
		}
	}
	o.env = []string{keyVariable + "=\ufeff" + o.server.NewKey() + " \r"}
	r, w, err := os.Pipe() // which stays open, as in a script's loop
	must(t, err)
	_, err = w.WriteString("of somebody else")
	must(t, err)
	cmd := o.command("adopt")
	cmd.Stdin = r
	o.begin(cmd).end().wants(0, "it came from ESPER_API_KEY")
	must(t, w.Close())
	if left, err := io.ReadAll(r); err != nil || string(left) != "of somebody else" {
		t.Errorf("%q, %v is left of standard input, want all", left, err)
	}
	o.token()
	o.input(o.server.NewKey(), "adopt", "--key-file", "-").wants(0, "from standard input")
}

// TestAdoptRefuses: adopt refuses what is not a key of this tenant, does not print it, and stores nothing.
func TestAdoptRefuses(t *testing.T) {
	t.Parallel()
	o := newOperator(t)
	const key = "MadeUpKeyMadeUpKeyMadeUpKeyM02"
	for _, test := range []struct {
		input, args string
		code        int
		text        string
	}{
		{"", "adopt", exitUsage, "standard input is empty"},
		{" \n", "adopt", exitUsage, "standard input is empty"},
		{key, "adopt", exitPerson, "the key from standard input was not adopted, and the store was not changed"}, // another tenant's
		{strings.Repeat("x", 100_000), "adopt", exitFailed, "too long"},
		{"@Microsoft.KeyVault(SecretUri=https://v)", "adopt", exitUsage, "not resolved"},
		{"", "adopt " + key, exitUsage, "takes no key as an argument"},
		{key, "adopt now", exitUsage, "argument"},
		{"", "adopt --key-file " + filepath.Join("no", "file"), exitFailed, "no such file"},
		{"", "adopt --key-file " + key, exitUsage, "looks like a key"},
		{"", "adopt --" + key, exitUsage, "unknown flag"},
		{"", key, exitUsage, "is no command"},
		{"", "postgres://u:" + key + "@host/db", exitUsage, "is no command"},
		{"", "adpot", exitUsage, "adpot is no command"},
	} {
		o.input(test.input, strings.Fields(test.args)...).wants(test.code, test.text).prints("").lacks(key[:5])
	}
	for status, code := range map[int]int{403: exitPerson, 404: exitFailed, 500: exitFailed} {
		o.server.Fail(4, espertest.Fault{Status: status, Body: `{"errors":["so"]}`})
		o.input(o.server.Token(), "adopt").wants(code, "the store was not changed: asking about the key: "+strconv.Itoa(status))
		o.server.Fail(0, espertest.Fault{})
	}
	o.server.Close()
	o.input(key, "adopt").wants(exitFailed, "the store was not changed: asking about the key: no answer", "refused")
	if exists(o.path()) {
		t.Error("adopt stored a key that it refused")
	}
}

// TestAdoptAgain adopts the same key again and again, as a deployment may. A key that was renewed or refused changes
// nothing.
func TestAdoptAgain(t *testing.T) {
	t.Parallel()
	o := adopted(t)
	first := o.server.Token()
	o.run("renew", "--now").wants(0)
	o.input(first, "adopt").wants(0, "replaced by a renewal")
	o.token()
	if runtime.GOOS != "windows" { // of whose files nothing is said
		must(t, os.Chmod(o.path(), 0o644))
		o.input(first, "adopt").wants(0, "warning: ", "other users can read it")
		must(t, os.Chmod(o.path(), 0o600))
	}
	o.server.Revoke()
	key := o.server.NewKey()
	o.input(key, "adopt").wants(0, "stored and in use").lacks("warning") // it is there to replace another key
	o.token()
	o.input("another-key-that-is-refused", "adopt").wants(exitPerson, "the store was not changed")
	o.token()
	o.server.Revoke()
	o.input(key, "adopt").wants(exitPerson, "the key is stored, but", "401").prints("")
}

// TestAdoptUncertain: a cluster fails once it may have stored the key. adopt does not say that nothing was stored.
func TestAdoptUncertain(t *testing.T) {
	t.Parallel()
	var stored atomic.Bool
	cluster := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		stored.CompareAndSwap(false, r.Method == http.MethodPost)
		w.WriteHeader(map[bool]int{true: http.StatusInternalServerError, false: http.StatusNotFound}[stored.Load()])
	}))
	t.Cleanup(cluster.Close)
	o := newOperator(t)
	o.env = []string{"KUBECONFIG=" + kubeconfig(t, cluster.URL)}
	p := o.input(o.server.Token(), "adopt", "--store", "kubernetes://n/s").wants(exitFailed, "the key from standard input", "writing the Secret")
	if !stored.Load() {
		t.Error("nothing was written")
	}
	p.lacks("the store was not changed")
}
