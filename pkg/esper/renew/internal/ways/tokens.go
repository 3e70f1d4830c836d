package ways

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

// PersonalTokens renews through personal access tokens.
type PersonalTokens struct {
	Client   *esper.Client
	Lifetime time.Duration // of new keys; 0: as long as the key before
}

// Renewable returns nil: any key can be renewed in this way, if it belongs to a personal access token.
func (PersonalTokens) Renewable(policy.Document) error { return nil }

// Sure returns nil if it is certain which personal access token d's key belongs to, and in which unit its end is counted.
func (p PersonalTokens) Sure(ctx context.Context, d policy.Document, limit time.Duration) error {
	_, err := p.find(ctx, d, limit)
	return err
}

// Renew renews d's key through the personal access token that the key belongs to. Half of limit is for finding the token,
// so that enough time remains for the renewal.
func (p PersonalTokens) Renew(ctx context.Context, d policy.Document, limit time.Duration) (*esper.RenewedToken, error) {
	token, err := p.find(ctx, d, limit/2)
	switch {
	case err != nil:
		return nil, err
	case token.unit == 0 && p.Lifetime != 0:
		return nil, fmt.Errorf("%w: its personal access token never ends, so the unit of expiry_at cannot be told; leave WithLifetime out", ErrNotRenewable)
	}
	lifetime := token.lifetime(d, p.Lifetime)
	expiry := token.next(lifetime, time.Now())
	answer, err := p.Client.RenewPersonalAccessToken(ctx, token.id, expiry)
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

// personalToken is what Renew needs to know of a personal access token.
type personalToken struct {
	id   string
	unit unit
	life time.Duration // how long the key in use lives, as TokenInfo says; 0 if unknown
}

// find finds the personal access token that d's key belongs to, within limit. If TokenInfo does not answer within half of
// that, or is gone too, find uses the list of tokens alone.
func (p PersonalTokens) find(ctx context.Context, d policy.Document, limit time.Duration) (personalToken, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	short, cancelShort := context.WithTimeout(ctx, limit/2)
	defer cancelShort()
	var id string
	var ends time.Time
	var life time.Duration
	switch info, err := p.Client.TokenInfo(short); {
	case err == nil:
		id = string(info.ID)
		ends, _ = Moment(info.ExpiresAt)
		if made, _ := Moment(info.CreatedOn); !made.IsZero() {
			life = ends.Sub(made)
		}
	case errors.Is(err, esper.ErrUnauthorized):
		return personalToken{}, fmt.Errorf("renew: %w", err)
	}
	list, err := p.Client.ListPersonalAccessTokens(ctx)
	if err != nil {
		return personalToken{}, fmt.Errorf("renew: %w", err)
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

// AskInstead lists the personal access tokens with the key.
func (p PersonalTokens) AskInstead(ctx context.Context, key esper.Secret, _ error) (policy.Document, error) {
	list, err := p.Client.ListPersonalAccessTokens(ctx)
	if err != nil {
		return policy.Document{}, err
	}
	now := time.Now()
	d := policy.Document{Key: key, IssuedAt: now.UTC().Round(0)}
	found, err := tokenOfKey(list, key, "")
	if err != nil {
		return d, nil //nolint:nilerr // the key works, and no more is known of it
	}
	d.DeveloperAppID = found.LegacyDeveloperAppID.ID
	if u, err := unitOf(string(found.ExpiryAt), time.Time{}, now); err == nil {
		d.ExpiresAt, _ = u.moment(string(found.ExpiryAt))
	}
	if at, _ := Moment(found.UpdatedAt); !at.IsZero() && at.Before(now) {
		d.IssuedAt = at
	}
	return d, nil
}
