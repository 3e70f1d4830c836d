package policy

import (
	"time"

	"github.com/esper-go/esper-go/pkg/wire"
)

// loaded takes in d, the document that a Load has found in the store.
func (s State) loaded(t Turn, d Document, now time.Time, random float64) (State, Turn) {
	t.Read = Read
	ours, given := s.Doc, t.Given
	if given.aside(d) || given.aside(ours) {
		t.Given = given.unsure(now)
	}
	if !given.Key.IsZero() && d.Key == given.Key {
		t.Given, t.Ask = Document{}, AskNow // it is stored already: does it work?
	}
	switch {
	case d.Key == ours.Key && d == s.Stored: // nothing has changed, except perhaps the version
		if s.setBack(now) {
			s.windows(now, random)
		}
	case d.Key == ours.Key:
		return s.updated(t, d, now, random)
	case d.after(ours):
		next := d
		if !d.Replaced(ours.Key) || ours.SetAside != s.Stored.SetAside { // d does not know all that ours did
			next = d.setAside(ours)
		}
		s.Stored = d
		return s.take(next, now, random), t.afresh()
	case d.Key.IsZero(), ours.after(d), // an empty store, or an old copy
		s.Fresh, t.Said == Accepted && ours.setAside(d) == ours: // or another key: ours, which the server accepts, replaces it
		if s.Stored != d {
			s.Stored, t.Saves = d, 0
		}
		if !d.Key.IsZero() && !ours.Replaced(d.Key) {
			s.Doc, s.AsideWait = ours.setAside(d), time.Time{}
		}
	case !t.Given.Key.IsZero() && !d.Replaced(given.Key): // a person's key replaces it
	case s.ReadOnly && d == s.Stored && t.Said < Refused: // the server refused it, and accepts ours
	default:
		s, t = s.withdraw(t)
		t.Other = d
	}
	return s, t
}

// updated takes in d, a document of the key in use in which something else has changed. What others have noted counts,
// except for what the server has said in this turn. Nothing that came from the server is dropped.
func (s State) updated(t Turn, d Document, now time.Time, random float64) (State, Turn) {
	base, ours := s.Stored, s.Doc
	added := ours
	if s.Saved() && ours.SetAside == base.SetAside {
		added.SetAside = wire.Secret{}
	}
	s.Stored, s.Doc, s.Fresh = d, d.setAside(added), false
	switch t.Said {
	case Accepted:
		s.Doc.RefusedAt, s.Doc.LostAt = time.Time{}, time.Time{}
	case Refused, RefusedTwice:
		s.Doc.RefusedAt, s.Doc.LostAt = ours.RefusedAt, ours.LostAt
	}
	s = s.complete(ours, now, random)
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
		s.windows(now, random)
	}
	return s.notice(now, base.Attempt, ours.Attempt), t
}

// compared takes in the server's answer to the question whether another key works: the key in the store, or one of
// those that are set aside.
func (s State) compared(t Turn, o Outcome, now time.Time) (State, Turn) {
	other, aside := t.Other, s.Doc.Aside()
	stored := !other.Key.IsZero()
	switch {
	case o.Err:
		t.Aside, t.Failed = len(aside), t.Failed || stored || t.Said >= Refused
		return s, t
	case !o.Refused:
		if stored {
			s.Stored = other
		} else {
			other = o.Doc.Begun("of " + Hash(o.Doc.Key)).unsure(o.Began)
		}
		s, t = s.take(other.setAside(Document{SetAside: s.Doc.SetAside}), now, o.Random), t.afresh()
		t.Given = Document{} // the other key came from it
		return s.accepted(t, o, now)
	case !stored:
		return s.asideRefused(t, o)
	case !t.Given.Key.IsZero():
		t.Given = t.Given.setAside(other)
	case t.Said == Accepted: // ours replaces the other one
		s.Stored, s.Doc, s.AsideWait = other, s.Doc.setAside(other), time.Time{}
	default: // the server has refused both, and the stored one stays
		s.Stored = other
		other = other.setAside(s.Doc)
		if other.LostAt = (time.Time{}); other.RefusedAt.IsZero() {
			other.RefusedAt = plain(o.Began)
		}
		s = s.take(other, now, o.Random)
		t.Said, s.Asked = Refused, o.Began
	}
	t.Other, t.Aside = Document{}, 0
	return s, t
}

// asideRefused counts the keys set aside that the server has refused. After the second time they are dropped, if it
// accepts ours.
func (s State) asideRefused(t Turn, o Outcome) (State, Turn) {
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
	return s, t
}
