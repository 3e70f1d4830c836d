package esper

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"strings"
	"testing"
)

// FuzzPersonalAccessTokens lets a server answer the two operations with any body.
func FuzzPersonalAccessTokens(f *testing.F) {
	const canary = "canary50%key&made+up/fuzz01"
	const id = "0d3f8d3a-6f0f-4b8e-9d55-3a4c1b0f7e21"
	plain := regexp.MustCompile(`^[0-9A-Za-z]+$`)
	for _, token := range []string{
		`{"id": "` + id + `", "name": "n", "prefix": "cana", "token": "` + canary + `", "created_at": "2026-01-02T03:04:05Z", "expiry_at": 1888272000, "legacy_token_id": 571}`,
		`{"id": 7, "token": "another", "expiry_at": -1, "legacy_token_id": "571", "legacy_developer_app_id": null}`,
		`{"token": null, "expiry_at": "soon"}`, `{"token": "cut`, `null`, `7`, `"` + canary + `"`, `[]`, ``, `{"token": "a", "token": "b"}`, `{"Token": "` + "\\u0063anary" + `"}`,
	} {
		f.Add(token)
		f.Add(`{"count": 1, "personal_access_tokens": [` + token + `]}`)
		f.Add(`{"personal_access_tokens": [` + token + `, ` + token + `]}`)
	}
	f.Fuzz(func(t *testing.T, body string) {
		dial := func(context.Context, string, string) (net.Conn, error) { return answeringOnce(body), nil }
		transport := &http.Transport{DialContext: dial}
		client, err := New("http://127.0.0.1", APIKey(canary), WithTransport(transport), WithRetry(Retry{MaxAttempts: 1}))
		if err != nil {
			t.Fatal(err)
		}
		defer client.CloseIdleConnections()
		var whole map[string]json.RawMessage
		_ = json.Unmarshal([]byte(body), &whole)

		list, listErr := client.ListPersonalAccessTokens(t.Context())
		var items []map[string]json.RawMessage
		if json.Unmarshal(whole["personal_access_tokens"], &items) != nil {
			items = nil
		}
		switch {
		case listErr != nil && !errors.Is(listErr, ErrInvalidResponse):
			t.Errorf("%d tokens, %v", len(list), listErr)
		case strings.Count(body, "personal_access_tokens") == 1 && items != nil && len(list) != len(items):
			t.Errorf("%d tokens, %v; want %d", len(list), listErr, len(items))
		}

		renewed, renewErr := client.RenewPersonalAccessToken(t.Context(), id, -1)
		var key string
		_ = json.Unmarshal(whole["token"], &key)
		failed := (*RenewalError)(nil)
		switch {
		case renewErr == nil && renewed.Token.IsZero(), renewErr != nil && (!errors.As(renewErr, &failed) || failed.Outcome != OutcomeUnreadable):
			t.Errorf("%v, %v", renewed, renewErr)
		case strings.Count(body, "token\"") == 1 && plain.MatchString(key) && (renewErr != nil || renewed.Token.Reveal() != key):
			t.Errorf("%v, %v; want the key in %q", renewed, renewErr, body)
		}

		text := fmt.Sprintf("%v %+v %v %+v", listErr, listErr, renewErr, renewErr) // typed fields are the caller's data
		if shows(text, canary) {
			t.Errorf("%q shows the key", text)
		}
	})
}

// answeringOnce is a connection to a server that answers one request with a body.
func answeringOnce(body string) net.Conn {
	client, server := net.Pipe()
	go func() {
		defer server.Close()
		if r, err := http.ReadRequest(bufio.NewReader(server)); err == nil {
			_, _ = io.Copy(io.Discard, r.Body)
			_, _ = fmt.Fprintf(server, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
		}
	}()
	return client
}
