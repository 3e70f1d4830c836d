package renew

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	mathrand "math/rand/v2"
	"slices"
	"time"

	"github.com/esper-go/esper-go/pkg/esper"
	"github.com/esper-go/esper-go/pkg/esper/renew/internal/policy"
	"github.com/esper-go/esper-go/pkg/esper/renew/internal/ways"
)

const proofLasts = 7 * 24 * time.Hour // a save by this host that is younger proves that the store works

// Open returns a source of the key in store. If the store is empty, Open begins with the key of
// [WithInitialToken]: it checks that key with TokenInfo, and saves it. If the store has a key, Open sends
// nothing to Esper, so that a program can start while Esper cannot be reached.
//
// Open proves that the store works: it saves the stored document once more, unless this host did so within a
// week. If that fails for a reason that cannot pass by itself, such as a file system that is mounted
// read-only, Open fails, and the error says what to do. If the reason may pass, such as a full disk, Open
// fails only if the key is due for renewal; otherwise it logs a warning, and the error stands in [Status].
//
// Open checks the environment and the options in [WithClientOptions] as esper.New does. The error is
// [esper.ErrInvalidArgument] for a bad argument, [ErrNoKey] if there is no key to begin with, and
// [ErrNotRenewable] if the key of [WithInitialToken] belongs to no developer app.
func Open(ctx context.Context, environment string, store Store, opts ...Option) (*Source, error) {
	ctx = orBackground(ctx)
	s := &Source{store: store, changed: make(chan struct{}, 1), closing: make(chan struct{})}
	for _, opt := range opts {
		if opt != nil {
			opt(&s.settings)
		}
	}
	if err := s.check(); err != nil {
		return nil, err
	}
	s.logger = cmp.Or(s.logger, slog.New(slog.DiscardHandler))
	s.tell.logger = s.logger
	if err := s.makeClients(environment); err != nil {
		return nil, fmt.Errorf("renew: %w", err)
	}
	if err := s.inspect(ctx); err != nil {
		return nil, err
	}
	stored, err := s.first(ctx)
	if err == nil {
		err = s.begin(ctx, stored)
	}
	if err != nil {
		return nil, err
	}
	return s, nil
}

func (s *Source) makeClients(environment string) (err error) {
	if s.client, err = esper.New(environment, callKeys{}, s.settings.client...); err != nil {
		return err
	}
	once := append(slices.Clip(s.settings.client), esper.WithRetry(esper.Retry{MaxAttempts: 1}))
	if s.brief, err = esper.New(environment, callKeys{}, once...); err != nil {
		return err
	}
	s.server = s.client.BaseURL()
	s.way = ways.Endpoint{Client: s.client}
	if s.tokens {
		s.way = ways.PersonalTokens{Client: s.client, Lifetime: s.lifetime}
	}
	s.shared, err = esper.New(environment, s, s.settings.client...)
	return err
}

func (s *Source) check() error {
	invalid := func(text string) error { return fmt.Errorf("renew: %w: %s", esper.ErrInvalidArgument, text) }
	switch {
	case s.store == nil:
		return invalid("the store is nil; use File or Memory")
	case s.before < 0:
		return invalid("WithRenewBefore is negative")
	case s.lifetime != 0 && !s.tokens:
		return invalid("WithLifetime is of no use without WithPersonalAccessTokens: the server chooses how long a key lives")
	case s.lifetime != 0 && s.lifetime < time.Minute:
		return invalid("WithLifetime is less than a minute")
	}
	if checked, ok := s.store.(interface{ CheckArguments() error }); ok {
		if err := checked.CheckArguments(); err != nil {
			return invalid(err.Error())
		}
	}
	if !s.initial.IsZero() {
		if _, err := esper.APIKey(s.initial.Reveal()).Token(); err != nil {
			return fmt.Errorf("renew: the initial key: %w", err)
		}
	}
	return nil
}

// inspect lets a store look at where its document lies, if it can: to save it may succeed although others can replace
// it.
func (s *Source) inspect(ctx context.Context) error {
	if store, ok := s.store.(interface {
		Inspect(ctx context.Context, readOnly bool) error
	}); ok {
		if err := s.limited(ctx, func(ctx context.Context) error { return store.Inspect(ctx, s.readOnly) }); err != nil {
			return s.storeError("opening", err)
		}
	}
	return nil
}

// tellWarnings logs what the store has noticed, once.
func (s *Source) tellWarnings() {
	if store, ok := s.store.(interface{ Warnings() []string }); ok {
		for _, warning := range store.Warnings() {
			s.log(slog.LevelWarn, warning)
		}
	}
}

// first reads the store, and saves the initial key if the store is empty.
func (s *Source) first(ctx context.Context) (c content, err error) {
	c, s.version, err = s.load(ctx)
	if err != nil || !c.Key.IsZero() {
		return c, err
	}
	if s.readOnly || s.initial.IsZero() {
		return c, fmt.Errorf("%w: %s is empty; make one in the Esper Console and give it (WithInitialToken, esper-key adopt)", ErrNoKey, s.storeName())
	}
	d, err := s.given(ctx, s.initial)
	if err != nil {
		return c, fmt.Errorf("the initial key: %w", err)
	}
	ctx = context.WithoutCancel(ctx) // what has begun is finished
	saveErr := s.save(ctx, d)
	if saveErr == nil {
		return content{d, time.Now(), hostname()}, nil
	}
	// Another process may have saved a key first, or the store has saved ours although it reported an error.
	if c, s.version, err = s.load(ctx); err != nil || c.Key.IsZero() {
		return c, saveErr
	}
	return c, nil
}

// given asks the server about a key that a person gave, and makes the document of that key.
func (s *Source) given(ctx context.Context, key esper.Secret) (policy.Document, error) {
	d, err := s.ask(ctx, key)
	switch {
	case errors.Is(err, esper.ErrUnauthorized):
		return d, fmt.Errorf("%w; if no newer one is stored, make one in the Esper Console", err)
	case err != nil:
		return d, err
	}
	return d.Begun(rand.Text()), s.way.Renewable(d)
}

// begin proves that the store works, and begins to use the key of c.
func (s *Source) begin(ctx context.Context, c content) error {
	now := time.Now()
	state := policy.New(policy.State{RenewBefore: s.before, ReadOnly: s.readOnly}, c.Document, now, mathrand.Float64()) //nolint:gosec // spreads many processes; not a secret
	if s.initialElse(c.Document) {
		s.log(slog.LevelWarn, "the key given with WithInitialToken is not the stored one; the stored one is used, and the given one is tried if that is lost; to use it at once, adopt it (Source.Adopt, esper-key adopt)",
			slog.String("store", s.storeName()))
	}
	if now.Before(state.Advisory) && state.AttemptLength(state.Advisory) == 0 {
		s.log(slog.LevelWarn, "the key lives for so short a time that no renewal may begin: one without an answer could not be told from a lost key",
			slog.Time("expires", state.End))
	}
	var failed error
	recent := now.Sub(c.savedAt).Abs() < proofLasts && c.savedBy == hostname()
	if state.Proven = s.readOnly || recent || c.Attempt.ID != ""; !state.Proven {
		err := s.save(ctx, c.Document)
		state.Proven = err == nil || errors.Is(err, ErrConflict)
		switch {
		case state.Proven:
		case ctx.Err() != nil, permanent(err), state.Due(now):
			return err
		default:
			s.log(slog.LevelWarn, "the store may not work: a test of it failed", slog.Any("error", err))
			failed = err
		}
	}
	next := state.Next(now, mathrand.Float64()).Round(0) //nolint:gosec // spreads many processes; not a secret
	if state.Due(now) {
		next = now
	}
	s.update(func(n *snapshot) { n.state, n.next, n.failed, n.worked = state, next, failed, now })
	return nil
}

// permanent reports whether an error of a store stays until somebody mends the store.
func permanent(err error) bool {
	var p interface{ Permanent() bool }
	return errors.As(err, &p) && p.Permanent() || errors.Is(err, fs.ErrPermission)
}
