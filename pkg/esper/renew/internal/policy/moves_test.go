package policy

import (
	"fmt"
	"time"
)

// String returns the action's name.
func (a Action) String() string {
	return [...]string{"rest", "fail", "load", "compare", "save", "wait", "probe", "lose", "begin", "post"}[a]
}

// explorer makes the worlds that can follow a world.
type explorer struct {
	*config
	emit func(w *world, how string) // how is empty unless tell is set
	tell bool
	bad  func(w *world, rule, what string)

	quiet   *explorer // for settle
	log     func(how string)
	scratch [64]world // the worlds that fork makes, reused in turn; fewer are in use at once
	used    int
}

// never reports a violation of a rule, if there is one.
func (e *explorer) never(w *world, rule, what string, violated bool) {
	if violated {
		e.bad(w, rule, what)
	}
}

func (e *explorer) fork(w *world) *world {
	n := &e.scratch[e.used%len(e.scratch)]
	e.used++
	*n = *w
	return n
}

func (e *explorer) out(w *world, format string, args ...any) {
	how := ""
	if e.tell {
		how = fmt.Sprintf("%3d s  ", w.now()) + fmt.Sprintf(format, args...)
	}
	e.emit(w, how)
}

// event emits the world that follows w after one event.
func (e *explorer) event(w *world, change func(n *world), format string, args ...any) {
	n := e.fork(w)
	change(n)
	e.out(n, format, args...)
}

// person emits the world after something that a person does.
func (e *explorer) person(w *world, change func(n *world), format string, args ...any) {
	n := e.fork(w)
	n.Budget.Person--
	e.event(n, change, format, args...)
}

// next emits every world that can follow w after one event.
func (e *explorer) next(w *world) {
	quiet := true
	for i := range w.P {
		p := &w.P[i]
		quiet = quiet && (!p.Turning || e.full && !p.Posting && Decide(p.S, p.T, e.clock(w, i)) == Wait)
	}
	if n := e.fork(w); (quiet || e.stall) && e.tick(n) {
		e.out(n, "time goes on")
	}
	for i := range w.P {
		if f := w.P[i].Flight; f.Key != 0 && (!w.P[i].Posting || w.P[i].Reply == 0) {
			n := e.fork(w)
			e.arrive(n, i)
			e.out(n, "the server gets process %d's renewal of key %d, reply %d", i, f.Key, n.P[i].Reply)
		}
	}
	if w.Late != (Document{}) {
		e.event(w, func(n *world) {
			if n.Store.Attempt.ID != "" && n.Late.Key != n.Store.Key {
				n.Keys[keyOf(n.Store)].Excused = true // a person's key overwrites the note of the attempt
			}
			n.write(w.Late)
		}, "a save that was reported as failed is carried out: %s", e.text(w.Late))
	}
	if k := w.free(); e.other && w.Budget.Person > 0 && k != 0 {
		for _, valid := range []bool{true, false} {
			e.person(w, func(n *world) {
				n.Keys[k] = serverKey{Exists: true, Valid: valid, Made: w.now()}
				d := n.given(k)
				if !valid { // as a process there has noted
					d.RefusedAt = start.Add(time.Duration(w.now()) * time.Second)
					d.LostAt = d.RefusedAt
				}
				n.write(d)
				n.excuse()
			}, "a person stores key %d from another machine, and revokes it: %v", k, !valid)
		}
		if e.aside != nil {
			e.person(w, func(n *world) {
				n.Keys[k] = serverKey{Exists: true, Valid: true, Made: w.now()}
				n.write(n.Store.setAside(n.given(k)))
			}, "a process on another machine sets key %d aside", k)
		}
	}
	for i := range e.procs {
		e.process(w, i)
	}
}

// tick moves time to the next instant. It returns false if there is none. A renewal on its way to the server is
// dropped once its attempt is over.
func (e *explorer) tick(w *world) bool {
	if int(w.Tick) == len(instants)-1 {
		return false
	}
	w.Tick++
	for i := range w.P {
		p := &w.P[i]
		if p.Flight.Key != 0 && w.now() >= p.Flight.Until && !e.late {
			p.Flight = flight{} // it never arrives
		}
	}
	for k := range w.Keys {
		if w.Keys[k].Unclear && !w.Keys[k].Excused && w.Keys[k].Until < w.now() {
			w.Keys[k].Until = w.now() // only whether it is over matters, so equal worlds stay equal
		}
	}
	return true
}

// arrive has the server act on the renewal that process i has sent.
func (e *explorer) arrive(w *world, i int) {
	p := &w.P[i]
	old, k := p.Flight.Key, w.free()
	p.Flight = flight{}
	reply := -1
	switch {
	case w.knows(old) && k == 0:
		reply = -2 // the model has no more keys
	case w.knows(old):
		w.Keys[k] = serverKey{Exists: true, Valid: true, Made: w.now(), Parent: old}
		w.Keys[old].Valid = e.keepOld
		reply = k
	}
	if p.Posting {
		p.Reply = reply
	}
}

// process emits what process i may do next.
func (e *explorer) process(w *world, i int) {
	p := &w.P[i]
	switch {
	case !p.Alive && w.Store.Key.IsZero():
		return
	case !p.Alive:
		e.event(w, func(n *world) { e.revive(n, i) }, "process %d starts", i)
		return
	case !p.Turning:
		e.wake(w, i)
		return
	}
	if w.Budget.Crash > 0 {
		e.event(w, func(n *world) {
			n.Budget.Crash--
			n.P[i] = process{Flight: p.Flight}
		}, "process %d is killed", i)
	}
	if w.Budget.Leave > 0 && !p.T.Stop {
		e.event(w, func(n *world) {
			n.Budget.Leave--
			n.P[i].T.Stop = true
		}, "process %d is to end", i)
	}
	if p.Posting {
		e.posting(w, i)
		return
	}
	e.act(w, i)
}

// wake begins a turn.
func (e *explorer) wake(w *world, i int) {
	n := e.fork(w)
	n.P[i].Turning = true
	t, key := &n.P[i].T, keyOf(w.P[i].S.Doc)
	e.out(n, "process %d looks what is due", i)
	if !w.P[i].S.Lost() && (!w.knows(key) || w.Budget.Wrong > 0) {
		*t = Turn{Ask: AskSuspect}
		e.out(n, "process %d got 401 for key %d", i, key)
	}
	if w.Budget.Empty > 0 && i == 0 && !w.Store.Key.IsZero() {
		e.event(w, func(n *world) {
			n.Budget.Empty--
			n.write(Document{})
			n.excuse()
		}, "the store is emptied")
	}
	if w.Budget.Person == 0 || w.P[i].S.ReadOnly {
		return
	}
	n.Budget.Person--
	*t = Turn{Force: true}
	e.out(n, "a person has process %d renew now", i)
	*t = Turn{Given: w.documentOf(1).Begun("again")}
	if w.knows(1) {
		e.out(n, "a person gives process %d key 1 once more", i)
		e.event(n, func(n *world) {
			for k := 2; k < len(n.Keys); k++ {
				n.Keys[k].Valid = false
			}
		}, "a person revokes all later keys, and gives process %d key 1 once more", i)
	}
	if e.aside != nil && w.knows(2) {
		*t = Turn{Given: w.documentOf(2).Begun("again")}
		e.out(n, "a person gives process %d the key that was set aside", i)
	}
	if k := w.free(); k != 0 {
		n.Keys[k] = serverKey{Exists: true, Valid: true, Made: w.now()}
		*t = Turn{Given: n.given(k)}
		e.out(n, "a person gives process %d key %d", i, k)
	}
	if first := w.given(1); w.Store != first && i == 0 {
		e.person(w, func(n *world) {
			n.write(first)
			n.excuse()
		}, "a person puts the first document back")
	}
}

// after emits the world after the action a of process i has ended with o. If processes may stall, it also emits the
// world in which the process learns of o only at the next instant.
func (e *explorer) after(w *world, i int, a Action, o Outcome, how string) {
	o.Began = e.clock(w, i)
	n := e.fork(w)
	e.learn(n, i, a, o)
	e.out(n, "process %d: %v: %s", i, a, how)
	n = e.fork(w)
	if e.stall && (a == Load || a == Probe || a == Compare || a == Save) && e.tick(n) {
		e.learn(n, i, a, o)
		e.out(n, "process %d: %v: %s, and it learns of that late", i, a, how)
	}
}

func (e *explorer) learn(w *world, i int, a Action, o Outcome) {
	p := &w.P[i]
	before, stop, given, accepted := p.S.Doc, p.T.Stop, keyOf(p.T.Given), p.T.Said == Accepted
	if a.Ends() {
		e.checkNoted(w, i)
	}
	p.S, p.T = Evolve(p.S, p.T, a, o, e.clock(w, i))
	p.S.Fails = min(p.S.Fails, 1) // longer pauses would add states, but no new events
	p.Reread = p.Turning && (p.Reread || a == Load && !o.Err) && a != Probe
	p.Unsure = !a.Ends() && a != Load && (p.Unsure || a == Save && (o.Err || o.Conflict))
	p.Tried = a != Post && (p.Tried || o.Err && (a == Load || a == Save))
	same := before.Key == p.S.Doc.Key
	p.Silent = same && !a.Ends() && a != Load && (p.Silent || a == Compare && o.Err)
	p.Accepted = p.T.Said == Accepted || same && p.Accepted
	e.never(w, "I3", "of two keys that the server accepts, the one that ends later is not in use",
		a == Compare && accepted && !o.Err && !o.Refused && o.Doc.ExpiresAt.After(p.S.Doc.ExpiresAt))
	e.never(w, "I4", "a key is given up by a comparison", a == Compare && before.LostAt.IsZero() && p.S.Lost())
	if a.Ends() {
		p.Turning, p.Reread = false, false
	} else {
		e.never(w, "I3", "a key that a person gives is dropped", given != 0 && p.T.Given.Key.IsZero() && given != keyOf(o.Doc) && !w.descends(keyOf(p.S.Doc), given))
	}
	e.checkDropped(w, i, given, before, o)
	if stop && a.Ends() {
		e.checkLeft(w, i)
		*p = process{} // the program ends with the turn
	}
}

func (e *explorer) act(w *world, i int) {
	p := &w.P[i]
	now := e.clock(w, i)
	a := Decide(p.S, p.T, now)
	e.never(w, "I6", "a person wants a renewal, and the process does nothing",
		a == Rest && p.T.Force && !p.T.Stop && !p.S.Busy(now))
	switch a {
	case Load:
		e.load(w, i)
	case Save:
		e.save(w, i)
	case Compare, Probe:
		if a == Probe {
			e.checkAsked(w, i)
		}
		e.never(w, "I6", "the server is asked again about another key, and gave no answer a moment ago", a == Compare && p.Silent)
		e.ask(w, i, a)
	case Begin:
		e.never(w, "I1", "a renewal is begun by a program that is to end, or that only reads", p.T.Stop || p.S.ReadOnly)
		length := p.S.AttemptLength(now)
		e.never(w, "I2", "an attempt is begun that has too little time", length < shortestAttempt)
		begun := Attempt{ID: w.attemptID(), Begun: now, Until: now.Add(length)}
		e.after(w, i, a, Outcome{Begun: begun}, begun.ID+", until "+seconds(begun.Until))
	case Post:
		e.post(w, i, now)
	case Lose:
		e.checkLost(w, i)
		e.after(w, i, a, Outcome{}, fmt.Sprint("key ", keyOf(p.S.Doc)))
	case Wait:
		e.never(w, "I6", "a turn waits for the store, and nothing is unsaved", !p.S.Unsaved())
		e.never(w, "I1", "a turn waits, and does not try to save first", !p.T.trouble())
		e.after(w, i, a, Outcome{}, "")
	default:
		e.after(w, i, a, Outcome{}, "")
	}
}

// excuse notes that what is known about attempts was taken away.
func (w *world) excuse() {
	for k := range w.Keys {
		w.Keys[k].Excused = w.Keys[k].Exists
	}
}

func seconds(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return fmt.Sprintf("%.0f s", t.Sub(start).Seconds())
}

// text is nothing unless the story is told, since it takes long.
func (e *explorer) text(d Document) string {
	if !e.tell {
		return ""
	}
	return fmt.Sprintf("key %d, serial %d of %s, attempt %q, refused at %s, lost at %s, set aside %v, answer %q", keyOf(d), d.Serial,
		d.Lineage, d.Attempt.ID, seconds(d.RefusedAt), seconds(d.LostAt), d.Aside(), d.Answer.Reveal())
}
