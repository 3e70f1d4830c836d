package espertest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// personalToken is a personal access token: what stays when its key is replaced.
type personalToken struct {
	id      string // a UUID
	name    string
	created time.Time
	updated time.Time
	key     string // in use
}

// personalAccessToken is schema PersonalAccessToken, as Esper declares it. Nobody here has seen one.
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

// never is when a key ends that does not, and noExpiry what the API has for it.
var never = time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC) //nolint:gochecknoglobals // a constant

const noExpiry = -1

// newPersonalToken makes the token that a key belongs to which a person made. The caller holds mu, or owns s alone.
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

// Retire makes operations answer with status, 404 or 410, from now on, as on the day after their end: those that
// are named as for [Server.FailOperation], or renewToken if none is named. The personal access tokens, which
// take their place, go on working. A status of 0 ends it. The [Fault] of a request comes first.
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

// WithRetired is [Server.Retire] from the start.
func WithRetired(status int, operations ...string) Option {
	return func(c *config) { c.retire = append(c.retire, func(s *Server) { s.Retire(status, operations...) }) }
}

// retiredAs returns the status of an operation that is retired, or 0.
func (s *Server) retiredAs(c call) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.retired[c.id]
}
