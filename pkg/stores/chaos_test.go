//go:build linux

package stores

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"sync"
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
	for tries := 10; ; tries-- {
		port, err := freePort() // no connection takes this port while the proxy is stopped, but another program may
		must(t, err)
		p := &proxy{t, toxiproxy.NewProxy(api, "stores", fmt.Sprintf("127.0.0.1:%d", port), e.listens)}
		if err = p.Start(); err == nil {
			t.Cleanup(p.Stop)
			return p
		}
		if tries == 0 {
			t.Fatal(err)
		}
	}
}

func (p *proxy) add(kind, stream, attributes string) {
	text := fmt.Sprintf(`{"name": %q, "type": %q, "stream": %q, "attributes": %s}`, kind+stream, kind, stream, attributes)
	if _, err := p.Toxics.AddToxicJson(strings.NewReader(text)); err != nil {
		p.t.Errorf("%s: %v", text, err)
	}
}

func (p *proxy) heal() { p.Toxics.ResetToxics(context.Background()) }

// fault is something that happens between the processes and the engine, or to the engine, and ends.
type fault struct {
	name  string
	begin func(p *proxy, e *engine)
	end   func(p *proxy, e *engine)
	lasts time.Duration
}

// network returns the faults of the network between processes and engine.
func network() []fault {
	healed := func(p *proxy, _ *engine) { p.heal() }
	const seconds = 4 * time.Second
	return []fault{
		{"no fault", func(*proxy, *engine) {}, healed, 0},
		{"connections cut, none accepted", func(p *proxy, _ *engine) { p.Stop() }, func(p *proxy, _ *engine) {
			if err := p.Start(); err != nil {
				p.t.Error(err)
			}
		}, seconds},
		{"nothing gets to the engine", func(p *proxy, _ *engine) { p.add("timeout", "upstream", `{"timeout": 0}`) }, healed, seconds},
		{"nothing comes from the engine", func(p *proxy, _ *engine) { p.add("timeout", "downstream", `{"timeout": 0}`) }, healed, seconds},
		{"each way takes 0.7 s more", func(p *proxy, _ *engine) {
			p.add("latency", "upstream", `{"latency": 700}`)
			p.add("latency", "downstream", `{"latency": 700}`)
		}, healed, seconds},
		{"cut in the middle of a statement", func(p *proxy, _ *engine) {
			p.add("limit_data", "upstream", fmt.Sprintf(`{"bytes": %d}`, 1+rand.N(900)))
		}, healed, seconds},
		{"cut in the middle of an answer", func(p *proxy, _ *engine) {
			p.add("limit_data", "downstream", fmt.Sprintf(`{"bytes": %d}`, rand.N(900)))
		}, healed, seconds},
	}
}

// trouble returns the faults of the engine itself.
func trouble() []fault {
	again := func(p *proxy, e *engine) { e.start(p.t) }
	return []fault{
		{"engine killed (kill -9), back after 1 s", func(_ *proxy, e *engine) { e.kill() }, again, time.Second},
		{"engine restarted in an orderly way (SIGTERM)", func(_ *proxy, e *engine) { e.services[0].end() }, again, time.Second},
		{"engine hangs for 4 s (SIGSTOP)", func(_ *proxy, e *engine) { e.hold(true) }, func(_ *proxy, e *engine) { e.hold(false) }, 4 * time.Second},
	}
}

// commit has PostgreSQL end while it commits the save of a new key: the commit waits for a standby that does not exist.
func commit() fault {
	ask := func(p *proxy, e *engine, statement string) (n int) {
		db, _ := admin(p.t, e)
		if err := db.QueryRowContext(p.t.Context(), statement).Scan(&n); err != nil && !errors.Is(err, sql.ErrNoRows) {
			p.t.Error(err)
		}
		return n
	}
	return fault{"engine ends in the middle of COMMIT", func(p *proxy, e *engine) {
		ask(p, e, "ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
		ask(p, e, "SELECT pg_reload_conf()::int")
		for over := time.Now().Add(startTime); ask(p, e, "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'") == 0; <-time.After(20 * time.Millisecond) {
			if time.Now().After(over) {
				p.t.Error("no save waits for the standby")
				return
			}
		}
		e.services[0].end()
	}, func(p *proxy, e *engine) {
		e.start(p.t)
		ask(p, e, "ALTER SYSTEM RESET synchronous_standby_names")
		ask(p, e, "SELECT pg_reload_conf()::int")
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
	for _, name := range servers() {
		e := get(t, name)
		t.Run(name, func(t *testing.T) {
			t.Parallel() // with the other engines
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
			if name == "PostgreSQL" {
				t.Run("the server ends in the middle of COMMIT", func(t *testing.T) { befall(t, e, commit(), atSave) })
			}
		})
	}
}

// TestPrimaryGone stops the engine for two minutes.
func TestPrimaryGone(t *testing.T) {
	t.Parallel()
	for _, name := range servers() {
		e := get(t, name)
		for _, moment := range moments {
			t.Run(name+", "+moment, func(t *testing.T) {
				t.Parallel()
				gone := network()[1]
				gone.name, gone.lasts = "primary gone for two minutes", 2*time.Minute
				befall(t, e, gone, moment)
			})
		}
	}
}

// befall has processes renew a key during a fault. It checks that no key that arrived is lost, that no process repeats
// a renewal before it has asked the server about the first one, and that all processes have the new key afterwards.
func befall(t *testing.T, e *engine, f fault, moment string) {
	const number, patience = 3, 3 * time.Minute
	server := newServer(t)
	p := proxyTo(t, e)
	name := newName()
	address := e.at(name, p.Listen)
	all := make([]*processes.Process, number)
	for i := range all {
		all[i] = processes.Start(t, server, address, server.Token())
	}
	for i, c := range all {
		if answer := c.Hear(); answer != "key "+server.Token() {
			t.Fatalf("process %d: %s", i, answer)
		}
	}
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
	done := make([]time.Duration, number)
	var wait sync.WaitGroup
	for i, c := range all {
		wait.Go(func() {
			answer := c.Hear()
			for time.Since(healed) < patience {
				if strings.HasPrefix(answer, "lost") {
					t.Errorf("process %d: %s", i, answer)
					return
				}
				if processes.Posts(server) > 0 && answer == "key "+server.Token() {
					done[i] = time.Since(healed)
					return
				}
				command := "call"
				if processes.Posts(server) == 0 {
					command = "renew" // the processes could not begin a renewal without the store
				}
				<-time.After(50 * time.Millisecond)
				answer = c.Ask(command)
			}
			t.Errorf("process %d has no working key %v after the fault: %s", i, patience, answer)
		})
	}
	wait.Wait()
	if t.Failed() {
		return
	}
	processes.NoSecondPost(t, server)
	n := processes.Posts(server)
	if n > 1 && f.lasts < time.Minute {
		t.Errorf("%d renewals, want one", n)
	}
	store, err := open(e.at(name, ""))
	must(t, err)
	document, _, err := load(t, store)
	if err != nil || !strings.Contains(string(document), `"`+server.Token()+`"`) {
		t.Errorf("the store does not have the new key: %v", err)
	}
	report(e, f.name, 1, n, max(done[0], done[1], done[2]))
}

func waitForPost(t *testing.T, server *espertest.Server) {
	t.Helper()
	for over := time.Now().Add(30 * time.Second); processes.Posts(server) == 0; <-time.After(5 * time.Millisecond) {
		if time.Now().After(over) {
			t.Fatal("no process has sent a renewal")
		}
	}
}
