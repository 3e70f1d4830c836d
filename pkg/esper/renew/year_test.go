package renew

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
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
	lost     time.Time  // when the server replaced the key and lost the answer
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
		<-req.Context().Done()
		return nil, req.Context().Err()
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
			if !w.server.keepOld {
				w.lost = time.Now()
			}
		}
	}
	return kind, nil
}

// refuse has one request find no connection for every eight that go wrong in fault.
func (w *weather) refuse(string) error {
	if w.roll(800) >= w.often {
		return nil
	}
	return errRefused
}

func (w *weather) roll(n int) int {
	w.server.mu.Lock()
	defer w.server.mu.Unlock()
	return w.rand.IntN(n)
}

// live asks for the key about every two hours, for the time total. After a loss, an operator gives a new
// key. live returns the number of these keys.
func (w *weather) live(source *Source, store Store, total time.Duration) (operator int) {
	for end := time.Now().Add(total); time.Now().Before(end); time.Sleep(time.Duration(w.roll(240)) * time.Minute) {
		_, _ = source.Token()
		synctest.Wait() // for a renewal in the background
		token, err := source.Token()
		synctest.Wait()
		if err == nil && w.server.valid(token.AccessToken) {
			if !w.lost.IsZero() && time.Since(w.lost) > time.Minute {
				w.t.Errorf("%v: the key works, though it was lost", time.Now())
			}
			continue
		}
		status := source.Status()
		if w.lost.IsZero() {
			w.t.Fatalf("%v: no valid key: %v; %+v", time.Now(), err, status)
		}
		if err != nil {
			checkNoCanary(w.t, "an error", err.Error())
		}
		checkStatus(w.t, status)
		if !errors.Is(err, ErrKeyLost) { // the source cannot know yet that the key is lost
			if time.Since(w.lost) > 5*day {
				w.t.Fatalf("%v: the key is lost since %v, and the source does not say so: %+v", time.Now(), w.lost, status)
			}
			continue
		}
		operator++
		w.mu.Lock()
		w.lost, w.unsure = time.Time{}, time.Time{}
		w.mu.Unlock()
		key := fmt.Sprintf("%s-operator-%d", canary, operator)
		w.server.revoke(key)
		if operator%2 == 0 {
			put(w.t, store, living(key, w.server.lifetime))
		} else {
			for w.adopt(source, key) != nil {
				time.Sleep(time.Minute)
			}
		}
		for begun := time.Now(); !works(w.server, source); time.Sleep(time.Minute) {
			if time.Since(begun) > day {
				w.t.Fatalf("no valid key a day after the operator gave one: %+v", source.Status())
			}
		}
	}
	return operator
}

// adopt has the operator give the key to the source.
func (w *weather) adopt(source *Source, text string) error {
	return source.Adopt(w.t.Context(), key(text))
}

func TestYear(t *testing.T) {
	t.Parallel()
	seeds := uint64(3)
	if raceEnabled || testing.Short() {
		seeds = 1
	}
	for seed := range seeds {
		synctest.Test(t, func(t *testing.T) {
			var log strings.Builder
			var told recorder
			server := newStub(90 * day)
			server.keepOld = seed%2 == 0
			store, source := withCanary(t, server, logTo(&log), told.option())
			w := &weather{t: t, server: server, rand: rand.New(rand.NewPCG(seed, 1)), often: 25 * int(seed+1)}
			server.fault, server.refuse = w.fault, w.refuse
			operator := w.live(source, store, 364*day)

			// A key of 90 days is renewed after 67½ to 72 days: 5 times a year. Renewals whose answer never
			// arrived, and keys of the operator, can change that number.
			posts, renewed := server.counted("renew"), server.counted("renew")-w.failed
			if renewed < 5-operator || renewed > 5+operator {
				t.Errorf("seed %d: %d renewals, with %d keys by the operator", seed, renewed, operator)
			}
			// All other POSTs are renewals that failed, since a key that was renewed is not due for long.
			t.Logf("seed %d, old key stays %v, %d %% faults: %d POSTs = %d renewals + %d failures, %d losses",
				seed, server.keepOld, w.often, posts, renewed, w.failed, operator)
			synctest.Wait() // until all is told
			for _, e := range told {
				checkStatus(t, e.Status)
			}
			checkNoCanary(t, "the log", log.String())
			server.fault, server.refuse = nil, nil
			time.Sleep(30 * time.Minute)
			synctest.Wait()
		})
	}
}

// TestYearOfRun has no callers but Run, and half of all requests go wrong. It takes seconds.
func TestYearOfRun(t *testing.T) {
	t.Parallel()
	days, least, most := 364, 29, 33 // each key is renewed after 11¼ to 12 days, or later if renewals fail
	if raceEnabled || testing.Short() {
		days, least, most = 73, 5, 7
	}
	synctest.Test(t, func(t *testing.T) {
		server := newStub(15 * day)
		server.keepOld = true
		_, source := withCanary(t, server)
		w := &weather{t: t, server: server, rand: rand.New(rand.NewPCG(99, 1)), often: 50}
		server.fault, server.refuse = w.fault, w.refuse
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(days)*day)
		defer cancel()
		done := make(chan error, 1)
		go func() { done <- source.Run(ctx) }()
		for range days {
			time.Sleep(day)
			synctest.Wait()
			if d := source.now.Load().state.Doc; !server.valid(d.Key.Reveal()) {
				t.Fatalf("%v: no valid key: %+v", time.Now(), source.Status())
			}
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
		if renewed := server.counted("renew") - w.failed; renewed < least || renewed > most {
			t.Errorf("%d renewals in %d days, want %d to %d", renewed, days, least, most)
		}
		t.Logf("%d POSTs, %d of which failed", server.counted("renew"), w.failed)
	})
}
