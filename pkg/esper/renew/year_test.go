package renew

import (
	"math/rand/v2"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// weather makes requests go wrong at random.
type weather struct {
	t     *testing.T
	often int // how many in a hundred requests go wrong

	mu       sync.Mutex // guards what follows: requests may overlap
	rand     *rand.Rand
	unsure   time.Time // when the last renewal of unknown outcome was sent
	answered bool      // TokenInfo has answered since unsure
	failed   int       // renewals that went wrong
}

func (w *weather) fault(req *http.Request, op string, act func() *http.Response) (*http.Response, error) {
	w.mu.Lock()
	kind, renews, failure := -1, op == "renew", 500+w.rand.IntN(5)
	if w.rand.IntN(100) < w.often {
		kind = w.rand.IntN(8)
	}
	if renews && !w.unsure.IsZero() && (time.Since(w.unsure) < 15*time.Second || !w.answered) {
		w.t.Errorf("%v: a renewal %v after one of unknown outcome, the key checked %v", time.Now(), time.Since(w.unsure), w.answered)
	}
	switch {
	case renews && kind >= 2:
		w.unsure, w.answered = time.Now(), false
	case renews:
		w.unsure = time.Time{}
	case kind < 0:
		w.answered = true
	}
	if renews && kind >= 0 {
		w.failed++
	}
	var resp *http.Response
	if kind < 0 || renews && kind >= 5 {
		resp = act()
	}
	w.mu.Unlock()
	switch kind {
	case -1:
		return resp, nil
	case 0, 1:
		return fails(429, "Retry-After", "120")(act)
	case 2, 5:
		return reply(failure, "<html>"), nil
	case 3, 6:
		return silent(req, op, act)
	case 4:
		return nil, errStub
	}
	return reply(200, "<html>"), nil
}

func (w *weather) roll(n int) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.rand.IntN(n)
}

// In a year of faults, there is always a valid key, and no flood of renewals, with calls alone and with Run. It takes
// seconds.
func TestYear(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		often       int // how many in a hundred requests go wrong
		running     bool
		days        int
		least, most int // renewals: each key is renewed after 11¼ to 12 days, or later if renewals fail
	}{{50, false, 364, 28, 33}, {50, true, 91, 6, 8}} {
		synctest.Test(t, func(t *testing.T) {
			var log records
			var told recorder
			server := newStub(15 * day)
			server.keepOld = true
			_, source := withCanary(t, server, log.option(), told.option())
			w := &weather{t: t, rand: rand.New(rand.NewPCG(uint64(test.often), 1)), often: test.often}
			server.fault = w.fault
			if test.running {
				go func() { _ = source.Run(t.Context()) }()
			}
			for end := time.Now().Add(time.Duration(test.days) * day); time.Now().Before(end); {
				time.Sleep(time.Duration(w.roll(240)) * time.Minute)
				if !works(server, source) {
					t.Fatalf("%+v: no valid key at %v: %+v", test, time.Now(), source.Status())
				}
				checkStatus(t, source.Status())
			}
			renewed := server.counted("renew") - w.failed
			if renewed < test.least || renewed > test.most || w.failed == 0 && test.days > 100 { // of six renewals none may fail
				t.Errorf("%+v: %d renewals, and %d that failed", test, renewed, w.failed)
			}
			server.set(nil)
			if err := source.Close(); err != nil {
				t.Error(err)
			}
			for _, e := range told {
				checkStatus(t, e.Status)
			}
			checkNoCanary(t, "the log", log.String())
		})
	}
}
