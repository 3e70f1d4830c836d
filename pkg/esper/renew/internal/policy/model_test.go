package policy

import (
	"fmt"
	"time"

	"github.com/esper-go/esper-go/pkg/wire"
)

// The model: a server, a store and two or three processes that do what Decide says, in every order.

const (
	maxProcs = 3
	maxKeys  = 3
)

var start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// instants are when the model's clock stands, in seconds: every key passes its advisory and its mandatory
// window and its end. An attempt takes less than one step in most places, and more in one.
var instants = [...]int{0, 100, 200, 310, 355, 455}

// keyNames are the keys in the order in which they come to be. The model never tells which it knows.
var keyNames = [maxKeys + 1]wire.Secret{{}, wire.NewSecret("k1"), wire.NewSecret("k2"), wire.NewSecret("k3")}

// serverKey is what the server knows of a key.
type serverKey struct {
	Valid  bool
	Exists bool
	Made   int // seconds
	Parent int // the key that was renewed for it; 0 for one that a person made
	// For the checks alone.
	Unclear bool // a renewal of it may have arrived, and nobody has asked since
	Until   int  // of that renewal
	Refused int  // when it was refused first, plus one; 0 if it was not
	Excused bool // what was noted of it was destroyed, or could not be noted
}

// flight is a renewal on its way to the server.
type flight struct{ Key, Until int }

type process struct {
	Alive, Turning, Fresh bool // Fresh: the version that it knows is the store's
	Posting               bool
	Reply                 int // of the server to what it posts: a key, -1 for a refusal, 0 for none yet
	Flight                flight
	Reread                bool // it has read the store since the server refused the key, for the checks
	Arrived               int  // the newest key that arrived here, for the checks
	S                     State
	T                     Turn
}

type budget struct{ Crash, Disk, Net, Person, Wrong, Leave int8 }

// world is everything at one moment.
type world struct {
	Tick   int8
	Later  int // seconds after the last instant, where faults have ended and keys do not
	Store  Document
	Late   Document // a save that reported an error and is carried out later, unless the store changes before
	Keys   [maxKeys + 1]serverKey
	P      [maxProcs]process
	Budget budget
}

func (w *world) now() int { return instants[w.Tick] + w.Later }

// config is what differs from one exploration to another.
type config struct {
	name    string
	procs   int           // 2 unless it is set
	keepOld bool          // a renewed key goes on working
	stall   bool          // time goes on while a process is between two actions
	offset  [maxProcs]int // of each process's clock, seconds
	initial bool          // the first process was given another key that works
	left    bool          // a process died over a renewal of the first key, long ago
	budget  budget        //
	limit   int           // of states
	decide  func(State, Turn, time.Time) Action
}

func (c *config) clock(w *world, i int) time.Time {
	return start.Add(time.Duration(w.now()+c.offset[i]) * time.Second)
}

const lifetime, ageAtIssue = 1000, 600

// documentOf is what a client knows of key k.
func (w *world) documentOf(k int) Document {
	issued := start.Add(time.Duration(w.Keys[k].Made-ageAtIssue) * time.Second)
	return Document{Key: keyNames[k], IssuedAt: issued, ExpiresAt: issued.Add(lifetime * time.Second)}
}

// given is the document of a key that a person made.
func (w *world) given(k int) Document {
	d := w.documentOf(k)
	d.Lineage, d.Serial, d.Initial = fmt.Sprint("lineage", k), 1, Hash(d.Key)
	return d
}

func keyOf(d Document) int {
	for k, name := range keyNames {
		if d.Key == name {
			return k
		}
	}
	panic("an unknown key")
}

// knows reports whether the server accepts key k.
func (w *world) knows(k int) bool {
	return k != 0 && w.Keys[k].Valid && (w.Later > 0 || w.now() < w.Keys[k].Made+lifetime-ageAtIssue)
}

// free is a key that does not exist yet, 0 if there is none left.
func (w *world) free() int {
	for k := 1; k <= maxKeys; k++ {
		if !w.Keys[k].Exists {
			return k
		}
	}
	return 0
}

// descends reports whether key k came from key from by renewals.
func (w *world) descends(k, from int) bool {
	for ; k != 0; k = w.Keys[k].Parent {
		if k == from {
			return true
		}
	}
	return false
}

// begin is the first state of the world.
func (c *config) begin() *world {
	w := &world{Budget: c.budget}
	w.Keys[1] = serverKey{Exists: true, Valid: true}
	w.Store = w.given(1)
	if c.left {
		w.Store.Attempt = Attempt{ID: "z1", Begun: start.Add(-time.Hour), Until: start.Add(-time.Hour + longestAttempt)}
		w.Keys[1].Unclear = true
	}
	for i := range c.procs {
		c.revive(w, i)
	}
	if c.initial {
		w.Keys[2] = serverKey{Exists: true, Valid: true}
		w.P[0].S.Initial = w.given(2)
	}
	return w
}

// revive starts process i, which reads the store.
func (c *config) revive(w *world, i int) {
	me := byte('a')
	for w.used(me) {
		me++
	}
	w.P[i] = process{Alive: true, Fresh: true, Flight: w.P[i].Flight, S: New(State{Me: string(me), Proven: true}, w.Store, c.clock(w, i), 0)}
}

// used reports whether anything refers to a process by this name.
func (w *world) used(me byte) bool {
	is := func(id string) bool { return id != "" && id[0] == me }
	used := is(w.Store.Attempt.ID) || is(w.Late.Attempt.ID)
	for i := range w.P {
		p := &w.P[i]
		used = used || is(p.S.Me) || is(p.S.Doc.Attempt.ID) || is(p.S.Stored.Attempt.ID) || is(p.S.Seen) ||
			is(p.T.Other.Attempt.ID) || is(p.T.Found.Attempt.ID) || is(p.T.Begun.ID)
	}
	return used
}

// attemptID is an id that nothing refers to.
func (w *world) attemptID(me string) string {
	for n := '1'; ; n++ {
		id := me + string(n)
		used := w.Store.Attempt.ID == id || w.Late.Attempt.ID == id
		for i := range w.P {
			p := &w.P[i]
			used = used || p.S.Doc.Attempt.ID == id || p.S.Stored.Attempt.ID == id || p.S.Seen == id || p.T.Other.Attempt.ID == id || p.T.Found.Attempt.ID == id || p.T.Begun.ID == id
		}
		if !used {
			return id
		}
	}
}

// write replaces the content of the store.
func (w *world) write(d Document) {
	w.Store, w.Late = d, Document{}
	for i := range w.P {
		w.P[i].Fresh = false
	}
}
