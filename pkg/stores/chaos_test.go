//go:build linux

package stores

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/Shopify/toxiproxy/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/esper-go/esper-go/pkg/esper/espertest"
	"github.com/esper-go/esper-go/pkg/internal/processes"
)

// proxy stands between the processes and an engine.
type proxy struct {
	t *testing.T
	*toxiproxy.Proxy
}

func proxyTo(t *testing.T, e *engine) *proxy {
	t.Helper()
	api := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(prometheus.NewRegistry()), zerolog.New(io.Discard))
	p := &proxy{t, toxiproxy.NewProxy(api, "stores", "127.0.0.1:"+freePort(t), e.listens)} // nobody takes its port while it is stopped
	must(t, p.Start())
	t.Cleanup(p.Stop)
	return p
}

// fault is something that happens between the processes and the engine, or to the engine, and ends.
type fault struct {
	name  string
	begin func(p *proxy, e *engine)
	end   func(p *proxy, e *engine)
	lasts time.Duration
}

// network returns the faults of the network between processes and engine.
func network() []fault {
	toxic := func(kind, stream, attributes string) func(*proxy, *engine) {
		return func(p *proxy, _ *engine) {
			text := fmt.Sprintf(`{"type": %q, "stream": %q, "attributes": %s}`, kind, stream, attributes)
			if _, err := p.Toxics.AddToxicJson(strings.NewReader(text)); err != nil {
				p.t.Errorf("%s: %v", text, err)
			}
		}
	}
	slow, slowToo := toxic("latency", "upstream", `{"latency": 700}`), toxic("latency", "downstream", `{"latency": 700}`)
	healed := func(p *proxy, _ *engine) { p.Toxics.ResetToxics(context.Background()) }
	const seconds = 4 * time.Second
	return []fault{
		{"no fault", func(*proxy, *engine) {}, healed, 0},
		{"connections cut, none accepted", func(p *proxy, _ *engine) { p.Stop() }, func(p *proxy, _ *engine) { must(p.t, p.Start()) }, seconds},
		{"nothing gets to the engine", toxic("timeout", "upstream", `{"timeout": 0}`), healed, seconds},
		{"nothing comes from the engine", toxic("timeout", "downstream", `{"timeout": 0}`), healed, seconds},
		{"each way takes 0.7 s more", func(p *proxy, e *engine) { slow(p, e); slowToo(p, e) }, healed, seconds},
		{"cut in the middle of a statement", toxic("limit_data", "upstream", fmt.Sprintf(`{"bytes": %d}`, 1+rand.N(900))), healed, seconds},
		{"cut in the middle of an answer", toxic("limit_data", "downstream", fmt.Sprintf(`{"bytes": %d}`, rand.N(900))), healed, seconds},
	}
}

// trouble returns the faults of the engine itself.
func trouble() []fault {
	again := func(p *proxy, e *engine) { e.start(p.t) }
	return []fault{
		{"engine killed (kill -9), back after 1 s", func(_ *proxy, e *engine) { e.kill() }, again, time.Second},
		{"engine restarted in an orderly way (SIGTERM)", func(_ *proxy, e *engine) { e.server().end() }, again, time.Second},
		{"engine hangs for 4 s (SIGSTOP)", func(_ *proxy, e *engine) { e.signal(syscall.SIGSTOP) }, func(_ *proxy, e *engine) { e.signal(syscall.SIGCONT) }, 4 * time.Second},
	}
}

// commit has PostgreSQL end while it commits the save of a new key: the commit waits for a standby that does not exist.
func commit() fault {
	return fault{"engine ends in the middle of COMMIT", func(p *proxy, e *engine) {
		e.execute(p.t, "ALTER SYSTEM SET synchronous_standby_names = 'nobody'", "SELECT pg_reload_conf()")
		eventually(p.t, func() error {
			var wait string
			return e.db(p.t).QueryRowContext(p.t.Context(), "SELECT wait_event FROM pg_stat_activity WHERE wait_event = 'SyncRep'").Scan(&wait)
		})
		e.server().end()
	}, func(p *proxy, e *engine) {
		e.start(p.t)
		e.execute(p.t, "ALTER SYSTEM RESET synchronous_standby_names", "SELECT pg_reload_conf()")
	}, time.Second}
}

// The moments at which a fault begins.
const (
	atJournal = "before the attempt is noted in the store"
	atPost    = "while the renewal is under way, before the server acts"
	atSave    = "after the server has replaced the key, before the new one arrives"
)

var moments = []string{atJournal, atPost, atSave}

// TestChaos brings about each fault at each moment of a renewal, on each engine.
func TestChaos(t *testing.T) {
	t.Parallel()
	on(t, servers, func(t *testing.T, e *engine) {
		t.Run("network", func(t *testing.T) {
			for _, f := range network() {
				for _, moment := range moments {
					t.Run(f.name+", "+moment, func(t *testing.T) { t.Parallel(); befall(t, e, f, moment) })
				}
			}
		})
		for _, f := range trouble() {
			for _, moment := range moments {
				t.Run(f.name+", "+moment, func(t *testing.T) { befall(t, e, f, moment) })
			}
		}
		if e.name == "PostgreSQL" {
			t.Run("the server ends in the middle of COMMIT", func(t *testing.T) { befall(t, e, commit(), atSave) })
		}
		t.Run("killed after a save", func(t *testing.T) { confirmedIsKept(t, e) })
	})
}

// TestPrimaryGone stops the engine for two minutes.
func TestPrimaryGone(t *testing.T) {
	t.Parallel()
	gone := network()[1]
	gone.name, gone.lasts = "primary gone for two minutes", 2*time.Minute
	on(t, servers, func(t *testing.T, e *engine) {
		for _, moment := range moments {
			t.Run(moment, func(t *testing.T) { t.Parallel(); befall(t, e, gone, moment) })
		}
	})
}

// confirmedIsKept kills an engine directly after a save, several times. The engine must still have the confirmed
// document. PostgreSQL is told not to wait for its disk: the store has to make it wait.
func confirmedIsKept(t *testing.T, e *engine) {
	const kills = 5
	store, version := storeAt(t, strings.Replace(e.fresh(t), "sslmode=disable", "sslmode=disable&synchronous_commit=off", 1)), ""
	for i := range kills {
		document := strings.Repeat("x", 100+i)
		next, err := store.Save(t.Context(), []byte(document), version)
		e.kill()
		must(t, err)
		e.start(t)
		got, now := load(t, store)
		if string(got) != document || now != next {
			t.Fatalf("kill %d: the store has %q with %d bytes; %q was confirmed", i, now, len(got), next)
		}
		version = next
	}
	report(e, "engine killed (kill -9) directly after a save was confirmed", kills, 0, 0)
}

// befall has processes renew a key during a fault. It checks that no key that arrived is lost, that no process repeats
// a renewal before it has asked the server about the first one, and that all processes have the new key afterwards.
func befall(t *testing.T, e *engine, f fault, moment string) {
	const number, longest = 3, 3 * time.Minute
	server := newServer(t)
	p := proxyTo(t, e)
	name := newName()
	all := startAll(t, server, e.via(p.Listen).at(name), number)
	switch moment {
	case atPost:
		server.FailOperation("renewToken", 1, espertest.Fault{Delay: time.Second})
	case atSave:
		server.FailOperation("renewToken", 1, espertest.Fault{Delay: time.Second, Handled: true})
	default:
		f.begin(p, e)
	}
	for _, c := range all {
		c.Tell("renew")
	}
	if moment != atJournal {
		waitForPost(t, server)
		f.begin(p, e)
	}
	<-time.After(f.lasts)
	f.end(p, e)
	healed := time.Now()
	var wait sync.WaitGroup
	for i, c := range all {
		wait.Go(func() {
			answer := c.Hear()
			for ; processes.Posts(server) == 0 || answer != "key "+server.Token(); <-time.After(50 * time.Millisecond) {
				if strings.HasPrefix(answer, "lost") || time.Since(healed) > longest {
					t.Errorf("process %d has no working key %v after the fault: %s", i, time.Since(healed), answer)
					return
				}
				command := "call"
				if processes.Posts(server) == 0 {
					command = "renew" // the processes could not begin a renewal without the store
				}
				answer = c.Ask(command)
			}
		})
	}
	wait.Wait()
	if t.Failed() {
		return
	}
	took := time.Since(healed)
	processes.NoSecondPost(t, server)
	n := processes.Posts(server)
	if n > 1 && f.lasts < time.Minute {
		t.Errorf("%d renewals, want one", n)
	}
	if document, _ := load(t, storeAt(t, e.at(name))); !strings.Contains(string(document), `"`+server.Token()+`"`) {
		t.Error("the store does not have the new key")
	}
	report(e, f.name, 1, n, took)
}

func waitForPost(t *testing.T, server *espertest.Server) {
	t.Helper()
	eventually(t, func() error {
		if processes.Posts(server) == 0 {
			return errors.New("no process has sent a renewal")
		}
		return nil
	})
}
