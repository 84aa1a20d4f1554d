package main

import (
	"cmp"
	"slices"
	"time"
)

// runs is how often everything is measured. A row shows the run in the middle.
const runs = 5

// warmUp is how many samples of each run come first and do not count.
const warmUp = 50

// Pair is the medians of one run of two things that were measured in turn.
type Pair struct{ Value, Baseline time.Duration }

func (p Pair) ratio() float64 { return float64(p.Value) / float64(p.Baseline) }

// sampler takes one sample.
type sampler func() (time.Duration, error)

// alternate measures a and b in turn, A B A B, and gives their medians.
func alternate(samples int, a, b sampler) (Pair, error) {
	var as, bs []time.Duration
	for i := range warmUp + samples {
		tookA, err := a()
		if err != nil {
			return Pair{}, err
		}
		tookB, err := b()
		if err != nil {
			return Pair{}, err
		}
		if i >= warmUp {
			as, bs = append(as, tookA), append(bs, tookB)
		}
	}
	return Pair{median(as), median(bs)}, nil
}

// repeat gives the median of one run.
func repeat(samples int, a sampler) (time.Duration, error) {
	var as []time.Duration
	for i := range warmUp + samples {
		took, err := a()
		if err != nil {
			return 0, err
		}
		if i >= warmUp {
			as = append(as, took)
		}
	}
	return median(as), nil
}

// several makes all the runs.
func several[T any](run func() (T, error)) ([]T, error) {
	var all []T
	for range runs {
		one, err := run()
		if err != nil {
			return nil, err
		}
		all = append(all, one)
	}
	return all, nil
}

// middle gives the run whose ratio is the median one.
func middle(pairs []Pair) Pair {
	slices.SortFunc(pairs, func(a, b Pair) int { return cmp.Compare(a.ratio(), b.ratio()) })
	return pairs[len(pairs)/2]
}

// median gives the one in the middle, the upper of two.
func median(values []time.Duration) time.Duration {
	sorted := slices.Clone(values)
	slices.Sort(sorted)
	return sorted[len(sorted)/2]
}
