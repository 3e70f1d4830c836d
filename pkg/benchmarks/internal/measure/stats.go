package measure

import (
	"fmt"
	"math/rand/v2"
	"slices"
)

// Median returns the median of values, which must not hold NaN. It panics if there are none.
func Median(values []float64) float64 {
	return medianOf(slices.Clone(values))
}

// medianOf is Median, but sorts values in place.
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

// resamples is how many samples Bootstrap draws. The seed is fixed, so that the same values always
// give the same interval.
const resamples, seed = 2000, 1

// Bootstrap estimates the median of values. Its interval holds 95 % of the medians of samples that
// are drawn from values with replacement.
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

// Ratios divides each value by the value of the same block in base. It is an error if the numbers of blocks differ.
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
