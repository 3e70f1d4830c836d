package esper

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/esper-go/esper-go/gen"
	"github.com/esper-go/esper-go/pkg/esper/internal/body"
)

// PersonalAccessToken is a key with an ID and a name. A renewal replaces the key; ID and name stay. Esper declares
// personal access tokens as the successor of its two token endpoints.
//
// The type has the fields of [gen.PersonalAccessToken]: ID, Name, Description, Prefix, Token, CreatedAt, UpdatedAt,
// ExpiryAt, LegacyTokenID and LegacyDeveloperAppID. Any of them may be zero. Token is the key and Prefix its beginning,
// so both are secrets. ExpiryAt is a number in a unit that Esper does not name, or "-1" for never.
//
// Experimental: the authors of this package have not seen the server answer. Esper's description may turn out to be
// wrong, and this type, [Client.ListPersonalAccessTokens] and [Client.RenewPersonalAccessToken] may change.
type PersonalAccessToken = gen.PersonalAccessToken

const (
	opListPersonalTokens = "ListPersonalAccessTokens"
	opRenewPersonalToken = "RenewPersonalAccessToken"
)

// ListPersonalAccessTokens returns the personal access tokens of the user who owns the client's key (GET
// /authn2/v0/personal-access-token/). The list may hold the keys of all of them: take from it what you need, and keep
// nothing else.
//
// Retries and errors are those of [Client.TokenInfo], except that an [*APIError] has no Body. A 2xx answer without a
// list, or with more than 1024 tokens, is [ErrInvalidResponse].
//
// Experimental: see [PersonalAccessToken].
func (c *Client) ListPersonalAccessTokens(ctx context.Context) ([]PersonalAccessToken, error) {
	r := c.call(ctx, operation{
		name:         opListPersonalTokens,
		method:       http.MethodGet,
		relativePath: c.tokens.listPath,
		request: func(server string, _ Secret) (*http.Request, error) {
			return gen.NewListPersonalAccessTokensRequest(server)
		},
		retryable:  retryableGet,
		repeatable: true,
	})
	if api := (*APIError)(nil); errors.As(r.err, &api) {
		api.Body = nil // it may hold keys that have nothing to do with the call
	}
	if r.err != nil {
		return nil, r.err
	}
	list := []PersonalAccessToken{}
	fields := body.FieldsOf(PersonalAccessToken{})
	found := body.List(r.body, "personal_access_tokens", func(item []byte) bool {
		var token PersonalAccessToken
		fields.Decode(item, &token)
		prefix := token.Prefix // not searched for: it is part of Token, and searching for both takes seconds
		token.Prefix = Secret{}
		r.secrets.Fields(&token)
		token.Prefix = prefix
		list = append(list, token)
		return len(list) <= maxListed
	})
	switch {
	case !found || !body.IsWhole(r.body):
		return nil, &callError{opListPersonalTokens, r.attempts, unreadable(r, "no list of personal access tokens")}
	case len(list) > maxListed:
		return nil, &callError{opListPersonalTokens, r.attempts, unreadable(r, "more personal access tokens than 1024")}
	}
	return list, nil
}

// RenewPersonalAccessToken gives a personal access token a new key, and returns the token with the new key (PUT
// /authn2/v0/personal-access-token/{id}). Id is the token's ID in the list, not a key. ExpiryAt is when the new key is to
// end, in the unit that the list has for this token, or -1 for never.
//
// Store the new key before you do anything else. Answers, errors and retries are as [Client.RenewToken] describes them.
// If the client's token source has a RenewToken method (see [New]), the call returns [ErrInvalidArgument], because id may
// name the token whose key the source renews.
//
// Experimental: see [PersonalAccessToken].
func (c *Client) RenewPersonalAccessToken(ctx context.Context, id string, expiryAt int64) (*PersonalAccessToken, error) {
	if ctx == nil {
		return nil, errNilContext
	}
	if err := checkUUID(id, "the id of the personal access token"); err != nil {
		return nil, err
	}
	if expiryAt <= 0 && expiryAt != -1 {
		return nil, invalid("expiryAt is %d; it is a moment in the future, or -1 for never", expiryAt)
	}
	if c.source.renew != nil {
		return nil, errOwnRenewal
	}
	r, err := c.exchange(ctx, operation{
		name:         opRenewPersonalToken,
		method:       c.tokens.renewMethod,
		relativePath: c.tokens.listPath + "{id}",
		request: func(server string, _ Secret) (*http.Request, error) {
			return gen.NewRenewPersonalAccessTokenRequest(server, id, gen.PersonalAccessTokenRenewal{ExpiryAt: expiryAt})
		},
	})
	if err != nil {
		return nil, err
	}
	renewed := new(PersonalAccessToken)
	body.FieldsOf(*renewed).Decode(r.body, renewed)
	renewed.Token = r.key
	r.secrets.Fields(renewed)
	return renewed, nil
}

var errOwnRenewal = invalid("the token source renews its key itself; call Client.RenewToken, or use another client for the tokens of other keys")

// tokensAPI holds the paths and methods of the requests for personal access tokens, taken from the generated code.
type tokensAPI struct {
	listPath    string // relative to the base URL, for the log
	path        string // of the list, including the base URL's path; the path of a token is this and the token's ID
	listMethod  string
	renewMethod string
}

func newTokensAPI(server string) (tokensAPI, error) {
	list, err := gen.NewListPersonalAccessTokensRequest(server)
	if err != nil {
		return tokensAPI{}, err
	}
	below, err := gen.NewListPersonalAccessTokensRequest("")
	if err != nil {
		return tokensAPI{}, err
	}
	one, err := gen.NewRenewPersonalAccessTokenRequest(server, "", gen.PersonalAccessTokenRenewal{})
	if err != nil {
		return tokensAPI{}, err
	}
	return tokensAPI{"/" + strings.TrimLeft(below.URL.Path, "./"), list.URL.Path, list.Method, one.Method}, nil
}

// lists reports whether req asks for the list of personal access tokens.
func (t tokensAPI) lists(req *http.Request) bool {
	return req.Method == t.listMethod && req.URL.Path == t.path
}

// renews reports whether req renews a personal access token.
func (t tokensAPI) renews(req *http.Request) bool {
	return req.Method == t.renewMethod && strings.HasPrefix(req.URL.Path, t.path)
}
