package renew

import (
	"cmp"
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
	"github.com/esper-go/esper-go/pkg/esper/renew/internal/ways"
)

// Source gives out a key, and renews it. It is an [oauth2.TokenSource] for esper.New, and [Source.Client]
// returns a client that uses it. All methods are safe for concurrent use. Make a Source with [Open], and end
// it with [Source.Close]. The zero value is not usable.
//
// Do not wrap a Source in [oauth2.NewClient] or [oauth2.ReuseTokenSource]: they keep a key until it expires,
// and go on sending it after another process has replaced it. Use [Source.Transport].
type Source struct {
	settings
	server *url.URL
	store  Store
	client *esper.Client // renews and checks keys; each call has the key in its context
	brief  *esper.Client // the same with one attempt for each question
	shared *esper.Client // what Client returns
	way    ways.Way      // how keys are renewed
	tell   teller        // of what happens

	now     atomic.Pointer[snapshot] // what callers read
	running atomic.Int32             // how many calls of Run are running
	changed chan struct{}            // tells Run to look at the snapshot again
	closing chan struct{}            // closed by Close

	mu       sync.Mutex    // guards what follows, and writes of now
	busy     chan struct{} // closed when the turn that is under way ends; nil if there is none
	stopBy   time.Time     // when turns must end, since Close was called or the context of Run ended; zero: neither
	rejected time.Time     // when Reject last had the store read

	// What follows belongs to the turn that is under way.
	version   string       // the version of the document that was last read or written
	read      content      // the document that was last read; without a key if that could not be decoded
	readText  esper.Secret // its text: nearly always the next read finds the same, which is not decoded again
	hung      []chan error // calls of the store that did not return in time; each sends when it returns
	renewErr  error        // of this turn's renewal
	serverErr error        // of the last question of this turn that failed, since the renewal if there was one
	readErr   error        // of the last read of this turn; nil if it went well
	saveErr   error        // the same of the last save
	compared  struct {     // the last comparison with another key that failed
		other    esper.Secret
		failedAt time.Time
		err      error
	}
}

// snapshot is what a source knows, at one moment. It is never changed.
type snapshot struct {
	state    policy.State
	next     time.Time // when the next turn is due, by the wall clock
	failed   error     // the error of the last turn that had something to do; nil if that turn went well
	accepted time.Time // when the server last accepted a key, or made one
	worked   time.Time // when the last turn ended
	closed   bool

	token *oauth2.Token // of state
	until time.Time     // callers get token at once until then, hotLasts from now on at most; zero: they look closer
}

// hotLasts is how long callers read only the monotonic clock, which takes half as long as reading the wall clock, but
// stands still while the machine sleeps.
const hotLasts = time.Second

// update changes the snapshot that callers read.
func (s *Source) update(change func(*snapshot)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n, now := snapshot{}, time.Now()
	if old := s.now.Load(); old != nil {
		n = *old
	}
	change(&n)
	n.token = tokenOf(n.state)
	n.until = time.Time{}
	if !n.closed && n.state.Usable(now) && n.state.Doc.RefusedAt.IsZero() {
		wall := now.Round(0)
		n.until = now.Add(min(n.state.Mandatory().Sub(wall), n.next.Sub(wall), hotLasts))
	}
	s.now.Store(&n)
}

// Token is TokenContext without a context to end the wait for a renewal. That wait takes about two minutes at
// most.
func (s *Source) Token() (*oauth2.Token, error) { return s.TokenContext(context.Background()) }

// TokenContext returns the key in use. Nearly always that takes no lock, no allocation and no read of the
// store.
//
// When the key is due, and [Source.Run] is not running, one caller renews it: that call waits for the
// renewal, ten seconds at most, and returns a valid key whether or not the renewal succeeded. After a
// failure, no call tries again before a pause is over. With Run, no call waits before the last minutes of
// the key. In the last minutes, and after the key's end, every call waits for a renewal that is under way,
// until ctx ends.
//
// The error is that of ctx, [ErrKeyLost], [ErrKeyExpired] or [ErrClosed]. The token is shared: do not change
// it. Unlike the types of this module, it prints its key, for example under %v.
func (s *Source) TokenContext(ctx context.Context) (*oauth2.Token, error) {
	if v := s.now.Load(); time.Until(v.until) > 0 {
		return v.token, nil
	}
	return s.slow(orBackground(ctx))
}

func orBackground(ctx context.Context) context.Context { return cmp.Or(ctx, context.Background()) }

const patience = 10 * time.Second // how long a call waits for a renewal while the key is valid

// slow does what TokenContext does when there may be something to do, or to wait for.
func (s *Source) slow(ctx context.Context) (*oauth2.Token, error) {
	for asked, tried := false, false; ; {
		now := time.Now()
		v, busy := s.look()
		calm := v.state.Usable(now) && now.Before(v.state.Mandatory())
		due := isDue(v.next, now)
		switch {
		case v.closed:
			return nil, ErrClosed
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case v.state.Lost() && v.state.Suspects(now) && !asked:
			asked = true
			if err := s.suspect(ctx); err != nil {
				return nil, err
			}
		case v.state.Lost():
			return s.usable(v, now)
		case calm && !due:
			if !v.state.Doc.RefusedAt.IsZero() && v.state.Suspects(now) { // somebody noted a refusal
				s.start(context.Background(), policy.Turn{Ask: policy.AskSuspect})
			}
			s.update(func(*snapshot) {})
			return s.usable(v, now)
		case calm && (tried || busy != nil || s.running.Load() > 0):
			return s.usable(v, now) // or another caller, or Run, sees to the renewal
		case calm:
			short, cancel := context.WithTimeout(ctx, patience)
			var ended <-chan struct{}
			if ended, tried = s.start(short, policy.Turn{}); tried {
				wait(short, ended)
			}
			cancel()
		case due, busy != nil:
			ended, _ := s.start(ctx, policy.Turn{})
			wait(ctx, ended)
		case !v.state.Usable(now) && v.state.Busy(now), v.state.Awaits(now):
			pause(ctx, time.Until(v.next))
		default:
			return s.usable(v, now)
		}
	}
}

// isDue reports whether the time for the next turn, at, has come. If it is farther off than policy.Poll, the clock was
// set back, and a turn is due as well.
func isDue(at, now time.Time) bool {
	return !at.After(now) || at.Sub(now) > policy.Poll
}

func (s *Source) look() (v *snapshot, busy <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now.Load(), s.busy
}

func wait(ctx context.Context, ended <-chan struct{}) {
	select {
	case <-ended:
	case <-ctx.Done():
	}
}

// pause waits for d, or until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, max(d, 10*time.Millisecond))
	defer cancel()
	<-ctx.Done()
}

// start begins a turn in the background, unless one is under way. When ctx ends, the turn begins nothing more, but
// waits for the answer to a question that it has sent: the next caller then need not ask again.
func (s *Source) start(ctx context.Context, want policy.Turn) (ended <-chan struct{}, mine bool) {
	busy, mine := s.enter(false)
	if mine {
		go s.turn(context.WithoutCancel(ctx), ctx, want, busy)
	}
	return busy, mine
}

// reserve reserves the next turn for the caller, once the one that is under way has ended.
func (s *Source) reserve(ctx context.Context, closing bool) (busy chan struct{}, err error) {
	for ctx.Err() == nil {
		busy, mine := s.enter(closing)
		switch {
		case mine:
			return busy, nil
		case !closing && s.now.Load().closed:
			return nil, ErrClosed
		}
		wait(ctx, busy)
	}
	return nil, ctx.Err()
}

// enter reserves the next turn for the caller, and then mine is true. If a turn is under way, it returns the channel
// that is closed when that turn ends. Once the source is closed, it returns a closed channel, except to Close.
func (s *Source) enter(closing bool) (busy chan struct{}, mine bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.now.Load().closed && !closing:
		return s.closing, false
	case s.busy != nil:
		return s.busy, false
	}
	s.busy = make(chan struct{})
	return s.busy, true
}

// usable returns what callers get in the state v: the token, or why there is none.
func (s *Source) usable(v *snapshot, now time.Time) (*oauth2.Token, error) {
	if v.state.Usable(now) {
		return v.token, nil
	}
	why := v.failed
	switch {
	case v.state.Lost():
		return nil, s.lost(v)
	case v.state.Busy(now):
		why = fmt.Errorf("renew: a renewal%s may be under way; the next waits for its end", byWhom(v.state.Doc.Attempt))
	case why == nil && s.readOnly:
		why = ErrReadOnly
	case why == nil:
		why = errors.New("nothing has been tried so far")
	}
	return nil, fmt.Errorf("%w: it ended at %s and is not renewed yet: %w", ErrKeyExpired, stamp(v.state.End), why)
}

func tokenOf(s policy.State) *oauth2.Token {
	return &oauth2.Token{AccessToken: s.Doc.Key.Reveal(), TokenType: "Bearer", Expiry: endOf(s)}
}

// endOf returns when the key ends: as the server says, or earlier by this clock.
func endOf(s policy.State) time.Time {
	if end := s.Doc.ExpiresAt; !end.IsZero() && end.Before(s.End) {
		return end
	}
	return s.End
}

// Server returns a copy of the base URL of the server that the key is for. With this source, [esper.New]
// refuses any other server.
func (s *Source) Server() *url.URL { return s.client.BaseURL() }

// Client returns a client that uses the source, with the options of [WithClientOptions]. Its RenewToken
// renews the source's key, as [Source.RenewToken] does.
func (s *Source) Client() *esper.Client { return s.shared }

// Format prints the server for every verb.
func (s *Source) Format(f fmt.State, _ rune) {
	_, _ = io.WriteString(f, "renew.Source("+s.server.String()+")")
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }
