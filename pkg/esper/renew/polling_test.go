package renew

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/esper-go/esper-go/pkg/esper"
)

// TestPollingIsSpread opens forty sources at the same moment, and later renews their key. Each source reads the
// store about 80 times an hour, and never do all of them read it in the same second.
func TestPollingIsSpread(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const sources = 40
		server := newStub(90 * day)
		var mu sync.Mutex
		var loads []time.Duration
		began := time.Now()
		store := newFaulty()
		store.set(func(context.Context) error {
			mu.Lock()
			defer mu.Unlock()
			loads = append(loads, time.Since(began))
			return nil
		}, nil)
		network := instead(t, server)
		ctx, cancel := context.WithCancel(t.Context())
		var all sync.WaitGroup
		var first *Source
		for range sources {
			s, err := Open(ctx, "foo", store, WithInitialToken(esper.NewSecret(stubFirst)), network)
			if err != nil {
				t.Fatal(err)
			}
			first = s
			all.Go(func() {
				if err := s.Run(ctx); err != nil {
					t.Error(err)
				}
			})
		}
		time.Sleep(time.Hour)
		if err := first.Renew(ctx); err != nil { // all sources take over the new key
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		cancel()
		all.Wait()

		atOnce, perSecond := 0, make(map[time.Duration]int)
		for _, at := range loads {
			if at > time.Second { // the reads of Open come before
				perSecond[at.Truncate(time.Second)]++
				atOnce = max(atOnce, perSecond[at.Truncate(time.Second)])
			}
		}
		each := float64(len(loads)) / sources / 2
		t.Logf("%.1f reads an hour by each, at most %d of %d in one second", each, atOnce, sources)
		if each < 60 || each > 100 || atOnce > 12 {
			t.Errorf("each source reads the store %.1f times an hour, and %d of %d do in the same second", each, atOnce, sources)
		}
	})
}
