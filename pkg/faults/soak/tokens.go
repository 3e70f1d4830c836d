package main

import (
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// tokenOf is the id of the personal access token that a key belongs to.
func tokenOf(key string) string {
	number, _ := strconv.Atoi(strings.TrimPrefix(lineOf(key), canary+"-"))
	return fmt.Sprintf("0d3f8d3a-6f0f-4b8e-9d55-%012d", number)
}

// listTokens lists the token that the key belongs to, and another token. At random, it shows the id of the key, the
// newest key, or both.
func (s *server) listTokens(w http.ResponseWriter, r *http.Request) {
	key, ok := s.bearer(w, r)
	if !ok || s.fail(w, r, 5, "") {
		return
	}
	s.mu.Lock()
	shown, kind := strconv.Quote(s.newest[lineOf(key)]), s.dice.IntN(3)
	s.mu.Unlock()
	id := "570"
	switch kind {
	case 0:
		id = "null"
	case 1:
		shown = "null"
	}
	ends := time.Now().Add(5 * time.Minute).Unix()
	answer(w, http.StatusOK, fmt.Sprintf(`{"count":2,"personal_access_tokens":[{"id":"5b8a9c1e-2f64-4d0c-8a37-6c5d4e3f2a10","token":"%s-of-another","expiry_at":-1,"legacy_token_id":9},`+
		`{"id":%q,"prefix":"can","legacy_token_id":%s,"token":%s,"expiry_at":%d}]}`, canary, tokenOf(key), id, shown, ends))
}

func (s *server) renewPersonalToken(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body) // else net/http does not notice that the client closes the connection
	key, ok := s.bearer(w, r)
	switch {
	case !ok:
	case r.PathValue("id") != tokenOf(key):
		s.told("another token than the key's") // an error of the source, which verdict reports
		refuse(w, http.StatusNotFound, key)
	default:
		s.renew(w, r, key, func(next string) string {
			return fmt.Sprintf(`{"id":%q,"legacy_token_id":571,"token":%q,"expiry_at":%s}`, tokenOf(next), next, s.expiry())
		})
	}
}

// expiry returns the expiry_at of a token: mostly some minutes ahead, sometimes another value. The caller holds mu.
func (s *server) expiry() string {
	ends := time.Now().Add(time.Duration(200+s.dice.IntN(200)) * time.Second)
	switch s.dice.IntN(40) {
	case 0:
		s.faults["expiry_at: a day ahead"]++
		ends = ends.AddDate(0, 0, 1)
	case 1:
		s.faults["expiry_at: never"]++
		return "-1"
	case 2:
		s.faults["expiry_at: null"]++
		return "null"
	case 3:
		s.faults["expiry_at: garbage"]++
		return `["soon"]`
	}
	return strconv.FormatInt(ends.Unix(), 10)
}
