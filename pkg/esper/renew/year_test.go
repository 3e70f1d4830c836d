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
	t      *testing.T
	server *stub
	rand   *rand.Rand
	often  int // how many in a hundred requests go wrong

	mu       sync.Mutex // guards what follows: requests may overlap
	unsure   time.Time  // when the last renewal of unknown outcome was sent
	answered bool       // TokenInfo has answered since unsure
	failed   int        // renewals that went wrong
}

func (w *weather) fault(req *http.Request, op string, act func() *http.Response) (*http.Response, error) {
	kind, resp := w.begin(op, act)
	switch kind {
	case -1:
		return resp, nil
	case 0, 1:
		resp := reply(429, "")
		resp.Header.Set("Retry-After", "120")
		return resp, nil
	case 2, 5:
		return reply(500+w.roll(5), "<html>"), nil
	case 3, 6:
		return silent(req, op, act)
	case 4:
		return nil, errStub
	}
	return reply(200, "<html>"), nil
}

// begin decides how a request goes wrong, as a kind for fault, or -1 if it does not. In some cases it lets the server
// act on the request.
func (w *weather) begin(op string, act func() *http.Response) (kind int, resp *http.Response) {
	w.mu.Lock()
	defer w.mu.Unlock()
	kind = -1
	if w.roll(100) < w.often {
		kind = w.roll(8)
	}
	if op == "renew" {
		if !w.unsure.IsZero() && (time.Since(w.unsure) < 15*time.Second || !w.answered) {
			w.t.Errorf("%v: a renewal %v after one of unknown outcome, the key checked %v", time.Now(), time.Since(w.unsure), w.answered)
		}
		w.unsure = time.Time{}
	}
	if kind < 0 {
		w.answered = w.answered || op == "info"
		return kind, act()
	}
	if op == "renew" {
		w.failed++
		if kind >= 2 {
			w.unsure, w.answered = time.Now(), false
		}
		if kind >= 5 {
			act()
		}
	}
	return kind, nil
}

func (w *weather) roll(n int) int {
	w.server.mu.Lock()
	defer w.server.mu.Unlock()
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
	}{{25, false, 364, 28, 33}, {50, false, 364, 28, 33}, {50, true, 91, 6, 8}} {
		synctest.Test(t, func(t *testing.T) {
			var log records
			var told recorder
			server := newStub(15 * day)
			server.keepOld = true
			_, source := withCanary(t, server, log.option(), told.option())
			w := &weather{t: t, server: server, rand: rand.New(rand.NewPCG(uint64(test.often), 1)), often: test.often}
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
