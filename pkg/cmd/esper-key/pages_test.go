//go:build linux

package main

import (
	"cmp"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/esper-go/esper-go/pkg/esper/espertest"
	"github.com/esper-go/esper-go/pkg/internal/published"
)

// TestPages runs the commands of the pages for operators in order, with a store in a folder of the test: those of the
// README, and those of TOKENS.md with which an operator tries personal access tokens.
func TestPages(t *testing.T) {
	t.Parallel()
	for page, test := range map[string]struct {
		heading string
		changes [][2]string // each a text of the commands and its replacement
		retired bool        // Esper has retired renew-token
		shows   []string
	}{
		"../../../README.md": {
			heading: "\n## For operators",
			changes: [][2]string{
				{"go install github.com/esper-go/esper-go/pkg/cmd/esper-key@latest ", ": "}, // TestShip runs it
				{"file:///var/lib/esper-key/key.json", ""},
				{"esper-key run ", "esper-key run & sleep 1; kill -TERM $!; wait $! # "},
			},
			shows: []string{"\ntoken KEY\n"},
		},
		"../../esper/renew/TOKENS.md": {
			heading: "\n## Try it without risk", changes: [][2]string{{"file:///tmp/esper-trial/key.json", ""}}, retired: true,
			shows: []string{"renewable   via personal-access-token: yes", "was renewed"},
		},
	} {
		o := newOperator(t)
		if test.retired {
			o.server.Retire(http.StatusGone)
		}
		_, section, _ := strings.Cut(read(page), test.heading)
		_, block, _ := strings.Cut(section, "```sh\n")
		commands, _, _ := strings.Cut(block, "```")
		for _, change := range append(test.changes, [2]string{"ESPER_ENVIRONMENT=foo", "ESPER_ENVIRONMENT=" + o.server.URL}) {
			if strings.Count(commands, change[0]) != 1 {
				t.Fatalf("the commands of %s do not have %q once", page, change[0])
			}
			commands = strings.Replace(commands, change[0], cmp.Or(change[1], o.store), 1)
		}
		out := o.says(o.shell("bash", "-euc", commands+"\necho token ${TOKEN-}"), o.server.Token()+"\n")
		for _, part := range test.shows {
			if !strings.Contains(out, strings.ReplaceAll(part, "KEY", o.server.Token())) {
				t.Errorf("the commands of %s do not say %q: %s", page, part, out)
			}
		}
		o.token()
	}
}

func TestRunbook(t *testing.T) {
	t.Parallel()
	runbook(t, func(t *testing.T) *operator { return newOperator(t) })
}

// runbook brings about each situation of the runbook, pastes the commands of its section, with a new key on standard
// input, and checks that the situation is over.
func runbook(t *testing.T, fresh func(*testing.T) *operator) {
	t.Helper()
	situations := map[string]struct {
		file   bool                              // it happens to a file
		arises func(o *operator)                 // brings the situation about, and checks that it is there
		over   func(o *operator, printed string) // checks that it is over
	}{
		"The key is lost": {
			arises: func(o *operator) {
				o.set("refused_at", time.Now().Add(-13*time.Hour))
				o.server.Revoke()
				o.run("renew", "--now").wants(exitPerson)
				o.run("check").wants(stateCritical, "CRITICAL")
				o.run("token").wants(exitPerson, "the key is lost")
			},
		},
		"The key has leaked": {
			over: func(o *operator, printed string) {
				if !strings.Contains(printed, "\n401\n") || o.posts() != 1 {
					o.t.Errorf("the old key is not refused: %s", printed)
				}
			},
		},
		"The key ends tomorrow": {
			arises: func(o *operator) {
				o.due(day)
				o.run("check").wants(stateCritical, "in 23 hours")
			},
		},
		"The key was revoked": {
			arises: func(o *operator) {
				o.server.Revoke()
				o.run("check").wants(stateCritical, "401")
			},
		},
		"The new key is not saved": {
			file: true,
			arises: func(o *operator) {
				store, away := o.at("store"), o.at("away")
				o.due(day)
				o.server.FailOperation("renewToken", 1, espertest.Fault{Delay: 5 * time.Second})
				s := o.start()
				eventually(o.t, "the renewal begins", func() bool { return o.posts() == 1 })
				must(o.t, os.Rename(store, away))
				write(o.t, store, "in the way")
				s.says("saved=false")
				s.has("esper_key_saved 0")
				must(o.t, os.Remove(store)) // a person mends the store
				must(o.t, os.Rename(away, store))
				eventually(o.t, "the key is saved", func() bool { return strings.Contains(read(o.path()), o.server.Token()) })
			},
		},
		"The host moves": {
			arises: func(o *operator) {
				o.env = append(o.env, "NEW_STORE="+o.beside("file", "new/key.json"))
			},
			over: func(o *operator, _ string) { o.store = o.beside("file", "new/key.json") },
		},
		"Two hosts have one key": {
			arises: func(o *operator) {
				other := &operator{t: o.t, server: o.server, folder: o.folder, inside: o.inside, root: o.root, store: o.beside("file", "other/key.json")}
				other.input(o.server.Token(), "adopt").wants(0)
				o.run("renew", "--now").wants(0)
				other.run("check").wants(stateCritical, "another machine")
				o.env = append(o.env, "SHARED_STORE="+o.beside("sqlite", "shared.db"))
			},
			over: func(o *operator, _ string) { o.store = o.beside("sqlite", "shared.db") },
		},
		"esper-key is not running": {arises: func(o *operator) { o.due(day) }},
		"The key is not delivered": {
			arises: func(o *operator) {
				file := o.at("token")
				o.env = append(o.env, "WATCHDOG_USEC=400000", "WATCHDOG_PID=") // it tries again soon
				s := o.start("--write-token", strings.TrimPrefix(file, o.root))
				s.says("keeps the key renewed")
				must(o.t, os.Remove(file))
				must(o.t, os.Mkdir(file, 0o700))
				s.says("the key in use is not delivered")
				must(o.t, os.Remove(file)) // a person mends it
				eventually(o.t, "the key is delivered", func() bool { return read(file) == o.server.Token() })
			},
		},
		"The disk was restored from a backup": {
			arises: func(o *operator) {
				backup := o.document()
				o.run("renew", "--now").wants(0)
				o.restore(backup)
				o.run("check").wants(stateCritical)
			},
		},
	}
	sections := strings.Split(read("RUNBOOK.md"), "\n## ")[1:]
	if len(sections) != len(situations) {
		t.Errorf("the runbook has %d sections, this test %d situations", len(sections), len(situations))
	}
	for _, section := range sections {
		title, text, _ := strings.Cut(section, "\n")
		t.Run(title, func(t *testing.T) {
			situation, ok := situations[title]
			if !ok {
				t.Fatal("this test does not try the section")
			}
			o := fresh(t)
			if situation.file && !strings.HasPrefix(o.store, "file:") {
				return
			}
			if o.inside == nil {
				t.Parallel()
			}
			o.input(o.server.Token(), "adopt").wants(0)
			if situation.arises != nil {
				situation.arises(o)
			}
			commands := ""
			for _, block := range regexp.MustCompile("(?s)\n```sh\n(.*?)```\n").FindAllStringSubmatch(text, -1) {
				commands += block[1]
			}
			input := ""
			if strings.Contains(commands, "esper-key adopt\n") {
				input = o.server.NewKey() + "\n"
			}
			if out := o.says(o.pasted(commands), input); situation.over != nil {
				situation.over(o, out)
			}
			o.token()
		})
	}
}

// pasted prepares commands of the runbook. Where the package is installed, it begins with those of its first section.
func (o *operator) pasted(commands string) *exec.Cmd {
	strict := []string{"bash", "-euxo", "pipefail", "-c"}
	if o.inside == nil {
		return o.shell(append(strict, commands)...)
	}
	first := regexp.MustCompile(`(?m)^\$ (.*)$`).FindAllStringSubmatch(read("RUNBOOK.md"), -1)
	commands = first[1][1] + "\n" + strings.Join(o.env, "\n") + "\n" + commands
	return o.shell("bash", "-c", first[0][1]+` -euxo pipefail -c "$0"`, commands)
}

// beside returns the URL of a store in the folder of the operator.
func (o *operator) beside(kind, name string) string {
	return kind + "://" + filepath.Join(strings.TrimPrefix(o.folder, o.root), name)
}

const deploy = "../../examples/deploy"

// bin returns a folder in which this test program is esper-key, for PATH.
func (o *operator) bin() (folder string) {
	o.t.Helper()
	folder = o.at("bin")
	program, err := os.Executable()
	if must(o.t, err); !exists(folder) {
		must(o.t, os.Mkdir(folder, 0o700))
		must(o.t, os.Symlink(program, filepath.Join(folder, "esper-key")))
	}
	return folder
}

// shell prepares a program that has esper-key in its PATH.
func (o *operator) shell(args ...string) *exec.Cmd {
	o.t.Helper()
	cmd := exec.CommandContext(o.t.Context(), args[0], args[1:]...)
	cmd.Env = []string{"PATH=" + o.bin() + ":" + os.Getenv("PATH")}
	return o.prepare(cmd)
}

// says runs a program to its end, with a text on standard input, and returns what it prints.
func (o *operator) says(cmd *exec.Cmd, input string) string {
	o.t.Helper()
	cmd.Stdin = strings.NewReader(input)
	out, err := cmd.CombinedOutput()
	must(o.t, err, string(out))
	return string(out)
}

// deployed returns a file for operators, with the command, the folders and the tenant of the test.
func (o *operator) deployed(name string) string {
	o.t.Helper()
	data, err := os.ReadFile(filepath.Join(deploy, name))
	must(o.t, err)
	return strings.NewReplacer("/usr/local/bin", o.bin(), "${CREDENTIALS_DIRECTORY}", o.folder, "/run/esper-key", o.folder, `"`, "",
		"/var/lib/esper-key", o.at("store"), "127.0.0.1:9464", "127.0.0.1:0", "=foo", "="+o.server.URL).Replace(string(data))
}

// settings sets the variables that a file for operators sets.
func (o *operator) settings(name string) {
	o.t.Helper()
	o.env = append(o.env, regexp.MustCompile(`(?m)^[A-Z_]+=.*$`).FindAllString(o.deployed(name), -1)...)
}

// TestDeploySystemd: systemd accepts the units, and its security check finds little exposed. The commands of the units
// work with the settings, the folders and the credential that systemd would make.
func TestDeploySystemd(t *testing.T) {
	t.Parallel()
	o := newOperator(t)
	commands := map[string]*exec.Cmd{}
	told := o.systemd(time.Minute, false)
	o.settings("systemd/environment")
	for _, name := range []string{"esper-key.service", "esper-key-renew.service", "esper-key-renew.timer"} {
		text, path := o.deployed("systemd/"+name), filepath.Join(o.folder, name)
		write(t, path, text)
		if out, err := exec.CommandContext(t.Context(), "systemd-analyze", "verify", path).CombinedOutput(); err != nil || strings.Contains(string(out), o.folder) {
			t.Errorf("%s: %v: %s", name, err, out)
		}
		if !strings.HasSuffix(name, ".service") {
			continue
		}
		if out, err := exec.CommandContext(t.Context(), "systemd-analyze", "security", "--offline=true", "--threshold=15", path).CombinedOutput(); err != nil {
			t.Errorf("%s: %v: %s", name, err, out)
		}
		if !strings.Contains(text, "\nTimeoutStopSec=120\n") {
			t.Errorf("%s does not give the command 120 seconds to stop", name)
		}
		line := regexp.MustCompile(`(?m)^ExecStart=(.*)$`).FindStringSubmatch(text)
		commands[name] = o.shell(strings.Fields(line[1])...)
	}
	write(t, o.at("api-key"), o.server.Token()+"\n")
	service := o.begin(commands["esper-key.service"])
	eventually(t, "the service is ready", func() bool { return strings.Contains(told.String(), "READY=1") })
	for _, path := range []string{o.at("token"), o.path()} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o640 || !strings.Contains(read(path), o.server.Token()) {
			t.Errorf("%s: %v, %v, want a file of mode 0640 with the key", path, info, err)
		}
	}
	service.signal(syscall.SIGTERM).end().wants(0)
	o.due(day)
	must(t, os.Chmod(o.path(), 0o640))
	if out := o.says(commands["esper-key-renew.service"], ""); o.posts() != 1 {
		t.Errorf("%d renewals, want 1: %s", o.posts(), out)
	}
}

// TestDeployCrontab runs the command of the crontab as cron does: it renews the key, and prints nothing.
func TestDeployCrontab(t *testing.T) {
	t.Parallel()
	o := adopted(t)
	o.due(day)
	o.settings("cron/crontab")
	job := regexp.MustCompile(`(?m)^\d+ \d+ \* \* \* (.*)$`).FindStringSubmatch(o.deployed("cron/crontab"))
	cmd := exec.CommandContext(t.Context(), "/bin/sh", "-c", job[1])
	cmd.Env = append(o.env, "HOME="+o.folder, actEnv+"=1")
	if out := o.says(cmd, ""); out != "" || o.posts() != 1 {
		t.Errorf("%d renewals, want 1; cron would send mail: %s", o.posts(), out)
	}
}

// TestDeployConsumers runs the programs in other languages, and the README's, against a slow server, ends them in the
// middle of a renewal, and has the server refuse the key once. The key that is then stored is the server's.
func TestDeployConsumers(t *testing.T) {
	t.Parallel()
	_, readme, _ := strings.Cut(read("../../../README.md"), "```python\n")
	readme, _, _ = strings.Cut(readme, "```")
	readmePath := filepath.Join(t.TempDir(), "readme.py")
	must(t, os.WriteFile(readmePath, []byte("#!/usr/bin/env python3\n"+readme+"print('\"user\": ' + key)\n"), 0o700))
	for _, name := range []string{filepath.Join(deploy, "consumer.sh"), filepath.Join(deploy, "consumer.py"), readmePath} {
		path, err := filepath.Abs(name)
		must(t, err)
		for _, ending := range []string{"itself", "SIGTERM", "SIGINT", "SIGINT as from a terminal"} {
			t.Run(filepath.Base(name)+" "+ending, func(t *testing.T) {
				o := adopted(t)
				o.due(day)
				o.server.FailOperation("renewToken", 1, espertest.Fault{Delay: time.Second, Handled: true})
				o.env = append(o.env, urlVariable+"="+o.server.URL) // for consumer.py
				cmd := o.shell(path)
				signal, group := strings.CutSuffix(ending, " as from a terminal")
				cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: group}
				out := published.Life{Server: o.server, Cmd: cmd, Ending: signal}.Live(t)
				if o.posts() != 1 || ending == "itself" && !strings.Contains(out, `"user"`) {
					t.Errorf("%d renewals, want 1: %s", o.posts(), out)
				}
				o.token()
			})
		}
	}
	o := adopted(t)
	o.server.FailOperation("getTokenInfo", 1, espertest.Fault{Status: 401})
	path, err := filepath.Abs(filepath.Join(deploy, "consumer.py"))
	must(t, err)
	o.says(o.shell("sh", "-c", "esper-key exec -- "+path), "")
}

// TestDeployAlerts: Prometheus accepts the alerts, and every metric in them exists.
func TestDeployAlerts(t *testing.T) {
	t.Parallel()
	cmd := exec.CommandContext(t.Context(), "promtool", "test", "rules", "test.yaml")
	cmd.Dir = filepath.Join(deploy, "prometheus")
	o := adopted(t)
	o.says(cmd, "")
	metrics := o.start().get("/metrics")
	rules := read(filepath.Join(deploy, "prometheus/esper-key.rules.yaml"))
	for _, expr := range regexp.MustCompile(`expr: .*`).FindAllString(rules, -1) {
		for _, name := range regexp.MustCompile(`esper_key_\w+`).FindAllString(expr, -1) {
			if !strings.Contains(metrics, "\n"+name+" ") {
				t.Errorf("there is no metric %s", name)
			}
		}
	}
	headings := strings.ToLower(strings.ReplaceAll(read("RUNBOOK.md"), " ", "-"))
	for _, anchor := range regexp.MustCompile(`RUNBOOK\.md#(\S+)`).FindAllStringSubmatch(rules, -1) {
		if !strings.Contains(headings, "\n##-"+anchor[1]+"\n") {
			t.Errorf("the runbook has no %s", anchor[1])
		}
	}
	o.says(exec.CommandContext(t.Context(), "promtool", "check", "metrics"), metrics)
}
