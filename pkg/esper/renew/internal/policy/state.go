package policy

import (
	"slices"
	"time"

	"github.com/esper-go/esper-go/pkg/wire"
)

// State is what a process knows. Doc and Stored differ if the key in use is not saved yet, or if something about
// it is still to be noted in the store.
type State struct {
	RenewBefore time.Duration // how long before its end a key is renewed; 0 for the default
	ReadOnly    bool          // never write, never renew
	Proven      bool          // a write to the store has succeeded once

	Doc    Document // what is in use
	Stored Document // what the store held when it was last read or written
	Fresh  bool     // the store never held Doc's key: its only copy is in memory

	AttemptOver time.Time // until then an attempt may be under way; zero: none, or a check since found the key working
	RefusedWait time.Time // a refusal of Doc's key before this time still counts as the first; zero: it is not refused
	AsideWait   time.Time // the same for the keys set aside, all of which were refused once; zero: they were not
	AsideWorks  bool      // the server accepts Doc's key and one set aside, which is not asked about again
	Asked       time.Time // when the server was last asked about Doc's key

	// When the key is to be renewed. It is worked out from Doc, see windows.
	WindowMade time.Time // when that was done
	Advisory   time.Time // from here on the key is renewed while callers go on using it
	End        time.Time // when the key ends, by this clock

	Retry time.Time // after a failure, nothing is sent before this
	Fails int       // failures in a row
}

// Turn is one pass over what is due. Nothing of it is kept after its end.
type Turn struct {
	// What the caller wants.
	Stop  bool     // begin nothing more
	Ask   Ask      // whether to ask the server about the key
	Force bool     // renew the key now, whatever is left of it
	Given Document // save this key, which a person gave and the server accepted, in the place of any other

	// What has happened so far.
	Read   bool     // the store was read: once in a turn, and again after a save that failed and after a refusal
	Saves  int      // saves that failed or found another version, see trouble
	Said   Said     // what the server said of Doc's key
	Other  Document // what the store holds, of another history: it and Doc are compared
	Aside  int      // how many of the keys set aside the server refused; one more if all, for the second time
	Begun  Attempt  // this turn's attempt, until it is sent
	Failed bool     // something went wrong that ends the turn
}

// Ask says whether a turn is to ask the server about the key, each sooner than the one before.
type Ask int8

const (
	AskIfDoubtful Ask = iota
	AskLast           // once all else is done, so that a failure delays nothing
	AskSuspect        // a request with the key got 401: before all else, but not often
	AskNow            // a renewal had no clear outcome
)

// Said is what the server said about a key. ErrGateway and the like are Unanswered.
type Said int8

const (
	Nothing Said = iota
	Unanswered
	Accepted
	Refused
	RefusedTwice // at least a minute after the first time
)

// Action is what to do next. Rest and Fail end the turn.
type Action int

const (
	Rest    Action = iota // nothing more to do now; while State.Busy, look again soon
	Fail                  // nothing more can be done now: try again after a pause
	Load                  // read the store
	Compare               // ask the server about another key: Compared
	Save                  // write Target, if the store's version is still the one that was read
	Wait                  // wait a moment, then read the store again: what came from the server is in memory alone
	Probe                 // ask the server about Doc's key
	Lose                  // give up Doc's key
	Begin                 // make a new attempt, with an id, a begin and an end
	Post                  // send the renewal, unless the attempt's time is over
)

// Ends reports whether a ends the turn.
func (a Action) Ends() bool { return a <= Fail }

// Outcome is how an action ended.
type Outcome struct {
	Began    time.Time // when the action began
	Err      bool      // it failed, or nobody knows whether it did
	Conflict bool      // Save: the store holds another version
	Refused  bool      // Compare, Probe, Post: 401, or 403 for a key that has ended
	Rejected bool      // Post: the server certainly made no new key
	// Load: the document. Post: the new key with its times. Probe, Compare: the ids, and the times that the server told.
	Doc        Document
	Begun      Attempt       // Begin: the attempt
	Answer     wire.Secret   // Post: an answer that no key can be read from
	Forbidden  bool          // 403
	RetryAfter time.Duration // what the server asked for
	Random     float64       // in [0, 1)
}

// New returns the state s of a process that starts with d, the document of the store.
func New(s State, d Document, now time.Time, random float64) State {
	s.Stored = d
	s.take(&Turn{}, d, now, random)
	return s
}

// take puts d's key into use, and leaves of the turn what is not about the key before.
func (s *State) take(t *Turn, d Document, now time.Time, random float64) {
	*s = State{RenewBefore: s.RenewBefore, ReadOnly: s.ReadOnly, Proven: s.Proven, Stored: s.Stored, Doc: d}
	*t = Turn{Read: t.Read, Stop: t.Stop, Given: t.Given}
	s.windows(now, random)
	s.notice(now)
}

// notice takes in what other processes have noted about Doc's key, but for attempts that are known. Waits begin now, on
// this clock, since the clocks of two machines differ.
func (s *State) notice(now time.Time, known ...Attempt) {
	if a := s.Doc.Attempt; a.ID != "" && !slices.Contains(known, a) {
		s.AttemptOver = latest(s.AttemptOver, now.Add(a.length()+Margin))
	}
	switch age := now.Sub(s.Doc.RefusedAt); {
	case s.Doc.RefusedAt.IsZero():
		s.RefusedWait = time.Time{}
	case s.RefusedWait.IsZero() && age > oldRefusal:
		s.RefusedWait = now
	case s.RefusedWait.IsZero():
		s.RefusedWait = now.Add(secondCheck)
	}
}

// Lost reports whether Doc's key is given up: the server refused it twice, and the store has no other.
func (s State) Lost() bool { return !s.Doc.LostAt.IsZero() }

// Saved reports whether the store has the key in use.
func (s State) Saved() bool { return s.Stored.Key == s.Doc.Key }

// Unsaved reports whether something that came from the server is in memory alone: a new key, in use or set aside, or an
// answer from which none can be read.
func (s State) Unsaved() bool {
	return !s.ReadOnly && (!s.Saved() || s.Doc.Answer != s.Stored.Answer ||
		s.Doc.SetAside != s.Stored.SetAside && slices.ContainsFunc(s.Doc.Aside(), func(key string) bool {
			return key != s.Stored.Key.Reveal() && !slices.Contains(s.Stored.Aside(), key)
		}))
}

// owed reports whether something is to be written to the store.
func (s State) owed() bool { return !s.ReadOnly && s.Stored != s.Doc }

// patient reports whether a turn goes on trying to save what came from the server a moment ago.
func (s State) patient(now time.Time) bool {
	age := now.Sub(s.Doc.RenewedAt)
	return s.Unsaved() && (age >= 0 && age < patience || s.Busy(now))
}

func (s State) due(t Turn, now time.Time) bool { return t.Force || !now.Before(s.Advisory) }

// InDoubt reports whether the outcome of a renewal is unknown and no check has found the key working since.
func (s State) InDoubt() bool { return !s.AttemptOver.IsZero() }

// Busy reports whether a renewal of the key, by any process, may be under way.
func (s State) Busy(now time.Time) bool { return now.Before(s.AttemptOver) }

// Awaits reports whether a renewal by another process was found moments ago, so that it should end soon.
func (s State) Awaits(now time.Time) bool {
	a := s.Doc.Attempt
	found := s.AttemptOver.Add(-a.length() - Margin)
	return a.ID != "" && !now.Before(s.Retry) && now.Before(found.Add(nearEnd))
}

// doubtful reports whether the server has to be asked about the key. That is so if a renewal is over and its
// outcome is unknown, if the key was refused a while ago, if it has ended by this clock, or if its document lacks
// something that the server may know.
func (s State) doubtful(now time.Time) bool {
	return s.InDoubt() && !s.Busy(now) ||
		!s.RefusedWait.IsZero() && !now.Before(s.RefusedWait) ||
		!now.Before(s.End) ||
		(s.Doc.ExpiresAt.IsZero() || s.Doc.EnterpriseID == "" || s.Doc.DeveloperAppID == "") && now.Sub(s.Asked) >= completeInterval
}

// asideDue reports whether the server is to be asked about the keys set aside.
func (s State) asideDue(t Turn, now time.Time) bool {
	return t.Aside < len(s.Doc.Aside()) && (t.Said >= Refused || !s.ReadOnly && !s.AsideWorks && !now.Before(s.AsideWait))
}

// Usable reports whether callers may have the key.
func (s State) Usable(now time.Time) bool {
	return !s.Lost() && (now.Before(s.End) || now.Before(s.Mandatory()))
}

// trouble reports whether the store could not be read or written. Then nothing more is saved.
func (t Turn) trouble() bool { return t.Saves > maxConflicts }

// Unanswered reports whether all that failed is a question on which nothing depended.
func (t Turn) Unanswered() bool { return t.Said == Unanswered && !t.Failed && !t.trouble() }

// Idle reports whether a turn may be given up, because it has begun nothing that must be finished.
func Idle(s State, t Turn) bool {
	return t.Begun.ID == "" && t.Given.Key.IsZero() && !s.Unsaved() && (!s.owed() || t.trouble())
}

// Target is what Save writes.
func Target(s State, t Turn) Document {
	d := s.Doc
	switch given := t.Given; {
	case given.Key.IsZero():
	case d.Replaced(given.Key), s.Stored.Replaced(given.Key): // what came from it was refused, perhaps wrongly
		return given.setAside(d)
	default:
		return given
	}
	if t.Begun.ID != "" {
		d.Answer = s.Stored.Answer // an attempt does not wait until the answer to an earlier one is saved
	}
	return d
}

// Compared is the key that Compare asks about.
func Compared(s State, t Turn) wire.Secret {
	if !t.Other.Key.IsZero() {
		return t.Other.Key
	}
	return wire.NewSecret(s.Doc.Aside()[t.Aside])
}
