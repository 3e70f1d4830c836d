package renew_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

// newTokensServer is a server of personal access tokens. Its expiry_at counts in the given unit; 0 means that keys never
// end. It calls asked with the expiry_at of each renewal. Unlike package espertest, it was written from Esper's API spec
// alone: it shows no key in a list, keeps legacy_token_id and created_at when a key is replaced, and refuses the old key
// at once.
func newTokensServer(t *testing.T, lifetime, unit time.Duration, asked func(expiry int64)) *httptest.Server {
	var mu sync.Mutex
	key, renewals := "tokens-made-up-key-0", 0
	created := time.Now().UTC()
	end := func() int64 {
		if unit == 0 {
			return -1
		}
		return created.Add(lifetime).UnixNano() / int64(unit)
	}()
	mux := http.NewServeMux()
	token := func(shown string) string {
		return fmt.Sprintf(`{"id": "7c1d2e3f-0a1b-4c2d-8e3f-4a5b6c7d8e9f", "name": "fleet", "description": "", "prefix": %q, "token": %s,
			"created_at": %q, "updated_at": %q, "expiry_at": %d, "legacy_token_id": 570, "legacy_developer_app_id": "5fa87c46-bef7-4c1f-9ca8-ebf022d118b6"}`,
			key[:6], shown, created.Format(time.RFC3339), time.Now().UTC().Format(time.RFC3339), end)
	}
	mux.HandleFunc("GET /v1/token-info/", func(w http.ResponseWriter, _ *http.Request) {
		expires := `"` + created.Add(lifetime).Format(time.RFC3339Nano) + `"`
		if unit == 0 {
			expires = "null"
		} else if renewals > 0 {
			expires = fmt.Sprintf("%q", time.Unix(0, 0).Add(time.Duration(end)*unit).UTC().Format(time.RFC3339Nano))
		}
		fmt.Fprintf(w, `{"id": %d, "enterprise": "f44373cb-1800-43c6-aab3-c81f8b1f435c", "developer_app": "5fa87c46-bef7-4c1f-9ca8-ebf022d118b6",
			"expires_on": %s, "created_on": %q}`, 570+renewals, expires, created.Format(time.RFC3339Nano))
	})
	mux.HandleFunc("GET /authn2/v0/personal-access-token/{$}", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, `{"count": 1, "personal_access_tokens": [%s]}`, token("null"))
	})
	mux.HandleFunc("PUT /authn2/v0/personal-access-token/7c1d2e3f-0a1b-4c2d-8e3f-4a5b6c7d8e9f", func(w http.ResponseWriter, r *http.Request) {
		var body struct {
			ExpiryAt *int64 `json:"expiry_at"`
		}
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil || body.ExpiryAt == nil || r.Header.Get("Content-Type") != "application/json" {
			t.Errorf("PUT: %v, %v", err, r.Header)
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		asked(*body.ExpiryAt)
		renewals, end = renewals+1, *body.ExpiryAt
		key = fmt.Sprintf("tokens-made-up-key-%d", renewals)
		fmt.Fprint(w, token(fmt.Sprintf("%q", key)))
	})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		w.Header().Set("Content-Type", "application/json")
		if strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ") != key {
			w.WriteHeader(http.StatusUnauthorized)
			fmt.Fprint(w, `{"errors": [], "message": "no", "status": 401}`)
			return
		}
		mux.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	return server
}
