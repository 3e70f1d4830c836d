package main

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/esper-go/esper-go/pkg/esper/espertest"
)

// TestShow: show says whose key this is and when it ends, and never shows the key.
func TestShow(t *testing.T) {
	t.Parallel()
	o := adopted(t)
	o.run("show").wants(0, "bindya", "570", o.server.URL, "stored in", "scopes      read write", "\nends        on 20", "in 89 days")
	o.server.FailOperation("getTokenInfo", 1, espertest.Fault{Body: `{"id":1,"user":"\u001b[31mbindya","enterprise":"e"}`})
	o.run("show").wants(0, "bindya").lacks("\x1b") // which the terminal would obey
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
	o.run("show").wants(exitPerson, "403").prints("")
	o.server.Revoke()
	o.run("show").wants(exitPerson, "401").prints("")
}

// TestToken: token needs no server while the key is not due, and prints a valid key even if its renewal fails. With
// --read-only it prints a key that is due, and renews nothing; exec neither.
func TestToken(t *testing.T) {
	t.Parallel()
	o := adopted(t)
	key, n := o.server.Token()+"\n", len(o.server.Requests())
	o.token()
	if len(o.server.Requests()) != n {
		t.Error("token asked the server")
	}
	o.due(day)
	o.run("token", "--read-only").wants(0).prints(key)
	o.run("exec", "--read-only", "--", "env").wants(0, keyVariable+"="+key)
	if o.posts() != 0 {
		t.Error("a command with --read-only renewed the key")
	}
	o.due(80 * day)
	o.server.Close()
	if p := o.run("token").wants(0).prints(key); p.stderr != "" {
		t.Errorf("token prints %q beside the key", p.stderr)
	}
	o.due(day)
	o.run("token").wants(0, "warning: the key, which ends on", "was not renewed or checked").prints(key)
	o.set("attempt", begun())
	o.run("token").wants(0, "warning: the key, which ends on", "another process has begun to renew it").prints(key)
	o.set("attempt", nil)
	o.due(-time.Minute)
	o.run("token").wants(exitFailed, "expired").prints("")
}

// TestExecAsksFirst: if the store says that Esper refused the key, exec asks Esper first, and hands out no key that it
// refuses again; token with --read-only neither.
func TestExecAsksFirst(t *testing.T) {
	t.Parallel()
	o := adopted(t)
	note := func() { o.set("refused_at", time.Now().Add(-time.Second)) }
	note()
	o.run("exec", "--", "true").wants(0)
	note()
	o.server.FailOperation("getTokenInfo", 1, espertest.Fault{Status: 403})
	o.run("token").wants(exitPerson, "403").prints("")
	o.server.Revoke()
	note()
	o.run("exec", "--", "env").wants(execFailed, "401").prints("")
	o.run("token", "--read-only").wants(exitPerson, "401").prints("")
}

// TestRenew runs renew as cron does.
func TestRenew(t *testing.T) {
	t.Parallel()
	o := adopted(t)
	o.run("renew").wants(0, "is not due")
	o.due(day)
	o.run("renew").wants(0, "was renewed", "89 days")
	o.run("renew").wants(0, "is not due", "89 days")
	if got := o.posts(); got != 1 {
		t.Errorf("%d renewals, want 1", got)
	}
}

// TestRenewSaysWhatCame: the error says what came of the renewal, and of a question after it, and nothing twice.
func TestRenewSaysWhatCame(t *testing.T) {
	t.Parallel()
	const unknown = "esper-key: renewing the key: it is unknown whether the key was renewed; do not repeat the renewal"
	for _, test := range []struct {
		args   string
		always bool // the fault is that of each request, not only of the renewal
		fault  espertest.Fault
		code   int
		says   [2]string
	}{
		{"--now", true, espertest.Fault{Status: 403}, exitPerson, [2]string{"esper-key: renewing the key: nothing was renewed: 403"}},
		{"--now", true, espertest.Fault{Status: 401, Body: "<html>"}, exitFailed, [2]string{unknown, "login page; it says nothing about the key"}},
		{"--now", true, espertest.Fault{Status: 500}, exitFailed, [2]string{unknown, "and asking about the key: 500"}},
		{"--now", false, espertest.Fault{Status: 500, Handled: true}, exitPerson, [2]string{unknown, "and asking about the key: 401"}},
		{"", false, espertest.Fault{Status: 403}, exitPerson, [2]string{"esper-key: renewing the key: nothing was renewed: 403"}},
		{"", false, espertest.Fault{Status: 503}, exitFailed, [2]string{unknown, "503 Service Unavailable"}},
	} {
		o := adopted(t)
		if test.always {
			o.server.Fail(-1, test.fault)
		} else {
			o.server.FailOperation("renewToken", 1, test.fault)
		}
		if test.args == "" {
			o.due(day)
		}
		p := o.run(append([]string{"renew"}, strings.Fields(test.args)...)...).wants(test.code, test.says[:]...).prints("")
		said := map[string]bool{}
		for clause := range strings.SplitSeq(strings.NewReplacer("; and ", "; ", ": ", "; ").Replace(p.stderr), "; ") {
			if said[clause] {
				t.Errorf("it says %q twice: %s", clause, p.stderr)
			}
			said[clause] = true
		}
		if o.posts() != 1 {
			t.Errorf("%d renewals", o.posts())
		}
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
		if p := o.run(strings.Fields(line)...).wants(exitUsage).prints(""); !strings.HasPrefix(p.stderr, "esper-key: ") {
			t.Errorf("%s: %s", line, p.stderr)
		}
	}
	const modes = "disable, prefer, require, verify-ca and verify-full"
	o.run("token", "--store", "postgres://h/db?sslmode=verifyfully").wants(exitUsage, modes)
	o.run("token", "--store", "mysql://h/db?sslmode=require&tls=false").wants(exitUsage, "disagree about TLS")
	o.run("--help").wants(0, modes, "130", "143")
	o.run("token", "--store", o.store+" \n", "--environment", o.server.URL+"\r").wants(0)
	o.env = []string{environmentVariable + "=\ufeff" + o.server.URL + " \r", viaVariable + "=renew-token\r", storeVariable + "=\t" + o.store}
	o.run("token").wants(0)
	o.run("help", "show").wants(0, "esper-key show [flags]")
	o.env = nil
	for line, text := range map[string]string{ // of check, which has its line on standard output all the same
		"--nonsense": "unknown flag: --nonsense", "more": "takes no arguments", "-w 1.5d": `"1.5d" for "-w, --warn" flag: `, "-c 3": `"3" for "-c, --critical" flag: `,
		"-w 1d12h": "--warn is shorter than --critical, which is 3d", "-t 0": "--timeout has to be more", "-t soon": `"soon" for "-t, --timeout" flag: `,
	} {
		p := o.run(append([]string{"check"}, strings.Fields(line)...)...).wants(stateUnknown, text)
		if !strings.HasPrefix(p.stdout, "ESPER KEY UNKNOWN - ") || strings.Count(p.stdout, "\n") != 1 || p.stderr != "" {
			t.Errorf("check %s: %q and %q, want one line on standard output", line, p.stdout, p.stderr)
		}
	}
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
	o.set("attempt", begun())
	o.run("check").wants(stateWarning, "WARNING", "its outcome is unknown")
	o.set("attempt", nil)
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

// TestRunbookAsks: where the runbook has a person asked for a new key, that is only if the old one is no good.
func TestRunbookAsks(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "windows" {
		t.Skip("the runbook is for a shell")
	}
	line := regexp.MustCompile(`(?m)^esper-key check \|\| .*adopt$`).FindString(read("RUNBOOK.md"))
	if line == "" {
		t.Fatal("the runbook does not have this command any more")
	}
	o := adopted(t)
	program, err := os.Executable()
	must(t, err)
	asks := func(want bool) {
		t.Helper()
		cmd := o.prepare(exec.CommandContext(t.Context(), "sh", "-ec", strings.ReplaceAll(line, "esper-key", `"$0"`), program))
		cmd.Stdin = strings.NewReader(o.server.NewKey())
		if p := o.begin(cmd).end().wants(0); strings.Contains(p.stdout, "The key is stored") != want {
			t.Errorf("a new key is asked for: %v, want %v: %s", !want, want, p.stdout)
		}
	}
	asks(false)
	o.server.Fail(4, espertest.Fault{Status: 503}) // UNKNOWN
	asks(false)
	o.set("attempt", begun()) // WARNING
	asks(false)
	o.set("attempt", nil)
	o.server.Revoke()
	asks(true)
}

// TestNoDatabase: where a SQLite store should be, is nothing, or something else. The error names the file, and commands that
// are given no key make nothing.
func TestNoDatabase(t *testing.T) {
	t.Parallel()
	o := newOperator(t)
	write(t, o.at("text"), strings.Repeat("no database\n", 100))
	o.store = "sqlite://" + root(filepath.ToSlash(o.at("good")))
	o.input(o.server.Token(), "adopt").wants(0, o.at("good"))
	o.run("show").wants(0, o.at("good"))
	o.run("show", "--environment", "a/b").wants(exitUsage, "esper-key: invalid argument").lacks(o.at("good")) // it is not about the file
	o.input("another-key", "adopt", "--store", o.store+"?name=other").wants(exitPerson, "not changed: asking about the key: 401")
	write(t, o.at("half"), read(o.at("good"))[:5000])
	for name, text := range map[string]string{
		"none/keys": "does not exist; `esper-key adopt` makes it", "good?table=x": "`esper-key adopt` makes it",
		"text": "is no SQLite database; ", "half": "malformed",
	} {
		o.store = "sqlite://" + root(filepath.ToSlash(o.at(name)))
		file, _, _ := strings.Cut(o.at(name), "?")
		code := map[bool]int{true: exitFailed, false: exitPerson}[name == "text" || name == "half"]
		for _, command := range []string{"show", "token", "token --read-only", "renew", "renew --now", "run"} {
			p := o.run(strings.Fields(command)...).wants(code, text, file).prints("")
			if strings.Count(p.stderr, file) != 1 || exists(o.at("none")) {
				t.Errorf("%s: %s", command, p.stderr)
			}
		}
	}
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
	o.env = []string{"KUBECONFIG=" + kubeconfig(t, cluster.URL)}
	for name, text := range map[string]string{"good": "the key ends on", "immutable": "it is immutable", "going": "it is being deleted"} {
		want := map[bool]int{false: stateWarning}[name == "good"]
		if p := o.run("check", "--store", "kubernetes://n/"+name).wants(want, text); strings.Count(p.stdout, "\n") != 1 || p.stderr != "" {
			t.Errorf("%q and %q, want one line with all of it", p.stdout, p.stderr)
		}
	}
}

// kubeconfig returns the settings for a cluster.
func kubeconfig(t *testing.T, url string) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "kubeconfig")
	write(t, path, `{"apiVersion":"v1","kind":"Config","current-context":"a","contexts":[{"name":"a","context":{"cluster":"a","user":"a"}}],
		"clusters":[{"name":"a","cluster":{"server":"`+url+`"}}],"users":[{"name":"a","user":{"token":"secret-password"}}]}`)
	return path
}

// TestViaPersonalAccessToken renews a key through its personal access token, after Esper has retired renew-token and
// then TokenInfo.
func TestViaPersonalAccessToken(t *testing.T) {
	t.Parallel()
	o := adopted(t)
	o.run("show").wants(0, "renewable   via renew-token: yes", "renewable   via personal-access-token: yes")
	o.server.Retire(http.StatusGone)
	o.run("renew", "--now").wants(exitPerson, "the key cannot be renewed: ", "410 Gone", "--via personal-access-token")
	o.run("renew", "--now", "--via", "personal-access-token").wants(0, "was renewed")
	o.token()
	o.env = append(o.env, viaVariable+"=personal-access-token")
	o.server.Retire(http.StatusNotFound, "TokenInfo")
	o.run("renew", "--now").wants(0, "was renewed")
	o.run("show").wants(0, "renewable   via renew-token: unknown", "renewable   via personal-access-token: yes").lacks("scopes")
	o.run("check").wants(0)
	o.token()
	for _, command := range []string{"show", "check", "adopt"} { // in the old way, they name the new one
		o.input("another-key", command, "--via", "renew-token").wants(map[string]int{"check": stateUnknown, "show": exitFailed, "adopt": exitFailed}[command],
			"404", "if Esper has retired this endpoint", "--via personal-access-token")
	}
	o.run("show", "--via", "by-hand").wants(exitUsage, "neither renew-token nor personal-access-token")

	o = adopted(t)
	o.server.FailOperation("listPersonalAccessTokens", -1, espertest.Fault{Body: `{"personal_access_tokens": []}`})
	o.run("show").wants(0, "via personal-access-token: no: the key cannot be renewed: it belongs to none of the 0")
	o.run("show", "-o", "json").wants(0, `"personal-access-token": "no: `)
	o.run("renew", "--now", "--via", "personal-access-token").wants(exitPerson, "the key cannot be renewed: it belongs to none of the 0")
	o.token()
}
