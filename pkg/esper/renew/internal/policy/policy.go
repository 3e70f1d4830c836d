package policy

import (
	"time"

	"github.com/esper-go/esper-go/pkg/wire"
)

// Decide is the whole policy. It returns the action of the first case that applies.
func Decide(s State, t Turn, now time.Time) Action {
	given, other, begun := !t.Given.Key.IsZero(), !t.Other.Key.IsZero(), t.Begun.ID != ""
	trouble, pause := t.trouble(), now.Before(s.Retry) && !t.Force
	switch {
	case t.Stop && Idle(s, t):
		return end(trouble || t.Failed || t.Said >= Refused)
	case !t.Read:
		return Load

	// If a key of another history is in the store, the server is asked about ours, then about that one. A key that a person
	// gave is saved. If the key in use came from it, only if the server refuses the one in use.
	case t.Failed && (other || given), trouble && given:
		return Fail
	case t.Said < Accepted && (other && !given || given && s.Doc.Replaced(t.Given.Key)):
		return Probe
	case other:
		return Compare
	case given:
		return Save

	// What came from the server is saved before anything else, and an attempt is noted before it is sent.
	case begun && s.Stored.Attempt == t.Begun:
		return Post
	case s.owed() && !trouble:
		return Save
	case s.patient(now):
		return Wait
	case begun && !now.Before(s.Mandatory()) && s.Proven: // in the last minutes without a store
		return Post
	case begun, t.Stop:
		return Fail

	// The server is asked about the key if it was refused or its state is in doubt. All that it refuses twice is lost.
	case t.Ask == AskNow, t.Said == Nothing && (t.Ask == AskSuspect && s.Suspects(now) || !pause && s.doubtful(now)):
		return Probe
	case t.Said >= Accepted && s.asideDue(t, now):
		return Compare
	case t.Said == RefusedTwice && s.losable(t, now):
		return Lose
	case t.Failed, t.Said >= Refused:
		return Fail
	case t.Said == Nothing && !pause && s.asideDue(t, now):
		return Probe

	// A renewal is due.
	case pause, s.ReadOnly, !s.due(t, now):
		if t.Said == Nothing && t.Ask == AskLast {
			return Probe
		}
		return end(trouble && !pause || t.Said == Unanswered)
	case s.Busy(now):
		return Rest
	case s.doubtful(now), s.AttemptLength(now) == 0:
		return Fail // if too little is left, no answer could not be told from a lost key
	}
	return Begin
}

func end(failed bool) Action {
	if failed {
		return Fail
	}
	return Rest
}

// Suspects reports whether the server may be asked again because of a 401.
func (s State) Suspects(now time.Time) bool { return now.Sub(s.Asked) >= suspectInterval }

// losable reports whether Doc's key may be given up, once it was refused for the second time. It is saved by then, or the
// store is in trouble.
func (s State) losable(t Turn, now time.Time) bool {
	return !s.Lost() && !t.trouble() && !s.Busy(now) && (s.Doc.SetAside.IsZero() || t.Aside > len(s.Doc.Aside()))
}

// Evolve returns the state and the turn after the action a, which ended with o.
func Evolve(s State, t Turn, a Action, o Outcome, now time.Time) (State, Turn) {
	switch a {
	case Rest:
		if !t.Stop && (!now.Before(s.Retry) && !s.Busy(now) || t.Said == Accepted && !s.due(t, now)) {
			s.Retry, s.Fails = time.Time{}, 0
		}
		t = Turn{}
	case Fail:
		s.failed(&t, o, now)
		t = Turn{}
	case Load:
		s.loaded(&t, o, now)
	case Compare:
		s.compared(&t, o, now)
	case Save:
		s.saved(&t, o, now)
	case Wait:
		t.Read, t.Saves, t.Failed = false, 0, s.InDoubt()
	case Probe:
		s.probed(&t, o, now)
	case Lose:
		s.Doc.LostAt = plain(now)
	case Begin:
		t.Begun, s.Doc.Attempt = o.Begun, o.Begun
		if s.Doc.Answer != s.Stored.Answer {
			t.Saves = 0 // perhaps the store refuses the answer: the attempt is saved without it
		}
	case Post:
		s.posted(&t, o, now)
	}
	return s, t
}

// failed works out the pause after a turn that failed. A question that nothing depended on causes none.
func (s *State) failed(t *Turn, o Outcome, now time.Time) {
	s.withdraw(t)
	refused := t.Said >= Refused
	if t.Unanswered() || now.Before(s.Retry) && !t.Failed && !refused {
		return
	}
	s.Retry = now.Round(0).Add(s.pause(now, o)) // by the wall clock: it goes on while the machine sleeps
	if refused && s.RefusedWait.After(now) {
		s.Retry = s.RefusedWait
	}
	s.Fails++
}

// withdraw takes back an attempt that was not sent, or that renewed nothing.
func (s *State) withdraw(t *Turn) {
	if s.Doc.Attempt == t.Begun {
		s.Doc.Attempt = Attempt{}
	}
	t.Begun = Attempt{}
}

// loaded takes in the document that a Load has found in the store.
func (s *State) loaded(t *Turn, o Outcome, now time.Time) {
	t.Read, t.Other = true, Document{}
	d, ours, given := o.Doc, s.Doc, t.Given
	if given.aside(d) || given.aside(ours) {
		t.Given = given.unsure(now)
	}
	if !given.Key.IsZero() && d.Key == given.Key {
		t.Given, t.Ask = Document{}, AskNow // it is stored already: does it work?
	}
	switch {
	case o.Err:
		t.Saves = maxConflicts + 1
	case d.Key == ours.Key && d == s.Stored: // nothing has changed, except perhaps the version
		if now.Before(s.WindowMade.Add(-Skew)) { // the clock was set back since
			s.windows(now, o.Random)
		}
	case d.Key == ours.Key:
		s.updated(t, o, now)
	case d.after(ours):
		next := d
		if !d.Replaced(ours.Key) || ours.SetAside != s.Stored.SetAside { // d does not know all that ours did
			next = d.setAside(ours)
		}
		s.Stored = d
		s.take(t, next, now, o.Random)
	case d.Key.IsZero(), ours.after(d) && (d.Lineage == ours.Lineage || t.Said == Accepted), // ours replaces nothing, or an old copy;
		s.Fresh, t.Said == Accepted && ours.setAside(d) == ours: // or another key, as ours is nowhere else, or was accepted
		if s.Stored != d {
			s.Stored, t.Saves = d, 0
		}
		if !d.Key.IsZero() && !ours.Replaced(d.Key) {
			s.Doc, s.AsideWait = ours.setAside(d), time.Time{}
		}
	case !t.Given.Key.IsZero() && !d.Replaced(given.Key): // a person's key replaces it
	case s.ReadOnly && d == s.Stored && t.Said < Refused: // the server refused it, and accepts ours
	default:
		s.withdraw(t)
		t.Other = d
	}
}

// updated takes in a document of the key in use in which something else has changed. What others have noted counts, but
// for what the server has said in this turn. What came from the server stays.
func (s *State) updated(t *Turn, o Outcome, now time.Time) {
	base, ours, added := s.Stored, s.Doc, s.Doc
	if s.Saved() && ours.SetAside == base.SetAside {
		added.SetAside = wire.Secret{}
	}
	s.Stored, s.Doc, s.Fresh = o.Doc, o.Doc.setAside(added), false
	if o.Doc.Attempt == base.Attempt {
		s.Doc.Attempt = ours.Attempt
	}
	switch {
	case t.Said == Accepted:
		s.Doc.RefusedAt, s.Doc.LostAt = time.Time{}, time.Time{}
	case o.Doc.RefusedAt.Equal(base.RefusedAt) && o.Doc.LostAt.Equal(base.LostAt):
		s.Doc.RefusedAt, s.Doc.LostAt = ours.RefusedAt, ours.LostAt
	}
	s.complete(ours, now, o.Random)
	if s.Stored == s.Doc {
		t.Saves = 0 // the save that failed was carried out after all
	}
	if s.Doc.Attempt != t.Begun {
		t.Begun = Attempt{} // somebody else was faster
	}
	if s.Doc.SetAside != ours.SetAside {
		s.AsideWait, t.Aside = time.Time{}, 0
	}
	if !s.Doc.ExpiresAt.Equal(ours.ExpiresAt) || !s.Doc.IssuedAt.Equal(ours.IssuedAt) {
		s.windows(now, o.Random)
	}
	s.notice(now, base.Attempt, ours.Attempt)
}

// compared takes in the server's answer to the question whether another key works: the key in the store, or one of
// those that are set aside.
func (s *State) compared(t *Turn, o Outcome, now time.Time) {
	other := t.Other
	stored := !other.Key.IsZero()
	switch {
	case o.Err:
		t.Aside, t.Failed = len(s.Doc.Aside()), t.Failed || stored || t.Said >= Refused
	case !o.Refused:
		if stored {
			s.Stored = other
		} else {
			other = o.Doc.Begun("of " + Hash(o.Doc.Key)).unsure(o.Began)
		}
		s.take(t, other.setAside(Document{SetAside: s.Doc.SetAside}), now, o.Random)
		t.Given = Document{} // the other key came from it
		s.accepted(t, o, now)
	case !stored:
		s.asideRefused(t, o)
	case !t.Given.Key.IsZero():
		t.Given, t.Other = t.Given.setAside(other), Document{}
	case t.Said == Accepted: // ours replaces the other one
		s.Stored, s.Doc, s.AsideWait = other, s.Doc.setAside(other), time.Time{}
		t.Other, t.Aside = Document{}, 0
	default: // the server has refused both, and the stored one stays
		refused := other.setAside(s.Doc)
		if refused.LostAt = (time.Time{}); refused.RefusedAt.IsZero() {
			refused.RefusedAt = plain(o.Began)
		}
		s.Stored = other
		s.take(t, refused, now, o.Random)
		t.Said, s.Asked = Refused, o.Began
	}
}

// asideRefused counts the keys set aside that the server has refused. After the second time they are dropped, if it
// accepts ours.
func (s *State) asideRefused(t *Turn, o Outcome) {
	t.Aside++
	switch {
	case t.Aside < len(s.Doc.Aside()):
	case s.AsideWait.IsZero():
		s.AsideWait = o.Began.Add(secondCheck)
	case o.Began.Before(s.AsideWait):
	case t.Said == Accepted:
		s.Doc.SetAside, s.AsideWait = wire.Secret{}, time.Time{}
	default:
		t.Aside++
	}
}

// saved takes in the outcome of Save. After any error, the store is read again to see whether the save was
// carried out all the same.
func (s *State) saved(t *Turn, o Outcome, now time.Time) {
	switch {
	case o.Conflict:
		s.Proven = true // the store told versions apart
		t.Read, t.Saves = false, t.Saves+1
	case o.Err:
		t.Read, t.Saves = false, maxConflicts+1
	default:
		s.Proven, s.Fresh, s.Stored, t.Saves = true, false, Target(*s, *t), 0
		if given := t.Given; !given.Key.IsZero() {
			t.Given = Document{}
			s.take(t, given, now, o.Random)
		}
	}
}

// probed takes in the server's answer to the question whether Doc's key works.
func (s *State) probed(t *Turn, o Outcome, now time.Time) {
	given := !t.Given.Key.IsZero()
	needed := given || !t.Other.Key.IsZero() || s.doubtful(now)
	t.Ask, t.Said, s.Asked = AskIfDoubtful, Unanswered, o.Began
	switch {
	case o.Refused:
		t.Said, t.Read = Refused, false // another process may just have saved a new key
		if s.RefusedWait.IsZero() {
			s.Doc.RefusedAt, s.RefusedWait = plain(o.Began), o.Began.Add(secondCheck)
		} else if !o.Began.Before(s.RefusedWait) {
			t.Said = RefusedTwice
		}
		if given {
			t.Given = t.Given.setAside(s.Doc)
		}
	case o.Err:
		t.Failed = t.Failed || needed
	default:
		if given {
			t.Given, t.Read = Document{}, false // nothing is to be adopted
		}
		if s.Doc.after(t.Other) {
			t.Read = false // it is an old copy
		}
		if !o.Began.Before(s.AttemptOver) { // a check from before the end of an attempt counts for nothing
			s.AttemptOver, s.Doc.Attempt = time.Time{}, Attempt{}
		}
		s.accepted(t, o, now)
	}
}

// accepted takes in that the server accepts Doc's key.
func (s *State) accepted(t *Turn, o Outcome, now time.Time) {
	t.Said, s.Asked = Accepted, o.Began
	s.Doc.RefusedAt, s.Doc.LostAt, s.RefusedWait = time.Time{}, time.Time{}, time.Time{}
	s.complete(o.Doc, now, o.Random)
	if !now.Before(s.End) {
		s.End = now.Add(distant) // the server accepts the key after its end, so this clock is wrong
	}
}

// complete adds to Doc what d says of the same key and Doc lacks.
func (s *State) complete(d Document, now time.Time, random float64) {
	if s.Doc.EnterpriseID == "" || s.Doc.DeveloperAppID == "" {
		s.Doc.EnterpriseID, s.Doc.DeveloperAppID = d.EnterpriseID, d.DeveloperAppID
	}
	if s.Doc.ExpiresAt.IsZero() && !d.ExpiresAt.IsZero() {
		s.Doc.IssuedAt, s.Doc.ExpiresAt = d.IssuedAt, d.ExpiresAt
		s.windows(now, random)
	}
}

// posted takes in the outcome of a renewal.
func (s *State) posted(t *Turn, o Outcome, now time.Time) {
	if t.trouble() {
		t.Read, t.Saves = false, 0 // the store is tried again, since there may be something to save
	}
	switch {
	case !o.Doc.Key.IsZero():
		s.take(t, s.Doc.successor(o.Doc), now, o.Random)
		s.Fresh, t.Said = true, Accepted
		if s.Doc.ExpiresAt.IsZero() {
			t.Ask = AskNow
		}
	case o.Rejected:
		s.withdraw(t)
		t.Failed = true
		if o.Refused {
			t.Ask = AskNow
		}
	default:
		s.AttemptOver = latest(s.AttemptOver, now.Add(t.Begun.length()+Margin))
		t.Begun, t.Failed, t.Ask = Attempt{}, true, AskNow
		if !o.Answer.IsZero() {
			s.Doc.Answer = o.Answer
		}
	}
}
