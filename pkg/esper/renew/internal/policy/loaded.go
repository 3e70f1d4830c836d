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
		t.Given, t.Ask = Document{}, AskNow                  // it is stored already: does it work?
		if d.Lineage == given.Lineage && d.Key != ours.Key { // saved a moment ago, although the store reported an error
			s.Stored = d
			return s.take(d, now, random), t.afresh()
		}
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
	case d.Key.IsZero(), ours.after(d): // an empty store, or an old copy: ours replaces it
		if s.Stored != d {
			s.Stored, t.Saves = d, 0
		}
		if !d.Key.IsZero() && !ours.Replaced(d.Key) {
			s.Doc, s.AsideWait = ours.setAside(d), time.Time{}
		}
	case !t.Given.Key.IsZero() && !d.Replaced(given.Key): // a person's key replaces it
	case s.Fresh, t.Said == Accepted && ours.setAside(d) == ours: // the server accepts ours, which replaces it
		if s.Stored != d {
			t.Saves = 0
		}
		s.Stored, s.Doc, s.AsideWait = d, ours.setAside(d), time.Time{}
	case s.ReadOnly && d == s.Stored && t.Said < Refused: // the server refused it, and accepts ours
	default:
		s, t = s.withdraw(t)
		t.Other = d
	}
	return s, t
}

// updated takes in d, a document of the key in use in which something else has changed.
func (s State) updated(t Turn, d Document, now time.Time, random float64) (State, Turn) {
	base := s.Stored
	if !s.Saved() {
		base = Document{}
	}
	ours := s.Doc
	s.Stored, s.Doc, s.Fresh = d, merge(base, ours, d), false
	if t.Said == Accepted {
		s.Doc.RefusedAt, s.Doc.LostAt = time.Time{}, time.Time{}
	}
	if s.Stored == s.Doc {
		t.Saves = 0 // the save that failed was carried out after all
	}
	if t.Begun.ID != "" && s.Doc.Attempt != t.Begun {
		t.Begun = Attempt{} // somebody else was faster
	}
	if s.Doc.SetAside != ours.SetAside {
		s.AsideWait, t.Aside = time.Time{}, 0
	}
	if !s.Doc.ExpiresAt.Equal(ours.ExpiresAt) || !s.Doc.IssuedAt.Equal(ours.IssuedAt) {
		s.windows(now, random)
	}
	return s.notice(now), t
}

// compared takes in the server's answer to the question whether another key works: the key in the store, or one of
// those that are set aside.
func (s State) compared(t Turn, o Outcome, now time.Time) (State, Turn) {
	if t.Other.Key.IsZero() {
		return s.comparedAside(t, o, now)
	}
	switch {
	case o.Err:
		t.Failed = true
	case !o.Refused:
		s.Stored = t.Other
		s, t = s.take(t.Other.setAside(Document{SetAside: s.Doc.SetAside}), now, o.Random), t.afresh()
		t.Given = Document{} // it came from the given key
		t.Said, s.Asked = Accepted, o.Began
		s.Doc.RefusedAt, s.Doc.LostAt, s.RefusedWait = time.Time{}, time.Time{}, time.Time{}
		s = s.complete(o.Doc, now, o.Random)
	case !t.Given.Key.IsZero():
		t.Given, t.Other = t.Given.setAside(t.Other), Document{}
	default:
		t.OtherRefused = true
		if t.Said >= Accepted {
			return s.settle(t, o, now)
		}
	}
	return s, t
}

// settle ends the comparison with another stored key, which the server has refused. If it accepts ours, ours replaces
// the other one, else the other one stays. What is replaced is set aside in the document that replaces it.
func (s State) settle(t Turn, o Outcome, now time.Time) (State, Turn) {
	other := t.Other
	t.Other, t.OtherRefused, t.Aside = Document{}, false, 0
	switch {
	case t.Said == Unanswered:
		return s, t
	case t.Said == Accepted:
		s.Stored, s.Doc = other, s.Doc.setAside(other)
		s.AsideWait = time.Time{}
		if s.Doc.SetAside == other.Key {
			s.AsideWait = o.Began.Add(secondCheck)
		}
	default:
		refused := other.setAside(s.Doc)
		if refused.LostAt = (time.Time{}); refused.RefusedAt.IsZero() {
			refused.RefusedAt = plain(o.Began)
		}
		s.Stored = other
		s = s.take(refused, now, o.Random)
		t.Said, s.Asked, t.Aside = Refused, o.Began, len(s.Doc.Aside())
	}
	return s, t
}

func (s State) comparedAside(t Turn, o Outcome, now time.Time) (State, Turn) {
	keys := s.Doc.Aside()
	switch {
	case o.Err:
		t.Aside, t.Failed = len(keys), t.Failed || t.Said >= Refused
	case !o.Refused:
		d := o.Doc
		d.Key = wire.NewSecret(keys[t.Aside])
		d = d.Begun("of " + Hash(d.Key)).setAside(Document{SetAside: s.Doc.SetAside}).unsure(o.Began)
		s = s.take(d, now, o.Random)
		t = t.afresh()
		t.Said, s.Asked = Accepted, o.Began
	default:
		if t.Aside++; t.Aside < len(keys) {
			break
		}
		switch {
		case s.AsideWait.IsZero():
			s.AsideWait = o.Began.Add(secondCheck)
		case o.Began.Before(s.AsideWait):
		case t.Said == Accepted:
			s.Doc.SetAside, s.AsideWait = wire.Secret{}, time.Time{}
		default:
			t.Aside++
		}
	}
	return s, t
}
