package esper

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/esper-go/esper-go/gen"
	"github.com/esper-go/esper-go/pkg/esper/internal/body"
)

// PersonalAccessToken is a name that stays with a key that is replaced: what Esper declares as the successor of its
// two token endpoints. It has the fields of [gen.PersonalAccessToken]: ID, Name, Description, Prefix, Token, CreatedAt,
// UpdatedAt, ExpiryAt, LegacyTokenID and LegacyDeveloperAppID. Any of them may be zero. Token is a key and Prefix the
// beginning of one, so both are secrets. ExpiryAt is a number in a unit that Esper does not name, or "-1" for never.
//
// Experimental: nobody here has seen the server answer. The description may turn out to be wrong, and this type and the
// two methods may change.
type PersonalAccessToken = gen.PersonalAccessToken

const (
	opListPersonalTokens = "ListPersonalAccessTokens"
	opRenewPersonalToken = "RenewPersonalAccessToken"
)

// ListPersonalAccessTokens returns the personal access tokens of the user who owns the client's key (GET
// /authn2/v0/personal-access-token/). The list may hold the keys of all of them: take from it what you need, and keep
// nothing else.
//
// Repetitions and errors are those of [Client.TokenInfo], except that an [*APIError] has no Body. A 2xx answer without
// a list, or one with more than 1024 keys, is [ErrInvalidResponse].
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
		prefix := token.Prefix // it is part of a key that is looked for anyway; to look for each would take seconds
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

// RenewPersonalAccessToken gives a personal access token a new key, and returns it (PUT
// /authn2/v0/personal-access-token/{id}). Id is the token's ID in the list, not a key. ExpiryAt is when the new key is to
// end, in the unit that the list has for this token, or -1 for never.
//
// All that [Client.RenewToken] says of its answer, its errors and its repetitions holds for this as well: store
// the new key before you do anything else. A client whose token source renews its key by itself refuses the call
// with [ErrInvalidArgument], since the token may be the one that the key belongs to.
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

// tokensAPI is what the client has to know of the requests for personal access tokens, by the generated code's word.
type tokensAPI struct {
	listPath    string // below the base URL, for the log
	path        string // with the base URL's; a token's is this and its id
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

// lists reports whether req asks for the list.
func (t tokensAPI) lists(req *http.Request) bool {
	return req.Method == t.listMethod && req.URL.Path == t.path
}

// renews reports whether req renews a token.
func (t tokensAPI) renews(req *http.Request) bool {
	return req.Method == t.renewMethod && strings.HasPrefix(req.URL.Path, t.path)
}
