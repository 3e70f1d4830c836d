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
	onChange func(Status)
	readOnly bool
	tokens   bool          // renew through personal access tokens
	lifetime time.Duration // of new keys; 0: as the one before
}

// WithInitialToken gives the key to begin with. It is saved if the store is empty. If the store has a key, the stored
// key is used, since it may be the renewed one. The initial key that the stored one came from is then ignored without
// a warning. Any other is logged as a warning, and is tried once the stored key is lost. To use it at once, call
// [Source.Adopt].
func WithInitialToken(key esper.Secret) Option { return func(s *settings) { s.initial = key } }

// WithRenewBefore sets how long before its end a key is renewed, while callers go on using it. Half of the key's
// lifetime is the most. Up to a quarter more is added at random, so that a fleet does not renew in one second. By
// default, and for 0, it is a fifth of the lifetime, and at least 24 hours if the lifetime allows: a 90-day key is
// renewed 18 to 22 days before it ends.
func WithRenewBefore(d time.Duration) Option { return func(s *settings) { s.before = d } }

// WithClientOptions sets the options of the client that reads and renews the key, and of [Source.Client].
func WithClientOptions(opts ...esper.Option) Option {
	return func(s *settings) { s.client = append(s.client, opts...) }
}

// WithLogger sets where renewals and adoptions (info), doubts (warn) and failures (error) are logged. By default, and
// for nil, nothing is logged. The handler may use the source.
func WithLogger(logger *slog.Logger) Option { return func(s *settings) { s.logger = logger } }

// WithOnChange sets a function that is called after each renewal, adoption and failure, one call at a
// time. It may use the source. [Source.Close] does not wait for it. While it is running because of a failure, it is
// not called for further failures, which it may have caused itself.
func WithOnChange(f func(Status)) Option { return func(s *settings) { s.onChange = f } }

// ReadOnly makes a source that never writes to the store and never renews. It uses the keys that others save there,
// within a minute or after a 401. [Source.Renew], [Source.Adopt] and [Source.RenewToken]
// return [ErrReadOnly]; [Source.RenewIfDue] only looks at the store.
func ReadOnly() Option { return func(s *settings) { s.readOnly = true } }

// WithPersonalAccessTokens renews the key through personal access tokens, which Esper has announced as the successor of
// the renew-token endpoint. It is for the day on which that answers 404 or 410; a source never switches by itself.
//
// EXPERIMENTAL. Esper declares the two operations, and nobody here has seen them answer. Try them with a second key first:
// TOKENS.md beside the code says how. The server is asked for the list of the user's personal access tokens; the one that
// the key belongs to is found by the key's id, else by the key itself, else by the key's beginning, and is given a new
// key. Nothing is renewed if there is not exactly one. The unit of its expiry_at, which Esper does not name, is read off
// from the end of the same key. The new key lives as long as the old one, or [WithLifetime]. The rest is as without
// the option: the attempt is noted first, and one that may have arrived is not sent again before the server was
// asked what came of it.
func WithPersonalAccessTokens() Option { return func(s *settings) { s.tokens = true } }

// WithLifetime sets how long a new key is to live, a minute at least. By default, and for 0, it lives as long as the key
// before. Only a renewal with [WithPersonalAccessTokens] lets the caller choose: without that, Open returns
// [esper.ErrInvalidArgument].
func WithLifetime(d time.Duration) Option { return func(s *settings) { s.lifetime = d } }
