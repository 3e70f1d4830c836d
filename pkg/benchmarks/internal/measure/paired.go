// Package measure measures calls so that the figures can be compared.
package measure

import (
	"fmt"
	"math/rand/v2"
	"time"
)

// Subject is something to compare with others. Block makes n calls and returns how long they took.
type Subject struct {
	Name  string
	Block func(n int) (time.Duration, error)
}

// Repeat returns a subject whose blocks repeat call. A block ends at the first error.
func Repeat(name string, call func() error) Subject {
	return Subject{name, func(n int) (time.Duration, error) {
		start := time.Now()
		for range n {
			if err := call(); err != nil {
				return 0, err
			}
		}
		return time.Since(start), nil
	}}
}

// Paired measures the subjects in rounds. In each round, every subject runs one block of calls, in
// random order, so that other load on the machine slows down all of them alike. It returns the
// nanoseconds per call, by name of the subject and by block. The first round does not count.
func Paired(subjects []Subject, blocks, calls int) (map[string][]float64, error) {
	times := make(map[string][]float64, len(subjects))
	order := make([]int, len(subjects))
	for i := range order {
		order[i] = i
	}
	for block := range blocks + 1 {
		rand.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] }) //nolint:gosec // not a secret
		for _, i := range order {
			s := subjects[i]
			took, err := s.Block(calls)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", s.Name, err)
			}
			if block > 0 {
				times[s.Name] = append(times[s.Name], float64(took.Nanoseconds())/float64(calls))
			}
		}
	}
	return times, nil
}
