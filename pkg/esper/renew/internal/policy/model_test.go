package policy

import (
	"fmt"
	"slices"
	"time"

	"github.com/esper-go/esper-go/pkg/wire"
)

// The model has a server, a store and one to three processes. The processes do what Decide says, in every order.

const (
	maxProcs = 3
	maxKeys  = 4
)

var start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// instants are the times of the model, in seconds. They lie in the advisory window, in the mandatory window and
// after the end of the first key. The time to the next instant is longer than an attempt, with one exception.
var instants = [...]int{0, 100, 200, 310, 355, 455}

// keyNames are the keys in the order in which they are made. The index in keyNames stands for a key.
var keyNames = [maxKeys + 1]wire.Secret{{}, wire.NewSecret("k1"), wire.NewSecret("k2"), wire.NewSecret("k3"), wire.NewSecret("k4")}

// serverKey is what the server knows of a key.
type serverKey struct {
	Valid  bool
	Exists bool
	Made   int // seconds
	Parent int // the key whose renewal made this key; 0 for a key that a person made
	// Only for the checks.
	Unclear bool // a renewal of this key may have arrived, and no process has asked about the key since
	Until   int  // when that renewal is over
	Refused int  // when the key was first refused, plus one; 0 if it was not refused
	Excused bool // the note of a renewal was destroyed, or could not be written
}

// clear forgets the renewal of a key, of which a process knows what came.
func (k *serverKey) clear() { k.Unclear, k.Until, k.Excused = false, 0, false }

// flight is a renewal on its way to the server.
type flight struct{ Key, Until int }

type process struct {
	Alive, Turning, Fresh bool // Fresh: the version that the process knows is that of the store
	Posting               bool
	Reply                 int // the server's answer to the renewal: a key, -1 for 401, -2 for 429, 0 for none yet
	Flight                flight
	Reread                bool // the process has read the store since the server refused the key; for the checks
	Arrived               int  // the newest key that arrived at this process; for the checks
	Tried                 bool // the store has failed since the last renewal; for the checks
	Unread                bool // an answer arrived from which no key can be read; for the checks
	Unsure                bool // a save failed, and the store was not read since; for the checks
	Silent                bool // the server gave no answer about another key, and the store was not read since; for the checks
	Accepted              bool // the server has accepted the key in use; for the checks
	S                     State
	T                     Turn
}

type budget struct{ Crash, Disk, Net, Person, Wrong, Leave, Empty int8 }

// world is everything at one moment.
type world struct {
	outside
	P [maxProcs]process
}

type outside struct {
	Tick   int8
	Later  int // seconds after the last instant, for settle: no more faults come, and no key reaches its end
	Store  Document
	Late   Document // a save that reported an error and may be carried out later, unless the store changes before
	Keys   [maxKeys + 1]serverKey
	Budget budget
}

func (w *world) now() int { return instants[w.Tick] + w.Later }

// config is what differs from one exploration to another.
type config struct {
	name    string
	procs   int           // 0 means 2
	keepOld bool          // a renewed key goes on working
	stall   bool          // time goes on while a process is between two actions
	offset  [maxProcs]int // how many seconds the clock of each process is ahead
	left    bool          // long ago, a process died during a renewal of the first key
	aside   []bool        // whether the first key works, and each of those that are set aside in its document
	unclear bool          // the key that is set aside may be under renewal
	full    bool          // neither a new key nor an answer can be saved until no more faults come
	other   bool          // a person stores new keys from another machine, at any time
	reader  bool          // the second process is read-only
	newborn bool          // no process has written to the store so far
	late    bool          // a renewal may reach the server after the end of its attempt
	budget  budget        // how many faults of each kind may happen
	limit   int           // how many states to visit at most
	whole   bool          // it has to be searched to its end within the limit
}

func (c *config) clock(w *world, i int) time.Time {
	return start.Add(time.Duration(w.now()+c.offset[i]) * time.Second)
}

const lifetime, ageAtIssue = 1000, 600

// documentOf is what the server tells a client about key k.
func (w *world) documentOf(k int) Document {
	issued := start.Add(time.Duration(w.Keys[k].Made-ageAtIssue) * time.Second)
	return Document{Key: keyNames[k], EnterpriseID: "e", DeveloperAppID: "a", IssuedAt: issued, ExpiresAt: issued.Add(lifetime * time.Second)}
}

// given is the document of a key that a person made.
func (w *world) given(k int) Document {
	return w.documentOf(k).Begun(fmt.Sprint("lineage", k))
}

func keyOf(d Document) int {
	for k, name := range keyNames {
		if d.Key == name {
			return k
		}
	}
	panic("an unknown key")
}

// aside reports whether key k is set aside in d.
func aside(d Document, k int) bool { return slices.Contains(d.Aside(), keyNames[k].Reveal()) }

// knows reports whether the server accepts key k.
func (w *world) knows(k int) bool {
	return k != 0 && w.Keys[k].Valid && (w.Later > 0 || w.now() < w.Keys[k].Made+lifetime-ageAtIssue)
}

// free returns a key that does not exist yet; 0 if there is none left.
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
	w := &world{outside: outside{Budget: c.budget}}
	w.Keys[1] = serverKey{Exists: true, Valid: true}
	w.Store = w.given(1)
	if c.left {
		w.Store.Attempt = Attempt{ID: "z", Begun: start.Add(-time.Hour), Until: start.Add(-time.Hour + longestAttempt)}
		w.Keys[1].Unclear = true
	}
	for i, works := range c.aside {
		w.Keys[i+1] = serverKey{Exists: true, Valid: works}
		w.Store = w.Store.setAside(w.given(i + 1))
	}
	if c.unclear {
		w.Keys[2].Unclear, w.Keys[2].Until = true, 90
	}
	for i := range c.procs {
		c.revive(w, i)
	}
	return w
}

// revive starts process i, which reads the store.
func (c *config) revive(w *world, i int) {
	s := State{Proven: !c.newborn, ReadOnly: c.reader && i == 1}
	w.P[i] = process{Alive: true, Fresh: true, Flight: w.P[i].Flight, S: New(s, w.Store, c.clock(w, i), 0)}
}

// attemptID returns an id for an attempt that nothing refers to.
func (w *world) attemptID() string {
	for id := byte('a'); ; id++ {
		is := func(a Attempt) bool { return a.ID == string(id) }
		used := is(w.Store.Attempt) || is(w.Late.Attempt)
		for i := range w.P {
			p := &w.P[i]
			used = used || is(p.S.Doc.Attempt) || is(p.S.Stored.Attempt) || is(p.T.Other.Attempt) || is(p.T.Begun)
		}
		if !used {
			return string(id)
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
