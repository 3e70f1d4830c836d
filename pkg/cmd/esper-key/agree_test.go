//go:build unix

package main

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/esper-go/esper-go/pkg/esper"
	"github.com/esper-go/esper-go/pkg/esper/espertest"
	"github.com/esper-go/esper-go/pkg/internal/keyfile"
)

// here runs a command in this process, with the server in memory, so that both have the clock of a bubble.
func (o *operator) here(ctx context.Context, a *app, args ...string) *process {
	o.t.Helper()
	var stdout, stderr bytes.Buffer
	a.stderr, a.clientOptions = &stderr, []esper.Option{esper.WithTransport(o.server.Transport())}
	code := a.execute(ctx, append(args, "--environment", o.server.URL, "--store", o.store), &stdout)
	o.remember(stderr.String())
	return &process{o: o, args: args, stdout: stdout.String(), stderr: stderr.String(), code: code}
}

// adopt adopts a key in this process.
func (o *operator) adopt(key string) {
	o.t.Helper()
	write(o.t, o.at("key"), key)
	o.here(o.t.Context(), new(app), "adopt", "--key-file", o.at("key")).wants(0)
}

// keeps starts `esper-key run` in this process. stop ends it.
func (o *operator) keeps(args ...string) (k *keeper, stop func()) {
	o.t.Helper()
	a, ended := new(app), make(chan *process)
	ctx, cancel := context.WithCancel(o.t.Context())
	go func() { ended <- o.here(ctx, a, append([]string{"run"}, args...)...) }()
	synctest.Wait()
	if k = a.keeper.Load(); k == nil {
		o.t.Fatal((<-ended).stderr)
	}
	return k, func() { cancel(); (<-ended).wants(0) }
}

// says fails the test unless a page of --listen has the status and the text, and returns the page.
func (k *keeper) says(t *testing.T, path string, status int, text string) (page string) {
	t.Helper()
	w := httptest.NewRecorder()
	k.handler().ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil))
	if page = w.Body.String(); w.Code != status || !strings.Contains(page, text) {
		t.Errorf("%s says %d, %q, want %d, %q", path, w.Code, page, status, text)
	}
	return page
}

// TestLastSuccess: the metric of when Esper last accepted the key is missing until run has asked Esper.
func TestLastSuccess(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o := newOperator(t)
		o.adopt(o.server.Token())
		k, stop := o.keeps()
		const name = "\nesper_key_last_success_timestamp_seconds "
		if page := k.says(t, "/metrics", http.StatusOK, "esper_key_lost 0"); strings.Contains(page, name) {
			t.Errorf("before Esper was asked: %s", page)
		}
		time.Sleep(25 * time.Hour)
		k.says(t, "/metrics", http.StatusOK, name+"9.4")
		stop()
	})
}

// TestAdoptInterrupted: if Ctrl-C ends adopt, that says whether the key was stored.
func TestAdoptInterrupted(t *testing.T) {
	t.Parallel()
	o := newOperator(t)
	o.server.Fail(1, espertest.Fault{Delay: time.Minute})
	cmd := o.command("adopt")
	cmd.Stdin = strings.NewReader(o.server.Token())
	p := o.begin(cmd)
	eventually(t, "adopt asks Esper", func() bool { return len(o.server.Requests()) > 0 })
	p.signal(syscall.SIGINT).end()
	if p.code != 130 || !strings.Contains(p.stderr, "was not adopted, and the store was not changed") || exists(o.path()) {
		t.Errorf("%d: %s", p.code, p.stderr)
	}
	for _, age := range []time.Duration{0, 80 * day} { // while the key is being stored, which may be due
		synctest.Test(t, func(t *testing.T) {
			o := newOperator(t)
			o.server.Transport() // closes the network listener, so that the clock goes on
			time.Sleep(age)
			must(t, os.Mkdir(filepath.Dir(o.path()), 0o700))
			lock, err := os.Create(o.path() + ".lock")
			must(t, err)
			must(t, syscall.Flock(int(lock.Fd()), syscall.LOCK_EX))
			write(t, o.at("key"), o.server.Token())
			ctx, interrupt := context.WithCancel(t.Context())
			ended := make(chan *process)
			go func() { ended <- o.here(ctx, new(app), "adopt", "--key-file", o.at("key")) }()
			synctest.Wait()
			interrupt()
			synctest.Wait()
			must(t, lock.Close())
			(<-ended).wants(exitFailed, "the key is stored, but asking Esper about it failed")
			if !strings.Contains(read(o.path()), o.server.Token()) {
				t.Error("the key is not stored")
			}
		})
	}
}

// TestFIFO: a FIFO in place of the file of --write-token is an error, and delays nothing.
func TestFIFO(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "token")
	must(t, syscall.Mkfifo(path, 0o600))
	d := &delivery{file: keyfile.New(path, false), warn: func(string) {}}
	if err := d.write(t.Context(), "fake-key"); err == nil {
		t.Error("a FIFO is taken for a file")
	}
}

// TestAgreement: within one poll of run, which is a minute, run and the other commands say the same of a key, whatever
// has happened to it.
func TestAgreement(t *testing.T) {
	t.Parallel()
	const minute = time.Minute + time.Second
	refused := func(o *operator) {
		o.server.Revoke()
		o.set("refused_at", time.Now()) // a command has noted it
	}
	lost := func(o *operator) {
		refused(o)
		time.Sleep(3 * minute) // run has Esper refuse the key once more
		if !strings.Contains(read(o.path()), `"lost_at"`) {
			o.t.Errorf("the document does not tell that the key is lost: %s", read(o.path()))
		}
	}
	replaced := func(o *operator) { // a person makes a new key, and gives it to another process than run
		time.Sleep(minute)
		o.adopt(o.server.NewKey())
	}
	backup := ""
	for name, test := range map[string]struct {
		before, happens    func(o *operator) // run is started in between
		wait               time.Duration     // if it is not one poll
		ready              string            // what /readyz says; empty if the key is good
		result             string            // what came of it, in the metrics; empty if no other key did
		says               string            // what the commands say that do not succeed
		show, check, token int               // the exit codes
		renew              int
	}{
		"good": {},
		"due, and not renewed": {
			before: func(o *operator) {
				o.due(5 * day)
				o.server.FailOperation("renewToken", -1, espertest.Fault{Status: 503})
			},
			check: stateWarning, renew: exitFailed,
		},
		"ended": {
			before: func(o *operator) {
				o.due(minute / 2)
				o.server.Fail(-1, espertest.Fault{Status: 503})
			},
			ready: "the key has ended and is not renewed\n", // and not why: that may name hosts and paths
			show:  exitFailed, check: stateCritical, token: exitFailed, renew: exitFailed,
		},
		"refused once": {
			happens: refused, ready: "Esper refused the key",
			show: exitPerson, check: stateCritical, token: exitPerson, renew: exitPerson, says: "the key is ", // wrong, or after a minute lost
		},
		"lost": {
			happens: lost, ready: "the key is lost",
			show: exitPerson, check: stateCritical, token: exitPerson, renew: exitPerson, says: "the key is lost",
		},
		"lost, as cron finds": {
			happens: func(o *operator) {
				o.server.Revoke()
				o.here(o.t.Context(), new(app), "renew").wants(exitPerson, "the key is lost")
			},
			ready: "the key is lost",
			show:  exitPerson, check: stateCritical, token: exitPerson, renew: exitPerson, says: "the key is lost",
		},
		"replaced":           {happens: replaced, result: "adopted"},
		"replaced when lost": {happens: func(o *operator) { lost(o); replaced(o) }, result: "adopted"},
		"restored from a backup": {
			before: func(o *operator) {
				o.due(5 * day)
				backup = o.document()
			},
			happens: func(o *operator) {
				time.Sleep(minute)
				o.restore(backup) // run puts its newer key back
			},
			result: "renewed",
		},
		"refused by a gateway": {
			happens: func(o *operator) { o.server.Fail(-1, espertest.Fault{Status: 401, Body: "<html>"}) },
			wait:    25 * time.Hour, // run asks once a day
			show:    exitFailed, check: stateUnknown, says: "401",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				o := newOperator(t)
				o.adopt(o.server.Token())
				if test.before != nil {
					test.before(o)
				}
				file := o.at("token")
				k, stop := o.keeps("--write-token", file, "--on-renew", o.script("program", "touch "+o.at("called")))
				if test.happens != nil {
					test.happens(o)
				}
				time.Sleep(max(test.wait, minute))
				k.says(t, "/healthz", http.StatusOK, "ok")
				k.says(t, "/readyz", map[bool]int{true: http.StatusOK, false: http.StatusServiceUnavailable}[test.ready == ""], cmp.Or(test.ready, "ok"))
				k.says(t, "/metrics", http.StatusOK, fmt.Sprintf("\nesper_key_lost %v\n", number(test.ready == "the key is lost")))
				if test.result != "" {
					k.says(t, "/metrics", http.StatusOK, fmt.Sprintf("\nesper_key_renewals_total{result=%q} 1\n", test.result))
				}
				if called := exists(o.at("called")); called != (test.result != "") {
					t.Errorf("the program of --on-renew was started: %t", called)
				}
				for _, tc := range []struct {
					command string
					code    int
				}{{"show", test.show}, {"check", test.check}, {"token", test.token}, {"renew", test.renew}} {
					p := o.here(t.Context(), new(app), tc.command).wants(tc.code)
					switch {
					case tc.code != 0:
						p.wants(tc.code, test.says)
					case tc.command == "token":
						p.prints(o.server.Token() + "\n")
					}
				}
				if test.token == 0 && read(file) != o.server.Token() {
					t.Errorf("the file has %q, want the key of the server", read(file))
				}
				stop()
			})
		})
	}
}

// TestYear: as many renewals as in a year leave no goroutine, and no more memory in use than the first: not even the
// 300 KiB in 20 days from which a year of looking at the store each minute would make 5 MiB. No other test runs meanwhile.
func TestYear(t *testing.T) {
	const lifetime, renewals, most = 5 * day, 5, 300 << 10
	synctest.Test(t, func(t *testing.T) {
		o := newOperator(t, espertest.WithLifetime(lifetime))
		o.adopt(o.server.Token())
		file := o.at("token")
		_, stop := o.keeps("--write-token", file)
		used := func() (heap uint64, goroutines int) {
			synctest.Wait()
			runtime.GC()
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			return m.HeapAlloc, runtime.NumGoroutine()
		}
		time.Sleep(lifetime)
		heap, goroutines := used()
		time.Sleep(renewals * lifetime * 4 / 5)
		if now, running := used(); now > heap+most || running > goroutines {
			t.Errorf("%d KiB and %d goroutines are in use, after the first renewal %d and %d", now>>10, running, heap>>10, goroutines)
		}
		if n := o.posts(); n < renewals || read(file) != o.server.Token() {
			t.Errorf("%d renewals, and the file has %q", n, read(file))
		}
		stop()
	})
}
