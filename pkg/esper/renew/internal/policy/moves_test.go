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
			e.out(n, "the server gets process %d's renewal of key %d: %s", i, f.Key, reply(n.P[i].Reply))
		}
	}
	if w.Late != (Document{}) {
		n := e.fork(w)
		if n.Store.Attempt.ID != "" && n.Late.Key != n.Store.Key {
			n.Keys[keyOf(n.Store)].Excused = true // a person's key overwrites the note of the attempt
		}
		n.write(w.Late)
		e.out(n, "a save that was reported as failed is carried out: %s", text(n.Store))
	}
	if k := w.free(); e.other && w.Budget.Person > 0 && k != 0 {
		n := e.fork(w)
		n.Budget.Person--
		n.Keys[k] = serverKey{Exists: true, Valid: true, Made: w.now()}
		n.write(n.given(k))
		n.excuse()
		e.out(n, "a person stores key %d from another machine", k)
		n.Keys[k].Valid = false
		e.out(n, "a person stores key %d from another machine, and revokes it", k)
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
	old := p.Flight.Key
	p.Flight = flight{}
	reply := -1
	if k := w.free(); w.knows(old) && k == 0 {
		reply = -2 // the model has no more keys
	} else if w.knows(old) {
		w.Keys[k] = serverKey{Exists: true, Valid: true, Made: w.now(), Parent: old}
		w.Keys[old].Valid = e.keepOld
		reply = k
	}
	if p.Posting {
		p.Reply = reply
	}
}

func reply(r int) string {
	if r > 0 {
		return fmt.Sprintf("201 with key %d", r)
	}
	return [...]string{"nobody waits for the answer", "401", "429"}[-r]
}

// process emits what process i may do next.
func (e *explorer) process(w *world, i int) {
	p := &w.P[i]
	switch {
	case !p.Alive:
		if n := e.fork(w); !w.Store.Key.IsZero() {
			e.revive(n, i)
			e.out(n, "process %d starts", i)
		}
		return
	case !p.Turning:
		e.wake(w, i)
		return
	}
	if w.Budget.Crash > 0 {
		n := e.fork(w)
		n.Budget.Crash--
		f := p.Flight
		n.P[i] = process{Flight: f}
		e.out(n, "process %d is killed", i)
	}
	if w.Budget.Leave > 0 && !p.T.Stop {
		n := e.fork(w)
		n.Budget.Leave--
		n.P[i].T.Stop = true
		e.out(n, "process %d is to end", i)
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
	e.out(n, "process %d looks what is due", i)
	if p := &w.P[i]; !p.S.Lost() && (!w.knows(keyOf(p.S.Doc)) || w.Budget.Wrong > 0) {
		m := e.fork(n)
		m.P[i].T.Ask = AskSuspect
		e.out(m, "process %d got 401 for key %d", i, keyOf(p.S.Doc))
	}
	if w.Budget.Empty > 0 && i == 0 && !w.Store.Key.IsZero() {
		m := e.fork(w)
		m.Budget.Empty--
		m.write(Document{})
		m.excuse()
		e.out(m, "the store is emptied")
	}
	if w.Budget.Person == 0 || w.P[i].S.ReadOnly {
		return
	}
	n.Budget.Person--
	m := e.fork(n)
	m.P[i].T.Force = true
	e.out(m, "a person has process %d renew now", i)
	if k := w.free(); k != 0 {
		m = e.fork(n)
		m.Keys[k] = serverKey{Exists: true, Valid: true, Made: w.now()}
		m.P[i].T.Given = m.given(k)
		e.out(m, "a person gives process %d key %d", i, k)
	}
	m = e.fork(n)
	m.P[i].T.Given = w.documentOf(1).Begun("again")
	if w.knows(1) {
		e.out(m, "a person gives process %d key 1 once more", i)
	}
	if e.aside && w.knows(2) {
		m.P[i].T.Given = w.documentOf(2).Begun("again")
		e.out(m, "a person gives process %d the key that was set aside", i)
	}
	if first := w.given(1); w.Store != first && i == 0 {
		m = e.fork(w)
		m.Budget.Person--
		m.write(first)
		m.excuse()
		e.out(m, "a person puts the first document back")
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
	before, stop := p.S.Doc, p.T.Stop
	if a.Ends() {
		e.checkNoted(w, i)
	}
	p.S, p.T = Evolve(p.S, p.T, a, o, e.clock(w, i))
	p.S.Fails = min(p.S.Fails, 1) // longer pauses would add states, but no new events
	p.Reread = p.Turning && (p.Reread || a == Load && !o.Err) && a != Probe
	p.Tried = a != Post && (p.Tried || o.Err && (a == Load || a == Save))
	if a.Ends() {
		p.Turning, p.Reread = false, false
	}
	e.checkDropped(w, i, before, o)
	if stop && a.Ends() {
		e.checkLeft(w, i)
		*p = process{} // the program ends with the turn
	}
}

func (e *explorer) act(w *world, i int) {
	p := &w.P[i]
	now := e.clock(w, i)
	a := Decide(p.S, p.T, now)
	if a == Rest && p.T.Force && !p.T.Stop && !p.S.Busy(now) {
		e.bad(w, "I6", "a person wants a renewal, and the process does nothing")
	}
	switch a {
	case Load:
		e.load(w, i)
	case Save:
		e.save(w, i)
	case Compare, Probe:
		if a == Probe {
			e.checkAsked(w, i)
		}
		e.ask(w, i, a)
	case Begin:
		if p.T.Stop || p.S.ReadOnly {
			e.bad(w, "I1", "a renewal is begun by a program that is to end, or that only reads")
		}
		length := p.S.AttemptLength(now)
		if length < shortestAttempt {
			e.bad(w, "I2", "an attempt is begun that has too little time")
		}
		begun := Attempt{ID: w.attemptID(), Begun: now, Until: now.Add(length)}
		e.after(w, i, a, Outcome{Begun: begun}, begun.ID+", until "+seconds(begun.Until))
	case Post:
		e.post(w, i, now)
	case Lose:
		e.checkLost(w, i)
		e.after(w, i, a, Outcome{}, fmt.Sprint("key ", keyOf(p.S.Doc)))
	case Wait:
		if !p.S.Unsaved() {
			e.bad(w, "I6", "a turn waits for the store, and nothing is unsaved")
		}
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

func text(d Document) string {
	if d.Key.IsZero() {
		return "nothing"
	}
	s := fmt.Sprintf("key %d, serial %d of %s", keyOf(d), d.Serial, d.Lineage)
	if d.Attempt.ID != "" {
		s += ", attempt " + d.Attempt.ID
	}
	if !d.RefusedAt.IsZero() {
		s += ", refused at " + seconds(d.RefusedAt)
	}
	if !d.LostAt.IsZero() {
		s += ", lost"
	}
	if !d.SetAside.IsZero() {
		s += fmt.Sprint(", set aside ", d.Aside())
	}
	if !d.Answer.IsZero() {
		s += ", an answer"
	}
	return s
}
