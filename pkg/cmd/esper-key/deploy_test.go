//go:build linux

package main

import (
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
	told := o.systemd(time.Minute)
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
