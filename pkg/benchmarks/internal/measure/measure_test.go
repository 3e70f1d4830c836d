package measure_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/esper-go/esper-go/pkg/benchmarks/internal/measure"
)

func TestPairedTakesTurns(t *testing.T) {
	const blocks, calls = 40, 7
	var order []string
	subject := func(name string, took time.Duration) measure.Subject {
		return measure.Subject{Name: name, Block: func(n int) (time.Duration, error) {
			if n != calls {
				t.Errorf("a block of %d calls, want %d", n, calls)
			}
			order = append(order, name)
			return took, nil
		}}
	}
	times, err := measure.Paired([]measure.Subject{subject("a", 7*time.Microsecond), subject("b", 14*time.Microsecond)}, blocks, calls)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]float64{"a": 1000, "b": 2000} {
		if got := times[name]; len(got) != blocks || slices.ContainsFunc(got, func(v float64) bool { return v != want }) {
			t.Errorf("%s: %v, want %d times %v", name, got, blocks, want)
		}
	}
	firsts := map[string]int{}
	for pair := range slices.Chunk(order, 2) {
		if pair[0] == pair[1] {
			t.Fatalf("a round has two blocks of the same subject: %v", pair)
		}
		firsts[pair[0]]++
	}
	if len(firsts) != 2 {
		t.Errorf("the order of the subjects never changed: %v", firsts)
	}
}

func TestPairedFails(t *testing.T) {
	broken := errors.New("broken")
	n := 0
	_, err := measure.Paired([]measure.Subject{measure.Repeat("a", func() error {
		if n++; n == 25 {
			return broken
		}
		return nil
	})}, 10, 10)
	if !errors.Is(err, broken) || n != 25 {
		t.Errorf("Paired returned %v after %d calls, want the error of the 25th call", err, n)
	}
}

func TestCostsAreExact(t *testing.T) {
	var sink [][]byte
	cost, err := measure.Costs(func() error {
		sink = [][]byte{make([]byte, 1024), make([]byte, 1024), make([]byte, 1024)}
		return nil
	})
	if err != nil || len(sink) != 3 {
		t.Fatal(err)
	}
	const want, header = 4, 3 * 24 // header: the size of the outer slice, which the allocator may round up
	if cost.Allocations != want || cost.Bytes < 3*1024+header || cost.Bytes > 3*1024+header+32 {
		t.Errorf("%+v, want %d allocations and a little over 3 KiB", cost, want)
	}
	broken := errors.New("broken")
	if _, err := measure.Costs(func() error { return broken }); !errors.Is(err, broken) {
		t.Errorf("Costs returned %v, want %v", err, broken)
	}
}
