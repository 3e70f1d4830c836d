//go:build unix

package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/esper-go/esper-go/pkg/esper/espertest"
)

// service is a process of esper-key that is watched while it runs.
type service struct {
	o   *operator
	cmd *exec.Cmd

	mu  sync.Mutex
	log strings.Builder
	eof chan struct{}
}

func (o *operator) start(args ...string) *service {
	return o.begin(append([]string{"run"}, args...)...)
}

func (o *operator) begin(args ...string) *service {
	o.t.Helper()
	s := &service{o: o, cmd: o.command(args...), eof: make(chan struct{})}
	stderr, err := s.cmd.StderrPipe()
	if err == nil {
		err = s.cmd.Start()
	}
	if err != nil {
		o.t.Fatal(err)
	}
	go func() {
		defer close(s.eof)
		for lines := bufio.NewScanner(stderr); lines.Scan(); {
			s.mu.Lock()
			_, _ = fmt.Fprintln(&s.log, lines.Text())
			s.mu.Unlock()
			o.remember(lines.Text() + "\n")
		}
	}()
	o.t.Cleanup(func() { _ = s.cmd.Process.Kill(); <-s.eof; _ = s.cmd.Wait() })
	return s
}

func (s *service) text() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.log.String()
}

// says waits until the log has a text.
func (s *service) says(part string) {
	s.o.t.Helper()
	if !within(func() bool { return strings.Contains(s.text(), part) }) {
		s.o.t.Fatalf("the log does not have %q:\n%s", part, s.text())
	}
}

// stop sends a signal, and returns the exit code.
func (s *service) stop(signal syscall.Signal) int {
	s.o.t.Helper()
	if err := s.cmd.Process.Signal(signal); err != nil {
		s.o.t.Error(err)
	}
	return s.end()
}

// end waits for the end, and returns the exit code.
func (s *service) end() int {
	s.o.t.Helper()
	<-s.eof
	err := s.cmd.Wait()
	var ended *exec.ExitError
	if err != nil && !errors.As(err, &ended) {
		s.o.t.Error(err)
	}
	if text := s.text(); strings.Contains(text, "DATA RACE") || strings.Contains(text, "panic:") {
		s.o.t.Error(text)
	}
	return s.cmd.ProcessState.ExitCode()
}

// get sends a request to the address of --listen.
func (s *service) get(path string) (status int, body string) {
	s.o.t.Helper()
	s.says("are served")
	address := regexp.MustCompile(`address=(\S+)`).FindStringSubmatch(s.text())
	req, err := http.NewRequestWithContext(s.o.t.Context(), http.MethodGet, "http://"+address[1]+path, nil)
	if err != nil {
		s.o.t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		s.o.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		s.o.t.Error(err)
	}
	s.o.remember(string(data))
	return resp.StatusCode, string(data)
}

// script writes a shell program, which runs in the operator's folder.
func (o *operator) script(name, text string) (path string) {
	o.t.Helper()
	path = filepath.Join(o.folder, name)
	const executable = 0o700
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text), executable); err != nil {
		o.t.Fatal(err)
	}
	return path
}

// TestRun: run renews a key that is due, writes the new one to the file, starts the program, and tells systemd and the
// metrics.
func TestRun(t *testing.T) {
	t.Parallel()
	o := adopted(t)
	o.due(day)
	first := o.server.Token()
	socket := filepath.Join(o.folder, "notify")
	told := listen(t, socket)
	file := filepath.Join(o.folder, "token")
	// The program notes what it is given. It fails at the first call.
	program := o.script("program", `echo "$# $ESPER_KEY_STORE $ESPER_ENVIRONMENT" >>calls; env >environment; echo on standard output
cp token seen; test $(wc -l <calls) -gt 1`)
	o.env = append(o.env, "NOTIFY_SOCKET="+socket, "WATCHDOG_USEC=200000", "WATCHDOG_PID=", keyVariable+"=a-key-that-nobody-needs")
	s := o.start("--write-token", file, "--write-token-mode", "0640", "--on-renew", program, "--listen", ":0")
	s.says("was renewed")
	s.says("address=127.0.0.1:")
	calls := filepath.Join(o.folder, "calls")
	eventually(t, "the metrics tell that the program has succeeded", func() bool {
		_, metrics := s.get("/metrics")
		return strings.Contains(metrics, "\nesper_key_delivered 1\n") && strings.Count(read(calls), "\n") == 2
	})
	if key := read(file); key != o.server.Token() || key == first || read(filepath.Join(o.folder, "seen")) != key {
		t.Errorf("the file holds %q, and the program read %q, want the new key", key, read(filepath.Join(o.folder, "seen")))
	}
	if info, err := os.Stat(file); err != nil || info.Mode() != 0o640 {
		t.Errorf("%v, %v, want mode 0640", info.Mode(), err)
	}
	if got, want := read(calls), "0 "+o.store+" "+o.server.URL+"\n"; got != want+want {
		t.Errorf("the program was given %q, want two calls without arguments", got)
	}
	if env := read(filepath.Join(o.folder, "environment")); strings.Contains(env, keyVariable) || holds(env, first)+holds(env, o.server.Token()) != "" {
		t.Errorf("a key is in the environment of the program: %s", env)
	}
	_, metrics := s.get("/metrics")
	for _, want := range []string{
		"esper_key_seconds_to_end 7.7", "esper_key_age_seconds ", "esper_key_lost 0", "esper_key_saved 1", "esper_key_build_info{",
		`esper_key_renewals_total{result="renewed"} 1`, `esper_key_renewals_total{result="failed"} 0`, "esper_key_last_success_timestamp_seconds 1.",
		"esper_key_failing 0", "esper_key_log_records_dropped_total 0",
	} {
		if !strings.Contains(metrics, "\n"+want) {
			t.Errorf("the metrics do not have %s:\n%s", want, metrics)
		}
	}
	must(t, os.Remove(file))
	eventually(t, "the file is written again", func() bool { return read(file) == o.server.Token() })
	written, err := os.Stat(file)
	must(t, err)
	looks := strings.Count(told(), "WATCHDOG=1") + 3
	eventually(t, "the file is checked some times more", func() bool { return strings.Count(told(), "WATCHDOG=1") >= looks })
	if now, err := os.Stat(file); err != nil || !now.ModTime().Equal(written.ModTime()) || !os.SameFile(now, written) {
		t.Errorf("a file that holds the key was written anew: %v", err)
	}
	for _, path := range []string{"/healthz", "/readyz"} {
		if status, body := s.get(path); status != http.StatusOK || body != "ok\n" {
			t.Errorf("%s: %d %q", path, status, body)
		}
	}
	if code := s.stop(syscall.SIGTERM); code != 0 {
		t.Errorf("run ended with %d: %s", code, s.text())
	}
	if strings.Contains(s.text(), "on standard output") {
		t.Error("the output of the program is in the log")
	}
	for _, part := range []string{"READY=1", "STATUS=the key ends on", "WATCHDOG=1", "STOPPING=1"} {
		eventually(t, "systemd is told "+part, func() bool { return strings.Contains(told(), part) })
	}
	o.remember(told())
	o.token()
}

// listen receives messages in place of systemd. The function that it returns gives all messages so far.
func listen(t *testing.T, socket string) (told func() string) {
	t.Helper()
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var all strings.Builder
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		buffer := make([]byte, 4096)
		for {
			n, err := conn.Read(buffer)
			if err != nil {
				return
			}
			mu.Lock()
			all.WriteString(string(buffer[:n]) + "\n")
			mu.Unlock()
		}
	}()
	t.Cleanup(func() { _ = conn.Close(); <-ended })
	return func() string {
		mu.Lock()
		defer mu.Unlock()
		return all.String()
	}
}

// TestRunWithDeafSystemd: run renews and ends although systemd reads nothing.
func TestRunWithDeafSystemd(t *testing.T) {
	t.Parallel()
	o := adopted(t)
	socket := filepath.Join(o.folder, "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	o.due(day)
	o.env = append(o.env, "NOTIFY_SOCKET="+socket, "WATCHDOG_USEC=2000", "WATCHDOG_PID=")
	s := o.start()
	s.says("was renewed")
	s.says("systemd could not be told")
	if code := s.stop(syscall.SIGTERM); code != 0 {
		t.Errorf("run ended with %d: %s", code, s.text())
	}
	o.token()
}

// hearHangups makes the commands end at SIGHUP, even if these tests were started with nohup.
func hearHangups() { signal.Notify(make(chan os.Signal, 1), syscall.SIGHUP) }

// TestRunEndsInOrder sends signals to run during a renewal: run finishes the renewal and delivers the new key.
func TestRunEndsInOrder(t *testing.T) {
	t.Parallel()
	hearHangups()
	for _, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGQUIT} {
		t.Run(signal.String(), func(t *testing.T) {
			t.Parallel()
			o := adopted(t)
			o.due(day)
			o.server.FailOperation("renewToken", 1, espertest.Fault{Delay: 2 * time.Second})
			file := filepath.Join(o.folder, "token")
			program := o.script("program", "touch called")
			s := o.start("--write-token", file, "--on-renew", program, "--log-format", "json")
			eventually(t, "the renewal begins", func() bool { return o.posts() == 1 })
			if code := s.stop(signal); code != 0 {
				t.Errorf("run ended with %d: %s", code, s.text())
			}
			if read(file) != o.server.Token() || !exists(filepath.Join(o.folder, "called")) {
				t.Errorf("the new key was not delivered: %s", s.text())
			}
			if !strings.HasPrefix(s.text(), `{"time":`) {
				t.Errorf("the log is not JSON: %s", s.text())
			}
			o.token()
		})
	}
}

// TestRunBegins: run begins with the key of --key-file, which may be empty or gone at the next start.
func TestRunBegins(t *testing.T) {
	t.Parallel()
	o := newOperator(t)
	o.run("run").wants(exitPerson, "there is no key yet")
	o.run("run", "--key-file", filepath.Join(o.folder, "gone")).wants(exitPerson, "there is no key yet")
	key := filepath.Join(o.folder, "first")
	for _, before := range []func(){
		func() { write(t, key, o.server.Token()+"\n") }, func() { write(t, key, "") }, func() { must(t, os.Remove(key)) },
	} {
		before()
		s := o.start("--key-file", key)
		s.says("keeps the key renewed")
		if code := s.stop(syscall.SIGTERM); code != 0 {
			t.Errorf("run ended with %d: %s", code, s.text())
		}
		o.token()
	}
	o.run("run", "--write-token", filepath.Join(os.DevNull, "token")).wants(exitFailed, "--write-token")
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	o.run("run", "--listen", taken.Addr().String()).wants(exitFailed, "--listen")
}

// TestRunStopsWhileTheProgramHangs: after SIGTERM, run ends in time although the program of --on-renew does not.
func TestRunStopsWhileTheProgramHangs(t *testing.T) {
	t.Parallel()
	o := adopted(t)
	o.due(day)
	s := o.start("--on-renew", o.script("program", "sleep 600 & echo $$ $! >pids; touch calls; sleep 600"))
	eventually(t, "the program runs", func() bool { return exists(filepath.Join(o.folder, "calls")) })
	begun := time.Now()
	if code := s.stop(syscall.SIGTERM); code != 0 || time.Since(begun) > 60*time.Second {
		t.Errorf("run ended with %d after %v: %s", code, time.Since(begun), s.text())
	}
	if !strings.Contains(s.text(), "it was stopped, because esper-key ends") {
		t.Errorf("run does not say why it stopped the program: %s", s.text())
	}
	for _, pid := range strings.Fields(read(filepath.Join(o.folder, "pids"))) {
		number, err := strconv.Atoi(pid)
		must(t, err)
		eventually(t, "what the program started has ended", func() bool { return syscall.Kill(number, 0) != nil })
	}
	o.token()
}

// TestLogWithoutReader: run renews the key and ends although nobody reads its log: the pipe is closed, or full.
func TestLogWithoutReader(t *testing.T) {
	t.Parallel()
	for _, full := range []bool{false, true} {
		o := adopted(t)
		o.due(day)
		o.server.FailOperation("renewToken", 1, espertest.Fault{Delay: time.Second})
		r, w, err := os.Pipe()
		must(t, err)
		if full {
			must(t, w.SetWriteDeadline(time.Now().Add(100*time.Millisecond)))
			for err == nil {
				_, err = w.Write(make([]byte, 512))
			}
		}
		listen, err := net.Listen("tcp", "127.0.0.1:0")
		must(t, err)
		must(t, listen.Close())
		cmd := o.command("run", "--listen", listen.Addr().String())
		cmd.Stderr = w
		must(t, cmd.Start())
		t.Cleanup(func() { _ = cmd.Process.Kill() })
		eventually(t, "the renewal begins", func() bool { return o.posts() == 1 })
		_ = w.Close()
		if !full {
			_ = r.Close()
		}
		eventually(t, "the new key is stored", func() bool { return strings.Contains(read(o.path()), o.server.Token()) })
		resp, err := http.Get("http://" + listen.Addr().String() + "/healthz")
		must(t, err)
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			t.Errorf("/healthz: %s", resp.Status)
		}
		must(t, cmd.Process.Signal(syscall.SIGTERM))
		must(t, cmd.Wait())
		_ = r.Close()
		o.token()
	}
}
