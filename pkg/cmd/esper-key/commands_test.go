package main

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/esper-go/esper-go/pkg/esper/espertest"
)

// TestAdoptReads: adopt reads the key as editors, shells and people write it.
func TestAdoptReads(t *testing.T) {
	t.Parallel()
	o := newOperator(t)
	file := filepath.Join(o.folder, "key")
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
		if o.token(); t.Failed() {
			t.Fatal(name)
		}
		write(t, file, as(o.server.NewKey()))
		o.run("adopt", "--key-file", file).wants(0)
		o.token()
	}
	o.env = []string{keyVariable + "=\ufeff" + o.server.NewKey() + " \r"}
	r, w, err := os.Pipe() // which stays open, as in a script's loop
	must(t, err)
	_, err = w.WriteString("of somebody else")
	must(t, err)
	cmd := o.command("adopt")
	cmd.Stdin = r
	o.end(cmd).wants(0, "it came from ESPER_API_KEY")
	must(t, w.Close())
	if left, err := io.ReadAll(r); err != nil || string(left) != "of somebody else" {
		t.Errorf("%q, %v is left of standard input, want all", left, err)
	}
	o.token()
	o.input(o.server.NewKey(), "adopt", "--key-file", "-").wants(0, "from standard input")
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestAdoptRefuses: adopt refuses what is not a key of this tenant, does not print it, and stores nothing.
func TestAdoptRefuses(t *testing.T) {
	t.Parallel()
	o := newOperator(t)
	key := "MadeUpKeyMadeUpKeyMadeUpKeyM02"
	for name, test := range map[string]struct {
		input string
		args  []string
		code  int
		text  string
	}{
		"nothing":               {"", nil, exitUsage, "standard input is empty"},
		"blanks":                {" \n", nil, exitUsage, "standard input is empty"},
		"another tenant's key":  {key, nil, exitPerson, "the key from standard input was not adopted, and nothing was changed"},
		"a long text":           {strings.Repeat("x", 100_000), nil, exitFailed, "too long"},
		"an argument":           {"", []string{key}, exitUsage, "takes no key as an argument"},
		"a reference":           {"@Microsoft.KeyVault(SecretUri=https://v)", nil, exitUsage, "not resolved"},
		"a file that is gone":   {"", []string{"--key-file", filepath.Join("no", "file")}, exitFailed, "no such file"},
		"a file that is a key":  {"", []string{"--key-file", key}, exitUsage, "looks like a key"},
		"a flag that is a key":  {"", []string{"--" + key}, exitUsage, "unknown flag"},
		"a key and an argument": {key, []string{"now"}, exitUsage, "argument"},
	} {
		r := o.input(test.input, append([]string{"adopt"}, test.args...)...).wants(test.code, test.text).silent()
		if strings.Contains(r.stderr, key) {
			t.Errorf("%s: the key is printed: %s", name, r.stderr)
		}
	}
	for _, argument := range []string{key, "postgres://u:" + key + "@host/db"} {
		if r := o.run(argument).wants(exitUsage, "is no command"); strings.Contains(r.stderr, key[:5]) {
			t.Errorf("the key is printed: %s", r.stderr)
		}
	}
	o.run("adpot").wants(exitUsage, "adpot is no command")
	o.server.Close()
	o.input(key, "adopt").wants(exitFailed, "refused")
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
	must(t, os.Chmod(o.path(), 0o644)) // of Windows' files nothing is said
	if r := o.input(first, "adopt").wants(0); runtime.GOOS != "windows" && !strings.Contains(r.stderr, "warning: ") {
		t.Errorf("adopt says nothing of a file that others can read: %q", r.stderr)
	}
	must(t, os.Chmod(o.path(), 0o600))
	o.server.Revoke()
	key := o.server.NewKey()
	if r := o.input(key, "adopt").wants(0, "stored and in use"); strings.Contains(r.stderr, "warning") {
		t.Errorf("adopt warns of what it is there for: %q", r.stderr)
	}
	o.token()
	o.input("another-key-that-is-refused", "adopt").wants(exitPerson, "nothing was changed")
	o.token()
	o.server.Revoke()
	o.input(key, "adopt").wants(exitPerson, "the key is stored, but", "401").silent()
}

// TestShow: show says whose key this is and when it ends, and never shows the key.
func TestShow(t *testing.T) {
	t.Parallel()
	o := adopted(t)
	o.run("show").wants(0, "bindya", "570", o.server.URL, "stored in", "scopes      read write", "in 89 days")
	o.server.FailOperation("getTokenInfo", 1, espertest.Fault{Body: `{"id":1,"user":"\u001b[31mbindya","enterprise":"e"}`})
	if r := o.run("show").wants(0, "bindya"); strings.Contains(r.stdout, "\x1b") {
		t.Errorf("show makes the terminal obey: %q", r.stdout)
	}
	var fields map[string]any
	must(t, json.Unmarshal([]byte(o.run("show", "-o", "json").wants(0).stdout), &fields))
	for _, name := range []string{"server", "store", "id", "user", "enterprise_id", "developer_app_id", "scopes", "issued_at", "expires_at", "serial"} {
		if fields[name] == nil {
			t.Errorf("%s is missing in %v", name, fields)
		}
	}
	o.due(day) // even then, show writes and renews nothing
	before := read(o.path())
	o.run("show").wants(0)
	if read(o.path()) != before || o.posts() != 0 {
		t.Error("show changed the file, or renewed the key")
	}
	o.server.FailOperation("getTokenInfo", 1, espertest.Fault{Status: 403})
	o.run("show").wants(exitPerson, "403").silent()
	o.server.Revoke()
	o.run("show").wants(exitPerson, "401").silent()
}

// TestTokenOffline: token needs no server while the key is not due, and prints a valid key even if its renewal fails.
func TestTokenOffline(t *testing.T) {
	t.Parallel()
	o := adopted(t)
	key, n := o.server.Token(), len(o.server.Requests())
	o.token()
	if len(o.server.Requests()) != n {
		t.Error("token asked the server")
	}
	o.server.Close()
	if r := o.run("token").wants(0); r.stdout != key+"\n" || r.stderr != "" {
		t.Errorf("token prints %q, %q, want the key alone", r.stdout, r.stderr)
	}
	o.due(day)
	if r := o.run("token").wants(0, "warning: the key, which ends on", "was not renewed or checked"); r.stdout != key+"\n" {
		t.Errorf("token prints %q, want the old key", r.stdout)
	}
	o.edit(func(d map[string]any) {
		d["attempt"] = map[string]any{"id": "another", "begun_at": time.Now(), "until": time.Now().Add(time.Minute)}
	})
	if r := o.run("token").wants(0, "warning: the key, which ends on", "another process has begun to renew it"); r.stdout != key+"\n" {
		t.Errorf("token prints %q, want the old key", r.stdout)
	}
	o.edit(func(d map[string]any) { delete(d, "attempt") })
	o.due(-time.Minute)
	o.run("token").wants(exitFailed, "expired").silent()
}

// TestReadOnly: token and exec with --read-only hand out a key that is due, and renew nothing.
func TestReadOnly(t *testing.T) {
	t.Parallel()
	o := adopted(t)
	o.due(day)
	for _, args := range [][]string{{"token", "--read-only"}, {"exec", "--read-only", "--", "env"}} {
		if r := o.run(args...).wants(0); !strings.Contains(r.stdout, o.server.Token()) || o.posts() != 0 {
			t.Errorf("%q prints %q after %d renewals, want the key and no renewal", args, r.stdout, o.posts())
		}
	}
}

// TestExecAsksFirst: if the store says that Esper refused the key, exec asks Esper first, and hands out no key that it
// refuses again; token with --read-only neither.
func TestExecAsksFirst(t *testing.T) {
	t.Parallel()
	o := adopted(t)
	note := func() { o.edit(func(d map[string]any) { d["refused_at"] = time.Now().Add(-time.Second) }) }
	note()
	o.run("exec", "--", "true").wants(0)
	note()
	o.server.FailOperation("getTokenInfo", 1, espertest.Fault{Status: 403})
	o.run("token").wants(exitPerson, "403").silent()
	o.server.Revoke()
	note()
	o.run("exec", "--", "env").wants(execFailed, "401").silent()
	o.run("token", "--read-only").wants(exitPerson, "401").silent()
}

// TestRenew runs renew as cron does.
func TestRenew(t *testing.T) {
	t.Parallel()
	o := adopted(t)
	o.run("renew").wants(0, "is not due")
	o.due(day)
	o.run("renew").wants(0, "was renewed", "89 days")
	o.run("renew").wants(0, "is not due", "89 days")
	o.due(day)
	o.server.FailOperation("renewToken", 1, espertest.Fault{Status: 503})
	o.run("renew").wants(exitFailed, "503").silent()
	o.edit(func(d map[string]any) { delete(d, "attempt") })
	o.server.FailOperation("renewToken", 1, espertest.Fault{Status: 403})
	o.run("renew").wants(exitPerson, "403").silent()
	if got := o.posts(); got != 3 {
		t.Errorf("%d renewals, want 3", got)
	}
}

// TestUsage: for each mistake a command prints one line, exits with the code for usage, and sends nothing.
func TestUsage(t *testing.T) {
	t.Parallel()
	o := adopted(t)
	n := len(o.server.Requests())
	for _, line := range []string{
		"nonsense", "help nosuch", "help show nosuch", "token --nonsense", "token more", "show -o yaml", "renew --now=perhaps",
		"token --environment=", "token --environment foo-api", "token --store=", "token --store key.json", "token --store file:///$HOME/key.json",
		"token --store '" + o.store + "'", "token --store " + o.store + "?mode=0777", "run --log-format xml", "run --listen 9464",
		"run --write-token " + o.folder, "run --write-token-mode rw", "run --write-token token --write-token-mode 0666",
		"run --write-token token --write-token-mode 0644", "run --on-renew no-such-program",
	} {
		o.run(strings.Fields(line)...).wants(exitUsage).silent()
	}
	o.run("token", "--store", o.store+" \n", "--environment", o.server.URL+"\r").wants(0)
	o.env = []string{environmentVariable + "=\ufeff" + o.server.URL + " \r", viaVariable + "=renew-token\r", storeVariable + "=\t" + o.store}
	o.run("token").wants(0)
	o.run("help", "show").wants(0, "esper-key show [flags]")
	o.env = nil
	o.run("check", "--nonsense").wants(stateUnknown)
	o.run("check", "--warn", "1d", "--critical", "2d").wants(stateUnknown, "--warn")
	o.run("check", "-t", "0").wants(stateUnknown, "--timeout")
	o.run("exec").wants(execFailed, "no program is given")
	if len(o.server.Requests()) != n {
		t.Error("a request was sent")
	}
	o.run("--version").wants(0, "esper-key version ")
}

// TestCheck brings about each state that a monitoring plugin reports.
func TestCheck(t *testing.T) {
	t.Parallel()
	o := newOperator(t)
	o.run("check").wants(stateCritical, "there is no key yet")
	o.input(o.server.Token(), "adopt").wants(0)
	r := o.run("check").wants(stateOK, "ESPER KEY OK - the key ends on", " | seconds_to_end=77", "s;864000:;259200:")
	if strings.Count(r.stdout, "\n") != 1 || strings.Count(r.stdout, "|") != 1 {
		t.Errorf("%q, want one line with performance data", r.stdout)
	}
	o.run("check", "-w", "91d").wants(stateWarning, "WARNING")
	o.run("check", "-w", "91d", "-c", "13w").wants(stateCritical, "CRITICAL")
	o.edit(func(d map[string]any) {
		d["attempt"] = map[string]any{"id": "another", "begun_at": time.Now(), "until": time.Now().Add(time.Minute)}
	})
	o.run("check").wants(stateWarning, "WARNING", "its outcome is unknown")
	o.edit(func(d map[string]any) { delete(d, "attempt") })
	before := read(o.path())
	o.server.Fail(1, espertest.Fault{Status: 403})
	o.run("check").wants(stateCritical, "403")
	o.server.Fail(10, espertest.Fault{Delay: time.Minute})
	o.run("check", "-t", "1").wants(stateUnknown, "cannot be checked", "the key ends on")
	o.server.Close()
	o.run("check", "-t", "3s").wants(stateUnknown, "cannot be checked")
	o.run("check", "-t", "3s", "-w", "91d").wants(stateWarning, "cannot be checked", "refused")
	if read(o.path()) != before {
		t.Error("check changed the store")
	}
	o.due(-time.Second)
	o.run("check", "-t", "3s").wants(stateCritical, "ended on", "cannot be checked")
	write(t, o.path(), "no document")
	o.run("check").wants(stateUnknown, "no key document")
}

// TestCheckSecret: a Secret that can keep no new key is a warning, although the key in it is good.
func TestCheckSecret(t *testing.T) {
	t.Parallel()
	o := adopted(t)
	secrets := map[string]string{"good": "}", "immutable": `},"immutable":true`, "going": `,"deletionTimestamp":"2026-01-01T00:00:00Z"}`}
	cluster := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = fmt.Fprintf(w, `{"kind":"Secret","apiVersion":"v1","metadata":{"name":"s","resourceVersion":"1"%s,"data":{"key.json":%q}}`,
			secrets[path.Base(r.URL.Path)], base64.StdEncoding.EncodeToString([]byte(read(o.path()))))
	}))
	t.Cleanup(cluster.Close)
	config := filepath.Join(o.folder, "kubeconfig")
	write(t, config, `{"apiVersion":"v1","kind":"Config","current-context":"a","contexts":[{"name":"a","context":{"cluster":"a"}}],
		"clusters":[{"name":"a","cluster":{"server":"`+cluster.URL+`"}}]}`)
	o.env = []string{"KUBECONFIG=" + config}
	for _, test := range []struct {
		name, text string
		code       int
	}{{"good", "the key ends on", stateOK}, {"immutable", "it is immutable", stateWarning}, {"going", "it is being deleted", stateWarning}} {
		if r := o.run("check", "--store", "kubernetes://n/"+test.name).wants(test.code, test.text); strings.Count(r.stdout, "\n") != 1 || r.stderr != "" {
			t.Errorf("%q and %q, want one line with all of it", r.stdout, r.stderr)
		}
	}
}
