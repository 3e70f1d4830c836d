package renew

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/esper-go/esper-go/pkg/esper"
	"github.com/esper-go/esper-go/pkg/esper/renew/internal/policy"
	"github.com/esper-go/esper-go/pkg/wire"
)

// renewer is a way to renew keys.
type renewer interface {
	// renew renews d's key within left. If the error is not an [esper.RenewalError], nothing was changed.
	renew(ctx context.Context, d policy.Document, left time.Duration) (*esper.RenewedToken, error)
	// askInstead asks about a key if the server has no TokenInfo: err is what it answered.
	askInstead(ctx context.Context, key esper.Secret, err error) (policy.Document, error)
	// renewable returns ErrNotRenewable if a key with d's ids cannot be renewed in this way.
	renewable(d policy.Document) error
}

// endpoint renews through the renew-token endpoint.
type endpoint struct{ client *esper.Client }

func (e endpoint) renew(ctx context.Context, d policy.Document, _ time.Duration) (*esper.RenewedToken, error) {
	answer, err := e.client.RenewToken(withKey(ctx, d.Key), esper.RenewRequest{
		EnterpriseID: d.EnterpriseID, DeveloperAppID: d.DeveloperAppID, AccessToken: d.Key,
	})
	if errors.Is(err, esper.ErrNotFound) {
		err = fmt.Errorf("%w: %w; Esper has announced the end of this endpoint: if this is it, its successor is used with WithPersonalAccessTokens "+
			"(esper-key --via personal-access-token), which is experimental", ErrNotRenewable, err)
	}
	return answer, err
}

func (endpoint) askInstead(_ context.Context, _ esper.Secret, err error) (policy.Document, error) {
	return policy.Document{}, asking(err)
}

func (endpoint) renewable(d policy.Document) error {
	if d.EnterpriseID == "" || d.DeveloperAppID == "" {
		return errNoApp
	}
	return nil
}

// personalTokens renews through personal access tokens.
type personalTokens struct {
	client   *esper.Client
	lifetime time.Duration // of new keys; 0: as long as the key before
}

func (personalTokens) renewable(policy.Document) error { return nil }

// Ways says in which ways the key in use can be renewed, as far as a source can know without a renewal. A field is nil
// if the key can be renewed in that way. Otherwise it is [ErrNotRenewable], or says that the server could not be asked.
type Ways struct {
	// RenewToken is nil if the key belongs to a developer app, which the renew-token endpoint asks for. Whether the
	// server still has that endpoint is seen only when it is used.
	RenewToken error
	// PersonalAccessToken is nil if the server lists the token that the key belongs to, and if the unit of that token's
	// expiry_at is certain. [WithPersonalAccessTokens] needs both.
	PersonalAccessToken error
}

// Ways asks the server how the key can be renewed. It works with and without [WithPersonalAccessTokens], and changes
// nothing.
func (s *Source) Ways(ctx context.Context) Ways {
	var ways Ways
	d := s.now.Load().state.Doc
	ways.RenewToken = endpoint{}.renewable(d)
	_, ways.PersonalAccessToken = personalTokens{client: s.client}.find(orBackground(ctx), d, askTime)
	return ways
}

var errNoApp = fmt.Errorf("%w: it belongs to no developer app; make one in the Esper Console that does", ErrNotRenewable)

// renew renews d's key through the personal access token that the key belongs to. Half of left is for finding the token,
// so that enough time remains for the renewal.
func (p personalTokens) renew(ctx context.Context, d policy.Document, left time.Duration) (*esper.RenewedToken, error) {
	token, err := p.find(ctx, d, left/2)
	switch {
	case err != nil:
		return nil, err
	case token.unit == 0 && p.lifetime != 0:
		return nil, fmt.Errorf("%w: its personal access token never ends, so the unit of expiry_at cannot be told; leave WithLifetime out", ErrNotRenewable)
	}
	lifetime := token.lifetime(d, p.lifetime)
	expiry := token.next(lifetime, time.Now())
	answer, err := p.client.RenewPersonalAccessToken(withKey(ctx, d.Key), token.id, expiry)
	if err != nil {
		return nil, err
	}
	ends, ok := token.unit.moment(string(answer.ExpiryAt))
	if !ok && lifetime < policy.AssumedLifetime { // else AssumedLifetime would count, unless TokenInfo says the end
		ends, _ = token.unit.moment(strconv.FormatInt(expiry, 10))
	}
	return &esper.RenewedToken{ // CreatedOn stays zero: created_at may be when the token's first key was made
		ID: answer.LegacyTokenID, Token: answer.Token, ExpiresAt: wire.Time{Time: ends},
		Enterprise: wire.Ref{ID: d.EnterpriseID}, DeveloperApp: wire.Ref{ID: d.DeveloperAppID},
	}, nil
}

// personalToken is what renewToken needs to know of a personal access token.
type personalToken struct {
	id   string
	unit unit
	life time.Duration // how long the key in use lives, as TokenInfo says; 0 if unknown
}

// find finds the personal access token that d's key belongs to, within limit. If TokenInfo does not answer within half of
// that, or is gone too, find uses the list of tokens alone.
func (p personalTokens) find(ctx context.Context, d policy.Document, limit time.Duration) (personalToken, error) {
	ctx, cancel := context.WithTimeout(withKey(ctx, d.Key), limit)
	defer cancel()
	short, cancelShort := context.WithTimeout(ctx, limit/2)
	defer cancelShort()
	var id string
	var ends time.Time
	var life time.Duration
	switch info, err := p.client.TokenInfo(short); {
	case err == nil:
		id = string(info.ID)
		ends, _ = moment(info.ExpiresAt)
		if made, _ := moment(info.CreatedOn); !made.IsZero() {
			life = ends.Sub(made)
		}
	case errors.Is(err, esper.ErrUnauthorized):
		return personalToken{}, asking(err)
	}
	list, err := p.client.ListPersonalAccessTokens(ctx)
	if err != nil {
		return personalToken{}, fmt.Errorf("renew: looking for the key's personal access token: %w", err)
	}
	found, err := tokenOfKey(list, d.Key, id)
	if err != nil {
		return personalToken{}, err
	}
	u, err := unitOf(string(found.ExpiryAt), ends, time.Now())
	return personalToken{string(found.ID), u, life}, err
}

// tokenOfKey returns the token in list that a key belongs to. It compares the key's id, else the key itself, else the
// beginning of the key.
func tokenOfKey(list []esper.PersonalAccessToken, key esper.Secret, id string) (esper.PersonalAccessToken, error) {
	const shortest = 4 // the shortest beginning that can tell keys apart
	ways := []struct {
		by string
		is func(t esper.PersonalAccessToken) bool
	}{
		{"the key's id", func(t esper.PersonalAccessToken) bool { return id != "" && string(t.LegacyTokenID) == id }},
		{"the key", func(t esper.PersonalAccessToken) bool { return t.Token == key }},
		{"the beginning of the key", func(t esper.PersonalAccessToken) bool {
			prefix, shown := t.Prefix.Reveal(), t.Token.Reveal()
			// A list may mask a key, or show its beginning alone.
			another := !strings.HasPrefix(key.Reveal(), shown) && !strings.ContainsAny(shown, "*•…")
			return len(prefix) >= shortest && strings.HasPrefix(key.Reveal(), prefix) && !another
		}},
	}
	for i, way := range ways {
		var found []esper.PersonalAccessToken
		var names []string
		for _, t := range list {
			if way.is(t) || i == 0 && t.Token == key { // the id and the key must not belong to different tokens
				found, names = append(found, t), append(names, fmt.Sprintf("%.40q", string(t.Name)))
			}
		}
		switch {
		case len(found) == 1:
			return found[0], nil
		case len(found) > 1:
			return esper.PersonalAccessToken{}, fmt.Errorf("%w: it is not plain which personal access token it belongs to: %s have %s; "+
				"renew the key in the Esper Console, and adopt the new one", ErrNotRenewable, strings.Join(names, " and "), way.by)
		}
	}
	return esper.PersonalAccessToken{}, fmt.Errorf("%w: it belongs to none of the %d personal access tokens that the server lists: "+
		"none has its id, none has the key, none its beginning; if the answer to a renewal was lost, one of them has the next key: "+
		"take that, or another one, from the Esper Console, and adopt it", ErrNotRenewable, len(list))
}

// askInstead lists the personal access tokens with the key.
func (p personalTokens) askInstead(ctx context.Context, key esper.Secret, _ error) (policy.Document, error) {
	list, err := p.client.ListPersonalAccessTokens(withKey(ctx, key))
	if err != nil {
		return policy.Document{}, asking(err)
	}
	now := time.Now()
	d := policy.Document{Key: key, IssuedAt: plain(now)}
	found, err := tokenOfKey(list, key, "")
	if err != nil {
		return d, nil //nolint:nilerr // the key works, and no more is known of it
	}
	d.DeveloperAppID = found.LegacyDeveloperAppID.ID
	if u, err := unitOf(string(found.ExpiryAt), time.Time{}, now); err == nil {
		d.ExpiresAt, _ = u.moment(string(found.ExpiryAt))
	}
	if at, _ := moment(found.UpdatedAt); !at.IsZero() && at.Before(now) {
		d.IssuedAt = at
	}
	return d, nil
}
