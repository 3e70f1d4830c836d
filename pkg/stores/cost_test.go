//go:build linux

package stores

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/esper-go/esper-go/pkg/esper"
	"github.com/esper-go/esper-go/pkg/esper/renew"
	"github.com/esper-go/esper-go/pkg/internal/processes"
)

// TestCost waits for warmUp, because sources read the store less regularly at first. Then it counts for measured.
const warmUp, measured = time.Minute, 90 * time.Second

// counting is a store that counts its calls.
type counting struct {
	renew.Store
	loads, saves *atomic.Int64
}

func (c counting) Load(ctx context.Context) ([]byte, string, error) {
	c.loads.Add(1)
	return c.Store.Load(ctx)
}

func (c counting) Save(ctx context.Context, document []byte, version string) (string, error) {
	c.saves.Add(1)
	return c.Store.Save(ctx, document, version)
}

// TestCost counts the calls and bytes of processes that share a key, in an hour without a renewal and for a renewal.
func TestCost(t *testing.T) {
	t.Parallel()
	for _, name := range servers() {
		for _, processes := range []int{1, 100} {
			e := get(t, name)
			t.Run(fmt.Sprintf("%s, %d", name, processes), func(t *testing.T) { t.Parallel(); cost(t, e, processes) })
		}
	}
}

func cost(t *testing.T, e *engine, number int) {
	server, m := newServer(t), wireTo(t, e.listens, nil)
	var loads, saves atomic.Int64
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	t.Cleanup(func() { cancel(); all.Wait() })
	address := e.at(newName(), m.Addr().String())
	sources := make([]*renew.Source, number)
	for i := range sources {
		store, err := open(address)
		must(t, err)
		sources[i], err = renew.Open(ctx, server.URL, counting{store, &loads, &saves}, renew.WithInitialToken(esper.NewSecret(server.Token())))
		must(t, err)
		all.Go(func() { _ = sources[i].Run(ctx) })
	}
	read := func() (int64, int64) { return loads.Load() + saves.Load(), int64(len(m.sent())) }
	<-time.After(warmUp)
	calls, bytes := read()
	<-time.After(measured)
	callsThen, bytesThen := read()
	hours := measured.Hours()
	idleCalls, idleBytes := float64(callsThen-calls)/hours, float64(bytesThen-bytes)/hours

	calls, bytes = read()
	saves.Store(0)
	must(t, sources[0].Renew(ctx))
	for _, s := range sources {
		must(t, s.Check(ctx)) // Run does the same within a minute
		wants(t, s, server.Token())
	}
	callsThen, bytesThen = read()
	if n := processes.Posts(server); n != 1 {
		t.Errorf("%d renewals, want 1", n)
	}
	if perHour := idleCalls / float64(number); perHour > 120 {
		t.Errorf("each process calls the store %.0f times an hour, want 120 at most", perHour)
	}
	if n := saves.Load(); n != 2 { // one notes the attempt, the other saves the new key
		t.Errorf("%d saves for a renewal, want 2", n)
	}
	reportCost(e, number, idleCalls, idleBytes, callsThen-calls, bytesThen-bytes)
}

// TestRate counts how often eight callers can load the document in a second.
func TestRate(t *testing.T) {
	const callers, lasts = 8, 2 * time.Second
	on(t, func(t *testing.T, e *engine) {
		server, address := newServer(t), e.fresh(t)
		_, err := openSource(t, server, address)
		must(t, err)
		store, err := open(address)
		must(t, err)
		var looks atomic.Int64
		var all sync.WaitGroup
		began := time.Now()
		for range callers {
			all.Go(func() {
				for time.Since(began) < lasts {
					if _, _, err := store.Load(t.Context()); err != nil {
						t.Error(err)
						return
					}
					looks.Add(1)
				}
			})
		}
		all.Wait()
		reportRate(e, float64(looks.Load())/time.Since(began).Seconds())
	})
}
