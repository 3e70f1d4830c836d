package policy

import "time"

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

// saved takes in the outcome of Save. After any error, the store is read again to see whether the save was
// carried out all the same.
func (s *State) saved(t *Turn, o Outcome, now time.Time) {
	switch {
	case o.Conflict:
		t.Read, t.Saves = false, t.Saves+1
	case o.Err:
		t.Read, t.Saves = false, maxConflicts+1
	default:
		s.Proven, s.Fresh, s.Stored, t.Saves = true, false, Target(*s, *t), 0
		if !t.Given.Key.IsZero() {
			t.Given = Document{}
			s.take(t, s.Stored, now, o.Random)
		}
	}
}

// probed takes in the server's answer to the question whether Doc's key works.
func (s *State) probed(t *Turn, o Outcome, now time.Time) {
	came := s.Doc.Replaced(t.Given.Key)
	needed := came || !t.Other.Key.IsZero() || s.doubtful(now)
	t.Ask, t.Said, s.Asked = AskIfDoubtful, Unanswered, o.Began
	switch {
	case o.Refused:
		t.Said, t.Read = Refused, false // another process may just have saved a new key
		if s.RefusedWait.IsZero() {
			s.Doc.RefusedAt, s.RefusedWait = plain(o.Began), o.Began.Add(secondCheck)
		} else if !o.Began.Before(s.RefusedWait) {
			t.Said = RefusedTwice
		}
	case o.Err:
		t.Failed = t.Failed || needed
	default:
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
	if s.Doc.Replaced(t.Given.Key) {
		t.Given = Document{} // nothing is to be adopted
	}
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
