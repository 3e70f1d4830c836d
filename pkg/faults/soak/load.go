package main

import (
	"context"
	"io"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/oauth2"

	"github.com/esper-go/esper-go/pkg/esper"
)

const (
	callers = 64
	// Each caller makes a call about every 150 ms, which is some 400 calls a second in all. Of these, the
	// faults that break a connection use up some 50 ports a second.
	pauseLeast, pauseMost = 50 * time.Millisecond, 250 * time.Millisecond
)

// load is 64 callers. Most call TokenInfo with the client. Every eighth calls another endpoint through the transport of
// the source.
type load struct {
	client *esper.Client
	keeper *keeper
	found  *findings
	base   string
	plain  *http.Transport
	calls  atomic.Int64
	group  sync.WaitGroup
	gate   sync.RWMutex // rest holds it, to keep the callers from calling
}

func newLoad(base string, k *keeper, f *findings) (*load, error) {
	client, err := esper.New(base, current{k}, callOptions(nil)...)
	return &load{client: client, keeper: k, found: f, base: base, plain: &http.Transport{MaxIdleConnsPerHost: callers}}, err
}

// callOptions sets short time limits, since the server sometimes does not answer and there are many calls to make.
func callOptions(transport *http.Transport) []esper.Option {
	return []esper.Option{
		esper.WithTransport(transport),
		esper.WithTimeout(time.Second),
		esper.WithRetry(esper.Retry{MaxAttempts: 2, MinWait: time.Millisecond, MaxWait: 20 * time.Millisecond}),
	}
}

// current is a token source that asks the source that is in use at the moment.
type current struct{ *keeper }

func (c current) Token() (*oauth2.Token, error) { return c.TokenContext(context.Background()) }

func (c current) TokenContext(ctx context.Context) (*oauth2.Token, error) {
	return c.source().TokenContext(ctx)
}

func (l *load) start(ctx context.Context, seed uint64) {
	for i := range uint64(callers) {
		dice := rand.New(rand.NewPCG(seed, i)) //nolint:gosec // faults need not be secret
		l.group.Go(func() {
			for pause(ctx, pauseLeast+rand.N(pauseMost-pauseLeast)) { //nolint:gosec // as above
				l.call(ctx, i%8 == 0, dice)
			}
		})
	}
}

func (l *load) call(ctx context.Context, plain bool, dice *rand.Rand) {
	l.gate.RLock()
	defer l.gate.RUnlock()
	limit := 3 * time.Second
	if dice.IntN(20) == 0 {
		limit = time.Duration(dice.IntN(2000)) * time.Microsecond // the caller gives up during the call
	}
	call, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	l.calls.Add(1)
	var err error
	if plain {
		err = l.get(call)
	} else {
		_, err = l.client.TokenInfo(call)
	}
	if ctx.Err() == nil { // a call that the end of the run interrupts does not count
		l.found.note(err)
	}
}

// get sends the key to another endpoint, as a program does for the rest of Esper's API.
func (l *load) get(ctx context.Context) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, l.base+"/v0/devices/", nil)
	if err != nil {
		return err
	}
	resp, err := l.keeper.source().Transport(l.plain).RoundTrip(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if _, err = io.Copy(io.Discard, resp.Body); err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return &esper.APIError{Operation: "devices", StatusCode: resp.StatusCode}
	}
	return nil
}

func (l *load) wait() { l.group.Wait() }

// rest runs f while no call is under way and no idle connection is open.
func (l *load) rest(f func()) {
	l.gate.Lock()
	defer l.gate.Unlock()
	l.closeIdle()
	f()
}

func (l *load) closeIdle() {
	l.client.CloseIdleConnections()
	l.plain.CloseIdleConnections()
	l.keeper.closeIdle()
}

// pause waits for d. It returns false if ctx ends first.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
