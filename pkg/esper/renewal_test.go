package esper_test

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/esper-go/esper-go/pkg/esper"
)

var errRefused = &net.OpError{Op: "dial", Net: "tcp", Err: errors.New("connection refused")}

// If a renewal may have arrived and there is no answer, nobody knows what became of the key. An answer without a key that
// can be read is kept. TestWhoRefused has the other answers. A renewal is sent once, unless the server answered 429.
func TestRenewalFails(t *testing.T) {
	for name, serve := range map[string]func(net.Conn){
		"closed": saying(""), "garbage": saying("SSH-2.0-OpenSSH_9.6\r\n\r\n"),
		"cut in the head": saying("HTTP/1.1 201 Created\r\nContent-"), "no colon": saying("HTTP/1.1 200 OK\r\nno\r\n\r\n"),
	} {
		situation{serve: serve, says: "no answer from 127.0.0.1", tries: 3}.check(t, name)
	}
	// The body is the connection itself. Reading it would outlast every timeout.
	switching := hanging("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n")
	situation{serve: switching, status: 101, tries: 1}.check(t, "a switch of protocols")
	reasons := map[string]string{
		"empty": "is empty", "HTML": "an HTML page", "cut in the key": "cut short", "an empty object": "no usable new token",
	}
	token := func(value string) string { return strings.Replace(realRenewal, `"`+newKey+`"`, value, 1) }
	for name, body := range map[string]string{
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
		"the old key":              token(`" ` + canary + ` "`),
		"the old key, cut":         `{"token": "` + canary + `", "id": 57`,
		"the old key, malformed":   `{"token": NaN, "old": {"token": "` + canary + `"}`,
		"token null":               token(`null`),
		"token a lone surrogate":   token(`"\ud83d` + newKey + `"`),
		"token invalid UTF-8":      token("\"" + newKey + "\xff\""),
		"token with a raw newline": token("\"" + newKey + "\n\""),
		"token with a newline":     token(`"` + newKey[:9] + `\n` + newKey[9:] + `"`),
		"token with a hidden mark": token(`"` + newKey[:9] + `\u200b` + newKey[9:] + `"`), // no source would accept these
		"token with its scheme":    token(`"Bearer ` + newKey + `"`),
		"opening braces":           strings.Repeat("{", 100000),
		"broken gzip":              "\x1f\x8b\x00\x00",
	} {
		situation{
			serve: saying(raw(201, body)), status: 201, is: esper.ErrInvalidResponse, says: "invalid response: |" + reasons[name],
			outcome: esper.OutcomeUnreadable, body: body,
		}.check(t, name)
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
			r := cmp.Or(renewed, &esper.RenewedToken{})
			wantOutcome(t, name+", "+label, r.Token, err, renewedKey, "")
			got := fmt.Sprintln(r.ID, r.User, r.Enterprise.ID, r.DeveloperApp.ID, r.ExpiresAt, r.Scope, r.CreatedOn, r.UpdatedOn)
			if strings.Trim(body, "\ufeff\r\n ") == realRenewal {
				equal(t, name, got, fields+"\n")
			}
			equal(t, name+", "+label+": POSTs", posts.Load(), 1)
		}
	}
}

// HTTP/2 sends a request again by itself, and so does HTTP/1.1 over a connection that was kept. In both cases nobody
// could tell whether the first one arrived. So a renewal uses a new HTTP/1.1 connection. So does an attempt that follows
// one without an answer, and a call that follows one that got none in its time.
func TestRenewToken_NeverOnAUsedConnection(t *testing.T) {
	var requests atomic.Int32
	arrived := make(chan struct{})
	p, transport := secureProbe(t, func(w http.ResponseWriter, r *http.Request) {
		switch requests.Add(1) {
		case 1:
			abort(w, r)
		case 6:
			close(arrived)
			<-r.Context().Done() // the client gives up
		}
		answers(200, "", goodAnswer)(w, r)
	})
	c := clientFor(t, p.URL, "key", esper.WithTransport(transport), esper.WithMiddleware(meddler), quickRetry(2))
	call := func(ctx context.Context, calls []operation, want error) {
		for _, op := range calls {
			if _, _, err := op.do(ctx); !errors.Is(err, want) {
				t.Errorf("%s: %v, want %v", op.name, err, want)
			}
		}
	}
	ctx, end := context.WithCancelCause(t.Context())
	go func() { <-arrived; end(context.DeadlineExceeded) }()
	ops := operations(c, "key")
	call(t.Context(), ops[:3], nil)
	call(t.Context(), ops[:1], nil)
	call(ctx, ops[:1], context.DeadlineExceeded)
	call(t.Context(), ops[:3], nil)
	var got string
	names := make(map[string]rune) // of the client's ends
	for _, r := range p.arrivals() {
		if names[r.RemoteAddr] == 0 {
			names[r.RemoteAddr] = 'a' + rune(len(names))
		}
		got += fmt.Sprintf("%s %s %c, ", r.Method, r.Proto, names[r.RemoteAddr])
		if r.Method != http.MethodGet && r.Header.Get("Connection") != "close" {
			t.Errorf("%s: Connection: %q", r.Method, r.Header.Get("Connection"))
		}
	}
	const want = "GET HTTP/2.0 a, GET HTTP/1.1 b, POST HTTP/1.1 c, PUT HTTP/1.1 d, GET HTTP/2.0 a, GET HTTP/2.0 a, " +
		"GET HTTP/1.1 e, POST HTTP/1.1 f, PUT HTTP/1.1 g, "
	equal(t, "requests over connections", got, want)
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
					outcome := esper.OutcomeUnreadable
					if strings.Contains(sent, newKey+`"`) {
						outcome = renewedKey
					}
					wantOutcome(t, sent, cmp.Or(renewed, &esper.RenewedToken{}).Token, err, outcome, body[:length])
					if took := time.Since(start); took != end || err != nil && os.IsTimeout(err) != (end > 0) || posts != 1 {
						t.Fatalf("after %s: %v after %v, %d POSTs", sent, err, took, posts)
					}
				})
			}
		}
	}
}

// FuzzAnswers lets a server answer with any status, body and id. An error says in one line what is wrong, and does not
// show the key. Malformed tokens do not spoil a list of personal access tokens, but an answer
// without a whole list is an error.
func FuzzAnswers(f *testing.F) {
	plain := regexp.MustCompile(`^[0-9A-Za-z]+$`)
	for _, token := range []string{
		`{"id": "` + tokenID + `", "name": "n", "token": "` + canary + `", "expiry_at": 1888272000, "legacy_token_id": 571}`,
		`{"id": 7, "token": "another", "expiry_at": -1, "legacy_token_id": "571", "legacy_developer_app_id": null}`,
		`{"id": [1], "token": "key", "expiry_at": {}, "created_at": 1, "name": null}`, `{"token": "cut`, `null`, `[]`, ``,
		`{"token": "a", "token": "b"}`, `{"Token": "\u0063anary"}`, "{\"token\": \"\xff\"}", `{"token": 12}`, `<html>`,
		`{,,"token":,"token": "k",}`, `{"a": [1}, "token": "k"}`, `{"TOKEN": "k", "Token": 1}`, `{"token":"k"}{"token":"l"}`,
	} {
		f.Add(uint16(0), token, "")
		f.Add(uint16(0), `{"count": 1, "personal_access_tokens": [`+token+`, `+token+`]}`, "")
		f.Add(uint16(0), `{"personal_access_tokens": `+token+`}`, "")
	}
	for _, tc := range byBody() {
		f.Add(uint16(200), tc.body, "a request")
	}
	for _, body := range []string{
		`{"detail": "` + canary[:20] + `"}`, `{"errors": ["` + canary + `"], "message": "m ` + canary + `", "status": 400}`,
		`{"errors": {"access_token": ["` + url.QueryEscape(canary) + `"], "` + canary + `": 1}, "status": "400"}`,
		`{"message": "\u0063` + canary[1:] + `"}`,
	} {
		f.Add(uint16(303), body, canary)
	}
	f.Fuzz(func(t *testing.T, more uint16, body, requestID string) {
		status := 200 + int(more)%800
		if strings.ContainsFunc(requestID, unicode.IsControl) || len(requestID) > 1000 || status == 204 || status == 304 {
			return // no header holds such an id, and these have no body
		}
		server := piped(saying(raw(status, body, "X-Request-Id: "+requestID)))
		client := clientFor(t, memory, canary, server, quickRetry(1))
		shown := func(err error) {
			checkError(t, "an error", err)
			if text := err.Error(); strings.ContainsFunc(text, unicode.IsControl) || !utf8.ValidString(text) || len(text) > 12<<10 {
				t.Errorf("%.1000q is no line of text", text)
			}
		}
		if status/100 != 2 {
			_, err := client.TokenInfo(t.Context())
			api, ok := errors.AsType[*esper.APIError](err)
			if !ok || api.StatusCode != status || string(api.Body) != body || len(api.Details) > 32 {
				t.Errorf("%#v", err)
			}
			shown(err)
			return
		}
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
			shown(err)
		}
		for _, op := range operations(client, oldKey)[1:3] {
			_, renewed, err := op.do(t.Context())
			var key string
			_ = json.Unmarshal(whole.Token, &key)
			unique := strings.Count(body, "token\"") == 1 && plain.MatchString(key)
			switch {
			case err == nil && (renewed.IsZero() || strings.ContainsRune(renewed.Reveal(), utf8.RuneError)),
				err == nil && !strings.Contains(strings.ToLower(body), "token") && !strings.Contains(body, `\u`),
				err != nil && outcomeOf(err) != esper.OutcomeUnreadable:
				t.Errorf("%v, %v", renewed, err)
			case unique && (err != nil || renewed.Reveal() != key):
				t.Errorf("%v, %v; want the key in %q", renewed, err, body)
			case err != nil:
				shown(err)
			}
		}
	})
}
