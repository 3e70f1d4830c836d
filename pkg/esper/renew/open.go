package renew

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	mathrand "math/rand/v2"
	"time"

	"github.com/esper-go/esper-go/pkg/esper"
	"github.com/esper-go/esper-go/pkg/esper/renew/internal/policy"
)

const proofLasts = 7 * 24 * time.Hour // of a save by this host

// Open begins with the key in store, or where that is empty with [WithInitialToken], which is checked with
// TokenInfo and saved. With a stored key that is not due, nothing is sent to Esper, so that a program
// starts without it.
//
// Open proves that the store works: it saves what is stored once more, unless this host did so within a
// week. It fails, with what to do, on what cannot pass by itself, such as a file system that is mounted
// read-only. What may pass, such as a full disk, is a warning and stands in [Status], unless the key is
// due for renewal.
//
// The environment and the options in [WithClientOptions] are checked as esper.New does; a bad argument is
// [esper.ErrInvalidArgument], an empty store without a key to begin with is [ErrNoKey], and such a key that belongs to no
// developer app [ErrNotRenewable].
func Open(ctx context.Context, environment string, store Store, opts ...Option) (*Source, error) {
	s := &Source{store: store, changed: make(chan struct{}, 1), closing: make(chan struct{})}
	for _, opt := range opts {
		if opt != nil {
			opt(&s.settings)
		}
	}
	if err := s.check(ctx); err != nil {
		return nil, err
	}
	if s.logger == nil {
		s.logger = slog.New(slog.DiscardHandler)
	}
	var err error
	if s.client, err = esper.New(environment, callKeys{}, s.settings.client...); err != nil {
		return nil, fmt.Errorf("renew: %w", err)
	}
	s.server = s.client.BaseURL()
	if s.shared, err = esper.New(environment, s, s.settings.client...); err != nil {
		return nil, fmt.Errorf("renew: %w", err)
	}
	stored, err := s.first(ctx)
	if err != nil {
		return nil, err
	}
	if err := s.begin(ctx, stored); err != nil {
		return nil, err
	}
	return s, nil
}

func (s *Source) check(ctx context.Context) error {
	invalid := func(text string) error { return fmt.Errorf("renew: %w: %s", esper.ErrInvalidArgument, text) }
	switch {
	case ctx == nil:
		return invalid("the context is nil")
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

// first reads the store, and saves the initial key if that is empty.
func (s *Source) first(ctx context.Context) (c content, err error) {
	c, s.version, err = s.load(ctx)
	if err != nil || !c.Key.IsZero() {
		return c, err
	}
	if s.readOnly || s.initial.IsZero() {
		return c, &noKeyError{s.storeName()}
	}
	d, err := s.given(ctx, s.initial)
	if err != nil {
		return c, fmt.Errorf("the initial key: %w", err)
	}
	saveErr := s.save(ctx, d)
	if saveErr == nil {
		return content{d, time.Now(), hostname()}, nil
	}
	// Another process may have been faster, or the save has happened all the same.
	c, s.version, err = s.load(ctx)
	if err != nil || c.Key.IsZero() {
		return c, saveErr
	}
	return c, nil
}

// given asks the server about a key that a person gave, and makes its document.
func (s *Source) given(ctx context.Context, key esper.Secret) (policy.Document, error) {
	d, err := s.ask(ctx, key)
	if err != nil {
		return d, err
	}
	if !s.tokens && (d.EnterpriseID == "" || d.DeveloperAppID == "") {
		return d, errNoApp
	}
	d.Lineage, d.Serial, d.Initial = rand.Text(), 1, policy.Hash(key)
	return d, nil
}

// begin proves that the store works, and begins to use its key.
func (s *Source) begin(ctx context.Context, c content) error {
	now := time.Now()
	state := policy.State{Me: rand.Text()[:10] + ".", Before: s.before, ReadOnly: s.readOnly}
	if hash := policy.Hash(s.initial); !s.initial.IsZero() && hash != c.Initial && s.initial != c.Key && !c.Replaced(s.initial) {
		state.Initial = policy.Document{Key: s.initial, Lineage: rand.Text(), Serial: 1, Initial: hash}
		s.logger.Warn("the key given with WithInitialToken is not the stored one; the stored one is used, and the given one is tried if that is lost; to use it at once, adopt it (Source.Adopt, esper-key adopt)",
			slog.String("store", s.storeName()))
	}
	state = policy.New(state, c.Document, now, mathrand.Float64()) //nolint:gosec // spreads a fleet, decides nothing secret
	recent := now.Sub(c.savedAt).Abs() < proofLasts && c.savedBy == hostname()
	if state.Proven = s.readOnly || recent || c.Attempt.ID != ""; !state.Proven {
		err := s.save(ctx, c.Document)
		state.Proven = err == nil || errors.Is(err, ErrConflict)
		switch {
		case state.Proven:
		case ctx.Err() != nil, permanent(err), state.Due(now):
			return err
		default:
			s.logger.Warn("the store may not work: a test of it failed", slog.Any("error", err))
			s.failed = err
		}
	}
	s.state, s.asked = state, now
	s.next = state.Next(now, mathrand.Float64()).Round(0) //nolint:gosec // spreads a fleet, decides nothing secret
	if state.Due(now) {
		s.next = now
	}
	s.show()
	return nil
}

// permanent reports whether an error of a store stays until somebody mends it.
func permanent(err error) bool {
	var p interface{ Permanent() bool }
	return errors.As(err, &p) && p.Permanent() || errors.Is(err, fs.ErrPermission)
}
