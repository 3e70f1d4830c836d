package espertest

import (
	"fmt"
	"maps"
	"strings"
	"time"
)

// key is what the server knows about a key.
type key struct {
	id               int
	created, expires time.Time
	token            *personalToken // the one that the key belongs to
}

// personalToken is a personal access token. It stays the same when its key is replaced.
type personalToken struct {
	id      string // a UUID
	name    string
	created time.Time
	key     string // the key in use
}

// Token returns the newest key, even if it has expired or was revoked. The first key is the one of
// [WithToken]; the n-th renewal makes the first key with "-renewed-n" appended.
func (s *Server) Token() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.newest
}

// Revoke makes every key so far invalid, as a person does in the console: requests with one get 401.
// [Server.NewKey] makes another.
func (s *Server) Revoke() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.keys)
}

// Expire ends the life of every key so far: requests with one get 401.
func (s *Server) Expire() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for token, k := range s.keys {
		k.expires = time.Now().UTC()
		s.keys[token] = k
	}
}

// NewKey makes and returns a valid key, as a person does in the console. Other keys stay what they are.
func (s *Server) NewKey() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.made++
	token := fmt.Sprintf("%s-made-%d", s.config.token, s.made)
	s.addKey(token, s.newPersonalToken(), time.Now().UTC().Add(s.config.lifetime))
	return token
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
		id, ok := s.ids[strings.ToLower(op)]
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

// newPersonalToken makes a personal access token, for a key that a person makes. The caller holds mu, or owns s alone.
func (s *Server) newPersonalToken() *personalToken {
	id, name := "0d3f8d3a-6f0f-4b8e-9d55-%012d", "token %d"
	n := len(s.tokens) + 1
	t := &personalToken{id: fmt.Sprintf(id, n), name: fmt.Sprintf(name, n), created: time.Now().UTC()}
	s.tokens = append(s.tokens, t)
	return t
}

// addKey makes token a valid key of t, and the newest. The caller holds mu, or owns s alone.
func (s *Server) addKey(token string, t *personalToken, expires time.Time) key {
	k := key{id: 570 + s.renewals + s.made, created: time.Now().UTC(), expires: expires, token: t}
	t.key, s.newest, s.keys[token] = token, token, k
	return k
}

// replaceKey makes a new key for a personal access token. Without KeepOldKey it removes the old one. The caller holds
// mu.
func (s *Server) replaceKey(t *personalToken, expires time.Time) key {
	if !s.config.keepOldKey {
		maps.DeleteFunc(s.keys, func(_ string, k key) bool { return k.token == t })
	}
	s.renewals++
	return s.addKey(fmt.Sprintf("%s-renewed-%d", s.config.token, s.renewals), t, expires)
}

// validKey returns the key token, and whether it is valid: known, and not expired. The caller holds mu.
func (s *Server) validKey(token string) (key, bool) {
	k, ok := s.keys[token]
	return k, ok && time.Now().Before(k.expires)
}
