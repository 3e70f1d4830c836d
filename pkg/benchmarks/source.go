package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"golang.org/x/oauth2"

	"github.com/esper-go/esper-go/pkg/benchmarks/internal/answers"
	"github.com/esper-go/esper-go/pkg/benchmarks/internal/measure"
	"github.com/esper-go/esper-go/pkg/benchmarks/internal/server"
	"github.com/esper-go/esper-go/pkg/esper"
	"github.com/esper-go/esper-go/pkg/esper/renew"
)

const own, other = "renew", "oauth2"

// hotCalls is how many calls a block makes if they need no network.
const hotCalls = 64000

func (b *bench) sources(ctx context.Context) (*renew.Source, oauth2.TokenSource, error) {
	source, err := renew.Open(ctx, b.url+server.Rotating, renew.Memory(), renew.WithInitialToken(esper.NewSecret(answers.Key)))
	valid := &oauth2.Token{AccessToken: answers.Key, TokenType: "Bearer", Expiry: time.Now().Add(24 * time.Hour)}
	return source, oauth2.ReuseTokenSource(valid, esper.APIKey(answers.Key)), err
}

// instant is a transport that answers without a network.
type instant struct{}

func (instant) RoundTrip(*http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody}, nil
}

// transport measures the time to add the key to a request for another endpoint.
func (b *bench) transport(ctx context.Context) error {
	source, reused, err := b.sources(ctx)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, b.url+server.Rotating+"/v0/enterprise/1/device/", nil)
	if err != nil {
		return err
	}
	req.Header = http.Header{"Accept": {"application/json"}, "User-Agent": {"benchmark"}}
	var subjects []measure.Subject
	for name, transport := range map[string]http.RoundTripper{
		own: source.Transport(instant{}), other: &oauth2.Transport{Source: reused, Base: instant{}},
	} {
		subjects = append(subjects, measure.Repeat(name, func() error {
			resp, err := transport.RoundTrip(req)
			if err != nil {
				return err
			}
			return resp.Body.Close()
		}))
	}
	times, err := measure.Paired(subjects, b.blocks, hotCalls/4)
	if err != nil {
		return err
	}
	text, err := ratio(times, own, other)
	b.aim("a request through `Source.Transport` beside `oauth2.Transport`", "≤ 0.95", text)
	return err
}

// source measures allocations and time for a caller to get a valid key.
func (b *bench) source(ctx context.Context) error {
	source, reused, err := b.sources(ctx)
	if err != nil {
		return err
	}
	cost, err := measure.Costs(func() error { _, err := source.Token(); return err })
	if err != nil {
		return err
	}
	b.aim("allocations of `Source.Token`", "0", fmt.Sprintf("%.0f", cost.Allocations))
	for _, goroutines := range []int{1, 2, 64} {
		times, err := measure.Paired([]measure.Subject{concurrent(own, goroutines, source), concurrent(other, goroutines, reused)}, b.blocks, hotCalls)
		if err != nil {
			return err
		}
		text, err := ratio(times, own, other)
		if err != nil {
			return err
		}
		b.aim(fmt.Sprintf("`Source.Token` beside `oauth2.ReuseTokenSource`, goroutines: %d", goroutines), "≤ 0.95", text)
	}
	return nil
}

// concurrent is a subject that divides the calls of a block among n goroutines.
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
