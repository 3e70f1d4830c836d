package measure

import (
	"fmt"
	"math/rand/v2"
	"slices"
)

// Median returns the middle of values, NaN-free input assumed; it panics without any.
func Median(values []float64) float64 {
	return medianOf(slices.Clone(values))
}

// medianOf sorts values.
func medianOf(values []float64) float64 {
	slices.Sort(values)
	n := len(values)
	if n%2 == 1 {
		return values[n/2]
	}
	return (values[n/2-1] + values[n/2]) / 2
}

// Estimate is a median with its 95 % interval.
type Estimate struct{ Median, Low, High float64 }

// resamples is how many samples the bootstrap draws; the seed is fixed, so that one set of figures
// always has one interval.
const resamples, seed = 2000, 1

// Bootstrap estimates the median of values: the interval holds 95 % of the medians of samples that
// are drawn from values, with replacement.
func Bootstrap(values []float64) Estimate {
	random := rand.New(rand.NewPCG(seed, seed)) //nolint:gosec // statistics
	medians, sample := make([]float64, resamples), make([]float64, len(values))
	for i := range medians {
		for j := range sample {
			sample[j] = values[random.IntN(len(values))]
		}
		medians[i] = medianOf(sample)
	}
	slices.Sort(medians)
	return Estimate{Median(values), medians[resamples*25/1000], medians[resamples*975/1000-1]}
}

// Ratios divides each value by that of the same block in base.
func Ratios(values, base []float64) ([]float64, error) {
	if len(values) != len(base) || len(base) == 0 {
		return nil, fmt.Errorf("%d blocks against %d", len(values), len(base))
	}
	ratios := make([]float64, len(values))
	for i := range values {
		ratios[i] = values[i] / base[i]
	}
	return ratios, nil
}
