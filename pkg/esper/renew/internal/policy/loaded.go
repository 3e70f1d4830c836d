package policy

import (
	"slices"
	"time"

	"github.com/esper-go/esper-go/pkg/wire"
)

// loaded takes in the document that a Load has found in the store.
func (s *State) loaded(t *Turn, o Outcome, now time.Time) {
	t.Read, t.Other = true, Document{}
	d, ours, given := o.Doc, s.Doc, t.Given
	if key := given.Key.Reveal(); slices.Contains(d.Aside(), key) || slices.Contains(ours.Aside(), key) {
		t.Given = given.unsure(now)
	}
	if !given.Key.IsZero() && d.Key == given.Key {
		t.Given, t.Ask = Document{}, AskNow // it is stored already: does it work?
	}
	switch {
	case o.Err:
		t.Saves = maxConflicts + 1
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
		s.replace(t, d, now)
	default:
		s.withdraw(t)
		t.Other = d
	}
	if !o.Err && !s.owed() && t.Given.Key.IsZero() {
		t.Saves = 0 // the save that failed was carried out after all
	}
}

// updated takes in a document of the key in use, in which something else may have changed. What others have noted
// counts. What came from the server stays.
func (s *State) updated(t *Turn, o Outcome, now time.Time) {
	base, ours, added, next := s.Stored, s.Doc, s.Doc, o.Doc
	if base.Key != ours.Key {
		base = Document{} // an old copy, or another key, lay in the store meanwhile
	}
	switch {
	case next.SetAside == base.SetAside:
		next.SetAside = wire.Secret{} // ours are added
	case ours.SetAside == base.SetAside:
		added.SetAside = wire.Secret{}
	}
	if next.Answer == base.Answer {
		next.Answer = wire.Secret{} // the same
	}
	s.Stored, s.Doc, s.Fresh = o.Doc, next.setAside(added), false
	if o.Doc.Attempt == base.Attempt {
		s.Doc.Attempt = ours.Attempt
	}
	if o.Doc.RefusedAt.Equal(base.RefusedAt) && o.Doc.LostAt.Equal(base.LostAt) {
		s.Doc.RefusedAt, s.Doc.LostAt = ours.RefusedAt, ours.LostAt
	}
	s.complete(ours, now, o.Random)
	if s.Doc.Attempt != t.Begun {
		t.Begun = Attempt{} // somebody else was faster
	}
	if s.Doc.SetAside != ours.SetAside {
		s.AsideWait, t.Aside = time.Time{}, 0
	}
	setBack := now.Before(s.WindowMade.Add(-Skew)) // the clock
	if setBack || !s.Doc.ExpiresAt.Equal(ours.ExpiresAt) || !s.Doc.IssuedAt.Equal(ours.IssuedAt) {
		s.windows(now, o.Random)
	}
	s.notice(now, base.Attempt, ours.Attempt)
}

// replace makes Doc the one that is to replace d, which the store has. If d has Doc's key set aside, the note of an attempt
// with that key may be gone.
func (s *State) replace(t *Turn, d Document, now time.Time) {
	s.Stored, s.Doc, s.AsideWait = d, s.Doc.setAside(d), time.Time{}
	if slices.Contains(d.Aside(), s.Doc.Key.Reveal()) {
		s.withdraw(t)
		s.Doc = s.Doc.unsure(now)
		s.notice(now)
	}
}

// compared takes in the server's answer to the question whether another key works: the key in the store, or one of
// those that are set aside.
func (s *State) compared(t *Turn, o Outcome, now time.Time) {
	other := t.Other
	stored := !other.Key.IsZero()
	switch {
	case o.Err:
		t.Aside, t.Failed = len(s.Doc.Aside()), t.Failed || stored
	case !o.Refused && !stored && t.Said == Accepted && !o.Doc.ExpiresAt.After(s.Doc.ExpiresAt): // ours stays in use
		s.AsideWorks, s.AsideWait, t.Aside = true, time.Time{}, len(s.Doc.Aside())
	case !o.Refused:
		ours, works, replaced := s.Doc.Key.Reveal(), t.Said == Accepted, Document{SetAside: s.Doc.SetAside}
		if stored {
			s.Stored = other
		} else { // they change places: ours ends sooner, or was refused, perhaps wrongly
			other, replaced = o.Doc.Begun("of "+Hash(o.Doc.Key)).unsure(o.Began), s.Doc
		}
		s.take(t, other.setAside(replaced), now, o.Random)
		s.accepted(t, o, now)
		s.AsideWorks = works && slices.Contains(s.Doc.Aside(), ours) // else the two change places again, if ends move
	case !stored:
		s.asideRefused(t, o)
	case t.Said == Accepted: // ours replaces the other one
		s.replace(t, other, now)
		t.Other, t.Aside = Document{}, 0
	default: // the server has refused both, and the stored one stays
		s.Stored, other.LostAt = other, time.Time{}
		s.take(t, other.setAside(s.Doc), now, o.Random)
		t.Ask = AskNow
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
