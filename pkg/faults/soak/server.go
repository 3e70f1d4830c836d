package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	canary     = "canary"
	enterprise = "f44373cb-1800-43c6-aab3-c81f8b1f435c"
	app        = "5fa87c46-bef7-4c1f-9ca8-ebf022d118b6"
)

// server is a fake of the API that fails at random, and ends renew-token. It knows which keys are valid, and whether
// the client could read the answer with a new key.
type server struct {
	base string
	end  time.Time // when renew-token ends; after that only a personal access token can be renewed
	http *http.Server
	done chan struct{}

	mu      sync.Mutex
	dice    *rand.Rand
	issued  int
	keepOld bool              // a key goes on working after its renewal
	valid   map[string]bool   // the keys that the server accepts
	ended   map[string]bool   // the keys that were replaced
	newest  map[string]string // the newest key that came from each issued key, by the issued key
	lost    map[string]bool   // the replaced keys whose next key the client could not read
	renewed map[string]bool   // the keys with a renewal that may have been carried out since TokenInfo last accepted the key
	posts   int               // how many such renewals there were
	twice   []string          // the keys in renewed for which another renewal came
	faults  map[string]int    // how often each fault was made, by name
}

func serve(ctx context.Context, seed uint64, end time.Time) (*server, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &server{
		base: "http://" + l.Addr().String() + "/api", end: end, done: make(chan struct{}),
		dice:   rand.New(rand.NewPCG(seed, seed)), //nolint:gosec // faults need not be secret
		newest: make(map[string]string),
		valid:  make(map[string]bool), ended: make(map[string]bool), lost: make(map[string]bool), renewed: make(map[string]bool), faults: make(map[string]int),
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /api/v1/token-info/", s.tokenInfo)
	mux.HandleFunc("GET /api/v0/devices/", s.devices)
	mux.HandleFunc("POST /api/v0/enterprise/{enterprise}/developerapp/{app}/renew-token/", s.renewToken)
	mux.HandleFunc("GET /api/authn2/v0/personal-access-token/{$}", s.listTokens)
	mux.HandleFunc("PUT /api/authn2/v0/personal-access-token/{id}", s.renewPersonalToken)
	s.http = &http.Server{Handler: mux, ReadHeaderTimeout: time.Minute}
	go func() {
		_ = s.http.Serve(l)
		close(s.done)
	}()
	return s, nil
}

func (s *server) close() {
	_ = s.http.Close()
	<-s.done
}

// issue makes a new key, as an operator does in the console. It also decides at random whether old keys go on working.
func (s *server) issue() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.issued++
	s.keepOld = s.dice.IntN(2) == 0
	key := fmt.Sprintf("%s-%d", canary, s.issued)
	s.valid[key], s.newest[key] = true, key
	return key
}

// retire ends all keys except issued and the keys that came from it by renewals.
func (s *server) retire(issued string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	maps.DeleteFunc(s.valid, func(key string, _ bool) bool { return key != issued && !strings.HasPrefix(key, issued+"-") })
}

// state reports whether key works and is the newest key that the client can know, and whether the next key after it was
// lost on the way to the client.
func (s *server) state(key string) (newest, lost bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.valid[key] && (!s.ended[key] || s.lost[key]), s.lost[key]
}

// bearer returns the key of the request. If the key is not valid, it answers with 401, and ok is false.
func (s *server) bearer(w http.ResponseWriter, r *http.Request) (key string, ok bool) {
	key = strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
	s.mu.Lock()
	ok = s.valid[key]
	s.mu.Unlock()
	if !ok {
		refuse(w, http.StatusUnauthorized, "no such key: "+key)
	}
	return key, ok
}

func (s *server) tokenInfo(w http.ResponseWriter, r *http.Request) {
	key, ok := s.bearer(w, r)
	if !ok || s.fail(w, r, 20, "") {
		return
	}
	s.mu.Lock()
	times := s.times("expires_on")
	delete(s.renewed, key)
	s.mu.Unlock()
	answer(w, http.StatusOK, fmt.Sprintf(`{"id":570,"enterprise":%q,"user":null,"developer_app":%q,"token":%q,%s,"scope":["read"]}`,
		enterprise, app, key, times))
}

func (s *server) devices(w http.ResponseWriter, r *http.Request) {
	if _, ok := s.bearer(w, r); ok && !s.fail(w, r, 5, "") {
		answer(w, http.StatusOK, `{"results":[]}`)
	}
}

// times returns the JSON fields with the dates of a key. Most keys live for some minutes. For the others, the dates
// are wrong, missing or unreadable. The caller holds mu.
func (s *server) times(name string) string {
	now := time.Now().UTC()
	created, expires := now, now.Add(time.Duration(200+s.dice.IntN(200))*time.Second) // an attempt takes ten seconds or more
	switch s.dice.IntN(40) {
	case 0:
		s.faults["clock: ahead"]++
		created, expires = created.AddDate(0, 0, 1), expires.AddDate(0, 0, 1)
	case 1:
		s.faults["clock: behind"]++
		created, expires = created.AddDate(0, 0, -1), expires.AddDate(0, 0, -1)
	case 2:
		s.faults["expiry: past"]++
		expires = now.Add(-time.Hour)
	case 3:
		s.faults["expiry: far"]++
		expires = time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)
	case 4:
		s.faults["expiry: null"]++
		return fmt.Sprintf(`%q:null,"created_on":null`, name)
	case 5:
		s.faults["expiry: garbage"]++
		return fmt.Sprintf(`%q:"soon","created_on":[1]`, name)
	}
	return fmt.Sprintf(`%q:%q,"created_on":%q`, name, expires.Format(time.RFC3339Nano), created.Format(time.RFC3339Nano))
}

// told counts a fault.
func (s *server) told(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults[name]++
}

func (s *server) summary() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []string
	for _, name := range slices.Sorted(maps.Keys(s.faults)) {
		all = append(all, fmt.Sprintf("%s %d", name, s.faults[name]))
	}
	return strings.Join(all, ", ")
}

func (s *server) verdict() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	for _, key := range s.twice {
		errs = append(errs, fmt.Errorf("key %s was renewed for the second time without a check", key))
	}
	if n := s.faults["another token than the key's"]; n > 0 {
		errs = append(errs, fmt.Errorf("%d renewals of another token than the key's", n))
	}
	if s.posts == 0 {
		errs = append(errs, errors.New("nothing was renewed"))
	}
	return errors.Join(errs...)
}
