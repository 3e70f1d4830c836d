package main

import (
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

// fail makes a request fail in percent of all cases, and reports whether it did. What it sends never
// holds a new key. what is the beginning of the name under which the fault is counted.
func (s *server) fail(w http.ResponseWriter, r *http.Request, percent int, what string) bool {
	s.mu.Lock()
	hit, kind := s.dice.IntN(100) < percent, s.dice.IntN(9)
	s.mu.Unlock()
	if !hit {
		return false
	}
	echo := r.Header.Get("Authorization") + r.URL.RawQuery
	switch kind {
	case 0:
		s.told(what + "503 with HTML")
		w.Header().Set("Content-Type", "text/html")
		w.WriteHeader(http.StatusServiceUnavailable)
		_, _ = io.WriteString(w, "<html>"+echo) //nolint:gosec // no browser reads it
	case 1:
		s.told(what + "500")
		refuse(w, http.StatusInternalServerError, echo)
	case 2:
		s.told(what + "302")
		w.Header().Set("Location", "http://127.0.0.1:1/?"+echo)
		w.WriteHeader(http.StatusFound)
	case 3:
		s.told(what + "garbage")
		answer(w, http.StatusOK, "{]")
	case 4:
		s.told(what + "cut short")
		w.Header().Set("Content-Length", "100")
		w.WriteHeader(http.StatusOK)
		_, _ = io.WriteString(w, `{"id":5`)
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	case 5:
		s.told(what + "reset")
		if conn, _, err := http.NewResponseController(w).Hijack(); err == nil {
			if tcp, ok := conn.(*net.TCPConn); ok {
				_ = tcp.SetLinger(0) // makes Close send a reset
			}
			_ = conn.Close()
		}
		panic(http.ErrAbortHandler)
	case 6:
		s.told(what + "closed")
		panic(http.ErrAbortHandler)
	case 7:
		s.told(what + "silence")
		<-r.Context().Done() // until the client closes the connection
	case 8:
		size := 2 << 20
		if what != "" {
			size = 1 << 10 // a source keeps the answer to a renewal, which would look like a leak
		}
		s.told(what + "long")
		answer(w, http.StatusOK, `{"note":"`+strings.Repeat("x", size)+`"}`)
	}
	return true
}

func answer(w http.ResponseWriter, status int, body string) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Date", time.Now().AddDate(0, 0, 1).UTC().Format(http.TimeFormat)) // a wrong clock, a day ahead
	w.WriteHeader(status)
	_, _ = io.WriteString(w, body) //nolint:gosec // no browser reads it
}

func refuse(w http.ResponseWriter, status int, message string) {
	body, _ := json.Marshal(map[string]any{"errors": []string{message}, "message": message, "status": status})
	answer(w, status, string(body))
}
