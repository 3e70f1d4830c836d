package renew

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

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
			n := renewFor(t, server, source, 7*day, 20*time.Minute)
			if n >= test.most || !works(server, source) {
				t.Errorf("%+v: %d more renewals in a week, %+v", test, n, source.Status())
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
				source := opened(t, server, Memory())
				bad := 0
				for range 2 * 24 * 4 { // two days
					if !works(server, source) {
						bad++
					}
					time.Sleep(15 * time.Minute)
				}
				n, most := server.counted("renew"), 2*24*6
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
