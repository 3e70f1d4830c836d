package esper_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/esper-go/esper-go/pkg/esper"
)

var errRefused = &net.OpError{Op: "dial", Net: "tcp", Err: errors.New("connection refused")}

// renewals calls f for each of the two ways to renew a key.
func renewals(c *esper.Client, f func(renew func(context.Context) (*esper.RenewedToken, error))) {
	f(func(ctx context.Context) (*esper.RenewedToken, error) { return c.RenewToken(ctx, renewal(oldKey)) })
	f(func(ctx context.Context) (*esper.RenewedToken, error) {
		renewed, err := c.RenewPersonalAccessToken(ctx, tokenID, -1)
		if renewed == nil {
			return nil, err
		}
		return &esper.RenewedToken{Token: renewed.Token}, err
	})
}

// unreadable are 2xx answers without a key that can be read.
func unreadable() map[string]string {
	token := func(value string) string { return strings.Replace(realRenewal, `"`+newKey+`"`, value, 1) }
	return map[string]string{
		"empty":                    "",
		"the key alone":            `"` + newKey + `"`,
		"HTML":                     `<html><body>"token": "` + newKey + `"</body></html>`,
		"an array":                 `[` + realRenewal + `]`,
		"an empty object":          "{}",
		"cut in the key":           realRenewal[:strings.Index(realRenewal, newKey)+10],
		"cut in an escape":         `{"token": "` + newKey + `\"`,
		"cut in a number":          `{"token": 1234567890`,
		"only nested":              `{"data": ` + realRenewal + `}`,
		"two tokens, malformed":    `{"data": [` + realRenewal + `, {"token": "other"}, NaN}`,
		"the old key":              token(`" ` + oldKey + ` "`),
		"the old key, cut":         `{"token": "` + oldKey + `", "id": 57`,
		"the old key, malformed":   `{"token": NaN, "old": {"token": "` + oldKey + `"}`,
		"token null":               token(`null`),
		"token a lone surrogate":   token(`"\ud83d` + newKey + `"`),
		"token invalid UTF-8":      token("\"" + newKey + "\xff\""),
		"token with a raw newline": token("\"" + newKey + "\n\""),
		"token with a newline":     token(`"` + newKey[:9] + `\n` + newKey[9:] + `"`),
		"token with a hidden mark": token(`"` + newKey[:9] + `\u200b` + newKey[9:] + `"`), // no source would accept these
		"token with its scheme":    token(`"Bearer ` + newKey + `"`),
		"opening braces":           strings.Repeat("{", 100000),
		"broken gzip":              "\x1f\x8b\x00\x00",
	}
}

// What a server answers decides what a failed renewal means for the key. If the request may have arrived and there is
// no answer, nobody knows. A renewal is sent once, unless the server answered 429. Its error shows no key.
func TestRenewalFails(t *testing.T) {
	type end struct {
		answer  string
		outcome esper.Outcome
		body    string
		says    string
	}
	ends := map[string]end{ // TestWhoRefused has more
		"404": {raw(404, refusal), esper.OutcomeNotRenewed, refusal, "404 Not Found"},
		"429": {raw(429, refusal), esper.OutcomeNotRenewed, refusal, "429 Too Many Requests"},
		"500": {raw(500, refusal), esper.OutcomeUnknown, refusal, "500 Internal Server Error"},
	}
	for name, answer := range map[string]string{
		"closed": "", "garbage": "SSH-2.0-OpenSSH_9.6\r\n\r\n", "cut in the head": "HTTP/1.1 201 Created\r\nContent-",
		// Its body is the connection itself. Reading it would outlast every timeout.
		"a switch of protocols": "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n",
	} {
		ends[name] = end{answer: answer, outcome: esper.OutcomeUnknown}
	}
	reasons := map[string]string{
		"empty": "is empty", "HTML": "an HTML page", "cut in the key": "cut short", "an empty object": "no usable new token",
	}
	for name, body := range unreadable() {
		ends[name] = end{raw(201, body), esper.OutcomeUnreadable, body, "invalid response: "}
		if reasons[name] != "" {
			ends[name] = end{raw(201, body), esper.OutcomeUnreadable, body, reasons[name]}
		}
	}
	meanings := map[string]string{
		"OutcomeNotRenewed": "nothing was renewed", "OutcomeUnknown": "do not repeat the renewal",
		"OutcomeUnreadable": "keep RenewalError.Body",
	}
	for name, tc := range ends {
		synctest.Test(t, func(t *testing.T) {
			var posts atomic.Int32
			begun, serve := time.Now(), saying(tc.answer)
			if name == "a switch of protocols" {
				serve = hanging(tc.answer)
			}
			server := piped(func(conn net.Conn) { posts.Add(1); serve(conn) })
			client := clientFor(t, memory, oldKey, server, quickRetry(3))
			_, _ = client.TokenInfo(t.Context()) // it must leave no goroutine either
			renewals(client, func(renew func(context.Context) (*esper.RenewedToken, error)) {
				posts.Store(0)
				renewed, err := renew(t.Context())
				wantLost(t, renewed, err, tc.outcome, tc.body)
				text := fmt.Sprintf("%v %+v %#v %q", err, err, err, err)
				if !strings.Contains(text, tc.says) || strings.Contains(text, newKey) {
					t.Errorf("%s: %s does not say %q, or shows the new key", name, text, tc.says)
				}
				if meaning := meanings[tc.outcome.String()]; meaning == "" || !strings.Contains(text, meaning) {
					t.Errorf("%s: %s does not say what %v means", name, text, tc.outcome)
				}
				invalid := tc.outcome == esper.OutcomeUnreadable
				if errors.Is(err, esper.ErrInvalidResponse) != invalid {
					t.Errorf("%s: %v: an invalid response %t", name, err, !invalid)
				}
				wantCount(t, name+": requests", posts.Load(), map[bool]int32{true: 3, false: 1}[name == "429"])
			})
			if took := time.Since(begun); took > time.Second {
				t.Errorf("%s: it took %v", name, took)
			}
		})
	}
}

// The key is returned whatever the rest of the answer is, and whatever Content-Encoding says of it. Only the key is
// promised of an answer that is broken.
func TestRenewToken_RealAnswerAndItsMutations(t *testing.T) {
	const (
		token  = `"token": "` + newKey + `"`
		user   = `"user": "bindya"`
		fields = "571 bindya " + enterpriseID + " " + developerAppID + " 2023-07-03 04:29:53.90602 +0000 UTC " +
			"[read write update introspection sdk register] 2023-04-04 04:29:53.90602 +0000 UTC " +
			"2023-04-05 04:29:53.90602 +0000 UTC"
	)
	change := func(old, with string) string { return strings.ReplaceAll(realRenewal, old, with) }
	zipped := gzipped(t, realRenewal)
	for name, body := range map[string]string{
		"as it is":               realRenewal,
		"odd fields":             `{"id": [{}], "user": 1.5, "scope": {"a": [1]}, "expires_at": [], ` + token + `}`,
		"only the key":           `{` + token + `}`,
		"a raw newline":          change(`bindya`, "bin\ndya"),
		"a quoted token":         change(user, `"user": "\"token\": \"other\""`),
		"an object with a token": change(user, `"user": {"token": "nested", "n": [1, {}]}`),
		"unknown fields":         change(`{"id"`, `{"extra": {"token": "nested"}, "list": [{"token": "nested"}], "id"`),
		"broken behind it":       strings.TrimSuffix(realRenewal, "}") + `, "old": {"token": "other"}, NaN}`,
		"too huge field after":   change(`"expires_at"`, `"big": "`+strings.Repeat("x", 2<<20)+`", "expires_at"`),
		"deeply nested field":    change(`{"id"`, `{"deep": `+strings.Repeat("[", 20000)+strings.Repeat("]", 20000)+`, "id"`),
		"token twice":            change(token, `"token": "first", `+token),
		"token null, then real":  change(token, `"token": null, `+token),
		"the old key after it":   change(token, token+`, "token": "`+oldKey+`"`),
		"the old key, malformed": `{"token": "` + oldKey + `", NaN, ` + token + `}`,
		"another TOKEN":          change(token, token+`, "TOKEN": "other"`),
		"name escaped":           change(`"token"`, `"\u0074ok\u0065n"`),
		"key escaped":            change(`NewMadeUp`, `\u004eew\u004dadeUp`),
		"BOM and white space":    "\n\ufeff" + realRenewal + "\r\n ",
		"comma at the end":       change(`Z"}`, `Z",}`),
		"blanks around the key":  change(`"`+newKey+`"`, `" `+newKey+`\r\n"`),
		"gzip":                   zipped,
		"gzip and more":          zipped + "junk",
		"gzip without its end":   zipped[:len(zipped)-6],
	} {
		for _, label := range []string{"gzip", "br", "identity"} {
			var posts atomic.Int32
			answer := raw(200, body, "Content-Type: text/html", "Content-Encoding: "+label)
			server := piped(func(conn net.Conn) { posts.Add(1); saying(answer)(conn) })
			renewed, err := clientFor(t, memory, oldKey, server).RenewToken(t.Context(), renewal(oldKey))
			r := wantRenewed(t, renewed, err)
			got := fmt.Sprintln(r.ID, r.User, r.Enterprise.ID, r.DeveloperApp.ID, r.ExpiresAt, r.Scope, r.CreatedOn, r.UpdatedOn)
			if strings.Trim(body, "\ufeff\r\n ") == realRenewal && got != fields+"\n" {
				t.Errorf("%s: got  %swant %s", name, got, fields)
			}
			wantCount(t, name+", "+label+": POSTs", posts.Load(), 1)
		}
	}
}

// HTTP/2 sends a request again by itself, and so does HTTP/1.1 over a connection that was kept. In both cases nobody
// could tell whether the first one arrived. So a renewal uses a new HTTP/1.1 connection, and so does the attempt of a
// TokenInfo that follows one without an answer.
func TestRenewToken_NeverOnAUsedConnection(t *testing.T) {
	var aborted atomic.Bool
	p, transport := secureProbe(t, func(w http.ResponseWriter, r *http.Request) {
		if aborted.CompareAndSwap(false, true) {
			abort(w, r)
		}
		answerWell(w, r)
	})
	c := clientFor(t, p.URL, "key", esper.WithTransport(transport), esper.WithMiddleware(meddler), quickRetry(2))
	addresses := make(map[string]bool)
	for range 3 {
		each(t, c, "key", func(t *testing.T, do func(context.Context) error) {
			if err := do(t.Context()); err != nil {
				t.Fatal(err)
			}
		})
	}
	for i, r := range p.arrivals() {
		switch used := addresses[r.RemoteAddr]; {
		case r.Method == http.MethodGet && (r.Proto == "HTTP/2.0") == (i == 1): // the second attempt
			t.Errorf("request %d, TokenInfo, came over %s", i, r.Proto)
		case r.Method == http.MethodPost && (r.Proto != "HTTP/1.1" || used || r.Header.Get("Connection") != "close"):
			t.Errorf("RenewToken came over %s, Connection: %q, used before: %v", r.Proto, r.Header.Get("Connection"), used)
		}
		addresses[r.RemoteAddr] = true
	}
	if len(p.arrivals()) != 7 || len(addresses) != 5 {
		t.Errorf("%d requests over %d connections, want 7 over 5", len(p.arrivals()), len(addresses))
	}
	if protos := transport.TLSClientConfig.NextProtos; !slices.Contains(protos, "h2") || transport.DisableKeepAlives {
		t.Errorf("WithTransport's transport was changed: %v", protos)
	}
}

// Behind each byte of an answer the connection is closed, or says nothing more. The key is returned if it has
// arrived, and otherwise what has arrived. Package faults does the same with resets over a network.
func TestRenewToken_CutAtEachByte(t *testing.T) {
	const limit = 7 * time.Second
	for _, body := range []string{ // newKey occurs once, as the top-level token
		`{"id": 571, "old": {"token": "nested"}, "list": [{"token": "listed"}], "note": "\"token\": \"quoted\"", ` +
			`"token": "` + newKey + `", "expires_at": "2023-07-03T04:29:53.906020Z"}`,
		`{"token": "` + newKey + `", "id": 571, "old": {"token": "nested"}}`,
		`{"id": 571, "token\u0020": "no", "token": "` + newKey + `"}`,
	} {
		for length := range body {
			for end, serve := range map[time.Duration]func(string) func(net.Conn){0: saying, limit: hanging} {
				synctest.Test(t, func(t *testing.T) {
					posts, start := 0, time.Now()
					whole := raw(201, body)
					sent := whole[:len(whole)-len(body)+length]
					server := piped(func(conn net.Conn) { posts++; serve(sent)(conn) })
					client := clientFor(t, memory, oldKey, server, esper.WithTimeout(limit), quickRetry(3))
					renewed, err := client.RenewToken(t.Context(), renewal(oldKey))
					if strings.Contains(sent, newKey+`"`) {
						wantRenewed(t, renewed, err)
					} else {
						wantLost(t, renewed, err, esper.OutcomeUnreadable, body[:length])
					}
					if took := time.Since(start); took != end || err != nil && os.IsTimeout(err) != (end > 0) || posts != 1 {
						t.Fatalf("after %s: %v after %v, %d POSTs", sent, err, took, posts)
					}
				})
			}
		}
	}
}

// FuzzAnswers lets a server answer a renewal, and a request for the list of personal access tokens, with any body.
// Malformed tokens do not spoil a list, but an answer without a whole list is an error.
func FuzzAnswers(f *testing.F) {
	plain := regexp.MustCompile(`^[0-9A-Za-z]+$`)
	for _, token := range []string{
		`{"id": "` + tokenID + `", "name": "n", "token": "` + fuzzKey + `", "expiry_at": 1888272000, "legacy_token_id": 571}`,
		`{"id": 7, "token": "another", "expiry_at": -1, "legacy_token_id": "571", "legacy_developer_app_id": null}`,
		`{"id": [1], "token": "key", "expiry_at": {}, "created_at": 1, "name": null}`, `{"token": "cut`, `null`, `[]`, ``,
		`{"token": "a", "token": "b"}`, `{"Token": "\u0063anary"}`, "{\"token\": \"\xff\"}", `{"token": 12}`, `<html>`,
		`{,,"token":,"token": "k",}`, `{"a": [1}, "token": "k"}`, `{"TOKEN": "k", "Token": 1}`, `{"token":"k"}{"token":"l"}`,
	} {
		f.Add(token)
		f.Add(`{"count": 1, "personal_access_tokens": [` + token + `, ` + token + `]}`)
		f.Add(`{"personal_access_tokens": ` + token + `}`)
	}
	f.Fuzz(func(t *testing.T, body string) {
		client := clientFor(t, memory, fuzzKey, piped(saying(raw(200, body))), quickRetry(1))
		var whole struct {
			Token json.RawMessage `json:"token"`
			List  json.RawMessage `json:"personal_access_tokens"`
		}
		var items []json.RawMessage
		none := json.Unmarshal([]byte(body), &whole) != nil || json.Unmarshal(whole.List, &items) != nil
		list, err := client.ListPersonalAccessTokens(t.Context())
		switch {
		case json.Valid([]byte(body)) && (none != (err != nil) || len(list) != len(items)),
			err != nil && !errors.Is(err, esper.ErrInvalidResponse):
			t.Errorf("%d tokens, %v; want %d, none %t", len(list), err, len(items), none)
		case err != nil:
			checkShown(t, err)
		}
		renewals(client, func(renew func(context.Context) (*esper.RenewedToken, error)) {
			renewed, err := renew(t.Context())
			var key string
			_ = json.Unmarshal(whole.Token, &key)
			unique := strings.Count(body, "token\"") == 1 && plain.MatchString(key)
			switch {
			case err == nil && (renewed.Token.IsZero() || strings.ContainsRune(renewed.Token.Reveal(), utf8.RuneError)),
				err == nil && !strings.Contains(strings.ToLower(body), "token") && !strings.Contains(body, `\u`),
				err != nil && outcomeOf(err) != esper.OutcomeUnreadable:
				t.Errorf("%v, %v", renewed, err)
			case unique && (err != nil || renewed.Token.Reveal() != key):
				t.Errorf("%v, %v; want the key in %q", renewed, err, body)
			case err != nil:
				checkShown(t, err)
			}
		})
	})
}
