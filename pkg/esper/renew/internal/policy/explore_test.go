package policy

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// search visits every world that can be reached, in order of the number of events, so that no violation has a
// shorter story than the one that is shown.
type search struct {
	*config
	texts  *texts
	seen   *set
	parent []uint32 // the world before each world, in the order in which the worlds were found
	choice []uint16 // which of the worlds after its parent it is
	found  []violation
}

type violation struct {
	rule, what string
	at         uint32 // the world in which the next event violates the rule
}

// run returns how many worlds it visited, and whether these are all.
func (s *search) run() (states int, whole bool) {
	s.texts, s.seen = newTexts(), newSet()
	if s.decide == nil {
		s.decide = Decide
	}
	type level struct {
		bytes []byte
		ends  []int
	}
	var current, next level
	var at uint32
	w := new(world)
	var n uint16
	var buf []byte
	e := &explorer{config: s.config}
	e.bad = func(_ *world, rule, what string) {
		if !slices.ContainsFunc(s.found, func(v violation) bool { return v.what == what }) {
			s.found = append(s.found, violation{rule, what, at})
		}
	}
	emit := func(w *world, _ string) {
		n++
		buf = s.encode(buf, w)
		if !s.seen.add(buf) {
			return
		}
		s.parent, s.choice = append(s.parent, at), append(s.choice, n)
		next.bytes = append(next.bytes, buf...)
		next.ends = append(next.ends, len(next.bytes))
	}
	e.emit = emit
	emit(s.begin(), "")
	for len(next.ends) > 0 && len(s.found) == 0 {
		current, next = next, level{current.bytes[:0], current.ends[:0]}
		from := 0
		for _, end := range current.ends {
			s.decode(current.bytes[from:end], w)
			from, n = end, 0
			e.next(w)
			if at%8 == 0 {
				e.settle(w)
			}
			at++
			if s.seen.n > s.limit {
				return s.seen.n, false
			}
		}
	}
	return s.seen.n, len(s.found) == 0
}

// story tells how a violation came about, with a line for each event.
func (s *search) story(v violation) string {
	var path []uint16
	for at := v.at; at != 0; at = s.parent[at] {
		path = append(path, s.choice[at])
	}
	slices.Reverse(path)
	w := s.begin()
	var lines []string
	e := &explorer{config: s.config, tell: true, bad: func(*world, string, string) {}}
	for _, choice := range path {
		var n uint16
		var chosen *world
		e.emit = func(next *world, how string) {
			if n++; n == choice {
				c := *next
				chosen = &c
				lines = append(lines, how)
			}
		}
		e.next(w)
		w = chosen
	}
	e.emit = func(_ *world, how string) { lines[len(lines)-1] = how }
	e.bad = func(wrong *world, _, what string) {
		if what == v.what {
			lines, w = append(lines, ""), wrong
			panic(v)
		}
	}
	lines = append(lines, "")
	func() {
		defer func() { _ = recover() }()
		last := *w
		e.next(&last)
		lines = append(lines[:len(lines)-1], "       and if no more faults come:")
		e.quiet = &explorer{config: s.config, tell: true, bad: e.bad}
		e.quiet.log = func(how string) { lines = append(lines, how) }
		e.settle(&last)
	}()
	lines = append(lines, fmt.Sprintf("%3d s  then: %s (%s)", w.now(), v.what, v.rule))
	for i := range s.procs {
		p := &w.P[i]
		lines = append(lines, fmt.Sprintf("       process %d: %s; stored: %s; quiet until %s, %v", i, text(p.S.Doc), text(p.S.Stored), seconds(p.S.Quiet), map[bool]string{true: "turning"}[p.Turning]))
	}
	lines = append(lines, "       the store: "+text(w.Store))
	return strings.Join(lines, "\n")
}

// everything holds the configurations to explore. Those that find the most mutations come first.
var everything = []config{
	{name: "alone", procs: 1, budget: budget{Wrong: 2, Net: 1, Disk: 1}},
	{name: "network", budget: budget{Net: 1}},
	{name: "disk", budget: budget{Disk: 1}},
	{name: "programs that end", budget: budget{Leave: 2}},
	{name: "wrong refusals", budget: budget{Wrong: 2}},
	{name: "person and network", budget: budget{Person: 1, Net: 1}},
	{name: "person twice, old keys kept", budget: budget{Person: 2}, keepOld: true},
	{name: "clocks apart", budget: budget{Net: 1}, offset: [maxProcs]int{0, 100}},
	{name: "another initial key", budget: budget{Net: 1, Wrong: 1}, initial: true},
	{name: "an attempt of long ago", budget: budget{Net: 1}, left: true},
	{name: "crash and network", budget: budget{Crash: 1, Net: 1}},
	{name: "crash and network, old keys kept", budget: budget{Crash: 1, Net: 1}, keepOld: true},
	{name: "disk and network, old keys kept", budget: budget{Disk: 1, Net: 1}, keepOld: true},
	{name: "two disk faults", budget: budget{Disk: 2}},
	{name: "person twice and a disk fault", budget: budget{Person: 2, Disk: 1}},
	{name: "wrong refusals and a person", budget: budget{Wrong: 1, Person: 1}, keepOld: true},
	{name: "stalls and network", budget: budget{Net: 1}, stall: true},
	{name: "stalls and disk", budget: budget{Disk: 1}, stall: true, keepOld: true},
	{name: "a program that ends, disk and network", budget: budget{Leave: 1, Disk: 1, Net: 1}, keepOld: true},
}

func TestExplore(t *testing.T) {
	limit := 400_000
	if raceEnabled || testing.Short() {
		limit = 3_000 // make explore visits all of them
	}
	if n, err := strconv.Atoi(os.Getenv("EXPLORE_LIMIT")); err == nil {
		limit = n
	}
	first := os.Getenv("EXPLORE_FIRST") != "" // stop at the first violation: TestMutations needs no more
	for _, c := range everything {
		t.Run(c.name, func(t *testing.T) {
			if !first {
				t.Parallel()
			}
			c.limit = limit
			if c.procs == 0 {
				c.procs = 2
			}
			explore(t, c)
		})
		if first && t.Failed() {
			return
		}
	}
}

func explore(t *testing.T, c config) {
	s := &search{config: &c}
	began := time.Now()
	states, whole := s.run()
	t.Logf("%d states in %v, all of them: %v", states, time.Since(began).Round(time.Millisecond), whole)
	for _, v := range s.found {
		t.Errorf("%s is violated:\n%s", v.rule, s.story(v))
	}
}
