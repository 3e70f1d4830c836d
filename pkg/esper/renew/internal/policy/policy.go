package policy

import "time"

// Decide is the whole policy. It returns the action of the first case that applies.
func Decide(s State, t Turn, now time.Time) Action {
	given, other, begun := !t.Given.Key.IsZero(), !t.Other.Key.IsZero(), t.Begun.ID != ""
	trouble, pause := t.trouble(), now.Before(s.Retry) && !t.Force
	switch {
	case t.Stop && Idle(s, t):
		return end(trouble || t.Failed || t.Said >= Refused)
	case !t.Read:
		return Load

	// If a key of another history is in the store, the server is asked about ours, then about that one. After that, a key
	// that a person gave is saved. If the key in use came from it, only if the server refuses the one in use.
	case t.Failed && (other || given), trouble && given:
		return Fail
	case t.Said < Accepted && (other || given && s.Doc.Replaced(t.Given.Key)):
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
