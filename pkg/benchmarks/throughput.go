package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/esper-go/esper-go/pkg/benchmarks/internal/peers"
	"github.com/esper-go/esper-go/pkg/benchmarks/internal/peers/peer"
	"github.com/esper-go/esper-go/pkg/benchmarks/internal/report"
	"github.com/esper-go/esper-go/pkg/benchmarks/internal/server"
	"github.com/esper-go/esper-go/pkg/benchmarks/internal/stats"
)

// throughputCommand makes the program one client with many callers.
const throughputCommand = "throughput"

// How a client is set up.
const (
	asItIs    = "box"
	withTuned = "tuned"
)

// runner is a client in a fresh process.
type runner struct{ name, mode string }

// figures are what runs of a runner gave, round by round.
type figures struct{ rates, connections []float64 }

func (b *bench) throughput(ctx context.Context) error {
	var box, same []runner
	for _, p := range peers.All() {
		box = append(box, runner{p.Name, asItIs})
		if p.Name != peers.Default {
			same = append(same, runner{p.Name, withTuned})
		}
	}
	if b.python != "" {
		box = append(box, runner{peers.Python, asItIs})
		same = append(same, runner{peers.Python, withTuned})
	}
	found, err := b.repeat(ctx, append(box, same...), b.manyCallers, b.rounds)
	if err != nil {
		return err
	}
	text := fmt.Sprintf("%d callers share %d calls (esperclient: %d). Each run is a process of its own; connections are counted by the server.",
		b.manyCallers, b.throughputCalls, b.pythonCalls)
	worst, err := b.rates("Throughput, as each comes out of the box", text+" The floor alone is tuned.", box, found)
	if err != nil {
		return err
	}
	own := found[runner{peers.Esper, asItIs}]
	b.report.Aim("64 callers, as it comes out of the box", "≥ 1.7 × every peer", report.Ratio(worst)+" × the fastest", worst.Median >= 1.7)
	connections := stats.Median(own.connections)
	b.report.Aim("… connections", "≤ 100", fmt.Sprintf("%.0f", connections), connections <= 100)
	if _, err = b.rates("Throughput, every client tuned", text, same, found); err != nil {
		return err
	}
	ratios, err := stats.Ratios(found[runner{peers.Esper, withTuned}].rates, found[runner{peers.Floor, withTuned}].rates)
	if err != nil {
		return err
	}
	e := stats.Bootstrap(ratios)
	b.report.Aim("64 callers, every client tuned", "≥ 0.97 × floor", report.Ratio(e), e.Median >= 0.97)
	return nil
}

// rates adds a section, and returns by how much the fastest peer is beaten.
func (b *bench) rates(title, text string, list []runner, found map[runner]*figures) (stats.Estimate, error) {
	section := report.Section{Title: title, Text: text, Head: []string{"client", "calls/s (median)", "connections (median)", "esper-go is faster by, 95 %"}}
	var worst stats.Estimate
	for _, r := range list {
		f := found[r]
		ratios, err := stats.Ratios(found[runner{peers.Esper, r.mode}].rates, f.rates)
		if err != nil {
			return worst, err
		}
		e := stats.Bootstrap(ratios)
		section.Rows = append(section.Rows, []string{
			r.name, fmt.Sprintf("%.0f", stats.Median(f.rates)),
			fmt.Sprintf("%.0f", stats.Median(f.connections)), report.Ratio(e),
		})
		if r.name != peers.Esper && r.name != peers.Floor && (worst.Median == 0 || e.Median < worst.Median) {
			worst = e
		}
	}
	b.report.Add(section)
	return worst, nil
}

// callers shows how the cost grows with their number.
func (b *bench) callers(ctx context.Context) error {
	list := []runner{{peers.Floor, asItIs}, {peers.Default, asItIs}, {peers.Esper, asItIs}}
	section := report.Section{
		Title: "TokenInfo, as callers grow",
		Text:  fmt.Sprintf("Calls a second (connections) for %d calls, as each comes out of the box.", b.throughputCalls),
		Head:  []string{"callers", list[0].name, list[1].name, list[2].name},
	}
	for _, n := range b.callerCounts {
		found, err := b.repeat(ctx, list, n, b.growthRounds)
		if err != nil {
			return err
		}
		row := []string{strconv.Itoa(n)}
		for _, r := range list {
			row = append(row, fmt.Sprintf("%.0f (%.0f)", stats.Median(found[r].rates), stats.Median(found[r].connections)))
		}
		section.Rows = append(section.Rows, row)
	}
	b.report.Add(section)
	return nil
}

// repeat runs all, each in a fresh process, in a new order each round.
func (b *bench) repeat(ctx context.Context, list []runner, callers, rounds int) (map[runner]*figures, error) {
	found := make(map[runner]*figures)
	for range rounds {
		for _, i := range rand.Perm(len(list)) { //nolint:gosec // an order
			r := list[i]
			rate, connections, err := b.once(ctx, r, callers)
			if err != nil {
				return nil, err
			}
			if found[r] == nil {
				found[r] = new(figures)
			}
			found[r].rates = append(found[r].rates, rate)
			found[r].connections = append(found[r].connections, connections)
		}
	}
	return found, nil
}

func (b *bench) once(ctx context.Context, r runner, callers int) (rate, connections float64, err error) {
	before, err := b.server.Count()
	if err != nil {
		return 0, 0, err
	}
	calls, base, text := b.throughputCalls, b.server.URL+server.OK, ""
	if r.name == peers.Python {
		calls = b.pythonCalls
		text, err = b.python.run(ctx, "throughput", base, r.mode, strconv.Itoa(callers), strconv.Itoa(calls))
	} else {
		text, err = self(ctx, throughputCommand, r.name, r.mode, base, strconv.Itoa(callers), strconv.Itoa(calls))
	}
	if err != nil {
		return 0, 0, err
	}
	seconds, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return 0, 0, err
	}
	after, err := b.server.Count()
	return float64(calls) / seconds, float64(after.Connections - before.Connections), err
}

// throughputChild prints the seconds that all calls took.
func throughputChild(args []string) error {
	if len(args) != 5 {
		return fmt.Errorf("%v: want a client, a mode, a URL, callers and calls", args)
	}
	callers, err1 := strconv.Atoi(args[3])
	calls, err2 := strconv.ParseInt(args[4], 10, 64)
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	var httpClient *http.Client
	if args[1] == withTuned {
		httpClient = peer.Tuned()
	}
	client, err := peers.Find(args[0]).New(args[2], httpClient)
	if err != nil {
		return err
	}
	var left atomic.Int64
	left.Store(calls)
	failures := make([]error, callers)
	var done sync.WaitGroup
	start := time.Now()
	for i := range callers {
		done.Go(func() {
			for failures[i] == nil && left.Add(-1) >= 0 {
				_, failures[i] = client.TokenInfo(unbound())
			}
		})
	}
	done.Wait()
	took := time.Since(start)
	if err := errors.Join(failures...); err != nil {
		return err
	}
	fmt.Fprintln(os.Stdout, took.Seconds())
	return nil
}
