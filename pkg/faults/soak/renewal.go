package main

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

func (s *server) renewToken(w http.ResponseWriter, r *http.Request) {
	if !time.Now().Before(s.end) {
		s.told("renewal: 410")
		refuse(w, http.StatusGone, r.FormValue("access_token"))
		return
	}
	s.renew(w, r, r.FormValue("access_token"), func(key string) string {
		return fmt.Sprintf(`{"id":571,"enterprise":"Esper [%s]","token":%q,%s,"scope":"read"}`, enterprise, key, s.times("expires_at"))
	})
}

// renew replaces the key old, or fails before or after that. It counts renewals, and notes each key for which a second
// one comes before a check. It holds mu when it calls body.
func (s *server) renew(w http.ResponseWriter, r *http.Request, old string, body func(key string) string) {
	s.mu.Lock()
	ok, when := s.valid[old], s.dice.IntN(100)
	if s.renewed[old] {
		s.twice = append(s.twice, old)
	}
	if ok && when >= 8 {
		s.renewed[old] = true
		s.posts++
	}
	s.mu.Unlock()
	switch {
	case !ok:
		refuse(w, http.StatusUnauthorized, "no such key: "+old)
	case when < 4:
		s.told("renewal: 429")
		w.Header().Set("Retry-After", "1")
		refuse(w, http.StatusTooManyRequests, old)
	case when < 8:
		s.told("renewal: 400")
		refuse(w, http.StatusBadRequest, old)
	case when < 13:
		s.fail(w, r, 100, "renewal, not done: ")
	case when < 22:
		s.replace(old, true, body)
		s.fail(w, r, 100, "renewal, done: ")
	default:
		s.deliver(w, r, s.replace(old, false, body), when < 34)
	}
}

// replace makes the key after old. lost says that the client will not get the new key.
func (s *server) replace(old string, lost bool, body func(key string) string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	first := lineOf(old)
	key := fmt.Sprintf("%s-%d", first, s.posts)
	if !s.keepOld {
		delete(s.valid, old)
	}
	s.newest[first] = key
	s.valid[key], s.ended[old] = true, true
	s.lost[old] = lost
	return body(key)
}

// lineOf returns the issued key from which key came by renewals.
func lineOf(key string) string {
	issued, _, _ := strings.Cut(strings.TrimPrefix(key, canary+"-"), "-")
	return canary + "-" + issued
}

// deliver sends the answer with the new key. If broken is set, the answer ends right after the key.
func (s *server) deliver(w http.ResponseWriter, r *http.Request, body string, broken bool) {
	if !broken {
		answer(w, http.StatusCreated, body)
		return
	}
	s.told("renewal: cut behind the key")
	w.Header().Set("Content-Length", fmt.Sprint(len(body)))
	w.WriteHeader(http.StatusCreated)
	_, _ = io.WriteString(w, body[:strings.Index(body, `,"expir`)])
	_ = http.NewResponseController(w).Flush()
	if len(body)%2 == 0 {
		<-r.Context().Done() // until the client closes the connection
	}
	panic(http.ErrAbortHandler)
}
