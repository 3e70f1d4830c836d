//go:build linux

package main

import (
	"bytes"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
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

// TestHealth brings each trouble about, and looks at what /readyz, the metrics and systemd are told. The renewal comes
// round all the same, so /healthz stays 200, and the watchdog is served.
func TestHealth(t *testing.T) {
	t.Parallel()
	due := func(o *operator) { o.due(day) }
	for name, test := range map[string]struct {
		before  func(o *operator)               // the start
		then    func(o *operator, pid int)      // once /healthz has answered
		ready   string                          // what /readyz says
		metrics []string                        // lines
		told    string                          // to systemd
		unread  bool                            // nobody reads the log
		finally func(o *operator, pid int) bool // after which all is well
	}{
		"all is well": {ready: "ok", metrics: []string{"esper_key_failing 0", "esper_key_lost 0", "esper_key_saved 1", "esper_key_delivered 1"}, told: "the key ends on"},
		"the log is blocked": {
			before: due, unread: true,
			ready: "ok", metrics: []string{"esper_key_failing 0", `esper_key_renewals_total{result="renewed"} 1`}, told: "in 89 days",
		},
		"the store hangs": {
			before: func(o *operator) {
				o.due(day)
				f, err := os.OpenFile(o.path()+".lock", os.O_RDWR|os.O_CREATE, 0o600)
				must(o.t, err)
				o.t.Cleanup(func() { _ = f.Close() })
				must(o.t, syscall.Flock(int(f.Fd()), syscall.LOCK_EX))
			},
			ready: "ok", metrics: []string{"esper_key_failing 1", "esper_key_saved 1"}, told: "in 23 hours",
		},
		"the server is away": {
			before: func(o *operator) { o.due(day); o.server.Close() },
			ready:  "ok", metrics: []string{"esper_key_failing 1", `esper_key_renewals_total{result="failed"} 1`}, told: "in 23 hours",
		},
		"the key has ended": {
			before: func(o *operator) { o.due(-time.Second); o.server.Close() },
			ready:  "the key has ended", metrics: []string{"esper_key_failing 1", "esper_key_lost 0"}, told: "the key has ended and is not renewed",
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
			then: func(o *operator, _ int) {
				must(o.t, os.Remove(filepath.Join(o.folder, "token")))
				must(o.t, os.Mkdir(filepath.Join(o.folder, "token"), 0o700))
			},
			ready: "ok", metrics: []string{"esper_key_delivered 0"}, told: "the key ends on",
		},
		"descriptors run out": {
			then: func(o *operator, pid int) {
				must(o.t, unix.Prlimit(pid, unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 4, Max: 1024}, nil))
			},
			ready: "ok", metrics: []string{"esper_key_failing 1", "esper_key_saved 1"}, told: "the key ends on",
			finally: func(_ *operator, pid int) bool {
				return unix.Prlimit(pid, unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 1024, Max: 1024}, nil) == nil
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := adopted(t)
			if test.before != nil {
				test.before(o)
			}
			socket := filepath.Join(o.folder, "notify")
			told := listen(t, socket)
			o.env = append(o.env, "NOTIFY_SOCKET="+socket, "WATCHDOG_USEC=400000", "WATCHDOG_PID=")
			s := o.listening(test.unread, "--write-token", filepath.Join(o.folder, "token"))
			if test.then != nil {
				test.then(o, s.pid)
			}
			is := func(metrics []string) func() bool {
				return func() bool {
					s.wants("/healthz", "ok")
					page := s.get("/metrics")
					for _, line := range metrics {
						if !strings.Contains(page, "\n"+line+"\n") {
							return false
						}
					}
					return true
				}
			}
			eventually(t, strings.Join(test.metrics, ", "), is(test.metrics))
			s.wants("/readyz", test.ready)
			eventually(t, "systemd is told "+test.told, func() bool { return strings.Contains(told(), test.told) })
			served := strings.Count(told(), "WATCHDOG=1")
			eventually(t, "the watchdog is served", func() bool { s.wants("/healthz", "ok"); return strings.Count(told(), "WATCHDOG=1") > served+2 })
			if test.finally != nil && test.finally(o, s.pid) {
				eventually(t, "all is well again", is([]string{"esper_key_failing 0"}))
			}
		})
	}
}

// listening is a process of `esper-key run --listen`, and one connection to it.
type listening struct {
	t       *testing.T
	pid     int
	address string
	client  *http.Client
}

func (o *operator) listening(unread bool, args ...string) *listening {
	o.t.Helper()
	free, err := net.Listen("tcp", "127.0.0.1:0")
	must(o.t, err)
	address := free.Addr().String()
	must(o.t, free.Close())
	cmd := o.command(append([]string{"run", "--listen", address}, args...)...)
	if unread {
		r, w, err := os.Pipe()
		must(o.t, err)
		must(o.t, w.SetWriteDeadline(time.Now().Add(100*time.Millisecond)))
		for err == nil {
			_, err = w.Write(make([]byte, 512))
		}
		o.t.Cleanup(func() { _, _ = r.Close(), w.Close() })
		cmd.Stderr = w
	}
	must(o.t, cmd.Start())
	o.t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	l := &listening{o.t, cmd.Process.Pid, address, &http.Client{Transport: &http.Transport{MaxConnsPerHost: 1}}}
	eventually(o.t, "/healthz answers", func() bool { return l.get("/healthz") == "ok\n" })
	return l
}

// get returns the answer, or "" if there is none.
func (l *listening) get(path string) string {
	resp, err := l.client.Get("http://" + l.address + path)
	if err != nil {
		return ""
	}
	defer func() { _ = resp.Body.Close() }()
	body, _ := io.ReadAll(resp.Body)
	if text := strings.TrimSpace(string(body)); path != "/metrics" && (text == "ok") != (resp.StatusCode == http.StatusOK) {
		l.t.Errorf("%s: %s, %q", path, resp.Status, text)
	}
	return string(body)
}

func (l *listening) wants(path, text string) {
	l.t.Helper()
	if got := l.get(path); !strings.HasPrefix(got, text) {
		l.t.Errorf("%s says %q, want %q", path, got, text)
	}
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
		k.metrics = newMetrics(k)
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
	var mu sync.Mutex
	var out bytes.Buffer
	mu.Lock() // nobody reads
	log := newLog(writerFunc(func(text []byte) { mu.Lock(); defer mu.Unlock(); _, _ = out.Write(text) }), "json")
	for range 10 * logRecords {
		log.Error("one", slog.Any("error", io.ErrUnexpectedEOF))
	}
	mu.Unlock()
	log.close()
	mu.Lock()
	defer mu.Unlock()
	written := strings.Count(out.String(), `"msg":"one"`)
	told := regexp.MustCompile(`"dropped":(\d+)`).FindStringSubmatch(out.String())
	if told == nil || written+int(log.dropped.Load()) != 10*logRecords || told[1] != strconv.FormatInt(log.dropped.Load(), 10) {
		t.Errorf("%d records were written, %d were dropped, and the log tells %q", written, log.dropped.Load(), told)
	}
}

type writerFunc func([]byte)

func (f writerFunc) Write(text []byte) (int, error) { f(text); return len(text), nil }

// TestHalfSentRequests sends the beginnings of many requests: run goes on answering, with little memory.
func TestHalfSentRequests(t *testing.T) {
	t.Parallel()
	const requests, atOnce, mostMemory = 10_000, 500, 40 << 10 // in KiB
	o := adopted(t)
	l := o.listening(false)
	dialer := net.Dialer{Timeout: 100 * time.Millisecond}
	for range requests / atOnce {
		var open []net.Conn
		for range atOnce {
			if conn, err := dialer.Dial("tcp", l.address); err == nil { // else the kernel's queue is full
				_, _ = io.WriteString(conn, "GET /metrics HTTP/1.1\r\nHost: a\r\nX-Long: "+strings.Repeat("x", 3<<10))
				open = append(open, conn)
			}
		}
		for _, conn := range open {
			_ = conn.Close()
		}
	}
	eventually(t, "metrics are served", func() bool { return strings.Contains(l.get("/metrics"), "esper_key_lost 0") })
	if used := memory(t, l.pid); used > mostMemory {
		t.Errorf("run uses %d KiB, want %d at most", used, mostMemory)
	} else {
		t.Logf("run uses %d KiB", used)
	}
}

// memory returns how many KiB of the process are in memory.
func memory(t *testing.T, pid int) int {
	t.Helper()
	line := regexp.MustCompile(`VmRSS:\s+(\d+) kB`).FindStringSubmatch(read(filepath.Join("/proc", strconv.Itoa(pid), "status")))
	n, err := strconv.Atoi(line[1])
	must(t, err)
	return n
}
