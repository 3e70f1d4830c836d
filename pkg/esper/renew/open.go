package renew

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"golang.org/x/oauth2"

	"github.com/esper-go/esper-go/pkg/esper"
)

// Open begins with the key in store, or where that is empty with [WithInitialToken], which is
// checked with TokenInfo and saved first. With a stored key nothing is sent, so that a program
// starts without a network; an attempt that a crash cut short is looked into at the first use.
//
// The options in [WithClientOptions] and the environment are checked as esper.New does.
func Open(ctx context.Context, environment string, store Store, opts ...Option) (*Source, error) {
	s := &Source{store: store, work: make(chan struct{}, 1), changed: make(chan struct{}, 1)}
	for _, opt := range opts {
		if opt != nil {
			opt(&s.settings)
		}
	}
	switch {
	case ctx == nil:
		return nil, fmt.Errorf("renew: %w: the context is nil", esper.ErrInvalidArgument)
	case store == nil:
		return nil, fmt.Errorf("renew: %w: the store is nil; use File or Memory", esper.ErrInvalidArgument)
	case store == file{}:
		return nil, fmt.Errorf("renew: %w: the path given to File is empty", esper.ErrInvalidArgument)
	case s.before < 0:
		return nil, fmt.Errorf("renew: %w: WithRenewBefore is negative", esper.ErrInvalidArgument)
	}
	if s.logger == nil {
		s.logger = slog.New(slog.DiscardHandler)
	}
	var err error
	if s.client, err = esper.New(environment, callKeys{}, s.settings.client...); err != nil {
		return nil, fmt.Errorf("renew: %w", err)
	}
	s.server = s.client.BaseURL()
	doc, found, err := s.load(ctx)
	if err != nil {
		return nil, err
	}
	if !found {
		if doc, err = s.first(ctx); err != nil {
			return nil, err
		}
	}
	h := newKeyState(doc, s.before)
	if h.unsure = doc.Attempt != nil; !h.unsure {
		h = h.wake(time.Now())
	}
	s.set(h)
	return s, nil
}

// first saves the initial key, unless another process was faster.
func (s *Source) first(ctx context.Context) (document, error) {
	if s.initial.IsZero() {
		return document{}, fmt.Errorf("renew: %w: the store is empty, and WithInitialToken gives no key to begin with", esper.ErrInvalidArgument)
	}
	unlock, err := s.store.Lock(ctx)
	if err != nil {
		return document{}, fmt.Errorf("renew: the store's lock: %w", err)
	}
	defer unlock()
	doc, found, err := s.load(ctx)
	if found || err != nil {
		return doc, err
	}
	info, err := s.client.TokenInfo(withKey(ctx, s.initial))
	if err != nil {
		return document{}, fmt.Errorf("renew: the initial key: %w", err)
	}
	doc = document{Server: s.server.String(), Key: s.initial.Reveal()}
	if doc.learn(info); doc.EnterpriseID == "" || doc.DeveloperAppID == "" {
		return document{}, errors.New("renew: the initial key belongs to no developer app, so it cannot be renewed; make one in the Esper Console that does")
	}
	return doc, s.save(ctx, doc)
}

// callKeys is the internal client's source: each call carries its key in its context, since a
// renewal and a check may be about different ones.
type callKeys struct{}

type callKey struct{}

func withKey(ctx context.Context, key esper.Secret) context.Context {
	return context.WithValue(ctx, callKey{}, key)
}

func (callKeys) Token() (*oauth2.Token, error) {
	return nil, errors.New("renew: no context") // esper.New prefers TokenContext
}

func (callKeys) TokenContext(ctx context.Context) (*oauth2.Token, error) {
	key, _ := ctx.Value(callKey{}).(esper.Secret)
	return &oauth2.Token{AccessToken: key.Reveal()}, nil
}
