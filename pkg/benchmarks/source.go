package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/oauth2"

	"github.com/esper-go/esper-go/pkg/benchmarks/internal/answers"
	"github.com/esper-go/esper-go/pkg/benchmarks/internal/measure"
	"github.com/esper-go/esper-go/pkg/benchmarks/internal/report"
	"github.com/esper-go/esper-go/pkg/benchmarks/internal/server"
	"github.com/esper-go/esper-go/pkg/benchmarks/internal/stats"
	"github.com/esper-go/esper-go/pkg/esper"
	"github.com/esper-go/esper-go/pkg/esper/renew"
)

const (
	ownSource = "renew.Source"
	reuse     = "oauth2.ReuseTokenSource"
	least     = "an atomic load and a clock read"
)

// clocked is the least that a source with a deadline can do.
type clocked struct{ current atomic.Pointer[oauth2.Token] }

func (c *clocked) Token() (*oauth2.Token, error) {
	t := c.current.Load()
	if time.Now().After(t.Expiry) {
		return nil, errors.New("expired")
	}
	return t, nil
}

// hotPath compares what a valid key costs its callers.
func (b *bench) hotPath(ctx context.Context) error {
	source, err := renew.Open(ctx, b.server.URL+server.Rotating, renew.Memory(), renew.WithInitialToken(esper.NewSecret(answers.Key)))
	if err != nil {
		return err
	}
	cost, err := measure.Costs(func() error { _, err := source.Token(); return err })
	if err != nil {
		return err
	}
	valid := &oauth2.Token{AccessToken: answers.Key, TokenType: "Bearer", Expiry: time.Now().Add(24 * time.Hour)}
	floor := new(clocked)
	floor.current.Store(valid)
	sources := []struct {
		name string
		oauth2.TokenSource
	}{{reuse, oauth2.ReuseTokenSource(valid, esper.APIKey(answers.Key))}, {ownSource, source}, {least, floor}}
	section := report.Section{
		Title: "Hot path of a source: a valid key",
		Text:  fmt.Sprintf("Nanoseconds a call, wall clock over all goroutines; %d shuffled blocks of %d calls. %s", b.hotBlocks, b.hotCalls, "Ratios are to oauth2.ReuseTokenSource."),
		Head:  []string{"goroutines", reuse, ownSource, least, "renew.Source / ReuseTokenSource, 95 %"},
	}
	met, result := cost.Allocations == 0, fmt.Sprintf("%.0f allocations", cost.Allocations)
	for _, n := range b.hotPathGoroutine {
		var list []measure.Subject
		for _, s := range sources {
			list = append(list, concurrent(s.name, n, s.TokenSource))
		}
		times, err := measure.Paired(list, b.hotBlocks, b.hotCalls)
		if err != nil {
			return err
		}
		ratios, err := stats.Ratios(times[ownSource], times[reuse])
		if err != nil {
			return err
		}
		e := stats.Bootstrap(ratios)
		row := []string{strconv.Itoa(n)}
		for _, s := range sources {
			row = append(row, fmt.Sprintf("%.1f", stats.Median(times[s.name])))
		}
		section.Rows = append(section.Rows, append(row, report.Ratio(e)))
		limit := 1.0
		if n > 1 {
			limit = 0.5
		}
		met = met && e.Median <= limit
		result += fmt.Sprintf("; %d: %.2f ×", n, 1/e.Median)
	}
	b.report.Add(section)
	b.report.Aim("hot path of renew.Source, by goroutines", "0 allocations; ≥ 1 × ReuseTokenSource's speed, ≥ 2 × with two or more", result, met)
	return nil
}

// concurrent shares the calls of a block among n goroutines.
func concurrent(name string, n int, source oauth2.TokenSource) measure.Subject {
	return measure.Subject{Name: name, Block: func(calls int) (time.Duration, error) {
		failures := make([]error, n)
		var done sync.WaitGroup
		start := time.Now()
		for i := range n {
			done.Go(func() {
				for range calls / n {
					if _, err := source.Token(); err != nil {
						failures[i] = err
					}
				}
			})
		}
		done.Wait()
		took := time.Since(start)
		return took, errors.Join(failures...)
	}}
}
