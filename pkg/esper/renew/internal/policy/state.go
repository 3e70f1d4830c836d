package policy

import (
	"strings"
	"time"

	"github.com/esper-go/esper-go/pkg/wire"
)

// State is what a process knows. Doc and Stored differ if the key in use is not saved yet, or if something about
// it is still to be noted in the store.
type State struct {
	Me       string        // random, the beginning of the ids of this process's attempts
	Before   time.Duration // WithRenewBefore; 0 for the default
	ReadOnly bool          // never write, never renew
	Proven   bool          // a write to the store has succeeded once
	Initial  Document      // an initial key that the stored key does not come from; tried when the stored key is lost

	Doc    Document // what is in use
	Stored Document // what the store held when it was last read or written
	Lost   bool     // Doc's key is given up: the server refused it twice, and the store has no other

	Quiet       time.Time // until then a renewal of Doc's key may be under way; zero: none, or a check since found the key working
	Seen        string    // the id of the attempt that Quiet is about
	RefusedWait time.Time // a refusal of Doc's key before this time still counts as the first; zero: the key is not refused
	PastEnd     bool      // the server accepted Doc's key after its end, so this clock is wrong
	Asked       time.Time // when the server was last asked about Doc's key

	OtherKey  wire.Secret // a stored key of another history, which the server has refused once
	OtherWait time.Time   // a refusal of OtherKey before this time still counts as the first

	Made      time.Time // when the windows were worked out
	Advisory  time.Time // from here on the key is renewed while callers go on using it
	Mandatory time.Time // from here on callers wait for the renewal
	End       time.Time // when the key ends

	Part time.Duration // a twentieth of the key's lifetime, which limits attempts and pauses

	Retry time.Time // after a failure, nothing is sent before this
	Fails int       // failures in a row
}

// Turn is one pass over what is due. Nothing of it is kept after its end.
type Turn struct {
	// What the caller wants.
	Stop    bool        // begin nothing more
	Suspect bool        // a request with Doc's key got 401
	Check   bool        // ask the server about the key
	Force   wire.Secret // renew this key now, whatever is left of it
	Given   Document    // save this key, which a person gave and the server accepted, in the place of any other

	// What has happened so far.
	Read      bool      // Stored is what the store holds
	Unread    bool      // the store could not be read
	Unsaved   bool      // a save failed, and what was to be saved is not there
	Conflicts int       // saves that found another version
	Found     Document  // what the store held at the last read before Given was saved
	Other     Document  // what the store holds; it replaces Doc if the server accepts its key
	Probed    bool      // the server was asked about Doc's key
	Refused   bool      // the server refused Doc's key
	Twice     bool      // the server refused it for the second time
	Begun     Attempt   // this turn's attempt
	Posted    bool      // Begun was sent
	Failed    bool      // something went wrong that ends the turn
	Patience  time.Time // a new key is saved again and again until then
}

// Action is what to do next.
type Action int

// The actions. Rest, Await and Fail end the turn.
const (
	Rest    Action = iota // nothing more to do now
	Await                 // a renewal may be under way: look again soon
	Fail                  // nothing more can be done now: try again after a pause
	Load                  // read the store
	Compare               // ask the server about Turn.Other's key
	Save                  // write Target, if the store's version is still the one that was read
	Wait                  // wait a moment, then read the store again: the only copy of a new key is in memory
	Probe                 // ask the server about Doc's key
	Lose                  // give up Doc's key
	Begin                 // make a new attempt, with an id, a begin and an end
	Abandon               // take back the attempt, because it could not be noted in the store
	Post                  // send the renewal, unless the attempt's time is over
)

// String returns the action's name.
func (a Action) String() string {
	return [...]string{"rest", "await", "fail", "load", "compare", "save", "wait", "probe", "lose", "begin", "abandon", "post"}[a]
}

// Ends reports whether a ends the turn.
func (a Action) Ends() bool { return a <= Fail }

// Outcome is how an action ended.
type Outcome struct {
	Began    time.Time // when the action began
	Err      bool      // it failed, or nobody knows whether it did
	Conflict bool      // Save: the store holds another version
	Refused  bool      // Compare, Probe, Post: 401, or 403 for a key that has ended
	Rejected bool      // Post: the server certainly made no new key
	// Load: the document. Post: the new key with its times. Probe: the times, if the server told them.
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
	s = s.take(d, now, random)
	if a := d.Attempt; a.ID != "" && now.Sub(a.Begun) > oldAttempt {
		s.Quiet = now // it is over, but its outcome is unknown
	}
	if r := d.RefusedAt; !r.IsZero() && now.Sub(r) > oldAttempt {
		s.RefusedWait = now
	}
	return s
}

// take puts d's key into use.
func (s State) take(d Document, now time.Time, random float64) State {
	s.Doc, s.Lost, s.PastEnd = d, false, false
	s.Quiet, s.Seen, s.RefusedWait = time.Time{}, "", time.Time{}
	s.OtherKey, s.OtherWait, s.Asked = wire.Secret{}, time.Time{}, time.Time{}
	s.Retry, s.Fails = time.Time{}, 0
	if s.Initial.Key == d.Key {
		s.Initial = Document{}
	}
	s.windows(now.UTC().Round(0), random)
	return s.notice(now)
}

// notice takes in what other processes have noted about Doc's key. Waits begin now, on this clock, since the
// clocks of two machines differ.
func (s State) notice(now time.Time) State {
	if a := s.Doc.Attempt; a.ID != "" && a.ID != s.Seen && !s.mine(a) {
		s.Seen = a.ID
		s.Quiet = later(s.Quiet, now.Add(a.length()+Margin))
	}
	switch {
	case s.Doc.RefusedAt.IsZero():
		s.RefusedWait = time.Time{}
	case s.RefusedWait.IsZero():
		s.RefusedWait = now.Add(secondCheck)
	}
	return s
}

func (s State) mine(a Attempt) bool { return strings.HasPrefix(a.ID, s.Me) }

// Saved reports whether the store has the key in use.
func (s State) Saved() bool { return s.Stored.Key == s.Doc.Key }

func (s State) unsaved() bool { return !s.Saved() && !s.ReadOnly && !s.Lost }

// owed reports whether the store has the key, but not everything that is to be noted about it.
func (s State) owed() bool { return s.Saved() && s.Stored != s.Doc && !s.ReadOnly }

func (s State) due(t Turn, now time.Time) bool {
	return !now.Before(s.Advisory) || !t.Force.IsZero() && t.Force == s.Doc.Key
}

// InDoubt reports whether the outcome of a renewal is unknown and no check has found the key working since.
func (s State) InDoubt() bool { return !s.Quiet.IsZero() }

// Busy reports whether a renewal of the key, by any process, may be under way.
func (s State) Busy(now time.Time) bool { return now.Before(s.Quiet) }

// Awaits reports whether a renewal by another process was found moments ago, so that it should end soon.
func (s State) Awaits(now time.Time) bool {
	a := s.Doc.Attempt
	found := s.Quiet.Add(-a.length() - Margin)
	return a.ID != "" && !s.mine(a) && now.Before(found.Add(nearEnd))
}

// doubtful reports whether the server has to be asked about the key. That is so if a renewal is over and its
// outcome is unknown, if the key was refused a while ago, or if it has ended by this clock.
func (s State) doubtful(now time.Time) bool {
	return s.InDoubt() && !s.Busy(now) ||
		!s.RefusedWait.IsZero() && !now.Before(s.RefusedWait) ||
		!now.Before(s.End) && !s.PastEnd
}

// Usable reports whether callers may have the key.
func (s State) Usable(now time.Time) bool {
	return !s.Lost && (now.Before(s.End) || now.Before(s.Mandatory) || s.PastEnd)
}

// trouble reports whether the store could not be read or written.
func (t Turn) trouble() bool { return t.Unread || t.Unsaved }

// Idle reports whether a turn may be given up, because it has begun nothing that must be finished.
func Idle(s State, t Turn) bool {
	return t.Begun.ID == "" && t.Given.Key.IsZero() && !s.unsaved() && (!s.owed() || t.trouble())
}

// Target is what Save writes.
func Target(s State, t Turn) Document {
	if !t.Given.Key.IsZero() {
		return t.Given
	}
	return s.Doc
}
