package policy

import (
	"fmt"
	"time"

	"github.com/esper-go/esper-go/pkg/wire"
)

// answer stands for an answer from which no key can be read.
var answer = wire.NewSecret("?")

// load reads the store. The outcome is the content, an error, or the first content, as in a stale copy.
func (e *explorer) load(w *world, i int) {
	n := e.fork(w)
	n.P[i].Fresh = true
	e.after(n, i, Load, Outcome{Doc: w.Store}, e.text(w.Store))
	if w.Budget.Disk == 0 {
		return
	}
	n.Budget.Disk--
	n.P[i].Fresh = false
	e.after(n, i, Load, Outcome{Err: true}, "an error")
	if first := w.given(1); w.Store != first {
		e.after(n, i, Load, Outcome{Doc: first}, "a stale copy: "+e.text(first))
	}
}

// save writes to the store, with every wrong report that the contract of a store allows.
func (e *explorer) save(w *world, i int) {
	p := &w.P[i]
	target := Target(p.S, p.T)
	e.never(w, "I6", "the store is written again, and was not read after a save that failed", p.Unsure)
	e.never(w, "I6", "the store is written again without a pause, or by a program that only reads",
		p.T.trouble() || p.S.ReadOnly)
	if e.full && w.Later == 0 && (keyOf(target) > 1 || !target.Answer.IsZero()) {
		e.after(w, i, Save, Outcome{Err: true}, "an error, the disk is full")
		return
	}
	n := e.fork(w)
	if !p.Fresh {
		e.after(n, i, Save, Outcome{Conflict: true, Err: true}, "a conflict")
	} else {
		e.checkSaved(w, i, target)
		if !p.T.Given.Key.IsZero() && n.Store.Attempt.ID != "" {
			n.Keys[keyOf(n.Store)].Excused = true // the person's key also overwrites the note of the attempt
		}
		n.write(target)
		n.P[i].Fresh = true
		e.after(n, i, Save, Outcome{}, e.text(target))
	}
	if w.Budget.Disk == 0 {
		return
	}
	n = e.fork(w)
	n.Budget.Disk--
	e.after(n, i, Save, Outcome{Err: true}, "an error")
	if !p.Fresh {
		return
	}
	n.Late = target
	e.after(n, i, Save, Outcome{Err: true}, "an error, and it may be written later: "+e.text(target))
	n.Late, n.P[i].Fresh = w.Late, false
	e.after(n, i, Save, Outcome{Conflict: true, Err: true}, "a conflict, since the version changed by itself")
	n.write(target)
	e.after(n, i, Save, Outcome{Err: true}, "an error, although it is written: "+e.text(target))
	e.after(n, i, Save, Outcome{Conflict: true, Err: true}, "a conflict about its own write: "+e.text(target))
}

// ask asks the server about a key, as TokenInfo does.
func (e *explorer) ask(w *world, i int, a Action) {
	key := keyOf(w.P[i].S.Doc)
	if a == Compare {
		key = keyOf(Document{Key: Compared(w.P[i].S, w.P[i].T)})
	}
	n, refused := e.fork(w), e.fork(w)
	if k := &refused.Keys[key]; k.Refused == 0 {
		k.Refused = w.now() + 1
	}
	if !w.knows(key) {
		e.after(refused, i, a, Outcome{Refused: true}, e.of(key, "401"))
	} else {
		if k := &n.Keys[key]; k.Unclear && n.now() >= k.Until {
			k.clear()
		}
		e.after(n, i, a, Outcome{Doc: w.documentOf(key)}, e.of(key, "200"))
		if w.Budget.Wrong > 0 {
			refused.Budget.Wrong--
			e.after(refused, i, a, Outcome{Refused: true}, e.of(key, "401, which is wrong"))
		}
	}
	if w.Budget.Net > 0 {
		n = e.fork(w)
		n.Budget.Net--
		e.after(n, i, a, Outcome{Err: true}, e.of(key, "no answer"))
	}
}

func (e *explorer) of(key int, how string) string {
	if !e.tell {
		return ""
	}
	return fmt.Sprintf("key %d: %s", key, how)
}

// post sends a renewal, after a last look at the clock.
func (e *explorer) post(w *world, i int, now time.Time) {
	begun, key := w.P[i].T.Begun, keyOf(w.P[i].S.Doc)
	if !now.Before(begun.Until.Add(-Margin)) || now.Before(begun.Begun) {
		e.after(w, i, Post, Outcome{Rejected: true}, "not sent, it is too late")
		return
	}
	n := e.fork(w)
	e.checkPosted(n, i, key)
	until := n.now() + int(begun.Until.Sub(now).Seconds())
	n.P[i].Posting, n.P[i].Reply, n.P[i].Flight = true, 0, flight{key, until}
	n.Keys[key].Unclear, n.Keys[key].Until = true, until
	e.out(n, "process %d: sends the renewal of key %d", i, key)
}

// posting emits what process i may learn while it waits for the answer to its renewal.
func (e *explorer) posting(w *world, i int) {
	p, key := &w.P[i], keyOf(w.P[i].S.Doc)
	n := e.fork(w)
	n.P[i].Posting, n.P[i].Reply = false, 0
	if w.Budget.Net > 0 {
		n.Budget.Net--
		e.after(n, i, Post, Outcome{}, "no answer")
		n.P[i].Unread = true
		if p.Reply > 0 {
			e.after(n, i, Post, Outcome{Answer: answer}, "an answer that cannot be read")
		}
		n.P[i].Unread, n.P[i].Flight = p.Unread, flight{}
		n.Keys[key].clear()
		if p.Flight.Key != 0 {
			e.after(n, i, Post, Outcome{Rejected: true}, "no connection")
		}
		n.Budget.Net, n.P[i].Flight = w.Budget.Net, p.Flight
	}
	switch n.Keys[key].clear(); {
	case p.Reply > 0:
		d := w.documentOf(p.Reply)
		d.RenewedAt = e.clock(w, i)
		n.P[i].Arrived = p.Reply
		e.after(n, i, Post, Outcome{Doc: d}, e.of(p.Reply, "it arrives"))
	case p.Reply < 0:
		e.after(n, i, Post, Outcome{Rejected: true, Refused: p.Reply == -1}, "not renewed")
	case !e.clock(w, i).Before(p.T.Begun.Until.Add(-Margin)):
		n.Keys[key] = w.Keys[key]
		e.after(n, i, Post, Outcome{}, "the time is over, and no answer has come")
	}
}
