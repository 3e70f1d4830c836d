//go:build conformance

package conformance

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/esper-go/esper-go/pkg/esper/espertest"
)

// These bound a call: usually, and where the answer never comes.
const (
	timeout = 20
	soon    = 2
)

// provoke has the client renew a key on a server whose connections break as the scenario says, and returns what the
// client says and how many renewals arrived. With byItself, the program leaves its setting against repetition out.
func (c *client) provoke(t *testing.T, p **program, s scenario, byItself bool) (got reply, arrived int) {
	t.Helper()
	var renewals atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/json")
		if r.Method == http.MethodGet { // the call before, after which the connection is kept
			_, _ = io.WriteString(w, `{"id":"570","enterprise":"f44373cb-1800-43c6-aab3-c81f8b1f435c"}`)
			return
		}
		renewals.Add(1)
		if s.Broken == "late" {
			<-r.Context().Done()
			return
		}
		if s.Broken == "cut" {
			const body = `{"id":571,"token":"example-new-key"}`
			w.Header().Set("Content-Length", strconv.Itoa(len(body)))
			_, _ = io.WriteString(w, body[:len(body)/2])
			_ = http.NewResponseController(w).Flush()
		}
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		if tcp, ok := conn.(*net.TCPConn); ok && s.Broken == "reset" {
			_ = tcp.SetLinger(0) // makes Close send RST
		}
		_ = conn.Close()
	}))
	defer server.Close()
	defer server.CloseClientConnections()
	fake := espertest.New() // only for what a renewal names
	defer fake.Close()
	cmd := commandFor(s, fake)
	cmd.URL, cmd.InfoFirst, cmd.ByItself = server.URL+"/api", s.Broken == "kept", byItself
	if s.Broken == "late" {
		cmd.Timeout = soon
	}
	got = c.ask(t, p, cmd)
	return got, int(renewals.Load())
}

// habit is what a client does by itself where no answer comes: how often it sends a renewal, and in which scenarios.
type habit struct {
	method    string
	times     int
	scenarios []string
}

// note adds what the client did in a scenario to its habits.
func (c *client) note(s scenario, arrived int) {
	method := map[string]string{"renewToken": "POST", "renewPersonalAccessToken": "PUT"}[s.operation]
	for i, h := range c.habits {
		if h.method == method && h.times == arrived {
			c.habits[i].scenarios = append(h.scenarios, s.Name)
			return
		}
	}
	c.habits = append(c.habits, habit{method, arrived, []string{s.Name}})
}

// repeats is the line of RESULTS.md about what the client does by itself, and about the setting against it.
func (c *client) repeats() string {
	var all []string
	for _, h := range c.habits {
		if h.times != 1 {
			all = append(all, fmt.Sprintf("**%s %d times**: %s", h.method, h.times, strings.Join(h.scenarios, "; ")))
		}
	}
	if all == nil {
		all = []string{"once"}
	}
	setting := "none is needed"
	if c.Once != "" {
		setting = "`" + c.Once + "`"
	}
	return "| " + c.Language + " | " + c.Title + " | " + strings.Join(all, "<br>") + " | " + setting + " |\n"
}
