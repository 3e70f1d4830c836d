package policy

import (
	"testing"
	"time"

	"github.com/esper-go/esper-go/pkg/wire"
)

const day = 24 * time.Hour

func TestWindows(t *testing.T) {
	now := time.Now().UTC().Round(0)
	for _, test := range []struct {
		lifetime, before   time.Duration
		advisory, earliest time.Duration // how long before the end the window begins, at the latest and at the earliest
		mandatory          time.Duration
	}{
		{90 * day, 0, 18 * day, 22*day + 12*time.Hour, 5 * time.Minute},
		{1000 * day, 0, 200 * day, 250 * day, 5 * time.Minute},
		{4 * day, 0, day, 30 * time.Hour, 5 * time.Minute},                                                 // a fifth would be less than a day
		{day, 0, 12 * time.Hour, 15 * time.Hour, 5 * time.Minute},                                          // a day would be all of the lifetime
		{time.Hour, 0, 30 * time.Minute, 2250 * time.Second, 3 * time.Minute},                              // the mandatory window is a twentieth
		{15 * time.Minute, 0, 450 * time.Second, 562*time.Second + 500*time.Millisecond, 45 * time.Second}, //
		{90 * day, 2 * day, 2 * day, 60 * time.Hour, 5 * time.Minute},                                      // WithRenewBefore
		{90 * day, time.Second, time.Second, 1250 * time.Millisecond, time.Second},                         // callers wait for nothing that is not due
		{90 * day, 89 * day, 45 * day, 56*day + 6*time.Hour, 5 * time.Minute},                              // half the lifetime is the most
	} {
		d := Document{Key: wire.NewSecret("k"), IssuedAt: now, ExpiresAt: now.Add(test.lifetime)}
		late := New(State{RenewBefore: test.before}, d, now, 0)
		early := New(State{RenewBefore: test.before}, d, now, 1)
		if a, b := d.ExpiresAt.Sub(late.Advisory), d.ExpiresAt.Sub(early.Advisory); a != test.advisory || b != test.earliest {
			t.Errorf("%v, %v: the renewal begins %v to %v before the end, want %v to %v", test.lifetime, test.before, a, b, test.advisory, test.earliest)
		}
		if m := d.ExpiresAt.Sub(late.Mandatory()); m != test.mandatory {
			t.Errorf("%v: callers wait from %v before the end, want %v", test.lifetime, m, test.mandatory)
		}
	}
}

// of returns the state of a key that ends at end and lives for lifetime.
func of(end time.Time, lifetime time.Duration) State {
	return State{End: end, Doc: Document{IssuedAt: end.Add(-lifetime), ExpiresAt: end}}
}

// An attempt takes a quarter of what is left of the key at most. If that is less than ten seconds, no attempt begins.
func TestAttemptLength(t *testing.T) {
	now := time.Now()
	for left, want := range map[time.Duration]time.Duration{
		day: 90 * time.Second, 6 * time.Minute: 90 * time.Second, time.Minute: 15 * time.Second, 40 * time.Second: 10 * time.Second,
		39 * time.Second: 0, 0: 0, -time.Hour: 0,
	} {
		if got := of(now.Add(left), 20*day).AttemptLength(now); got != want {
			t.Errorf("with %v left an attempt takes %v, want %v", left, got, want)
		}
	}
	if got := of(now.Add(10*time.Minute), 15*time.Minute).AttemptLength(now); got != 45*time.Second {
		t.Errorf("an attempt for a key of 15 minutes takes %v, want 45s", got)
	}
}

// By a clock that is far ahead the key has ended, and the server accepts it all the same. Once the clock is set right, the
// key ends when its document says so.
func TestClockSetBack(t *testing.T) {
	now := time.Now().UTC().Round(0)
	ahead := now.Add(100 * day)
	d := Document{Key: wire.NewSecret("k"), IssuedAt: now, ExpiresAt: now.Add(90 * day)}
	s, _ := Evolve(New(State{}, d, ahead, 0), Turn{}, Probe, Outcome{Began: ahead}, ahead)
	if wrong := s.End; !wrong.After(ahead) {
		t.Errorf("a key that the server accepts has ended at %v", wrong)
	}
	if s, _ = Evolve(s, Turn{}, Load, Outcome{Doc: d}, now); !s.End.Equal(d.ExpiresAt) {
		t.Errorf("the key ends at %v, want %v", s.End, d.ExpiresAt)
	}
}

// Two processes have renewed one key, and one of them once more. The other takes over that newest key. Its own, which the
// newest one did not come from, is set aside.
func TestSibling(t *testing.T) {
	now := time.Now().UTC().Round(0)
	of := func(key string, serial int) Document {
		return Document{Key: wire.NewSecret(key), Lineage: "lineage", Serial: serial}
	}
	s, turn := Evolve(New(State{}, of("first", 1), now, 0), Turn{}, Post, Outcome{Doc: of("ours", 0)}, now)
	if s, _ = Evolve(s, turn, Load, Outcome{Doc: of("newest", 3)}, now); s.Doc.Key.Reveal() != "newest" || s.Doc.SetAside.Reveal() != "ours" {
		t.Errorf("the key in use is %s, and %q is set aside", s.Doc.Key.Reveal(), s.Doc.Aside())
	}
}

// The pauses after failures grow to an hour, or after 403 to a day. They are shorter when little is left of the key.
func TestPauses(t *testing.T) {
	now := time.Now()
	state := func(left time.Duration, fails int) State {
		s := of(now.Add(left), 80*day)
		s.Stored, s.Fails = s.Doc, fails
		return s
	}
	short, lost, unsaved := of(now.Add(10*time.Minute), 15*time.Minute), state(90*day, 40), state(90*day, 40)
	short.Stored, short.Fails = short.Doc, 5
	lost.Doc.LostAt = now
	unsaved.Doc.Key = wire.NewSecret("k")
	justUnsaved := unsaved
	justUnsaved.Fails = 0
	for _, test := range []struct {
		s    State
		o    Outcome
		want time.Duration
	}{
		{state(90*day, 0), Outcome{Random: 0.5}, 30 * time.Second},
		{state(90*day, 3), Outcome{Random: 0.5}, 4 * time.Minute},
		{state(90*day, 40), Outcome{Random: 0.5}, time.Hour},
		{state(90*day, 40), Outcome{Random: 0.5, Forbidden: true}, 24 * time.Hour},
		{state(90*day, 0), Outcome{Random: 0.5, RetryAfter: 15 * time.Minute}, 15 * time.Minute},
		{state(90*day, 0), Outcome{Random: 0.5, RetryAfter: 1000 * time.Hour}, time.Hour},
		{state(4*time.Minute, 40), Outcome{Random: 0.5}, time.Minute},
		{short, Outcome{Random: 0.5}, 45 * time.Second},
		{lost, Outcome{Random: 0.99}, 5 * time.Minute},
		{unsaved, Outcome{Random: 0.5}, 30 * time.Second},
		{justUnsaved, Outcome{Random: 0.5}, time.Second},
		{lost, Outcome{Random: 0.5, RetryAfter: 15 * time.Minute}, 15 * time.Minute},
		{state(time.Second, 40), Outcome{Random: 0.5}, time.Second},
	} {
		if got := test.s.pause(now, test.o); got != test.want {
			t.Errorf("%v left, %d failures, %+v: the pause is %v, want %v", test.s.End.Sub(now), test.s.Fails, test.o, got, test.want)
		}
	}
}
