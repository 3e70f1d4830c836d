package policy

import (
	"time"

	"github.com/esper-go/esper-go/pkg/wire"
)

const maxConflicts = 8 // in one turn; a store whose version changes by itself must not keep it busy for ever

// Decide is the whole policy. It returns the action of the first case that applies.
func Decide(s State, t Turn, now time.Time) Action {
	begun, trouble := t.Begun.ID != "", t.trouble()
	idle := Idle(s, t)
	calm := now.Before(s.Mandatory)
	suspect := t.Suspect && now.Sub(s.Asked) >= suspectInterval
	switch {
	case t.Stop && idle && (trouble || t.Failed || t.Refused):
		return Fail
	case t.Stop && idle:
		return Rest
	case !t.Read && !t.Unread:
		return Load

	// A key that a person gave.
	case !t.Given.Key.IsZero() && trouble:
		return Fail
	case !t.Given.Key.IsZero():
		return Save

	// Another key is in the store.
	case !t.Other.Key.IsZero():
		return Compare

	// Something is to be noted: an attempt, before it is sent, or what the server said of the key.
	case s.owed() && !trouble:
		return Save

	// The key is lost, until a key is found that works.
	case s.Lost && now.Before(s.Retry) && !suspect && !t.Check && !t.Probed:
		return Rest
	case s.Lost && !t.Failed && !s.Initial.Key.IsZero():
		return Compare
	case s.Lost && (t.Failed || t.Probed):
		return Fail
	case s.Lost:
		return Probe

	// The only copy of a new key is in memory.
	case s.unsaved() && (trouble || t.Failed) && now.Before(t.Patience):
		return Wait
	case s.unsaved() && !trouble && !t.Failed:
		return Save

	// This turn has begun a renewal.
	case begun && !t.Posted && s.journaled():
		return Post
	case begun && !t.Posted && !calm && s.Proven:
		return Post // without a store, in the last minutes of the key
	case begun && !t.Posted:
		return Abandon

	// The server is to be asked about the key, or has answered.
	case t.Refused && t.Twice && !t.Unread && !s.Busy(now):
		return Lose
	case t.Failed, t.Refused:
		return Fail
	case t.Posted && t.Suspect:
		return Probe
	case t.Posted:
		return Fail
	case now.Before(s.Retry) && !suspect && !t.Check && t.Force.IsZero():
		return Rest
	case !t.Probed && (suspect || t.Check || s.doubtful(now)):
		return Probe

	// A renewal is due.
	case !s.due(t, now), s.ReadOnly:
		if trouble {
			return Fail
		}
		return Rest
	case s.Busy(now):
		return Await
	case s.AttemptLength(now) == 0:
		return Fail // too little is left: one without an answer could not be told from a lost key
	}
	return Begin
}

// journaled reports whether Doc's attempt is noted in the store.
func (s State) journaled() bool { return s.Saved() && s.Stored.Attempt == s.Doc.Attempt }

// Evolve returns the state and the turn after the action a, which ended with o.
func Evolve(s State, t Turn, a Action, o Outcome, now time.Time) (State, Turn) {
	switch a {
	case Rest:
		if !t.Stop && (!now.Before(s.Retry) || t.Probed && !s.due(t, now)) {
			s.Retry, s.Fails = time.Time{}, 0
		}
		return s, Turn{}
	case Await:
		return s, Turn{}
	case Fail:
		s.Retry = now.Round(0).Add(s.pause(now, o)) // by the wall clock: it goes on while the machine sleeps
		if t.Refused && s.RefusedWait.After(now) {
			s.Retry = s.RefusedWait
		}
		s.Fails++
		return s, Turn{}
	case Load:
		if o.Err {
			t.Unread = true
			return s, t
		}
		t.Read = true
		return s.loaded(t, o.Doc, now, o.Random)
	case Compare:
		return s.compared(t, o, now)
	case Save:
		return s.saved(t, o, now)
	case Wait:
		t.Read, t.Unread, t.Unsaved, t.Failed, t.Conflicts = false, false, false, false, 0
	case Probe:
		return s.probed(t, o, now)
	case Lose:
		s.Lost = true
	case Begin:
		t.Begun, s.Doc.Attempt = o.Begun, o.Begun
	case Abandon:
		s, t = s.withdraw(t)
		t.Failed = true
	case Post:
		return s.posted(t, o, now)
	}
	return s, t
}

// withdraw takes back an attempt that was not sent, or that renewed nothing.
func (s State) withdraw(t Turn) (State, Turn) {
	if s.Doc.Attempt == t.Begun {
		s.Doc.Attempt = Attempt{}
	}
	t.Begun = Attempt{}
	return s, t
}

// saved takes in the outcome of Save. After any error, the store is read again to see whether the save was
// carried out all the same.
func (s State) saved(t Turn, o Outcome, now time.Time) (State, Turn) {
	switch {
	case o.Conflict:
		s.Proven = true // the store told versions apart
		t.Conflicts++
		t.Read, t.Unsaved = false, t.Unsaved || t.Conflicts > maxConflicts
	case o.Err:
		t.Read, t.Unsaved = false, true
	case !t.Given.Key.IsZero():
		s.Proven, s.Stored = true, t.Given
		s = s.take(t.Given, now, o.Random)
		t.Given = Document{}
	default:
		s.Proven, s.Stored, t.Unsaved = true, s.Doc, false
	}
	return s, t
}

// probed takes in the server's answer to the question whether Doc's key works.
func (s State) probed(t Turn, o Outcome, now time.Time) (State, Turn) {
	t.Suspect, t.Probed, s.Asked = false, true, o.Began
	switch {
	case o.Refused:
		t.Refused, t.Read = true, false // another process may just have saved a new key
		if s.Doc.RefusedAt.IsZero() || s.RefusedWait.IsZero() {
			s.Doc.RefusedAt, s.RefusedWait = o.Began.UTC().Round(0), o.Began.Add(secondCheck)
		} else {
			t.Twice = !o.Began.Before(s.RefusedWait)
		}
	case o.Err:
		t.Failed = true
	default:
		s.Lost, t.Refused, s.Doc.RefusedAt, s.RefusedWait = false, false, time.Time{}, time.Time{}
		s.PastEnd = s.PastEnd || !o.Began.Before(s.End)
		if !o.Began.Before(s.Quiet) { // a check from before the end of an attempt counts for nothing
			s.Quiet = time.Time{}
			if t.Begun.ID == "" {
				s.Doc.Attempt = Attempt{}
			}
		}
		if d := o.Doc; !d.ExpiresAt.IsZero() && s.Doc.ExpiresAt.IsZero() {
			s.Doc.IssuedAt, s.Doc.ExpiresAt = d.IssuedAt, d.ExpiresAt
			s.windows(now.UTC().Round(0), o.Random)
		}
	}
	return s, t
}

// posted takes in the outcome of a renewal.
func (s State) posted(t Turn, o Outcome, now time.Time) (State, Turn) {
	t.Posted = true
	switch {
	case !o.Doc.Key.IsZero():
		next := s.Doc.successor(o.Doc)
		s = s.take(next, now, o.Random)
		t.Patience, t.Check = now.Add(patience), t.Check || next.ExpiresAt.IsZero()
		t.Posted, t.Begun, t.Read = false, Attempt{}, t.Read && !t.Unsaved
	case o.Rejected:
		s, t = s.withdraw(t)
		t.Suspect, t.Failed = o.Refused, !o.Refused
	default:
		s.Quiet = later(s.Quiet, now.Add(t.Begun.length()+Margin))
		t.Suspect = true
		if !o.Answer.IsZero() {
			s.Doc.Answer = o.Answer
		}
	}
	return s, t
}

// compared takes in the server's answer to the question whether another key works: the key in the store, or
// the initial key.
func (s State) compared(t Turn, o Outcome, now time.Time) (State, Turn) {
	other, trial := t.Other, t.Other.Key.IsZero()
	if trial {
		other = s.Initial
		other.EnterpriseID, other.DeveloperAppID = o.Doc.EnterpriseID, o.Doc.DeveloperAppID
		other.IssuedAt, other.ExpiresAt = o.Doc.IssuedAt, o.Doc.ExpiresAt
	}
	t.Other = Document{}
	switch {
	case o.Refused && s.Lost && !trial:
		s.Stored = other // nothing of ours is to be saved
	case o.Err, o.Refused && trial:
		t.Failed, t.Unsaved = true, t.Unsaved || !trial
	case !o.Refused:
		if !trial {
			s.Stored = other
		}
		return s.take(other, now, o.Random), t.afresh()
	case s.OtherKey != other.Key:
		s.OtherKey, s.OtherWait = other.Key, o.Began.Add(secondCheck)
		t.Failed, t.Unsaved = true, true // which keeps it from being overwritten
	case o.Began.Before(s.OtherWait):
		t.Failed, t.Unsaved = true, true
	default:
		s.Stored, s.OtherKey = other, wire.Secret{} // refused for the second time: ours replaces it
	}
	return s, t
}

// afresh returns what is left of a turn when another key has come into use.
func (t Turn) afresh() Turn { return Turn{Read: true, Stop: t.Stop, Force: t.Force} }
