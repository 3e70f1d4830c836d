package policy

import (
	"testing"
	"time"

	"github.com/esper-go/esper-go/pkg/wire"
)

func documentFor(key string, end time.Time) Document {
	return Document{Key: wire.NewSecret(key), EnterpriseID: "e", DeveloperAppID: "a", IssuedAt: start, ExpiresAt: end}
}

// What a process has found out since it read the store stays, if a save fails and the store still holds what it held.
func TestSaveFails(t *testing.T) {
	base := documentFor("k1", start.AddDate(0, 0, 90)).Begun("one")
	base.Answer, base.SetAside = wire.NewSecret("an answer"), wire.NewSecret("k0")
	for name, change := range map[string]func(*Document){
		"a newer answer":       func(d *Document) { d.Answer = wire.NewSecret("a newer answer") },
		"no keys set aside":    func(d *Document) { d.SetAside = wire.Secret{} },
		"another key is aside": func(d *Document) { d.SetAside = wire.NewSecret("k3\nk0") },
		"an attempt":           func(d *Document) { d.Attempt = Attempt{ID: "x"} },
		"a refusal":            func(d *Document) { d.RefusedAt = start },
	} {
		s := New(State{}, base, start, 0)
		change(&s.Doc)
		want := s.Doc
		for _, o := range []Outcome{{Err: true}, {Err: true, Conflict: true}} {
			turn := Turn{Read: true}
			s, turn = Evolve(s, turn, Save, o, start)
			if s, _ = Evolve(s, turn, Load, Outcome{Doc: base}, start); s.Doc != want {
				t.Errorf("%s: after %+v the document is %+v, want %+v", name, o, s.Doc, want)
			}
		}
	}
}

// The server moves the end of a key on with each question, and accepts two keys. Two processes choose one of them, and
// keep to it.
func TestEndsMove(t *testing.T) {
	now, store := start, documentFor("k1", start.AddDate(0, 0, 90)).Begun("one")
	store.SetAside = wire.NewSecret("k2")
	processes, questions, saves := []State{New(State{}, store, now, 0), New(State{}, store, now, 0)}, 0, 0
	turn := func(s State) State {
		for t := (Turn{}); questions+saves < 100; now = now.Add(time.Second) {
			a, o := Decide(s, t, now), Outcome{Began: now, Doc: store}
			switch a {
			case Save:
				store, saves = Target(s, t), saves+1
			case Probe, Compare:
				o.Doc, questions = documentFor("k1", now.AddDate(0, 0, 90)), questions+1
				if a == Compare {
					o.Doc.Key = Compared(s, t)
				}
			}
			if s, t = Evolve(s, t, a, o, now); a.Ends() {
				break
			}
		}
		return s
	}
	for range 60 {
		for i, s := range processes {
			processes[i] = turn(s)
		}
		now = now.Add(Poll)
	}
	if questions > 10 || saves > 4 || len(store.Aside()) != 1 {
		t.Errorf("after an hour, there were %d questions and %d saves, and %d keys are set aside", questions, saves, len(store.Aside()))
	}
}

// What another process notes of the key counts, also if an old copy with the same note lay in the store before.
func TestNotedAfterAnOldCopy(t *testing.T) {
	k1 := documentFor("k1", start.AddDate(0, 0, 90)).Begun("one")
	k1.RefusedAt = start
	k2 := k1.successor(documentFor("k2", start.AddDate(0, 0, 90)))
	noted := k2
	noted.RefusedAt = start
	s, turn := Evolve(New(State{}, k2, start, 0), Turn{}, Load, Outcome{Doc: k1}, start)
	if s, _ = Evolve(s, turn, Load, Outcome{Doc: noted}, start); s.Doc != noted {
		t.Errorf("the document is %+v, want %+v", s.Doc, noted)
	}
}

// A key that another process has set aside comes back into use. The document that had the note of its attempt is gone, so a
// renewal of it may be under way.
func TestComesBack(t *testing.T) {
	k1, other := documentFor("k1", start.AddDate(0, 0, 90)).Begun("one"), documentFor("k3", start.AddDate(0, 0, 90)).Begun("three")
	k2 := k1.successor(documentFor("k2", start.AddDate(0, 0, 90)))
	s, accepted := New(State{}, k2, start, 0), Turn{Read: true, Said: Accepted, Begun: Attempt{ID: "ours"}}
	loaded, begun := Evolve(s, accepted, Load, Outcome{Doc: k1.setAside(k2)}, start)
	compared, _ := Evolve(s, Turn{Said: Accepted, Other: other.setAside(k2)}, Compare, Outcome{Refused: true, Began: start}, start)
	for _, s := range []State{loaded, compared} {
		if s.Doc.Key != k2.Key || !s.Busy(start) || s.Doc.Attempt.ID == "" || begun.Begun.ID != "" {
			t.Errorf("the key may be renewed at once: %+v, %+v", s, begun)
		}
	}
}

// What is read changes each time, as behind a load balancer with a replica that hangs, and nothing can be saved. The turn
// ends all the same.
func TestStoreDiffers(t *testing.T) {
	one := documentFor("k1", start.AddDate(0, 0, 90)).Begun("one")
	two := one
	two.SetAside = wire.NewSecret("k0")
	for _, conflict := range []bool{false, true} {
		for _, stop := range []bool{false, true} {
			s, turn, actions := New(State{}, one, start, 0), Turn{Stop: stop}, 0
			s.Doc.RefusedAt = start // this is to be saved
			for a := Load; !a.Ends() && actions < 100; actions++ {
				a = Decide(s, turn, start)
				o := Outcome{Began: start, Doc: []Document{one, two}[actions/2%2], Err: a == Save, Conflict: a == Save && conflict}
				s, turn = Evolve(s, turn, a, o, start)
			}
			if actions == 100 {
				t.Errorf("the turn does not end; conflict %v, stop %v", conflict, stop)
			}
		}
	}
}

// A new key is in memory alone, since nothing can be saved, and Esper refuses it once, wrongly. Two older ones work. The new
// one stays unsaved, whichever is in use.
func TestUnsavedAside(t *testing.T) {
	store, now := documentFor("k1", start.AddDate(0, 0, 90)).Begun("one"), start.AddDate(0, 0, 75)
	store.SetAside = wire.NewSecret("k0")
	s, turn := New(State{}, store, now, 0), Turn{Read: true, Begun: Attempt{ID: "x"}}
	s, turn = Evolve(s, turn, Post, Outcome{Began: now, Doc: documentFor("k2", start.AddDate(0, 0, 165))}, now)
	turn.Ask = AskNow
	for refused, a := false, Load; !a.Ends() && a != Begin; now = now.Add(time.Second) {
		a = Decide(s, turn, now)
		o := Outcome{Began: now, Doc: store, Err: a == Save}
		switch a {
		case Probe, Compare:
			key := s.Doc.Key
			if a == Compare {
				key = Compared(s, turn)
			}
			o.Doc = documentFor(key.Reveal(), start.AddDate(0, 0, 90))
			o.Refused = key.Reveal() == "k2" && !refused
			refused = refused || o.Refused
		}
		s, turn = Evolve(s, turn, a, o, now)
		if !s.Unsaved() {
			t.Fatalf("after %v, %s is in use, and nothing is said to be unsaved", a, s.Doc.Key.Reveal())
		}
	}
	if s.Doc.Key.Reveal() == "k2" {
		t.Error("no other key is in use")
	}
}
