package policy

import (
	"slices"

	"github.com/esper-go/esper-go/pkg/wire"
)

// wrong returns how many wrong refusals have happened.
func (e *explorer) wrong(w *world) int { return int(e.budget.Wrong - w.Budget.Wrong) }

// checkDropped checks I1: a new key that arrived is in the store, or in memory, until the server has accepted the key
// that replaces it; I7, the same for an answer from which no key can be read; and I3, the same for a key set aside,
// until the server has refused it twice. A person's key, given, replaces what it is to replace. I1 to I7 are the rules of
// DESIGN.md.
func (e *explorer) checkDropped(w *world, i, given int, old Document, o Outcome) {
	p := &w.P[i]
	before, now := keyOf(old), keyOf(p.S.Doc)
	kept := w.knows(now) || w.descends(now, before) || aside(p.S.Doc, before) || now == given
	e.never(w, "I1", "a new key that works is neither stored nor in use",
		before != now && p.Arrived != 0 && p.Arrived == before && w.knows(before) && keyOf(w.Store) != before && !kept)
	e.never(w, "I3", "an older key of the same history replaces one that works",
		before != now && w.descends(before, now) && w.knows(before) && old.Lineage == p.S.Doc.Lineage)
	e.never(w, "I7", "an answer that may hold a key is dropped",
		(!old.Answer.IsZero() || !o.Answer.IsZero()) && p.S.Doc.Answer.IsZero() && w.Store.Answer.IsZero() && !w.knows(now))
	if old.SetAside != p.S.Doc.SetAside && w.Budget.Person == e.budget.Person { // a person may put an old document back
		for k := range w.Keys {
			e.never(w, "I3", "a key set aside that works is dropped",
				k != now && aside(old, k) && !aside(p.S.Doc, k) && !aside(w.Store, k) && w.knows(k) && e.wrong(w) < 2)
		}
	}
}

// checkLeft checks I1 and I7 for a program that ends: it has to store first what came from the server.
func (e *explorer) checkLeft(w *world, i int) {
	p := &w.P[i]
	k := keyOf(p.S.Doc)
	late := e.stall && p.Tried && !p.S.patient(e.clock(w, i))                                            // a process that was stopped has no time left to try again
	late = late || p.S.Saved() && (w.Budget.Empty < e.budget.Empty || w.Budget.Person < e.budget.Person) // it was saved, and taken away since
	e.never(w, "I1", "a program ends, and its new key is not stored",
		p.Arrived == k && !late && w.knows(k) && keyOf(w.Store) != k && !aside(w.Store, k) && !w.descends(keyOf(w.Store), k) && w.Late.Key != p.S.Doc.Key)
	e.never(w, "I7", "a program ends, and an answer that may hold a key is not stored",
		p.Unread && !late && !p.S.Doc.Answer.IsZero() && w.Store.Key == p.S.Doc.Key && w.Store.Answer.IsZero() && w.Late.Answer.IsZero())
}

// checkSaved checks I3: a working key is overwritten only by its successor, by a person, or by a document in which it is
// set aside.
func (e *explorer) checkSaved(w *world, i int, target Document) {
	p := &w.P[i]
	old, next := keyOf(w.Store), keyOf(target)
	person := !p.T.Given.Key.IsZero() && !w.Store.Replaced(target.Key)
	same := target.Lineage == w.Store.Lineage
	heir, later := w.descends(next, old) && (w.knows(next) || same), same && target.after(w.Store)
	e.never(w, "I3", "a key that works is overwritten by another that is not its successor, or by a dead one",
		old != next && w.knows(old) && !heir && !aside(target, old) && !person)
	e.never(w, "I6", "the store is written, and has the same already", target == w.Store)
	forgets := !w.Store.RefusedAt.IsZero() && target.RefusedAt.IsZero() ||
		!w.Store.LostAt.IsZero() && target.LostAt.IsZero() && target.SetAside == w.Store.SetAside
	e.never(w, "I4", "a refusal that is noted is taken back, and the server has not accepted the key", old == next && forgets && !p.Accepted)
	e.never(w, "I3", "a person gives the key that is stored, and its document is replaced", !p.T.Given.Key.IsZero() && old == next)
	for k := range w.Keys {
		e.never(w, "I3", "a key set aside that works is overwritten",
			aside(w.Store, k) && !aside(target, k) && w.knows(k) && !w.descends(next, k) && e.wrong(w) < 2 && !person && p.T.Said != Accepted)
	}
	e.never(w, "I3", "a key of another history is overwritten, and the server has not accepted ours",
		old != next && old != 0 && !heir && !w.descends(old, next) && p.T.Given.Key.IsZero() && !p.S.Fresh && p.T.Said != Accepted && !later)
}

// checkPosted checks I2: no renewal of a key is sent while an earlier one may be under way, or before the
// server was asked whether the key still works.
func (e *explorer) checkPosted(w *world, i, key int) {
	p := &w.P[i]
	noted := p.S.Saved() && p.S.Stored.Attempt == p.T.Begun
	e.never(w, "I2", "a renewal is sent that is not in the journal",
		!noted && (e.clock(w, i).Before(p.S.Mandatory()) || !p.T.trouble() || !p.S.Proven))
	e.never(w, "I2", "a renewal is sent that is not due", e.clock(w, i).Before(p.S.Advisory) && !p.T.Force)
	k := &w.Keys[key]
	takenAway := w.Store.Attempt != p.T.Begun && (w.Budget.Person < e.budget.Person || w.Budget.Empty < e.budget.Empty) // by a person
	e.never(w, "I2", "a renewal is sent while an earlier one may be under way, or before a check of what came of it",
		k.Unclear && !k.Excused && noted && !takenAway)
	k.Excused = k.Excused || !noted || takenAway
}

// checkLost checks I4: a key is given up only after two refusals a minute apart, if the store could be read
// and has no other, and if no renewal of the key may be under way.
func (e *explorer) checkLost(w *world, i int) {
	p := &w.P[i]
	key := keyOf(p.S.Doc)
	wrongs, early := 0, false
	for k := range w.Keys {
		if k == key || aside(p.S.Doc, k) {
			early = early || w.Keys[k].Refused == 0 || w.now()+1-w.Keys[k].Refused < 60
			if w.knows(k) {
				wrongs += 2
			}
		}
	}
	switch {
	case e.wrong(w) < wrongs:
		e.bad(w, "I4", "a key is given up that works")
	case early:
		e.bad(w, "I4", "a key is given up less than a minute after it, or one that is set aside, was refused first")
	case !p.Reread:
		e.bad(w, "I4", "a key is given up although the store was not read after the server had refused it")
	case p.S.Fresh, !p.S.Saved() && !p.S.ReadOnly:
		e.bad(w, "I4", "a key is given up that is in memory alone")
	case p.Fresh && keyOf(w.Store) != key && w.knows(keyOf(w.Store)):
		e.bad(w, "I4", "a key is given up although the store has another that works")
	}
	for j := range w.P {
		if f := w.P[j].Flight; p.Fresh && f.Key == key && w.now() < f.Until && !w.Keys[key].Excused {
			e.bad(w, "I4", "a key is given up while a renewal of it may be under way")
		}
	}
}

// checkAsked checks that the server is asked about the key in use only if something is in doubt, not in a pause, and not
// twice in one turn.
func (e *explorer) checkAsked(w *world, i int) {
	s, t, now := &w.P[i].S, &w.P[i].T, e.clock(w, i)
	rejected := t.Ask == AskSuspect && now.Sub(s.Asked) >= suspectInterval // a request with the key got 401
	switch {
	case t.Ask == AskNow:
	case !t.Other.Key.IsZero() && t.Said == Unanswered && !t.Failed: // the comparison needs an answer
	case t.Said != Nothing:
		e.bad(w, "I4", "the server is asked twice in one turn")
	case !t.Other.Key.IsZero(), !t.Given.Key.IsZero(), rejected:
	case now.Before(s.Retry) && !t.Force:
		e.bad(w, "I4", "the server is asked in a pause")
	case !s.InDoubt() && s.Doc.RefusedAt.IsZero() && now.Before(s.End) && s.Doc.SetAside.IsZero():
		e.bad(w, "I4", "the server is asked about a key of which nothing is in doubt")
	}
}

// checkNoted checks that a refusal and the end of an attempt are noted, for processes that start later.
func (e *explorer) checkNoted(w *world, i int) {
	if p := &w.P[i]; p.Fresh && p.T.Read && !p.T.trouble() && p.T.Other.Key.IsZero() && p.S.owed() {
		e.bad(w, "I4", "what was learnt of a key is not noted in the store")
	}
}

// settle checks I5 and I6: without further faults, every process ends up with a key that works, if the store or
// a living process has one, and else with a key that is given up; and keys are renewed, until the model has no more. No key
// reaches its end meanwhile.
func (e *explorer) settle(w *world) {
	c := *w
	n := &c
	n.Budget, n.Late = budget{}, Document{}
	works, all, _, _ := e.ends(n)
	n.Later = 1
	for k := range w.Keys {
		if !works && n.knows(k) && !w.knows(k) {
			return // the key has reached its end
		}
	}
	if e.quiet == nil {
		e.quiet = &explorer{config: e.config, bad: e.bad}
	}
	const rounds, step = 80, 200
	for range rounds {
		for i := range e.procs {
			e.quiet.turn(n, i)
		}
		n.Later += step
		for i := range e.procs {
			if p := &n.P[i]; n.now() >= p.Flight.Until {
				p.Flight = flight{}
			}
		}
		var one, lost, renews bool
		one, all, lost, renews = e.ends(n)
		switch works = works || one; { // an answer may have brought a key
		case works && all && (n.free() == 0 || !renews), !works && lost:
			return
		case works && !one:
			return // a renewal that was under way has replaced the key, and no process got the answer
		}
	}
	switch {
	case !works:
		e.bad(w, "I4", "there is no key that works, and not every process says so")
	case all:
		e.bad(w, "I6", "a key is due, and no process renews it")
	default:
		e.bad(w, "I6", "there is a key that works, and not every process finds it")
	}
}

// holds reports whether a key that works is set aside in d.
func (w *world) holds(d Document) bool {
	return slices.ContainsFunc(d.Aside(), func(key string) bool { return w.knows(keyOf(Document{Key: wire.NewSecret(key)})) })
}

// ends says of w whether any key works, whether every process has one that does, whether each has given its key up (but
// for a reader whose key works, or whose store is empty), and whether one renews keys.
func (e *explorer) ends(w *world) (any, all, lost, renews bool) {
	any = w.knows(keyOf(w.Store))
	for k := range w.Keys {
		any = any || aside(w.Store, k) && w.knows(k) // the next process that starts finds it
	}
	all, lost = any || w.Store.Key.IsZero(), true
	for i := range w.P {
		p := &w.P[i]
		if !p.Alive {
			continue
		}
		works := w.knows(keyOf(p.S.Doc))
		any = any || works && !p.S.ReadOnly
		all = all && works && !p.S.Lost() && !p.Turning && (p.S.ReadOnly || p.S.Doc.SetAside.IsZero() || w.holds(p.S.Doc))
		lost = lost && (p.S.Lost() && !p.Turning || p.S.ReadOnly && (w.Store.Key.IsZero() || works))
		renews = renews || !p.S.ReadOnly
	}
	return any, all, lost, renews
}

// turn has process i finish the turn that it is in, or else run one.
func (e *explorer) turn(w *world, i int) {
	const most = 60
	p := &w.P[i]
	if !p.Alive {
		return
	}
	if !p.Turning {
		p.Turning = true
		if p.S.ReadOnly && !w.knows(keyOf(p.S.Doc)) { // the others find that out at the next renewal
			p.T.Ask = AskSuspect
		}
	}
	for range most {
		if !p.Turning {
			return
		}
		if p.Posting && p.Reply == 0 && p.Flight.Key != 0 {
			e.arrive(w, i)
			continue
		}
		moved := false
		waits := !p.Posting && Decide(p.S, p.T, e.clock(w, i)) == Wait
		before := *w
		e.emit = func(n *world, how string) {
			if !moved {
				moved, *w = true, *n
				if e.tell {
					e.log(how)
				}
			}
		}
		if p.Posting {
			e.posting(&before, i)
		} else {
			e.act(&before, i)
		}
		if waits || !moved {
			return
		}
	}
	e.bad(w, "I6", "a turn does not end")
}
