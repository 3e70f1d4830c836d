package renew

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/esper-go/esper-go/pkg/esper"
	"github.com/esper-go/esper-go/pkg/esper/espertest"
)

const (
	otherToken = `{"id": "5b8a9c1e-2f64-4d0c-8a37-6c5d4e3f2a10", "name": "other", "prefix": "zzzz", "token": "zzzz-other-made-up-key", "expiry_at": -1, "legacy_token_id": 9}`
	ownID      = "0d3f8d3a-6f0f-4b8e-9d55-000000000001" // the id of the fake server's first token
)

// openVia opens a source with the server's key, if the store is empty.
func openVia(t *testing.T, server *espertest.Server, store Store, opts ...Option) *Source {
	t.Helper()
	once := WithClientOptions(esper.WithRetry(esper.Retry{MaxAttempts: 1}))
	return openAt(t, server.URL, store, append(opts, WithInitialToken(key(server.Token())), once)...)
}

// puts returns the ids of the tokens that PUT requests have renewed at server.
func puts(server *espertest.Server) (paths []string) {
	for _, r := range server.Requests() {
		if r.Method == http.MethodPut {
			paths = append(paths, r.Path[strings.LastIndexByte(r.Path, '/')+1:])
		}
	}
	return paths
}

// TestDayAfter retires the renew-token endpoint. Without WithPersonalAccessTokens, the error of Renew names that option.
// With it, keys are renewed, also after TokenInfo has gone.
func TestDayAfter(t *testing.T) {
	for _, status := range []int{http.StatusNotFound, http.StatusGone} {
		server := espertest.NewServer(t, espertest.WithRetired(status))
		store := Memory()
		old := openVia(t, server, store)
		err := old.Renew(t.Context())
		if !errors.Is(err, ErrNotRenewable) || !errors.Is(err, esper.ErrNotFound) || !strings.Contains(err.Error(), "WithPersonalAccessTokens") || !strings.Contains(err.Error(), "--via personal-access-token") {
			t.Errorf("%d: Renew without the option: %v", status, err)
		}
		if err := old.Check(t.Context()); err != nil || len(puts(server)) != 0 {
			t.Errorf("%d: Check without the option: %v, %d renewals", status, err, len(puts(server)))
		}
		source := openVia(t, server, store, WithPersonalAccessTokens())
		for n := range 3 {
			if n == 1 {
				server.Retire(status, "TokenInfo")
			}
			must(t, errors.Join(source.Renew(t.Context()), source.Check(t.Context())), status)
			token, err := source.Token()
			if s := source.Status(); err != nil || token.AccessToken != server.Token() || time.Until(s.ExpiresAt).Round(time.Hour) != 90*day || s.Serial != n+2 {
				t.Errorf("%d: not the server's key, or another end or serial: %v, %+v", status, err, s)
			}
		}
		_ = old.Check(t.Context()) // takes over the new key
		if err := old.Check(t.Context()); !errors.Is(err, esper.ErrNotFound) {
			t.Errorf("Check without the option and without TokenInfo: %v", err)
		}
		must(t, source.Adopt(t.Context(), key(server.NewKey())), status)
		if err := source.Renew(t.Context()); err != nil || time.Until(source.Status().ExpiresAt) < 89*day {
			t.Errorf("%d: Renew of the adopted key: %v", status, err)
		}
	}
}

// TestFindsToken has the server list tokens with various fields, and checks which token is renewed, if any.
func TestFindsToken(t *testing.T) {
	const key = "own-made-up-key"
	expiry := time.Now().Add(90 * day).Unix()
	own := func(fields string) string {
		return fmt.Sprintf(`{"id": %q, "name": "own", "expiry_at": %d%s}`, ownID, expiry, fields)
	}
	for name, test := range map[string]struct {
		list string // the elements of the JSON list
		want string // a part of the error; "" if the token is found
	}{
		"by id":                         {otherToken + ", " + own(`, "legacy_token_id": 570`), ""},
		"by id as text":                 {own(`, "legacy_token_id": "570", "token": null`), ""},
		"by key":                        {otherToken + ", " + own(`, "legacy_token_id": null, "token": "`+key+`"`), ""},
		"by beginning":                  {otherToken + ", " + own(`, "prefix": "own-made"`), ""},
		"by beginning, others alike":    {own(`, "token": "`+key+`", "prefix": "own-made"`) + ", " + strings.Replace(otherToken, "zzzz", "own-made", 1), ""},
		"another key, alike":            {own(`, "prefix": "own-made", "token": "own-made-up-KEY"`), "none of the 1"},
		"another key, longer":           {own(`, "prefix": "own-made", "token": "own-made-up-key-2"`), "none of the 1"},
		"by beginning, cut":             {own(`, "prefix": "own-made", "token": "own-made-"`), ""},
		"by beginning, masked":          {own(`, "prefix": "own-made", "token": "own-made*******"`), ""},
		"none":                          {otherToken, "none of the 1 personal access tokens"},
		"empty":                         {"", "none of the 0 personal access tokens"},
		"a beginning of all keys":       {own(`, "prefix": "own"`), "none of the 1"},
		"two with the id":               {own(`, "legacy_token_id": 570`) + ", " + strings.Replace(otherToken, ": 9", ": 570", 1), `"own" and "other" have the key's id`},
		"the id and the key differ":     {own(`, "legacy_token_id": 570`) + ", " + strings.Replace(otherToken, "zzzz-other-made-up-key", key, 1), `"own" and "other" have the key's id`},
		"two with the beginning":        {own(`, "prefix": "own-made"`) + `, {"name": "other", "prefix": "own-m"}`, `"own" and "other" have the beginning`},
		"beginnings, one shows its key": {own(`, "prefix": "own-made"`) + ", " + strings.Replace(otherToken, "zzzz", "own-m", 1), ""},
		"not a list of objects":         {`"a", 7`, "none of the 2"},
		"another end":                   {strings.Replace(own(`, "legacy_token_id": 570`), strconv.FormatInt(expiry, 10), strconv.FormatInt(expiry+2*86400, 10), 1), "expiry_at"},
		"an end in days":                {strings.Replace(own(`, "legacy_token_id": 570`), strconv.FormatInt(expiry, 10), "90", 1), "expiry_at"},
		"never":                         {strings.Replace(own(`, "legacy_token_id": 570`), strconv.FormatInt(expiry, 10), "-1", 1), "expiry_at"},
		"no end":                        {`{"id": "` + ownID + `", "legacy_token_id": 570}`, "expiry_at"},
	} {
		t.Run(name, func(t *testing.T) {
			server := espertest.NewServer(t, espertest.WithToken(key))
			source := openVia(t, server, Memory(), WithPersonalAccessTokens())
			list := fmt.Sprintf(`{"count": 9, "personal_access_tokens": [%s]}`, test.list)
			server.FailOperation("listPersonalAccessTokens", -1, espertest.Fault{Body: list})
			if renewToken, personal := source.Ways(t.Context()); renewToken != nil || (personal == nil) != (test.want == "") {
				t.Errorf("Ways: %v, %v", renewToken, personal)
			}
			err, sent, found := source.Renew(t.Context()), puts(server), test.want == ""
			switch {
			case found && (err != nil || !slices.Equal(sent, []string{ownID})),
				!found && (!errors.Is(err, ErrNotRenewable) || !strings.Contains(err.Error(), test.want) || len(sent) != 0):
				t.Fatalf("%v, renewed: %v; want %q", err, sent, test.want)
			case found:
				return
			}
			if text := fmt.Sprintf("%v %+v", err, source.Status()); strings.Contains(text, key) || strings.Contains(text, "zzzz-other") {
				t.Errorf("the error or Status shows a key: %s", text)
			}
			wantKey(t, source, key)
		})
	}
}

// A new key lives as long as the one before it, or as WithLifetime says. One that never ends is followed by such a one.
func TestLifetimeOfNewKeys(t *testing.T) {
	const month = 30 * day
	for name, test := range map[string]struct {
		never bool
		opts  []Option
		want  time.Duration // 0: the renewal is refused
	}{
		"as before":               {false, nil, month},
		"another lifetime":        {false, []Option{WithLifetime(time.Hour)}, time.Hour},
		"never":                   {true, nil, 36_500 * day},
		"never, and WithLifetime": {true, []Option{WithLifetime(time.Hour)}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			server := espertest.NewServer(t, espertest.WithLifetime(month))
			if test.never {
				ids := `"enterprise": "` + server.EnterpriseID + `", "developer_app": "` + server.DeveloperAppID + `"`
				server.FailOperation("getTokenInfo", -1, espertest.Fault{Body: `{"id": 570, "expires_on": null, ` + ids + `}`})
				server.FailOperation("listPersonalAccessTokens", -1, espertest.Fault{
					Body: `{"count": 1, "personal_access_tokens": [{"id": "` + ownID + `", "legacy_token_id": 570, "expiry_at": -1}]}`,
				})
			}
			source := openVia(t, server, Memory(), append(test.opts, WithPersonalAccessTokens())...)
			err := source.Renew(t.Context())
			if test.want == 0 {
				if err == nil || !strings.Contains(err.Error(), "WithLifetime") || len(puts(server)) != 0 {
					t.Errorf("%v, %d renewals", err, len(puts(server)))
				}
				return
			}
			if left := time.Until(source.Status().ExpiresAt); err != nil || left < test.want-time.Minute || !test.never && left > test.want+2*time.Second {
				t.Errorf("the new key lives for %v, want %v: %v", left, test.want, err)
			}
		})
	}
}

// A renewal ends in time although the server does not list its tokens, and no request is sent that may replace the key. If
// TokenInfo alone hangs, enough time is left to renew the key without it.
func TestListHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const attempt = 15 * time.Second // a twentieth of the key's lifetime
		server := espertest.NewServer(t, espertest.WithLifetime(5*time.Minute))
		source := openVia(t, server, Memory(), WithPersonalAccessTokens(), WithClientOptions(esper.WithTransport(server.Transport())))
		server.FailOperation("listPersonalAccessTokens", -1, espertest.Fault{Delay: time.Hour})
		begun, err := time.Now(), source.Renew(t.Context())
		if took := time.Since(begun); !errors.Is(err, context.DeadlineExceeded) || took > attempt || len(puts(server)) != 0 || source.Status().InDoubt {
			t.Errorf("%v after %v, %d renewals, %+v", err, took, len(puts(server)), source.Status())
		}
		server.FailOperation("listPersonalAccessTokens", 0, espertest.Fault{})
		server.FailOperation("getTokenInfo", -1, espertest.Fault{Delay: time.Hour})
		if err := source.Renew(t.Context()); err != nil || len(puts(server)) != 1 {
			t.Errorf("%v, %d renewals", err, len(puts(server)))
		}
	})
}
