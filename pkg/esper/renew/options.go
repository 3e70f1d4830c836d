package renew

import (
	"log/slog"
	"time"

	"github.com/esper-go/esper-go/pkg/esper"
)

// Option changes how a [Source] works.
type Option func(*settings)

type settings struct {
	initial esper.Secret
	before  time.Duration
	client  []esper.Option
	logger  *slog.Logger
	onRenew func(Status)
}

// WithInitialToken gives the key to begin with. It is used when the store is empty, and only then:
// what is stored is newer.
func WithInitialToken(key esper.Secret) Option { return func(s *settings) { s.initial = key } }

// WithRenewBefore sets how long before its end a key is renewed in the background; half of the
// key's lifetime is the most. A quarter more is added at random, so that a fleet does not renew in
// one second. The default is a fifth of the lifetime, at least 24 hours where it allows.
func WithRenewBefore(d time.Duration) Option { return func(s *settings) { s.before = d } }

// WithClientOptions sets the options of the client that reads and renews the key.
func WithClientOptions(opts ...esper.Option) Option {
	return func(s *settings) { s.client = append(s.client, opts...) }
}

// WithLogger sets where renewals (info) and failures (error) are reported. The default is none.
func WithLogger(logger *slog.Logger) Option { return func(s *settings) { s.logger = logger } }

// WithOnRenew sets a function that is called after each renewal and after each failure, one call
// at a time. It must return soon, and not wait for the source.
func WithOnRenew(f func(Status)) Option { return func(s *settings) { s.onRenew = f } }
