package policy

import (
	"fmt"
	"hash/maphash"
	"math/rand/v2"
	"os"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unique"
)

// search visits every world that can be reached, in order of the number of events, so that no violation has a
// shorter story than the one that is shown.
type search struct {
	*config
	parent []uint32 // the world before each world, in the order in which the worlds were found
	choice []uint16 // which of the worlds after its parent it is
	found  []violation
}

type violation struct {
	rule, what string
	path       []uint16 // the choices that lead to the world in which the next event violates the rule
}

// run returns how many worlds it visited, and whether these are all. Of the worlds that were seen it remembers hashes: among
// ten million worlds, the probability that two of them have the same one is one in 400,000.
func (s *search) run() (states int, whole bool) {
	seen, seed := map[uint64]struct{}{}, maphash.MakeSeed()
	var current, next []packed
	var at uint32
	var n uint16
	w := new(world)
	e := &explorer{config: s.config}
	e.bad = func(_ *world, rule, what string) {
		if !slices.ContainsFunc(s.found, func(v violation) bool { return v.what == what }) {
			s.found = append(s.found, violation{rule, what, s.path(at)})
		}
	}
	e.emit = func(w *world, _ string) {
		n++
		s.forget(w)
		hash := s.hash(w, seed)
		if _, known := seen[hash]; known {
			return
		}
		seen[hash] = struct{}{}
		next = append(next, s.pack(w))
		s.parent, s.choice = append(s.parent, at), append(s.choice, n)
	}
	e.emit(s.begin(), "")
	for len(next) > 0 && len(s.found) == 0 {
		current, next = next, current[:0]
		for _, p := range current {
			p.unpack(w)
			n = 0
			e.next(w)
			if at%8 == 0 {
				e.settle(w)
			}
			if len(seen) > s.limit {
				return len(seen), false
			}
			at++
		}
	}
	return len(seen), len(s.found) == 0
}

// packed is a world in less memory: what many worlds have in common is kept once.
type packed struct {
	outside unique.Handle[outside]
	procs   []unique.Handle[process]
}

func (c *config) pack(w *world) packed {
	p := packed{outside: unique.Make(w.outside)}
	for i := range c.procs {
		p.procs = append(p.procs, unique.Make(w.P[i]))
	}
	return p
}

func (p packed) unpack(w *world) {
	w.outside = p.outside.Value()
	for i, of := range p.procs {
		w.P[i] = of.Value()
	}
}

// hash tells worlds apart.
func (c *config) hash(w *world, seed maphash.Seed) uint64 {
	var h maphash.Hash
	h.SetSeed(seed)
	maphash.WriteComparable(&h, w.outside)
	for i := range c.procs {
		maphash.WriteComparable(&h, w.P[i])
	}
	return h.Sum64()
}

// forget leaves out times that make no difference any more, so that worlds are equal but for them.
func (c *config) forget(w *world) {
	for i := range c.procs {
		state, now := &w.P[i].S, c.clock(w, i)
		state.WindowMade = time.Time{}
		if !now.Before(state.Retry) {
			state.Retry = time.Time{}
		}
		if state.Suspects(now) {
			state.Asked = time.Time{}
		}
		if far := start.Add(distant); state.End.After(far) { // of a key that has ended by a wrong clock
			state.End = far
		}
	}
}

// path returns the choices that lead to a world.
func (s *search) path(at uint32) (path []uint16) {
	for ; at != 0; at = s.parent[at] {
		path = append(path, s.choice[at])
	}
	slices.Reverse(path)
	return path
}

// story tells how a violation came about, with a line for each event.
func (s *search) story(v violation) string {
	w, lines := s.begin(), []string{}
	e := &explorer{config: s.config, tell: true, bad: func(*world, string, string) {}}
	for _, choice := range v.path {
		n, chosen := uint16(0), *w
		e.emit = func(next *world, how string) {
			if n++; n == choice {
				chosen, lines = *next, append(lines, how)
			}
		}
		e.next(w)
		w = &chosen
	}
	var end *world
	told := false
	log := func(how string) {
		if !told {
			lines, told = append(lines, how), end != nil
		}
	}
	e.bad = func(wrong *world, _, what string) {
		if what == v.what && end == nil {
			c := *wrong
			end = &c
		}
	}
	e.emit = func(_ *world, how string) {
		if end != nil {
			log(how)
		}
	}
	e.next(w)
	if end == nil {
		lines = append(lines, "       and if no more faults come:")
		e.quiet = &explorer{config: s.config, tell: true, bad: e.bad, log: log}
		e.settle(w)
	}
	lines = append(lines, fmt.Sprintf("%3d s  then: %s (%s)", end.now(), v.what, v.rule))
	for i := range s.procs {
		p := &end.P[i]
		lines = append(lines, fmt.Sprintf("       process %d: %s; stored: %s; quiet until %s, turning: %v", i, e.text(p.S.Doc), e.text(p.S.Stored), seconds(p.S.AttemptOver), p.Turning))
	}
	return strings.Join(append(lines, "       the store: "+e.text(end.Store)), "\n")
}

// walk goes from one world to the next at random, again and again from the first one, until it has made steps steps.
func (s *search) walk(steps int, seed uint64) (found []violation) {
	const longest = 400
	random := rand.New(rand.NewPCG(seed, 0))
	w, chosen, path := s.begin(), new(world), []uint16{}
	e := &explorer{config: s.config}
	e.bad = func(_ *world, rule, what string) { found = []violation{{rule, what, path}} }
	for range steps {
		n, choice := uint16(0), uint16(0)
		e.emit = func(next *world, _ string) {
			// Each of the n worlds so far with the same probability.
			if n++; random.IntN(int(n)) == 0 {
				*chosen, choice = *next, n
			}
		}
		e.next(w)
		if found == nil && random.IntN(8) == 0 {
			e.settle(w)
		}
		switch {
		case found != nil:
			return found
		case n == 0 || len(path) == longest:
			*w, path = *s.begin(), path[:0]
		default:
			*w, path = *chosen, append(path, choice)
		}
	}
	return nil
}

// everything holds the configurations to explore. Those that find the most mutations come first.
var everything = []config{
	{name: "alone", procs: 1, budget: budget{Wrong: 2, Net: 1, Disk: 1}},
	{name: "alone, the disk", procs: 1, budget: budget{Disk: 2}, whole: true},
	{name: "alone, the network", procs: 1, budget: budget{Net: 2}, whole: true},
	{name: "alone, its clock ahead", procs: 1, budget: budget{Net: 1}, offset: [maxProcs]int{10}, whole: true},
	{name: "alone, a full disk", procs: 1, budget: budget{Wrong: 2, Net: 1}, full: true, keepOld: true, whole: true},
	{name: "alone, stalls", procs: 1, budget: budget{Disk: 1, Leave: 1}, stall: true, whole: true},
	{name: "alone, another machine", procs: 1, budget: budget{Person: 1, Net: 1, Leave: 1}, other: true},
	{name: "alone, a key set aside", procs: 1, budget: budget{Wrong: 2, Net: 1}, aside: []bool{false, true}, whole: true},
	{name: "alone, a key set aside in a renewal", procs: 1, budget: budget{Wrong: 2, Person: 1}, aside: []bool{false, true}, unclear: true, whole: true},
	{name: "alone, two keys set aside", procs: 1, budget: budget{Wrong: 1, Net: 1}, aside: []bool{true, true, false}, whole: true},
	{name: "alone, another key set aside", procs: 1, budget: budget{Wrong: 2, Person: 1}, aside: []bool{true, false}, other: true},
	{name: "alone, a program that ends", procs: 1, budget: budget{Leave: 1, Disk: 1, Net: 1}, whole: true},
	{name: "alone, never written", procs: 1, budget: budget{Disk: 2, Wrong: 1}, newborn: true, whole: true},
	{name: "alone, a person, wrong refusals", procs: 1, budget: budget{Person: 1, Wrong: 2}, keepOld: true, whole: true},
	{name: "network", budget: budget{Net: 1}},
	{name: "disk", budget: budget{Disk: 1}},
	{name: "programs that end", budget: budget{Leave: 2}},
	{name: "wrong refusals", budget: budget{Wrong: 2}},
	{name: "person and network", budget: budget{Person: 1, Net: 1}},
	{name: "person twice, old keys kept", budget: budget{Person: 2}, keepOld: true},
	{name: "clocks apart", budget: budget{Net: 1}, offset: [maxProcs]int{0, 100}},
	{name: "clocks three hours apart", budget: budget{Net: 1}, offset: [maxProcs]int{0, 10800}},
	{name: "an attempt of long ago", budget: budget{Net: 1}, left: true},
	{name: "an emptied store", budget: budget{Empty: 1, Net: 1, Wrong: 1}},
	{name: "a reader", budget: budget{Net: 1, Wrong: 1, Person: 1, Empty: 1}, reader: true},
	{name: "never written, disk and network", budget: budget{Disk: 1, Net: 1}, newborn: true},
	{name: "late arrivals", budget: budget{Net: 2}, late: true},
	{name: "crash and network", budget: budget{Crash: 1, Net: 1}},
	{name: "crash and network, old keys kept", budget: budget{Crash: 1, Net: 1}, keepOld: true},
	{name: "disk and network, old keys kept", budget: budget{Disk: 1, Net: 1}, keepOld: true},
	{name: "two disk faults", budget: budget{Disk: 2}},
	{name: "a full disk and wrong refusals", budget: budget{Disk: 2, Wrong: 2}},
	{name: "person twice and a disk fault", budget: budget{Person: 2, Disk: 1}},
	{name: "wrong refusals and a person", budget: budget{Wrong: 2, Person: 1}},
	{name: "wrong refusals and a person, old keys kept", budget: budget{Wrong: 2, Person: 2}, keepOld: true},
	{name: "stalls and network", budget: budget{Net: 1}, stall: true},
	{name: "stalls and disk", budget: budget{Disk: 1}, stall: true, keepOld: true},
	{name: "a program that ends, disk and network", budget: budget{Leave: 1, Disk: 1, Net: 1}, keepOld: true},
	{name: "everything", budget: budget{Crash: 1, Disk: 1, Net: 1, Person: 1, Wrong: 2, Leave: 1, Empty: 1}},
	{name: "everything, old keys kept, stalls", budget: budget{Crash: 1, Disk: 2, Net: 2, Person: 2, Wrong: 2, Leave: 1}, keepOld: true, stall: true},
}

// number returns the number in a variable of the environment, or else n.
func number(variable string, n int) int {
	if set, err := strconv.Atoi(os.Getenv(variable)); err == nil {
		return set
	}
	return n
}

// TestExplore searches every configuration in order of the number of events, and walks through it at random.
//
//	EXPLORE_STATES  how many worlds to visit of each; those marked whole are searched to their end all the same
//	EXPLORE_STEPS   how many steps to walk through each
//	EXPLORE_SEED    the seed of the walks, 1 if none is given
//	EXPLORE_PROCS   how many processes there are, if not what the configuration says
//	EXPLORE_FIRST   stop at the first violation
func TestExplore(t *testing.T) {
	states, steps := 20_000, 20_000
	info, _ := debug.ReadBuildInfo()
	short := testing.Short() || slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"})
	if short {
		states, steps = 2_000, 500
	}
	states, steps = number("EXPLORE_STATES", states), number("EXPLORE_STEPS", steps)
	seed := number("EXPLORE_SEED", 1)
	first := os.Getenv("EXPLORE_FIRST") != ""
	for _, c := range everything {
		t.Run(c.name, func(t *testing.T) {
			if !first {
				t.Parallel()
			}
			if c.procs == 0 {
				c.procs = number("EXPLORE_PROCS", 2)
			}
			toTheEnd := c.whole && !first && !short
			if c.limit = states; toTheEnd {
				c.limit = max(states, 3_000_000)
			}
			s, began := &search{config: &c}, time.Now()
			n, whole := s.run()
			searched := map[bool]string{true: "searched to its end", false: "sampled: cut off"}[whole]
			t.Logf("%d states, %s; %d steps of walks with seed %d; %v", n, searched, steps, seed, time.Since(began).Round(time.Millisecond))
			if len(s.found) == 0 {
				if toTheEnd && !whole {
					t.Errorf("%d states are not all, and this configuration is to be searched to its end", n)
				}
				s.found = s.walk(steps, uint64(seed))
			}
			for _, v := range s.found {
				t.Errorf("%s is violated:\n%s", v.rule, s.story(v))
			}
		})
		if first && t.Failed() {
			return
		}
	}
}
