package renew

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/oauth2"

	"github.com/esper-go/esper-go/pkg/esper"
	"github.com/esper-go/esper-go/pkg/esper/renew/internal/policy"
)

// Source is a key that renews itself. It is an [oauth2.TokenSource] for esper.New, and [Source.Client]
// is a client of it. All methods are safe for concurrent use. Make one with [Open], and end it with
// [Source.Close].
//
// Do not wrap it in [oauth2.NewClient] or [oauth2.ReuseTokenSource]: they keep a key until it expires,
// and go on sending it after another process has replaced it. Use [Source.Transport].
type Source struct {
	settings
	server *url.URL
	store  Store
	client *esper.Client // for the key's own calls, each with the key in its context
	shared *esper.Client // what Client returns

	hot     atomic.Pointer[hot]
	running atomic.Int32  // how many Runs there are
	changed chan struct{} // tells Run to look at the state again
	closing chan struct{} // closed by Close

	mu           sync.Mutex // guards what follows
	closed       bool
	busy         chan struct{} // closed at the end of the turn that is under way; nil: there is none
	state        policy.State
	next         time.Time // when the next turn is due, by the wall clock
	failed       error     // of the last turn that had something to do; nil if it went well
	events       []event   // to be reported
	tells        bool      // somebody is reporting,
	tellsFailure bool      // and it is a failure
	asked        time.Time // when the server was asked about the key last
	accepted     time.Time // when it accepted one last, or made one
	rejected     time.Time // when Reject looked at the store last

	// For the turn that is under way alone.
	version string // of what the store held when it was read or written last
	reason  error  // of the last action that failed
	answer  *esper.RenewedToken
}

// hot is what callers get at once, for a while. They read the monotonic clock, in half the time that the wall
// clock takes; but it stands still while the machine sleeps, so the wall clock is looked at every hotLasts.
type hot struct {
	token         *oauth2.Token
	authorization string // the value of the field with it
	from          time.Time
	lasts         time.Duration
}

const hotLasts = time.Second

// Token is TokenContext without a limit of the caller's. The wait for a renewal is bounded all the same,
// by some two minutes.
func (s *Source) Token() (*oauth2.Token, error) { return s.TokenContext(context.Background()) }

// TokenContext returns the key in use. Nearly always that takes no lock, no allocation and no look at the
// store.
//
// When the key is due, and [Source.Run] is not running, one caller renews it: that call waits for the
// renewal, ten seconds at most, and returns a valid key whether or not the renewal succeeded. After a
// failure nobody tries again for a while. With Run, no call waits before the last minutes of the key.
// In those, and after the key's end, every call waits for a renewal that is under way, no longer than ctx.
//
// The errors are ctx's, [ErrKeyLost], [ErrKeyExpired] and [ErrClosed]. The token is shared: do not change
// it. Unlike the types of this module it prints its key, for example under %v.
func (s *Source) TokenContext(ctx context.Context) (*oauth2.Token, error) {
	h := s.hot.Load()
	if time.Since(h.from) < h.lasts {
		return h.token, nil
	}
	return s.slow(ctx)
}

const patience = 10 * time.Second // for a renewal of a key that is valid

// slow is TokenContext when there may be something to do, or to wait for.
func (s *Source) slow(ctx context.Context) (*oauth2.Token, error) {
	for {
		now := time.Now()
		v := s.look()
		calm := v.state.Usable(now) && now.Before(v.state.Mandatory)
		due := v.due(now)
		switch {
		case v.closed:
			return nil, ErrClosed
		case inTurn(ctx, s): // a function of the caller's, called by the turn, must not wait for it
			return s.usable(v, now)
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case calm && !due:
			s.mu.Lock()
			s.show()
			s.mu.Unlock()
			return s.usable(v, now)
		case calm && (v.busy != nil || s.running.Load() > 0):
			return s.usable(v, now) // others are at it
		case calm:
			short, cancel := context.WithTimeout(ctx, patience)
			ended, mine := s.start(short, policy.Turn{})
			if mine {
				wait(short, ended)
			}
			cancel()
			switch {
			case !mine:
				continue // another caller was faster
			case ctx.Err() != nil:
				return nil, ctx.Err()
			}
			return s.usable(s.look(), time.Now())
		case due:
			ended, _ := s.start(ctx, policy.Turn{})
			wait(ctx, ended)
		case v.busy != nil:
			wait(ctx, v.busy)
		case !v.state.Usable(now) && v.state.Busy(now), v.state.Awaits(now):
			wait(ctx, after(ctx, time.Until(v.next)))
		default:
			return s.usable(v, now)
		}
	}
}

// due reports whether the time for the next turn has come. That is never farther off than policy.Poll, unless
// the clock was set back.
func (v view) due(now time.Time) bool {
	d := v.next.Sub(now)
	return d <= 0 || d > policy.Poll
}

// view is the state at one moment.
type view struct {
	state    policy.State
	next     time.Time
	busy     <-chan struct{}
	closed   bool
	failed   error
	rejected time.Time
	accepted time.Time
}

func (s *Source) look() view {
	s.mu.Lock()
	defer s.mu.Unlock()
	return view{s.state, s.next, s.busy, s.closed, s.failed, s.rejected, s.accepted}
}

func wait(ctx context.Context, ended <-chan struct{}) {
	select {
	case <-ended:
	case <-ctx.Done():
	}
}

// after returns a channel that is closed after d, or at the end of ctx.
func after(ctx context.Context, d time.Duration) <-chan struct{} {
	ctx, cancel := context.WithTimeout(ctx, max(d, 10*time.Millisecond))
	context.AfterFunc(ctx, cancel)
	return ctx.Done()
}

// start begins a turn in the background, unless one is under way. Its caller may leave: then nothing more
// is begun, and what is being asked goes on, so that the next caller knows the answer, or waits no more.
func (s *Source) start(ctx context.Context, want policy.Turn) (ended <-chan struct{}, mine bool) {
	busy, mine := s.enter()
	if mine {
		go func() {
			s.turn(context.WithoutCancel(ctx), ctx, want, busy)
			s.report()
		}()
	}
	return busy, mine
}

// enter reserves the next turn, or returns the one that is under way. Once the source is closed there is none, and what
// is returned is closed.
func (s *Source) enter() (busy chan struct{}, mine bool) { return s.reserve(false) }

func (s *Source) reserve(closing bool) (busy chan struct{}, mine bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed && !closing:
		return s.closing, false
	case s.busy != nil:
		return s.busy, false
	}
	s.busy = make(chan struct{})
	return s.busy, true
}

// usable is what callers get in a state.
func (s *Source) usable(v view, now time.Time) (*oauth2.Token, error) {
	if v.state.Usable(now) {
		return tokenOf(v.state), nil
	}
	why := v.failed
	switch {
	case v.state.Lost:
		return nil, s.lost(v)
	case v.state.Busy(now):
		why = s.underWay(v.state)
	case why == nil && s.readOnly:
		why = ErrReadOnly
	case why == nil:
		why = errors.New("nothing has been tried so far")
	}
	return nil, fmt.Errorf("%w: it ended at %s and is not renewed yet: %w", ErrKeyExpired, stamp(v.state.End), why)
}

func tokenOf(s policy.State) *oauth2.Token {
	expiry := s.Doc.ExpiresAt
	if expiry.IsZero() {
		expiry = s.End
	}
	return &oauth2.Token{AccessToken: s.Doc.Key.Reveal(), TokenType: "Bearer", Expiry: expiry}
}

// Server returns a copy of the base URL of the server that the key is for. [esper.New] refuses any other
// for this source.
func (s *Source) Server() *url.URL {
	u := *s.server
	return &u
}

// Client returns a client that uses the source, with the options of [WithClientOptions]. Its RenewToken
// renews the source's key, as [Source.RenewToken] does.
func (s *Source) Client() *esper.Client { return s.shared }

// Format prints the server for every verb.
func (s *Source) Format(f fmt.State, _ rune) {
	_, _ = io.WriteString(f, "renew.Source("+s.server.String()+")")
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }
