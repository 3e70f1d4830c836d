package renew

import (
	"log/slog"
	"time"

	"github.com/esper-go/esper-go/pkg/esper"
)

// Option changes how a [Source] works.
type Option func(*settings)

type settings struct {
	initial  esper.Secret
	before   time.Duration
	client   []esper.Option
	logger   *slog.Logger
	onChange func(Event)
	readOnly bool
	tokens   bool          // renew through personal access tokens
	lifetime time.Duration // how long new keys live; 0: as long as the key before
}

// WithInitialToken gives the key to begin with. It is saved if the store is empty. If the store has a key, the stored
// key is used, since it may have been renewed from the given key; then the given key is ignored. If the stored key came
// from another key, a warning is logged, and the given key is tried once the stored key is lost. To use the given key at
// once, call [Source.Adopt].
func WithInitialToken(key esper.Secret) Option { return func(s *settings) { s.initial = key } }

// WithRenewBefore sets how long before its end a key is renewed, while callers go on using it: half of the key's
// lifetime at most. Up to a quarter more is added at random, so that a fleet does not renew in one second. By default,
// and for 0, it is a fifth of the lifetime, or 24 hours if that is longer.
func WithRenewBefore(d time.Duration) Option { return func(s *settings) { s.before = d } }

// WithClientOptions sets the options of the client that reads and renews the key, and of [Source.Client]. A middleware
// that asks the source for the key waits for the renewal whose request it holds up, until that request's time is over.
func WithClientOptions(opts ...esper.Option) Option {
	return func(s *settings) { s.client = append(s.client, opts...) }
}

// WithLogger sets where renewals and adoptions (info), possible problems (warn) and failures (error) are logged. By
// default, and for nil, nothing is logged. The handler may use the source. Nothing that renews or saves waits for it: if it
// is so slow that 256 records wait, further ones are dropped, and a warning says how many.
func WithLogger(logger *slog.Logger) Option { return func(s *settings) { s.logger = logger } }

// WithOnChange sets a function that is called for each [Event], one call at a time and in order. It may use the source.
// Nothing that renews or saves waits for it; [Source.Run] and [Source.Close] do, for five seconds at most. If it is so
// slow that 256 events and log records wait, the oldest are dropped, and a warning says how many. While a call for a
// failure is running, further failures are not reported, since that call may have caused them.
func WithOnChange(f func(Event)) Option { return func(s *settings) { s.onChange = f } }

// ReadOnly makes a source that never writes to the store and never renews. It uses the keys that others save there,
// within a minute or after a 401. [Source.Renew], [Source.Adopt] and [Source.RenewToken]
// return [ErrReadOnly]; [Source.RenewIfDue] only looks at the store.
func ReadOnly() Option { return func(s *settings) { s.readOnly = true } }

// WithPersonalAccessTokens renews the key through personal access tokens, which Esper has announced as the successor of
// the renew-token endpoint. Use it when that endpoint answers 404 or 410; a source never switches by itself.
//
// EXPERIMENTAL. Esper's API spec declares the two operations, but they were never tried against a real server. Try them
// with a second key first: TOKENS.md beside the code says how. The source asks the server for the list of the user's
// personal access tokens, and gives a new key to the token that the key belongs to. It finds that token by the key's id,
// else by the key itself, else by the beginning of the key. It renews nothing unless exactly one token fits. Esper does
// not document the unit of expiry_at; the source finds it by comparing expiry_at with the end of the same key. The new
// key lives as long as the old one, or as [WithLifetime] says. Everything else is as without this option.
func WithPersonalAccessTokens() Option { return func(s *settings) { s.tokens = true } }

// WithLifetime sets how long a new key is to live, a minute at least. By default, and for 0, it lives as long as the key
// before. Only a renewal with [WithPersonalAccessTokens] lets the caller choose: without that option, Open returns
// [esper.ErrInvalidArgument].
func WithLifetime(d time.Duration) Option { return func(s *settings) { s.lifetime = d } }
