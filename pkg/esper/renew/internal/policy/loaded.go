package policy

import "time"

// loaded takes in d, the document that a Load has found in the store.
func (s State) loaded(t Turn, d Document, now time.Time, random float64) (State, Turn) {
	if given := t.Given; !given.Key.IsZero() {
		switch {
		case d.Key == given.Key, !s.Lost && (d.Replaced(given.Key) || s.Doc.Replaced(given.Key)):
			t.Given = Document{} // it is stored already, or a renewal has replaced it: nothing is to be saved
		default:
			t.Unsaved = t.Unsaved && d == t.Found // if the store has changed, the save may work now
			t.Found = d
			return s, t
		}
		if d.Lineage == given.Lineage && d.Key != s.Doc.Key { // saved a moment ago, although the store reported an error
			s.Stored = d
			return s.take(d, now, random), t.afresh()
		}
	}
	switch {
	case d.Key == s.Doc.Key && d != s.Stored:
		return s.updated(t, d, now, random)
	case d.Replaced(s.Doc.Key), d.Lineage == s.Doc.Lineage && d.Serial > s.Doc.Serial:
		s.Stored = d
		return s.take(d, now, random), t.afresh()
	case s.Lost && !d.Key.IsZero() && d.Key != s.Doc.Key:
		if d != s.Stored || !now.Before(s.Retry) {
			t.Other = d // any key that works is better
		}
	case d == s.Stored: // nothing has changed, except perhaps the version
		if s.setBack(now) {
			s.windows(now.UTC().Round(0), random)
		}
	case d.Key.IsZero(), s.Doc.Replaced(d.Key), d.Lineage == s.Doc.Lineage && d.Serial < s.Doc.Serial:
		s.Stored, t.Unsaved = d, false // an old copy, or an empty store: ours replaces it
	default:
		t.Other = d // of another history: the server is asked whether it works
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
	s.Stored, s.Doc = d, merge(base, ours, d)
	if s.Stored == s.Doc {
		t.Unsaved = false // the save that failed was carried out after all
	}
	if t.Begun.ID != "" && s.Doc.Attempt != t.Begun && !t.Posted {
		t.Begun = Attempt{} // somebody else was faster
	}
	if !s.Doc.ExpiresAt.Equal(ours.ExpiresAt) || !s.Doc.IssuedAt.Equal(ours.IssuedAt) {
		s.windows(now.UTC().Round(0), random)
	}
	return s.notice(now), t
}
