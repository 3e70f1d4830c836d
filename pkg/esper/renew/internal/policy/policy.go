package policy

import "time"

const maxConflicts = 8 // in one turn; a store whose version changes by itself must not keep it busy for ever

// Decide is the whole policy. It returns the action of the first case that applies.
func Decide(s State, t Turn, now time.Time) Action {
	given, other, begun := !t.Given.Key.IsZero(), !t.Other.Key.IsZero(), t.Begun.ID != ""
	trouble, pause := t.trouble(), now.Before(s.Retry) && !t.Force
	switch {
	case t.Stop && Idle(s, t):
		return end(trouble || t.Failed || t.Said >= Refused)
	case t.Read == Unread:
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

// losable reports whether Doc's key may be given up, once it was refused for the second time.
func (s State) losable(t Turn, now time.Time) bool {
	return !s.Lost() && t.Read == Read && s.Saved() && !s.Busy(now) && (s.Doc.SetAside.IsZero() || t.Aside > len(s.Doc.Aside()))
}

// Evolve returns the state and the turn after the action a, which ended with o.
func Evolve(s State, t Turn, a Action, o Outcome, now time.Time) (State, Turn) {
	switch a {
	case Rest:
		if !t.Stop && (!now.Before(s.Retry) && !s.Busy(now) || t.Said == Accepted && !s.due(t, now)) {
			s.Retry, s.Fails = time.Time{}, 0
		}
		return s, Turn{}
	case Fail:
		return s.failed(t, o, now), Turn{}
	case Load:
		if o.Err {
			t.Read = Unreadable
			return s, t
		}
		return s.loaded(t, o.Doc, now, o.Random)
	case Compare:
		return s.compared(t, o, now)
	case Save:
		return s.saved(t, o, now)
	case Wait:
		t.Read, t.Saves, t.Failed = Unread, 0, s.InDoubt()
	case Probe:
		return s.probed(t, o, now)
	case Lose:
		s.Doc.LostAt = plain(now)
	case Begin:
		t.Begun, s.Doc.Attempt = o.Begun, o.Begun
		if s.Doc.Answer != s.Stored.Answer {
			t.Saves = 0 // perhaps the store refuses the answer: the attempt is saved without it
		}
	case Post:
		return s.posted(t, o, now)
	}
	return s, t
}

// failed works out the pause after a turn that failed. A question that nothing depended on causes none.
func (s State) failed(t Turn, o Outcome, now time.Time) State {
	s, t = s.withdraw(t)
	refused := t.Said >= Refused
	if t.Unanswered() || now.Before(s.Retry) && !t.Failed && !refused {
		return s
	}
	s.Retry = now.Round(0).Add(s.pause(now, o)) // by the wall clock: it goes on while the machine sleeps
	if refused && s.RefusedWait.After(now) {
		s.Retry = s.RefusedWait
	}
	s.Fails++
	return s
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
		t.Read, t.Saves = Unread, t.Saves+1
	case o.Err:
		t.Read, t.Saves = Unread, maxConflicts+1
	case !t.Given.Key.IsZero():
		s.Proven, s.Stored = true, t.Given
		s, t = s.take(t.Given, now, o.Random), t.afresh()
		t.Given = Document{}
	default:
		s.Proven, s.Fresh, s.Stored, t.Saves = true, false, Target(s, t), 0
	}
	return s, t
}

// probed takes in the server's answer to the question whether Doc's key works.
func (s State) probed(t Turn, o Outcome, now time.Time) (State, Turn) {
	doubtful := s.doubtful(now) || !t.Other.Key.IsZero() || !t.Given.Key.IsZero()
	t.Ask, t.Said, s.Asked = AskIfDoubtful, Unanswered, o.Began
	switch {
	case o.Refused:
		t.Said, t.Read = Refused, Unread // another process may just have saved a new key
		if s.Doc.RefusedAt.IsZero() || s.RefusedWait.IsZero() {
			s.Doc.RefusedAt, s.RefusedWait = plain(o.Began), o.Began.Add(secondCheck)
		} else if !o.Began.Before(s.RefusedWait) {
			t.Said = RefusedTwice
		}
		if !t.Given.Key.IsZero() {
			t.Given = t.Given.setAside(s.Doc)
		}
	case o.Err:
		t.Failed = t.Failed || doubtful
	default:
		if !t.Given.Key.IsZero() {
			t.Given, t.Read = Document{}, Unread // nothing is to be adopted
		}
		if !o.Began.Before(s.AttemptOver) { // a check from before the end of an attempt counts for nothing
			s.AttemptOver, s.Doc.Attempt = time.Time{}, Attempt{}
		}
		return s.accepted(t, o, now)
	}
	return s, t
}

// accepted takes in that the server accepts Doc's key.
func (s State) accepted(t Turn, o Outcome, now time.Time) (State, Turn) {
	t.Said, s.Asked = Accepted, o.Began
	s.Doc.RefusedAt, s.Doc.LostAt, s.RefusedWait = time.Time{}, time.Time{}, time.Time{}
	s = s.complete(o.Doc, now, o.Random)
	if !now.Before(s.End) {
		s.End = now.Add(distant) // the server accepts the key after its end, so this clock is wrong
	}
	return s, t
}

// complete adds to Doc what d says of the same key and Doc lacks.
func (s State) complete(d Document, now time.Time, random float64) State {
	if s.Doc.EnterpriseID == "" || s.Doc.DeveloperAppID == "" {
		s.Doc.EnterpriseID, s.Doc.DeveloperAppID = d.EnterpriseID, d.DeveloperAppID
	}
	if s.Doc.ExpiresAt.IsZero() && !d.ExpiresAt.IsZero() {
		s.Doc.IssuedAt, s.Doc.ExpiresAt = d.IssuedAt, d.ExpiresAt
		s.windows(now, random)
	}
	return s
}

// posted takes in the outcome of a renewal.
func (s State) posted(t Turn, o Outcome, now time.Time) (State, Turn) {
	if t.trouble() {
		t.Read, t.Saves = Unread, 0 // the store is tried again, since there may be something to save
	}
	switch {
	case !o.Doc.Key.IsZero():
		s, t = s.take(s.Doc.successor(o.Doc), now, o.Random), t.afresh()
		s.Fresh, t.Said = true, Accepted
		if s.Doc.ExpiresAt.IsZero() {
			t.Ask = AskNow
		}
	case o.Rejected:
		s, t = s.withdraw(t)
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
	return s, t
}
