package renew

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/esper-go/esper-go/pkg/esper"
	"github.com/esper-go/esper-go/pkg/esper/renew/internal/policy"
)

// What the source makes of the end of a key, in each form in which a server may say it, also one that cannot be true. The
// key works for a week all the same, and is not renewed too often.
func TestEnds(t *testing.T) {
	t.Parallel()
	began := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC) // when the bubbles of testing/synctest begin
	right, assumed := began.Add(90*day), began.Add(policy.AssumedLifetime)
	unknown, last := began.Add(leastLifetime), time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)
	for _, test := range []struct {
		ends string // what the answer to a renewal says in JSON
		info string // what TokenInfo says: the right end if this is empty, the same as the answer, or nothing: 404
		want time.Time
		warn bool
		most int // how many renewals there may be in the week
	}{
		{`null`, "", right, false, 1},
		{`"in a while"`, "", right, false, 1},
		{`"2000-01-0`, "", right, false, 1}, // the answer is cut short
		{`"1970-01-01T00:00:01Z"`, "", right, true, 1},
		{`"0001-01-01T00:00:00-08:00"`, "", right, true, 1},
		{`"1999-12-31T00:00:00Z"`, "", right, true, 1},
		{`"2000-01-01T00:00:00Z"`, "", right, true, 1},
		{`null`, "404", assumed, false, 2},
		{`"in a while"`, "404", assumed, false, 2},
		{`"1970-01-01T00:00:01Z"`, "404", assumed, true, 2},
		{`null`, "the same", assumed, false, 2},
		{`"in a while"`, "the same", unknown, true, 20},
		{`{}`, "the same", unknown, true, 20},
		{`"2000-01-04T00:00:00Z"`, "the same", began.Add(3 * day), false, 20}, // in the midst of the week
		{`"9999-12-31T23:59:59-08:00"`, "the same", last, false, 1},
		{`"9999-12-31T23:59:59Z"`, "the same", last, false, 1},
		{`1000000000`, "the same", time.Unix(1e9, 0), false, 1},
		{`"1000000000"`, "the same", time.Unix(1e9, 0), false, 1},
		{`1000000000000`, "the same", time.Unix(1e9, 0), false, 1},
	} {
		synctest.Test(t, func(t *testing.T) {
			var log records
			server, store := newStub(90*day), Memory()
			server.body = bodySaying(test.ends)
			if test.info == "the same" {
				server.info = server.body
			}
			source := opened(t, server, store, log.option())
			ends := func(what string) {
				t.Helper()
				got := source.Status().ExpiresAt
				if test.want.Equal(last) {
					got = stored(t, store).ExpiresAt
				}
				if !got.Equal(test.want) {
					t.Errorf("%s, %+v: ends at %v", what, test, got)
				}
			}
			switch test.info {
			case "the same":
				ends("the first key")
			case "404":
				server.fault = only("info", fails(404))
			}
			if err := source.Renew(t.Context()); err != nil && test.info != "404" {
				t.Fatalf("%+v: %v", test, err)
			}
			ends("the renewed key")
			source.tell.wait()
			if strings.Contains(log.String(), "level=WARN") != test.warn {
				t.Errorf("%+v: log %s", test, &log)
			}
			n, bad := renewFor(server, source, 7*day, 20*time.Minute)
			if n >= test.most || bad > 0 {
				t.Errorf("%+v: %d more renewals in a week, %d times no valid key, %+v", test, n, bad, source.Status())
			}
		})
	}
}

func TestClockOff(t *testing.T) {
	t.Parallel()
	for _, off := range []time.Duration{-time.Hour, time.Hour, -60 * day, 60 * day, -100 * day, 100 * day} {
		for _, lifetime := range []time.Duration{90 * day, 90 * time.Minute} {
			synctest.Test(t, func(t *testing.T) {
				server := newStub(lifetime)
				server.ahead = off
				server.revoke(stubFirst)
				store := Memory()
				source := opened(t, server, store)
				n, bad := renewFor(server, source, 2*day, 15*time.Minute)
				ends, says := source.Status().ExpiresAt, stored(t, store).ExpiresAt // no later than this clock or the server says
				if want := says.Add(-max(0, off)); lifetime == 90*day && !ends.Equal(want) {
					t.Errorf("off by %v: the key ends at %v, want %v", off, ends, want)
				}
				most := 2 * 24 * 6
				if lifetime == 90*day {
					most = 2*24 + 1 // by this clock each key has ended, so it is renewed once an hour
				}
				if n > most {
					t.Errorf("off by %v, keys of %v: %d renewals in two days, want at most %d", off, lifetime, n, most)
				}
				if bad > 0 && (off.Abs() == time.Hour || lifetime == 90*day) {
					t.Errorf("off by %v, keys of %v: %d times no valid key: %v", off, lifetime, bad, source.Status().LastError)
				}
			})
		}
	}
}

// The time of the next turn lies too far ahead, as if the clock had been set back. The store is read all the same, with
// Run and without.
func TestClockSetBack(t *testing.T) {
	for _, running := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			_, store, s := fresh(t)
			loads := store.counted("Load")
			s.update(func(n *snapshot) { n.next = time.Now().Add(day) })
			if running {
				go func() { _ = s.Run(t.Context()) }()
			}
			time.Sleep(policy.Poll)
			wantKey(t, s, stubFirst)
			synctest.Wait()
			if store.counted("Load") == loads {
				t.Errorf("with Run %v: the store was not read", running)
			}
			must(t, s.Close())
		})
	}
}

// No time that decides when something is due has a reading of the monotonic clock, which stands still while a machine
// sleeps. In a bubble of testing/synctest there is no such reading.
func TestWallClock(t *testing.T) {
	t.Parallel()
	server, _, s := fresh(t)
	must(t, s.Renew(t.Context()))
	poll := s.now.Load().next
	server.set(fails(503)) // the renewal fails, and a pause follows
	err, v := s.Renew(t.Context()), s.now.Load()
	for _, at := range []time.Time{poll, v.next, v.state.Retry, v.state.Advisory, v.state.Mandatory(), v.state.End} {
		if err == nil || at.IsZero() || strings.Contains(at.String(), " m=") {
			t.Errorf("%v, and a time at which something is due has a monotonic reading, or is missing: %v", err, at)
		}
	}
}

// weather makes requests go wrong at random.
type weather struct {
	t     *testing.T
	often int // how many in a hundred requests go wrong

	mu       sync.Mutex // guards what follows: requests may overlap
	rand     *rand.Rand
	unsure   time.Time // when the last renewal of unknown outcome was sent
	answered bool      // TokenInfo has answered since unsure
}

func (w *weather) fault(c call) (*http.Response, error) {
	const login = "<html>"
	w.mu.Lock()
	limited, proxy := fails(429, "Retry-After", "120"), says(500+w.rand.IntN(5), login)
	kinds := []fault{limited, limited, proxy, silent, resets, handled(proxy), handled(silent), handled(says(200, login))}
	kind, wrong, renews := w.rand.IntN(len(kinds)), w.rand.IntN(100) < w.often, c.op == "renew"
	if renews && !w.unsure.IsZero() && (time.Since(w.unsure) < 15*time.Second || !w.answered) {
		w.t.Errorf("%v: a renewal %v after one of unknown outcome, the key checked %v", time.Now(), time.Since(w.unsure), w.answered)
	}
	switch {
	case renews && wrong && kind >= 2:
		w.unsure, w.answered = time.Now(), false
	case renews:
		w.unsure = time.Time{}
	case !wrong:
		w.answered = true
	}
	w.mu.Unlock()
	if wrong {
		return kinds[kind](c)
	}
	return c.act(), nil
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
			var told recorder
			server := newStub(15 * day)
			server.keepOld = true
			source := opened(t, server, Memory(), told.option())
			w, pauses := &weather{t: t, rand: rand.New(rand.NewPCG(uint64(test.days), 1)), often: test.often}, rand.New(rand.NewPCG(uint64(test.days), 2))
			server.fault = w.fault
			if test.running {
				go func() { _ = source.Run(t.Context()) }()
			}
			for end := time.Now().Add(time.Duration(test.days) * day); time.Now().Before(end); {
				time.Sleep(time.Duration(pauses.IntN(240)) * time.Minute)
				if !works(server, source) {
					t.Fatalf("%+v: no valid key at %v: %+v", test, time.Now(), source.Status())
				}
			}
			server.set(nil)
			must(t, source.Close())
			renewed := 0
			for _, e := range told {
				if e.Kind == Renewed {
					renewed++
				}
			}
			if n := server.counted("renew"); renewed < test.least || renewed > test.most || n == renewed && test.days > 100 { // of six renewals none may fail
				t.Errorf("%+v: %d renewals, of which %d went well", test, n, renewed)
			}
		})
	}
}

// A cron job opens the source once a day, calls RenewIfDue and exits. The key is renewed once in eighty days, or the job
// says that it is lost.
func TestDailyJob(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		document string // that is stored at first; "" for a whole one
		fault    fault
		lostOn   int // the day on which the key is revoked; 0: never
	}{
		"a document with server and key alone": {
			document: fmt.Sprintf(`{"format": "esper-go key", "version": 2, "server": %q, "key": %q}`, stubBase, stubFirst),
		},
		"a key that is revoked on the fifth day": {lostOn: 5},
		"TokenInfo fails":                        {fault: only("info", fails(500))},
	} {
		synctest.Test(t, func(t *testing.T) {
			server, store := newStub(90*day), newFaulty()
			put(t, store, living(stubFirst, 90*day))
			if test.document != "" {
				overwrite(t, store, test.document)
			}
			server.fault = test.fault
			for n := range 80 {
				source := opened(t, server, store)
				if n > 0 && n == test.lostOn {
					server.revoke()
					short, cancel := context.WithTimeout(t.Context(), 10*time.Second)
					defer cancel()
					if err := source.RenewIfDue(short); !errors.Is(err, esper.ErrUnauthorized) || !errors.Is(err, context.DeadlineExceeded) {
						t.Errorf("%s: with less than the minute until the second refusal: %v, want both reasons", name, err)
					}
				}
				begun, err := time.Now(), source.RenewIfDue(t.Context())
				d, lost := stored(t, store), test.lostOn > 0 && n >= test.lostOn
				if lost != (err != nil) || lost != errors.Is(err, ErrKeyLost) || time.Since(begun) > 90*time.Second || d.EnterpriseID != stubEnterprise || d.ExpiresAt.IsZero() {
					t.Fatalf("%s, day %d: %v after %v, stored %+v", name, n, err, time.Since(begun), d)
				}
				must(t, source.Close())
				time.Sleep(day)
			}
			if n, asked := server.counted("renewed"), server.counted("info"); (n == 1) == (test.lostOn > 0) || asked > 2*80 {
				t.Errorf("%s: %d renewals in 80 days, and %d questions", name, n, asked)
			}
		})
	}
}

// Forty sources are opened at the same moment, and later one of them renews their key. Each reads the store every minute,
// and never do many of them read it in the same second.
func TestPollingIsSpread(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		sources, server, store := make([]*Source, 40), newStub(90*day), newFaulty()
		for i := range sources {
			sources[i] = opened(t, server, store)
			go func() { _ = sources[i].Run(t.Context()) }()
		}
		for n := range 240 { // for an hour before the renewal, and an hour after it
			if n == 120 {
				must(t, sources[0].Renew(t.Context()))
			}
			time.Sleep(30 * time.Second)
			second := map[int64]int{}
			for _, s := range sources {
				read := s.Status().WorkedAt
				second[read.Unix()]++
				if since := time.Since(read); n > 0 && since > policy.Poll {
					t.Errorf("a source has not read the store for %v", since)
				}
			}
			if most := slices.Max(slices.Collect(maps.Values(second))); n > 0 && most > 12 {
				t.Errorf("%d of %d sources read the store in the same second", most, len(sources))
			}
		}
		if each := store.counted("Load") / len(sources) / 2; each > 100 {
			t.Errorf("each source reads the store %d times an hour", each)
		}
	})
}

// Getting a valid key allocates nothing. A read of the store that finds what the last one found costs little, whatever
// the key looks like. So a year of Run, of some 700,000 reads, takes seconds in a bubble of testing/synctest.
func TestHotPathAllocatesNothing(t *testing.T) {
	for _, key := range []string{stubFirst, "madeUpKeyMadeUpKeyMadeUpKey0", "made.up-key_with.dots-and_hyphens", canary} {
		store := Memory()
		put(t, store, living(key, 90*day))
		source := opened(t, newStub(90*day), store)
		hot := testing.AllocsPerRun(1000, func() { wantKey(t, source, key) })
		read := testing.AllocsPerRun(100, func() { _, _, _ = source.run(t.Context(), policy.Turn{}) })
		if hot != 0 || read > 35 {
			t.Errorf("%s: %v allocations, want none, and %v for a read, want 35 at most", key, hot, read)
		}
	}
}
