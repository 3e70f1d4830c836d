package espertest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// personalToken is a personal access token. It stays the same when its key is replaced.
type personalToken struct {
	id      string // a UUID
	name    string
	created time.Time
	updated time.Time
	key     string // the key in use
}

// personalAccessToken is schema PersonalAccessToken, as Esper declares it. No answer of the real server has been seen.
type personalAccessToken struct {
	ID                   string `json:"id"`
	Name                 string `json:"name"`
	Description          string `json:"description"`
	Prefix               string `json:"prefix"`
	Token                string `json:"token"`
	CreatedAt            string `json:"created_at"`
	UpdatedAt            string `json:"updated_at"`
	ExpiryAt             int64  `json:"expiry_at"`
	LegacyTokenID        int    `json:"legacy_token_id"`
	LegacyDeveloperAppID string `json:"legacy_developer_app_id"`
}

// personalAccessTokenList is schema PersonalAccessTokenList.
type personalAccessTokenList struct {
	Count                int                   `json:"count"`
	PersonalAccessTokens []personalAccessToken `json:"personal_access_tokens"`
}

// never is the end of a key without an end. The API writes it as noExpiry.
var never = time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC) //nolint:gochecknoglobals // a constant

const noExpiry = -1

// newPersonalToken makes a personal access token, for a key that a person makes. The caller holds mu, or owns s alone.
func (s *Server) newPersonalToken() *personalToken {
	n := len(s.tokens) + 1
	now := time.Now().UTC()
	t := &personalToken{id: fmt.Sprintf("0d3f8d3a-6f0f-4b8e-9d55-%012d", n), name: fmt.Sprintf("token %d", n), created: now, updated: now}
	s.tokens = append(s.tokens, t)
	return t
}

// listTokens lists the personal access tokens that have a key. The caller holds mu.
func (s *Server) listTokens(c call) answer {
	list := personalAccessTokenList{PersonalAccessTokens: []personalAccessToken{}}
	for _, t := range s.tokens {
		if k, ok := s.keys[t.key]; ok {
			list.PersonalAccessTokens = append(list.PersonalAccessTokens, s.personalToken(k))
		}
	}
	list.Count = len(list.PersonalAccessTokens)
	return encode(c.success(), list)
}

func (s *Server) personalToken(k key) personalAccessToken {
	const shown = 8
	expiry := k.expires.Unix()
	if k.expires.Equal(never) {
		expiry = noExpiry
	}
	t := k.token
	return personalAccessToken{
		ID: t.id, Name: t.name, Prefix: t.key[:min(shown, len(t.key))], Token: t.key,
		CreatedAt: t.created.Format(timeLayout), UpdatedAt: t.updated.Format(timeLayout), ExpiryAt: expiry,
		LegacyTokenID: k.id, LegacyDeveloperAppID: s.DeveloperAppID,
	}
}

// renewPersonalToken gives a personal access token another key. The caller holds mu.
func (s *Server) renewPersonalToken(c call) answer {
	for _, t := range s.tokens {
		old, ok := s.keys[t.key]
		if !ok || !strings.EqualFold(t.id, c.params["personal_access_token_id"]) {
			continue
		}
		var wanted struct {
			ExpiryAt *int64 `json:"expiry_at"`
		}
		if err := json.Unmarshal(c.body, &wanted); err != nil || wanted.ExpiryAt == nil {
			return refusal(http.StatusBadRequest, "expiry_at: This field is required.")
		}
		expires := time.Unix(*wanted.ExpiryAt, 0).UTC()
		switch {
		case *wanted.ExpiryAt == noExpiry:
			expires = never
		case !expires.After(time.Now()) || expires.After(never):
			return refusal(http.StatusBadRequest, "expiry_at: This is no time in the future.")
		}
		return encode(c.success(), s.personalToken(s.replaceKey(old.token, expires)))
	}
	return refusal(http.StatusNotFound, "detail: Not found.")
}

// Retire makes the server answer operations with status, 404 or 410, as if Esper had retired them. Operations
// are named as for [Server.FailOperation]; if none is named, it is renewToken. Personal access tokens, which
// replace the old operations, go on working. A status of 0 brings an operation back. If a request gets a
// [Fault] with an answer, that is sent instead.
func (s *Server) Retire(status int, operations ...string) {
	if len(operations) == 0 {
		operations = []string{"renewToken"}
	}
	for _, op := range operations {
		id, ok := s.operationID(op)
		if !ok {
			s.violated(fmt.Errorf("Retire: there is no operation %q", op))
			continue
		}
		s.mu.Lock()
		s.retired[id] = status
		s.mu.Unlock()
	}
}

// WithRetired makes the server call [Server.Retire] when it starts.
func WithRetired(status int, operations ...string) Option {
	return func(c *config) { c.retire = append(c.retire, func(s *Server) { s.Retire(status, operations...) }) }
}

// retiredAs returns the status with which a retired operation is answered, or 0 if it is not retired.
func (s *Server) retiredAs(c call) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.retired[c.id]
}
