package esper_test

import (
	"context"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
)

// The caller gets the new key, however the name token is written, and whatever other members the answer has.
// No middleware and no other field shows the key.
func TestRenewToken_OddTokens(t *testing.T) {
	for _, extra := range []string{
		`"csrf_token": "&amp;"`, `"x_token": "%2541"`, `"x_token": "&lt;"`, `"x_token": "\\\\\\\\"`, `"x_token": ""`, `"x_token": "a"`, `"x_token": {}`, `"x_token": [[[[[["deep-1"]]]]]]`,
		`"x_token": "` + strings.Repeat("%25", 2000) + `41"`, `"x_token": "` + strings.Repeat("&amp;", 2000) + `"`, `"x_token": 7`, `"x_token": "é"`, `"x_token": "` + strings.Repeat(`\\`, 50) + `"`,
		strings.Repeat(`"a_token": "filler-1", "b_token": "filler-2", `, 20) + `"c_token": true`,
	} {
		for _, name := range []string{"token", "Token", "TOKEN", `tok\u0065n`} {
			body := `{` + extra + `, "id": 1, "user": "` + newKey + `", "` + name + `": "` + newKey + `"}`
			p := newProbe(t, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("X-Request-Id", newKey)
				w.WriteHeader(http.StatusCreated)
				_, _ = io.WriteString(w, body)
			})
			seen := ""
			c := clientFor(t, p.URL, oldKey, around(func(req *http.Request, next http.RoundTripper) (*http.Response, error) {
				resp, err := next.RoundTrip(req)
				if err == nil {
					seen = resp.Header.Get("X-Request-Id")
				}
				return resp, err
			}))
			renewed, err := c.RenewToken(t.Context(), renewal(oldKey))
			if err != nil || renewed.Token.Reveal() != newKey {
				t.Fatalf("%.80s: %v", body, err)
			}
			if strings.Contains(seen, newKey) {
				t.Errorf("%.80s: a middleware saw %q", body, seen)
			}
		}
	}
}

// A word under a name such as token in an error is not taken for a key. Otherwise every text of the error that
// contains the word would be withheld.
func TestWordsUnderTokenAreNoKeys(t *testing.T) {
	for body, says := range map[string]string{
		`{"access_token":["expired"],"message":"your token has expired"}`:              "your token has expired",
		`{"has_token":true,"message":"it is true"}`:                                    "it is true",
		`{"token":"missing","message":"developer app is missing"}`:                     "developer app is missing",
		`{"errors":{"token":"This field is required."},"message":"field is required"}`: "(token: This field is required.)",
	} {
		p := newProbe(t, answer(400, "application/json", body))
		each(t, clientFor(t, p.URL, oldKey), oldKey, func(t *testing.T, do func(context.Context) error) {
			if err := do(t.Context()); err == nil || !strings.Contains(err.Error(), says) || strings.Contains(err.Error(), "withheld") {
				t.Errorf("%s: %v", body, err)
			}
		})
	}
}

// Keys that look escaped, or decode to nothing, work like any other.
func TestKeysThatLookEscaped(t *testing.T) {
	p := newProbe(t, nil)
	for _, key := range []string{"&lt;", "%2541", "%41%42%43%44", "&amp;&amp;&amp;&amp;", `\\\\`, "++++++++", strings.Repeat("%25", 2000), "\u0041x"} {
		if _, err := clientFor(t, p.URL, key).TokenInfo(t.Context()); err != nil {
			t.Errorf("%.20q: %v", key, err)
		}
	}
}

// An answer that a middleware makes itself ends a renewal. Only after 429 is the renewal tried again.
func TestRenewToken_MiddlewareRefuses(t *testing.T) {
	for status, want := range map[int]int32{400: 1, 401: 1, 403: 1, 404: 1, 302: 1, 500: 1, 429: 3} {
		var asked atomic.Int32
		own := roundTripFunc(func(*http.Request) (*http.Response, error) {
			asked.Add(1)
			return respond(status, strings.NewReader("")), nil
		})
		_, err := clientFor(t, "foo", oldKey, own.option(), quickRetry(3)).RenewToken(t.Context(), renewal(oldKey))
		if err == nil || asked.Load() != want {
			t.Errorf("%d: asked %d times, want %d; %v", status, asked.Load(), want, err)
		}
	}
}

// Of two answers in one attempt, the client uses the answer that the middleware returns, even with a wrapped
// body.
func TestMiddlewareMirrors(t *testing.T) {
	var n atomic.Int32
	p := newProbe(t, func(w http.ResponseWriter, r *http.Request) {
		if n.Add(1)%2 == 0 {
			http.Error(w, "the mirror is down", http.StatusServiceUnavailable)
			return
		}
		answerWell(w, r)
	})
	mirror := func(req *http.Request, next http.RoundTripper) (*http.Response, error) {
		resp, err := next.RoundTrip(req.Clone(req.Context()))
		_, _ = next.RoundTrip(req.Clone(req.Context()))
		if err == nil {
			resp.Body = struct{ io.ReadCloser }{resp.Body}
		}
		return resp, err
	}
	if info, err := clientFor(t, p.URL, oldKey, around(mirror), quickRetry(1)).TokenInfo(t.Context()); err != nil || info.ID != "570" {
		t.Errorf("mirror: %v", err)
	}
}
