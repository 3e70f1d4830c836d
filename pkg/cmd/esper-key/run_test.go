//go:build linux

package main

import (
	"bytes"
	"cmp"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"github.com/esper-go/esper-go/pkg/esper"
	"github.com/esper-go/esper-go/pkg/esper/espertest"
	"github.com/esper-go/esper-go/pkg/esper/renew"
)

// service is a process of esper-key that is watched while it runs.
type service struct {
	o       *operator
	cmd     *exec.Cmd
	address string       // of --listen
	client  *http.Client // with one connection, which is there when descriptors run out

	mu  sync.Mutex
	log strings.Builder
}

// start starts `esper-key run`, and waits until it answers at the address of --listen.
func (o *operator) start(args ...string) *service {
	o.t.Helper()
	return o.startWith(nil, args...)
}

// startWith starts `esper-key run` with a file in place of the log.
func (o *operator) startWith(log *os.File, args ...string) *service {
	o.t.Helper()
	free, err := net.Listen("tcp", "127.0.0.1:0")
	must(o.t, err)
	_, port, err := net.SplitHostPort(free.Addr().String())
	must(o.t, err)
	must(o.t, free.Close())
	s := o.watch(o.command(append([]string{"run", "--listen", ":" + port}, args...)...), log)
	s.address = "127.0.0.1:" + port
	eventually(o.t, "/healthz answers", func() bool { return s.get("/healthz") == "ok\n" })
	return s
}

// begin starts a command.
func (o *operator) begin(args ...string) *service { return o.watch(o.command(args...), nil) }

// watch starts a program, with a file in place of its log if there is one.
func (o *operator) watch(cmd *exec.Cmd, log *os.File) *service {
	o.t.Helper()
	s := &service{o: o, cmd: cmd, client: &http.Client{Transport: &http.Transport{MaxConnsPerHost: 1}}}
	if s.cmd.Stderr = s; log != nil {
		s.cmd.Stderr = log
	}
	s.cmd.WaitDelay = time.Minute // for what the program of --on-renew has left
	must(o.t, s.cmd.Start())
	o.t.Cleanup(func() {
		if s.cmd.ProcessState == nil {
			_ = s.cmd.Process.Kill()
			_ = s.cmd.Wait()
		}
	})
	return s
}

func (s *service) Write(text []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.o.remember(string(text))
	return s.log.Write(text)
}

func (s *service) text() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.log.String()
}

// says waits until the log has a text.
func (s *service) says(part string) {
	s.o.t.Helper()
	defer func() {
		if s.o.t.Failed() {
			s.o.t.Log(s.text())
		}
	}()
	eventually(s.o.t, "the log has "+part, func() bool { return strings.Contains(s.text(), part) })
}

// stop sends a signal, and returns the exit code.
func (s *service) stop(signal syscall.Signal) int {
	s.o.t.Helper()
	must(s.o.t, s.cmd.Process.Signal(signal))
	return s.end()
}

// end waits for the end, and returns the exit code.
func (s *service) end() int {
	s.o.t.Helper()
	_ = s.cmd.Wait() // an error says what the exit code says
	if text := s.text(); strings.Contains(text, "DATA RACE") || strings.Contains(text, "panic:") {
		s.o.t.Error(text)
	}
	return s.cmd.ProcessState.ExitCode()
}

// get returns a page of --listen, or "" if there is no answer.
func (s *service) get(path string) string {
	s.o.t.Helper()
	resp, err := s.client.Get("http://" + s.address + path)
	if err != nil {
		return ""
	}
	defer func() { _ = resp.Body.Close() }()
	data, _ := io.ReadAll(resp.Body)
	body := string(data)
	if path != "/metrics" && (body == "ok\n") != (resp.StatusCode == http.StatusOK) {
		s.o.t.Errorf("%s: %s, %q", path, resp.Status, body)
	}
	s.o.remember(body)
	return body
}

// has reports whether the metrics have these lines.
func (s *service) has(lines ...string) bool {
	s.o.t.Helper()
	page := s.get("/metrics")
	for _, line := range lines {
		if !strings.Contains(page, "\n"+line+"\n") {
			return false
		}
	}
	return true
}

// listen receives messages in place of systemd. The function that it returns gives all messages so far.
func listen(t *testing.T, socket string) (told func() string) {
	t.Helper()
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	must(t, err)
	var mu sync.Mutex
	var all strings.Builder
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		buffer := make([]byte, 4096)
		for n, err := conn.Read(buffer); err == nil; n, err = conn.Read(buffer) {
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
	s := o.start("--write-token", file, "--write-token-mode", "0640", "--on-renew", program)
	s.says("was renewed")
	s.says("address=127.0.0.1:")
	calls := filepath.Join(o.folder, "calls")
	eventually(t, "the metrics tell that the program has succeeded", func() bool {
		return s.has("esper_key_delivered 1") && strings.Count(read(calls), "\n") == 2
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
	metrics := s.get("/metrics")
	for _, want := range []string{
		"esper_key_seconds_to_end 7.7", "esper_key_age_seconds ", "esper_key_build_info{", "esper_key_last_success_timestamp_seconds 1.",
		`esper_key_renewals_total{result="renewed"} 1`, `esper_key_renewals_total{result="failed"} 0`, "esper_key_log_records_dropped_total 0",
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
	if code := s.stop(syscall.SIGTERM); code != 0 || strings.Contains(s.text(), "on standard output") {
		t.Errorf("run ended with %d, and its log has, or has not, what the program printed: %s", code, s.text())
	}
	for _, part := range []string{"READY=1", "STATUS=the key ends on", "STOPPING=1"} {
		eventually(t, "systemd is told "+part, func() bool { return strings.Contains(told(), part) })
	}
	o.remember(told())
	o.token()
}

// TestRunBegins: run begins with the key of --key-file, which may be empty or gone at the next start.
func TestRunBegins(t *testing.T) {
	t.Parallel()
	o := newOperator(t)
	o.run("run").wants(exitPerson, "there is no key yet")
	key := filepath.Join(o.folder, "first")
	o.run("run", "--key-file", key).wants(exitPerson, "there is no key yet")
	for _, before := range []func(){
		func() { write(t, key, o.server.Token()+"\n") }, func() { write(t, key, "") }, func() { must(t, os.Remove(key)) },
	} {
		before()
		s := o.start("--key-file", key)
		if code := s.stop(syscall.SIGTERM); code != 0 {
			t.Errorf("run ended with %d: %s", code, s.text())
		}
		o.token()
	}
	o.run("run", "--write-token", filepath.Join(os.DevNull, "token")).wants(exitFailed, "--write-token")
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer func() { _ = taken.Close() }()
	o.run("run", "--listen", taken.Addr().String()).wants(exitFailed, "--listen")
}

// TestRunStopsWhileTheProgramHangs: after SIGTERM, run ends in time although the program of --on-renew does not.
func TestRunStopsWhileTheProgramHangs(t *testing.T) {
	t.Parallel()
	o := adopted(t)
	o.due(day)
	s := o.start("--on-renew", o.script("program", "trap '' TERM; sleep 600 & echo $$ $! >pids; touch calls; sleep 600"))
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

// TestHealth brings each trouble about, and looks at what /readyz, the metrics and systemd are told. The renewal comes
// round all the same, so /healthz stays 200, and the watchdog is served.
func TestHealth(t *testing.T) {
	t.Parallel()
	due := func(o *operator) { o.due(day) }
	renewed := []string{"esper_key_failing 0", `esper_key_renewals_total{result="renewed"} 1`}
	for name, test := range map[string]struct {
		before  func(o *operator) // the start
		then    func(s *service)  // once /healthz has answered
		ready   string            // what /readyz says; empty if the key is good
		metrics []string          // lines
		told    string            // to systemd
		log     func() *os.File   // in place of one that is read; then SIGTERM still ends run
		deaf    bool              // systemd reads nothing
		finally func(s *service)  // after which all is well
	}{
		"all is well": {metrics: []string{"esper_key_failing 0", "esper_key_lost 0", "esper_key_saved 1", "esper_key_delivered 1"}, told: "the key ends on"},
		"the log is blocked": {before: due, metrics: renewed, told: "in 89 days", log: func() *os.File {
			r, w, err := os.Pipe()
			must(t, err)
			t.Cleanup(func() { _ = r.Close() })
			must(t, w.SetWriteDeadline(time.Now().Add(100*time.Millisecond)))
			for err == nil {
				_, err = w.Write(make([]byte, 512))
			}
			return w
		}},
		"the log is closed": {before: due, metrics: renewed, told: "in 89 days", log: func() *os.File {
			r, w, err := os.Pipe()
			must(t, err)
			must(t, r.Close())
			return w
		}},
		"systemd reads nothing": {before: due, metrics: renewed, deaf: true, then: func(s *service) { s.says("systemd could not be told") }},
		"the store hangs": {
			before: func(o *operator) {
				o.due(day)
				f, err := os.OpenFile(o.path()+".lock", os.O_RDWR|os.O_CREATE, 0o600)
				must(o.t, err)
				o.t.Cleanup(func() { _ = f.Close() })
				must(o.t, syscall.Flock(int(f.Fd()), syscall.LOCK_EX))
			},
			metrics: []string{"esper_key_failing 1", "esper_key_saved 1"}, told: "in 23 hours",
		},
		"the server is away": {
			before:  func(o *operator) { o.due(day); o.server.Close() },
			metrics: []string{"esper_key_failing 1", `esper_key_renewals_total{result="failed"} 1`}, told: "in 23 hours",
		},
		"the key is lost": {
			before: func(o *operator) {
				o.due(day)
				o.edit(func(d map[string]any) { d["refused_at"] = time.Now().Add(-13 * time.Hour) })
				o.server.Revoke()
			},
			ready: "the key is lost", metrics: []string{"esper_key_lost 1", "esper_key_failing 1"}, told: "the key is lost: make a new one",
		},
		"the file cannot be written": {
			then: func(s *service) {
				must(t, os.Remove(filepath.Join(s.o.folder, "token")))
				must(t, os.Mkdir(filepath.Join(s.o.folder, "token"), 0o700))
			},
			metrics: []string{"esper_key_delivered 0"}, told: "the key ends on",
		},
		"descriptors run out": {
			then:    func(s *service) { s.descriptors(4) },
			metrics: []string{"esper_key_failing 1", "esper_key_saved 1"}, told: "the key ends on",
			finally: func(s *service) { s.descriptors(1024) },
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := adopted(t)
			if test.before != nil {
				test.before(o)
			}
			socket := filepath.Join(o.folder, "notify")
			told := func() string { return "" }
			if !test.deaf {
				told = listen(t, socket)
			} else {
				conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
				must(t, err)
				t.Cleanup(func() { _ = conn.Close() })
			}
			o.env = append(o.env, "NOTIFY_SOCKET="+socket, "WATCHDOG_USEC=400000", "WATCHDOG_PID=")
			var log *os.File
			if test.log != nil {
				log = test.log()
			}
			s := o.startWith(log, "--write-token", filepath.Join(o.folder, "token"))
			if test.then != nil {
				test.then(s)
			}
			well := func() {
				t.Helper()
				if page := s.get("/healthz"); page != "ok\n" {
					t.Errorf("/healthz says %q", page)
				}
			}
			eventually(t, strings.Join(test.metrics, ", "), func() bool { well(); return s.has(test.metrics...) })
			if page := s.get("/readyz"); !strings.HasPrefix(page, cmp.Or(test.ready, "ok")) {
				t.Errorf("/readyz says %q", page)
			}
			eventually(t, "systemd is told "+test.told, func() bool { return strings.Contains(told(), test.told) })
			served := strings.Count(told(), "WATCHDOG=1") + 3
			eventually(t, "the watchdog is served", func() bool { well(); return test.deaf || strings.Count(told(), "WATCHDOG=1") >= served })
			if test.finally != nil {
				test.finally(s)
				eventually(t, "all is well again", func() bool { return s.has("esper_key_failing 0") })
			}
			if test.log != nil || test.deaf {
				_ = log.Close()
				if code := s.stop(syscall.SIGTERM); code != 0 {
					t.Errorf("run ended with %d: %s", code, s.text())
				}
				o.token()
			}
		})
	}
}

// descriptors sets how many files the process may have open.
func (s *service) descriptors(most uint64) {
	s.o.t.Helper()
	must(s.o.t, unix.Prlimit(s.cmd.Process.Pid, unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: most, Max: 1024}, nil))
}

// TestStuck: if the renewal does not come round, /healthz says so, and the watchdog is not served any more.
func TestStuck(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "notify")
	told := listen(t, socket)
	t.Setenv("NOTIFY_SOCKET", socket)
	synctest.Test(t, func(t *testing.T) {
		server := espertest.NewServer(t)
		source, err := renew.Open(t.Context(), server.URL, renew.Memory(), renew.WithInitialToken(esper.NewSecret(server.Token())),
			renew.WithClientOptions(esper.WithTransport(server.Transport())))
		must(t, err)
		defer func() { _ = source.Close() }()
		k := &keeper{source: source, notify: newNotifier(nil)}
		k.makeMetrics()
		go k.watch(t.Context())
		time.Sleep(4*time.Minute + time.Second)
		k.says(t, "/healthz", http.StatusOK, "ok")
		time.Sleep(6 * time.Minute) // nothing calls Run
		k.says(t, "/healthz", http.StatusServiceUnavailable, "the renewal has not come round")
		k.notify.send("the end")
	})
	eventually(t, "systemd is told the end", func() bool { return strings.Contains(told(), "the end") })
	if n := strings.Count(told(), "WATCHDOG=1"); n != 5 {
		t.Errorf("the watchdog was served %d times, want 5, in as many minutes", n)
	}
}

// TestLogQueue: nobody waits for the log, and it tells how much of it was dropped.
func TestLogQueue(t *testing.T) {
	t.Parallel()
	r, w := io.Pipe() // which nobody reads for now
	log := newLog(w, "json")
	for range 10 * logRecords {
		log.Error("one", slog.Any("error", io.ErrUnexpectedEOF))
	}
	var out bytes.Buffer
	go func() { log.close(); _ = w.Close() }()
	_, err := out.ReadFrom(r)
	must(t, err)
	written := strings.Count(out.String(), `"msg":"one"`)
	told := regexp.MustCompile(`"dropped":(\d+)`).FindStringSubmatch(out.String())
	if told == nil || written+int(log.dropped.Load()) != 10*logRecords || told[1] != strconv.FormatInt(log.dropped.Load(), 10) {
		t.Errorf("%d records were written, %d were dropped, and the log tells %q", written, log.dropped.Load(), told)
	}
}

// TestHalfSentRequests sends the beginnings of many requests: run goes on answering, with little memory.
func TestHalfSentRequests(t *testing.T) {
	t.Parallel()
	const requests, atOnce, mostMemory = 10_000, 500, 40 << 10 // in KiB
	o := adopted(t)
	s := o.start()
	dialer := net.Dialer{Timeout: 100 * time.Millisecond}
	for range requests / atOnce {
		var open []net.Conn
		for range atOnce {
			if conn, err := dialer.Dial("tcp", s.address); err == nil { // else the kernel's queue is full
				_, _ = io.WriteString(conn, "GET /metrics HTTP/1.1\r\nHost: a\r\nX-Long: "+strings.Repeat("x", 3<<10))
				open = append(open, conn)
			}
		}
		for _, conn := range open {
			_ = conn.Close()
		}
	}
	eventually(t, "metrics are served", func() bool { return s.has("esper_key_lost 0") })
	resident := regexp.MustCompile(`VmRSS:\s+(\d+) kB`).FindStringSubmatch(read(filepath.Join("/proc", strconv.Itoa(s.cmd.Process.Pid), "status")))
	used, err := strconv.Atoi(resident[1])
	must(t, err)
	if t.Logf("run uses %d KiB", used); used > mostMemory {
		t.Errorf("run uses %d KiB, want %d at most", used, mostMemory)
	}
}
