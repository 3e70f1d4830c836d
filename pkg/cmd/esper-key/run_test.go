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
	"path/filepath"
	"regexp"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"github.com/esper-go/esper-go/pkg/esper"
	"github.com/esper-go/esper-go/pkg/esper/espertest"
	"github.com/esper-go/esper-go/pkg/esper/renew"
	"github.com/esper-go/esper-go/pkg/internal/processes"
)

// start starts `esper-key run`, and waits until it answers at the address of --listen. It is asked on one connection,
// which is there when descriptors run out.
func (o *operator) start(args ...string) *process {
	o.t.Helper()
	free, err := net.Listen("tcp", "127.0.0.1:0")
	must(o.t, err)
	address := free.Addr().String()
	must(o.t, free.Close())
	cmd := o.command(append([]string{"run", "--listen", strings.TrimPrefix(address, "127.0.0.1")}, args...)...)
	cmd.Stderr = o.log
	p := o.begin(cmd)
	p.address, p.client = address, &http.Client{Transport: &http.Transport{MaxConnsPerHost: 1}}
	eventually(o.t, "/healthz answers", func() bool { return p.get("/healthz") == "ok\n" })
	return p
}

// get returns a page of --listen, or "" if there is no answer.
func (p *process) get(path string) string {
	p.o.t.Helper()
	resp, err := p.client.Get("http://" + p.address + path)
	if err != nil {
		return ""
	}
	defer func() { _ = resp.Body.Close() }()
	data, _ := io.ReadAll(resp.Body)
	body := string(data)
	if path != "/metrics" && (body == "ok\n") != (resp.StatusCode == http.StatusOK) {
		p.o.t.Errorf("%s: %s, %q", path, resp.Status, body)
	}
	p.o.remember(body)
	return body
}

// has waits until the metrics have these lines.
func (p *process) has(lines ...string) {
	p.o.t.Helper()
	eventually(p.o.t, "the metrics have "+strings.Join(lines, ", "), func() bool {
		page, all := p.get("/metrics"), true
		for _, line := range lines {
			all = all && strings.Contains(page, "\n"+line+"\n")
		}
		return all
	})
}

// systemd receives messages in place of systemd, and returns what it is told. If it is deaf, it reads none.
func (o *operator) systemd(watchdog time.Duration, deaf bool) *text {
	o.t.Helper()
	socket, told, ended := o.at("notify"), new(text), make(chan struct{})
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	must(o.t, err)
	go func() {
		defer close(ended)
		buffer := make([]byte, 4096)
		for n, err := 0, error(nil); err == nil && !deaf; n, err = conn.Read(buffer) {
			_, _ = told.Write(append(buffer[:n], '\n'))
		}
	}()
	o.t.Cleanup(func() { _ = conn.Close(); <-ended })
	o.env = append(o.env, "NOTIFY_SOCKET="+socket, "WATCHDOG_USEC="+strconv.FormatInt(watchdog.Microseconds(), 10), "WATCHDOG_PID=")
	return told
}

// hears waits until systemd is told a text, and after that some times more that the command is alive.
func (t *text) hears(o *operator, part string) {
	o.t.Helper()
	eventually(o.t, "systemd is told "+part, func() bool { return strings.Contains(t.String(), part) })
	enough := strings.Count(t.String(), "WATCHDOG=1") + 3
	eventually(o.t, "the watchdog is served", func() bool {
		return strings.Count(t.String(), "WATCHDOG=1") >= enough || strings.Contains(t.String(), "STOPPING=1")
	})
}

// TestRun: run renews a key that is due, writes the new one to the file, starts the program, and tells systemd and the
// metrics.
func TestRun(t *testing.T) {
	t.Parallel()
	o := adopted(t)
	o.due(day)
	told := o.systemd(200*time.Millisecond, false)
	first, file := o.server.Token(), o.at("token")
	// The program notes what it is given. It fails at the first call.
	program := o.script("program", `echo "$# $ESPER_KEY_STORE $ESPER_ENVIRONMENT" >>calls; env >environment; echo on standard output
cp token seen; test $(wc -l <calls) -gt 1`)
	o.env = append(o.env, keyVariable+"=a-key-that-nobody-needs")
	p := o.start("--write-token", file, "--write-token-mode", "0640", "--on-renew", program)
	p.says("was renewed")
	p.says("address=127.0.0.1:")
	eventually(t, "the program was called twice", func() bool { return strings.Count(read(o.at("calls")), "\n") == 2 })
	p.has("esper_key_delivered 1", `esper_key_renewals_total{result="renewed"} 1`, `esper_key_renewals_total{result="failed"} 0`, "esper_key_log_records_dropped_total 0")
	if key := read(file); key != o.server.Token() || key == first || read(o.at("seen")) != key {
		t.Errorf("the file holds %q, and the program read %q, want the new key", key, read(o.at("seen")))
	}
	if got, want := read(o.at("calls")), "0 "+o.store+" "+o.server.URL+"\n"; got != want+want {
		t.Errorf("the program was given %q, want two calls without arguments", got)
	}
	if env := read(o.at("environment")); strings.Contains(env, keyVariable) || processes.Holds(env, first) || processes.Holds(env, o.server.Token()) {
		t.Errorf("a key is in the environment of the program: %s", env)
	}
	metrics := p.get("/metrics")
	for _, want := range []string{"esper_key_seconds_to_end 7.7", "esper_key_age_seconds ", "esper_key_build_info{", "esper_key_last_success_timestamp_seconds 1."} {
		if !strings.Contains(metrics, "\n"+want) {
			t.Errorf("the metrics do not have %s:\n%s", want, metrics)
		}
	}
	must(t, os.Remove(file))
	eventually(t, "the file is written again", func() bool { return read(file) == o.server.Token() })
	written, err := os.Stat(file)
	must(t, err)
	told.hears(o, "READY=1") // the file is checked as often as the watchdog is served
	if now, err := os.Stat(file); err != nil || !now.ModTime().Equal(written.ModTime()) || !os.SameFile(now, written) || now.Mode() != 0o640 {
		t.Errorf("a file that holds the key was written anew, or has not the mode 0640: %v, %v", now, err)
	}
	p.signal(syscall.SIGTERM).end().wants(0).lacks("on standard output")
	told.hears(o, "STATUS=the key ends on")
	told.hears(o, "STOPPING=1")
	o.remember(told.String())
	o.token()
}

// TestRunBegins: run begins with the key of --key-file, which may be empty or gone at the next start.
func TestRunBegins(t *testing.T) {
	t.Parallel()
	o := newOperator(t)
	o.run("run").wants(exitPerson, "there is no key yet")
	key := o.at("first")
	o.run("run", "--key-file", key).wants(exitPerson, "there is no key yet")
	for _, before := range []func(){
		func() { write(t, key, o.server.Token()+"\n") }, func() { write(t, key, "") }, func() { must(t, os.Remove(key)) },
	} {
		before()
		o.start("--key-file", key).signal(syscall.SIGTERM).end().wants(0)
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
	p := o.start("--on-renew", o.script("program", "trap '' TERM; sleep 600 & echo $$ $! >pids; touch calls; sleep 600"))
	eventually(t, "the program runs", func() bool { return exists(o.at("calls")) })
	begun := time.Now()
	p.signal(syscall.SIGTERM).end().wants(0, "it was stopped, because esper-key ends")
	if took := time.Since(begun); took > 60*time.Second {
		t.Errorf("run ended after %v", took)
	}
	for pid := range strings.FieldsSeq(read(o.at("pids"))) {
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
	pipe := func() (r, w *os.File) {
		r, w, err := os.Pipe()
		must(t, err)
		t.Cleanup(func() { _, _ = r.Close(), w.Close() })
		return r, w
	}
	descriptors := func(p *process, most uint64) {
		must(t, unix.Prlimit(p.cmd.Process.Pid, unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: most, Max: 1024}, nil))
	}
	renewed := []string{"esper_key_failing 0", `esper_key_renewals_total{result="renewed"} 1`}
	for name, test := range map[string]struct {
		good    bool             // the key is not due
		before  func(*operator)  // the start
		then    func(*process)   // once /healthz has answered
		ready   string           // what /readyz says; empty if the key is good
		metrics []string         // lines
		told    string           // to systemd
		log     func() io.Writer // in place of one that is read; then SIGTERM still ends run
		deaf    bool             // systemd reads nothing
		finally func(p *process) // after which all is well
	}{
		"all is well": {good: true, metrics: []string{"esper_key_failing 0", "esper_key_lost 0", "esper_key_saved 1", "esper_key_delivered 1"}, told: "the key ends on"},
		"the log is blocked": {metrics: renewed, told: "in 89 days", log: func() io.Writer {
			_, w := pipe()
			err := w.SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
			for err == nil {
				_, err = w.Write(make([]byte, 512))
			}
			return w
		}},
		"the log is closed": {metrics: renewed, told: "in 89 days", log: func() io.Writer {
			r, w := pipe()
			must(t, r.Close())
			return w
		}},
		"systemd reads nothing": {metrics: renewed, deaf: true, then: func(p *process) { p.says("systemd could not be told") }},
		"the store hangs": {
			before: func(o *operator) {
				f, err := os.OpenFile(o.path()+".lock", os.O_RDWR|os.O_CREATE, 0o600)
				must(o.t, err)
				o.t.Cleanup(func() { _ = f.Close() })
				must(o.t, syscall.Flock(int(f.Fd()), syscall.LOCK_EX))
			},
			metrics: []string{"esper_key_failing 1", "esper_key_saved 1"}, told: "in 23 hours",
		},
		"the server is away": {
			before:  func(o *operator) { o.server.Close() },
			metrics: []string{"esper_key_failing 1", `esper_key_renewals_total{result="failed"} 1`}, told: "in 23 hours",
		},
		"the key is lost": {
			before: func(o *operator) {
				o.set("refused_at", time.Now().Add(-13*time.Hour))
				o.server.Revoke()
			},
			ready: "the key is lost", metrics: []string{"esper_key_lost 1", "esper_key_failing 1"}, told: "the key is lost: make a new one",
		},
		"the file cannot be written": {
			good: true, metrics: []string{"esper_key_delivered 0"}, told: "the key ends on",
			then: func(p *process) {
				must(t, os.Remove(p.o.at("token")))
				must(t, os.Mkdir(p.o.at("token"), 0o700))
			},
		},
		"descriptors run out": {
			good: true, metrics: []string{"esper_key_failing 1", "esper_key_saved 1"}, told: "the key ends on",
			then:    func(p *process) { descriptors(p, 4) },
			finally: func(p *process) { descriptors(p, 1024) },
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := adopted(t)
			if !test.good {
				o.due(day)
			}
			if test.before != nil {
				test.before(o)
			}
			told := o.systemd(400*time.Millisecond, test.deaf)
			if test.log != nil {
				o.log = test.log()
			}
			p := o.start("--write-token", o.at("token"))
			if test.then != nil {
				test.then(p)
			}
			p.has(test.metrics...)
			if page := p.get("/readyz"); !strings.HasPrefix(page, cmp.Or(test.ready, "ok")) {
				t.Errorf("/readyz says %q", page)
			}
			if !test.deaf {
				told.hears(o, test.told)
			}
			if page := p.get("/healthz"); page != "ok\n" {
				t.Errorf("/healthz says %q", page)
			}
			if test.finally != nil {
				test.finally(p)
				p.has("esper_key_failing 0")
			}
			if test.log != nil || test.deaf {
				p.signal(syscall.SIGTERM).end().wants(0)
				o.token()
			}
		})
	}
}

// TestStuck: if the renewal does not come round, /healthz says so, and the watchdog is not served any more.
func TestStuck(t *testing.T) {
	o := newOperator(t)
	told := o.systemd(0, false)
	t.Setenv("NOTIFY_SOCKET", o.at("notify"))
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
	eventually(t, "systemd is told the end", func() bool { return strings.Contains(told.String(), "the end") })
	if n := strings.Count(told.String(), "WATCHDOG=1"); n != 5 {
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
	const requests, atOnce = 10_000, 500
	mostMemory := 40 << 10 // in KiB
	if info, _ := debug.ReadBuildInfo(); slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"}) {
		mostMemory *= 8 // which the race detector takes
	}
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
	s.has("esper_key_lost 0")
	resident := regexp.MustCompile(`VmRSS:\s+(\d+) kB`).FindStringSubmatch(read(filepath.Join("/proc", strconv.Itoa(s.cmd.Process.Pid), "status")))
	used, err := strconv.Atoi(resident[1])
	must(t, err)
	if t.Logf("run uses %d KiB", used); used > mostMemory {
		t.Errorf("run uses %d KiB, want %d at most", used, mostMemory)
	}
}
