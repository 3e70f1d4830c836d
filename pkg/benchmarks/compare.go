package main

import (
	"math"
	"math/rand/v2"
	"runtime/debug"
	"slices"
	"testing"
	"time"
)

// subject is a call that is compared with others.
type subject struct {
	name string
	call func() error
}

// paired measures the subjects in rounds. In each round, every subject runs one block of calls, in random order, so that
// other load on the machine slows down all of them alike. It returns the nanoseconds of the blocks by name of the
// subject. The first round does not count.
func paired(subjects []subject, blocks, calls int) (map[string][]float64, error) {
	times := make(map[string][]float64, len(subjects))
	for block := range blocks + 1 {
		for _, i := range rand.Perm(len(subjects)) { //nolint:gosec // not a secret
			start := time.Now()
			for range calls {
				if err := subjects[i].call(); err != nil {
					return nil, err
				}
			}
			if block > 0 {
				times[subjects[i].name] = append(times[subjects[i].name], float64(time.Since(start)))
			}
		}
	}
	return times, nil
}

// ratio is the median of the ratios of two subjects' blocks, with its 95 % interval.
type ratio struct{ median, low, high float64 }

// ratioOf compares the blocks of two subjects, and takes the interval from samples of them (a bootstrap).
func ratioOf(one, other []float64) ratio {
	const samples = 2000
	ratios := make([]float64, len(one))
	for i := range one {
		ratios[i] = one[i] / other[i]
	}
	random := rand.New(rand.NewPCG(1, 1)) //nolint:gosec // the same values always give the same interval
	medians, sample := make([]float64, samples), make([]float64, len(ratios))
	for i := range medians {
		for j := range sample {
			sample[j] = ratios[random.IntN(len(ratios))]
		}
		medians[i] = median(sample)
	}
	slices.Sort(medians)
	return ratio{median(ratios), medians[samples*25/1000], medians[samples*975/1000-1]}
}

// median returns the median of values, which it sorts.
func median(values []float64) float64 {
	slices.Sort(values)
	n := len(values)
	return (values[(n-1)/2] + values[n/2]) / 2
}

// allocations counts what a call allocates in this process, at least: the runtime allocates now and then too.
func allocations(call func() error) (least float64, err error) {
	const rounds, calls = 3, 300
	defer debug.SetGCPercent(debug.SetGCPercent(-1)) // the collector would empty pools
	least = math.Inf(1)
	for range rounds {
		least = min(least, testing.AllocsPerRun(calls, func() {
			if failed := call(); failed != nil {
				err = failed
			}
		}))
	}
	return least, err
}
