// Package measure takes figures so that they can be compared.
package measure

import (
	"fmt"
	"math/rand/v2"
	"time"
)

// Subject is one of those that are compared: Block makes n calls and says how long they took.
type Subject struct {
	Name  string
	Block func(n int) (time.Duration, error)
}

// Repeat makes a subject of a call.
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

// Paired measures all subjects, one block of calls each in a random order, then all again, so that
// whatever the machine does meanwhile hits them alike. It returns nanoseconds a call, by name, by
// block. A first block of each is left out.
func Paired(subjects []Subject, blocks, calls int) (map[string][]float64, error) {
	times := make(map[string][]float64, len(subjects))
	order := make([]int, len(subjects))
	for i := range order {
		order[i] = i
	}
	for block := range blocks + 1 {
		rand.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] }) //nolint:gosec // an order
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
