package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"github.com/esper-go/esper-go/pkg/benchmarks/internal/answers"
	"github.com/esper-go/esper-go/pkg/benchmarks/internal/measure"
	"github.com/esper-go/esper-go/pkg/benchmarks/internal/peers"
	"github.com/esper-go/esper-go/pkg/benchmarks/internal/peers/esperclient"
	"github.com/esper-go/esper-go/pkg/benchmarks/internal/peers/floor"
	"github.com/esper-go/esper-go/pkg/benchmarks/internal/peers/peer"
	"github.com/esper-go/esper-go/pkg/benchmarks/internal/report"
	"github.com/esper-go/esper-go/pkg/benchmarks/internal/server"
	"github.com/esper-go/esper-go/pkg/benchmarks/internal/stats"
)

// tuned is the HTTP client with which p is measured over loopback: this repository's own comes
// with a pool that fits, the others get one.
func tuned(p peers.Named) *http.Client {
	if p.Name == peers.Esper {
		return nil
	}
	return peer.Tuned()
}

// fresh is the same for renewals, which are to have a connection of their own.
func fresh(p peers.Named) *http.Client {
	if p.Name == peers.Esper {
		return nil
	}
	return peer.Fresh()
}

// call chooses a client's method.
type call func(*peer.Client) func(context.Context) (any, error)

func tokenInfo(c *peer.Client) func(context.Context) (any, error)  { return c.TokenInfo }
func renewToken(c *peer.Client) func(context.Context) (any, error) { return c.RenewToken }

// denied makes a call whose error is what is wanted.
func denied(c *peer.Client) func(context.Context) (any, error) {
	return func(ctx context.Context) (any, error) {
		if v, err := c.TokenInfo(ctx); err == nil {
			return nil, fmt.Errorf("a 401 is a success: %T", v)
		}
		return nil, nil //nolint:nilnil // the error was the result
	}
}

// subjects returns the clients in Go, each with an HTTP client of its own.
func subjects(base string, c call, httpClient func(peers.Named) *http.Client) ([]measure.Subject, error) {
	var list []measure.Subject
	for _, p := range peers.All() {
		client, err := p.New(base, httpClient(p))
		if err != nil {
			return nil, err
		}
		method := c(client)
		list = append(list, measure.Repeat(p.Name, func() error { _, err := method(unbound()); return err }))
	}
	return list, nil
}

// compare measures subjects, the floor among them, and adds a section. It returns the ratio of
// this repository's client to the floor.
func (b *bench) compare(title, text string, list []measure.Subject) (stats.Estimate, error) {
	times, err := measure.Paired(list, b.blocks, b.calls)
	if err != nil {
		return stats.Estimate{}, err
	}
	section := report.Section{Title: title, Text: text, Head: []string{"client", "µs a call (median)", "ratio to the floor, 95 %"}}
	var own stats.Estimate
	for _, s := range list {
		ratios, err := stats.Ratios(times[s.Name], times[peers.Floor])
		if err != nil {
			return own, err
		}
		e := stats.Bootstrap(ratios)
		if s.Name == peers.Esper {
			own = e
		}
		section.Rows = append(section.Rows, []string{s.Name, report.Micros(stats.Median(times[s.Name])), report.Ratio(e)})
	}
	b.report.Add(section)
	return own, nil
}

// overLoopback compares all clients, the vendor's among them.
func (b *bench) overLoopback(ctx context.Context, title, text, path string, c call, word string) (e stats.Estimate, err error) {
	list, err := subjects(b.server.URL+path, c, tuned)
	if err != nil {
		return e, err
	}
	if b.python != "" {
		worker, err := b.python.worker(ctx, b.server.URL)
		if err != nil {
			return e, err
		}
		defer func() { err = errors.Join(err, worker.Close()) }()
		list = append(list, b.python.subject(worker, word))
	}
	e, err = b.compare(title, text, list)
	return e, err
}

func (b *bench) sequential(ctx context.Context) error {
	e, err := b.overLoopback(ctx, "TokenInfo, sequential over loopback",
		"One call after the other on a kept connection. esperclient runs in a process of its own, its blocks among the others.",
		server.OK, tokenInfo, "info")
	b.report.Aim("TokenInfo, sequential over loopback", "≤ 1.02 × floor", report.Ratio(e), e.Median <= 1.02)
	return errors.Join(err, b.besideLimits())
}

// besideLimits compares with a floor that is limited as this repository's client is.
func (b *bench) besideLimits() error {
	const limited = "floor, with limits"
	var list []measure.Subject
	for name, makeClient := range map[string]peer.New{limited: floor.NewLimited, peers.Esper: esperclient.New} {
		client, err := makeClient(b.server.URL+server.OK, nil)
		if err != nil {
			return err
		}
		list = append(list, measure.Repeat(name, func() error { _, err := client.TokenInfo(unbound()); return err }))
	}
	times, err := measure.Paired(list, b.blocks, b.calls)
	if err != nil {
		return err
	}
	ratios, err := stats.Ratios(times[peers.Esper], times[limited])
	if err != nil {
		return err
	}
	e := stats.Bootstrap(ratios)
	b.report.Aim("… beside a floor with the same time limit, size limit and no redirects", "≤ 1.00", report.Ratio(e), e.Median <= 1.00)
	return nil
}

func (b *bench) failing(ctx context.Context) error {
	e, err := b.overLoopback(ctx, "Error path: 401 with the envelope, over loopback",
		"The envelope is decoded by all.", server.Refused, denied, "denied")
	b.report.Aim("error path (401 with envelope)", "≤ 1.15 × floor", report.Ratio(e), e.Median <= 1.15)
	return err
}

func (b *bench) renewal(context.Context) error {
	list, err := subjects(b.server.URL+server.OK, renewToken, fresh)
	if err != nil {
		return err
	}
	list = slices.DeleteFunc(list, func(s measure.Subject) bool {
		return s.Name != peers.Floor && s.Name != peers.Esper && s.Name != peers.Generated
	})
	e, err := b.compare("RenewToken, sequential over loopback", "Each call dials, with all clients.", list)
	b.report.Aim("RenewToken, time", "≤ 1.10 × a floor that also dials", report.Ratio(e), e.Median <= 1.10)
	return err
}

// canned gives every client a transport without a network.
func canned(peers.Named) *http.Client {
	return &http.Client{Transport: peer.Canned{Status: http.StatusOK, Body: answers.Info}}
}

func (b *bench) alone(context.Context) error {
	list, err := subjects(b.server.URL+server.OK, tokenInfo, canned)
	if err != nil {
		return err
	}
	list = slices.DeleteFunc(list, func(s measure.Subject) bool { return s.Name == peers.Default }) // it has a network
	e, err := b.compare("TokenInfo, library alone", "No network: a RoundTripper answers at once with the same bytes. In esper-go it is a middleware, above the point at which the key joins.", list)
	if err != nil {
		return err
	}
	b.report.Aim("TokenInfo, library alone", "≤ 1.30 × floor", report.Ratio(e), e.Median <= 1.30)
	return b.whereTimeGoes(list)
}
