package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"time"
)

// sample is what this process, with the server in it, uses at one moment.
type sample struct {
	heap, goroutines, descriptors int
}

func measure() sample {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	entries, _ := os.ReadDir("/proc/self/fd")                             // none on a system without /proc
	return sample{int(m.HeapAlloc), runtime.NumGoroutine(), len(entries)} //nolint:gosec // the size of a heap fits
}

// atRest measures several times and returns the smallest figures, so that whatever is about to end has time to end.
func atRest() sample {
	now := measure()
	for range 20 {
		<-time.After(5 * time.Millisecond)
		now = least(now, measure())
	}
	return now
}

func (s sample) String() string {
	return fmt.Sprintf("%6.2f MiB %4d goroutines %4d descriptors", float64(s.heap)/(1<<20), s.goroutines, s.descriptors)
}

// watch takes and prints twenty samples, or one every two seconds if these are fewer. It prints each
// sample under load too, for the reader; flat checks only the samples at rest, which watch returns.
func watch(ctx context.Context, length time.Duration, l *load) (samples []sample) {
	start := time.Now()
	for pause(ctx, max(length/20, 2*time.Second)) {
		busy := measure()
		var rest sample
		l.rest(func() { rest = atRest() })
		if ctx.Err() != nil { // the run is over, so the callers have stopped
			break
		}
		samples = append(samples, rest)
		fmt.Fprintf(os.Stdout, "%5.0f s %8d calls: %v; at rest %v\n", time.Since(start).Seconds(), l.calls.Load(), busy, rest)
	}
	return samples
}

// How much more the end may use than the time after the warm-up, since the source works on while the callers rest.
const (
	spareHeap  = 1 << 20
	spareCount = 12
)

// flat fails if the figures grow. It leaves out the first fifth of the samples, the warm-up. Of the rest, it
// compares the smallest figures of the first third with those of the last third. A leak raises the smallest
// figures; something that a renewal holds for a while, such as an answer of 1 MiB, does not.
func flat(samples []sample) error {
	rest := samples[len(samples)/5:]
	if len(rest) < 4 {
		return fmt.Errorf("only %d samples: run it for longer", len(samples))
	}
	n := (len(rest) + 2) / 3
	first, last := least(rest[:n]...), least(rest[len(rest)-n:]...)
	var errs []error
	for _, m := range []struct {
		name               string
		first, last, spare int
	}{
		{"heap", first.heap, last.heap, spareHeap},
		{"goroutines", first.goroutines, last.goroutines, spareCount},
		{"descriptors", first.descriptors, last.descriptors, spareCount},
	} {
		fmt.Fprintf(os.Stdout, "%s: %d after the warm-up, %d at the end, %d allowed\n", m.name, m.first, m.last, m.first+m.spare)
		if m.last > m.first+m.spare {
			errs = append(errs, fmt.Errorf("%s: they grew from %d to %d", m.name, m.first, m.last))
		}
	}
	return errors.Join(errs...)
}

func least(samples ...sample) sample {
	l := samples[0]
	for _, s := range samples[1:] {
		l = sample{min(l.heap, s.heap), min(l.goroutines, s.goroutines), min(l.descriptors, s.descriptors)}
	}
	return l
}

// settled waits until no more goroutines and descriptors are in use than in idle.
func settled(idle sample) error {
	var now sample
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); <-time.After(10 * time.Millisecond) {
		if now = measure(); now.goroutines <= idle.goroutines && now.descriptors <= idle.descriptors {
			fmt.Fprintf(os.Stdout, "left over: nothing\n")
			return nil
		}
	}
	buf := make([]byte, 1<<16)
	return fmt.Errorf("left over: %d goroutines, %d descriptors\n%s",
		now.goroutines-idle.goroutines, now.descriptors-idle.descriptors, buf[:runtime.Stack(buf, true)])
}
