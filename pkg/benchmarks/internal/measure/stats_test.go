package measure_test

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/esper-go/esper-go/pkg/benchmarks/internal/measure"
)

func TestMedian(t *testing.T) {
	for _, test := range []struct {
		values []float64
		want   float64
	}{{[]float64{3}, 3}, {[]float64{9, 1, 5}, 5}, {[]float64{4, 1, 3, 2}, 2.5}} {
		before := slices.Clone(test.values)
		if got := measure.Median(test.values); got != test.want {
			t.Errorf("the median of %v is %v, want %v", test.values, got, test.want)
		}
		if !slices.Equal(before, test.values) {
			t.Errorf("Median reordered %v to %v, so blocks would no longer match", before, test.values)
		}
	}
}

// TestBootstrapCoverage estimates a known median from many samples. About 95 % of the intervals have to hold it.
func TestBootstrapCoverage(t *testing.T) {
	const median, samples, size = 1.02, 100, 40
	random := rand.New(rand.NewPCG(7, 7))
	held := 0
	for range samples {
		values := make([]float64, size)
		for i := range values {
			values[i] = median + 0.1*random.NormFloat64()
		}
		e := measure.Bootstrap(values)
		if e.Low > e.Median || e.Median > e.High {
			t.Fatalf("%+v is out of order", e)
		}
		if e.Low <= median && median <= e.High {
			held++
		}
	}
	if held < samples*88/100 || held == samples {
		t.Errorf("%d of %d intervals hold the median, want about 95 %%", held, samples)
	}
}

func TestBootstrapNarrowsAndRepeats(t *testing.T) {
	random := rand.New(rand.NewPCG(8, 8))
	values := make([]float64, 400)
	for i := range values {
		values[i] = random.Float64()
	}
	few, many := measure.Bootstrap(values[:20]), measure.Bootstrap(values)
	if many.High-many.Low >= few.High-few.Low {
		t.Errorf("400 values do not give a smaller interval than 20: %+v, %+v", many, few)
	}
	if again := measure.Bootstrap(values); again != many {
		t.Errorf("the same values give %+v, then %+v", many, again)
	}
	if one := measure.Bootstrap([]float64{2, 2, 2}); one != (measure.Estimate{Median: 2, Low: 2, High: 2}) {
		t.Errorf("values that are all 2 give %+v", one)
	}
}

// Noise that affects all clients in a block must not change the ratios.
func TestRatiosPair(t *testing.T) {
	random := rand.New(rand.NewPCG(9, 9))
	floor, other := make([]float64, 50), make([]float64, 50)
	for i := range floor {
		noise := 1 + 10*random.Float64()
		floor[i], other[i] = noise, 1.25*noise
	}
	ratios, err := measure.Ratios(other, floor)
	if err != nil {
		t.Fatal(err)
	}
	if e := measure.Bootstrap(ratios); e.Low < 1.2499 || e.High > 1.2501 {
		t.Errorf("%+v, want 1.25 exactly", e)
	}
	for _, base := range [][]float64{nil, floor[1:]} {
		if _, err := measure.Ratios(other, base); err == nil {
			t.Errorf("Ratios of %d blocks to %d: no error", len(other), len(base))
		}
	}
}
