//go:build conformance

package conformance

import (
	"fmt"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/esper-go/esper-go/pkg/esper/espertest"
)

// These bound a call: usually, and where the answer never comes.
const (
	timeout = 20
	soon    = 2
)

// politely is a listener whose connections end with FIN where those of the fake server end with RST.
type politely struct{ net.Listener }

func (l politely) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	return struct{ net.Conn }{conn}, err // without SetLinger
}

// provoke has the client renew a key on a server whose connections break as the scenario says, and returns what the
// client says and how many renewals arrived. With byItself, the program leaves its setting against repetition out.
func (c *client) provoke(t *testing.T, p **program, s scenario, byItself bool) (got reply, arrived int) {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	must(t, err)
	if s.Broken != "reset" {
		l = politely{l}
	}
	server := espertest.NewServer(t, espertest.WithListener(l))
	fault := espertest.Fault{Reset: espertest.BeforeHeader}
	cmd := commandFor(s, server)
	cmd.InfoFirst, cmd.ByItself = s.Broken == "kept", byItself // the connection is kept after a call before
	switch s.Broken {
	case "cut":
		fault = espertest.Fault{Body: `{"id":571,"token":"example-new-key"}`, Reset: espertest.InBody}
	case "late":
		fault, cmd.Timeout = espertest.Fault{Delay: time.Hour}, soon
	}
	server.FailOperation(s.operation, -1, fault)
	got = c.ask(t, p, cmd)
	for _, r := range server.Requests() {
		if r.Method != http.MethodGet {
			arrived++
		}
	}
	return got, arrived
}

// note adds what the client did by itself in a scenario to its habits, if that is not to send a renewal once.
func (c *client) note(s scenario, arrived int) {
	method := map[string]string{"renewToken": "POST", "renewPersonalAccessToken": "PUT"}[s.operation]
	if arrived != 1 {
		c.habits = append(c.habits, finding{fmt.Sprintf("%s %d times", method, arrived), s})
	}
}

// repeats is the line of RESULTS.md about what the client does by itself, and about the setting against it.
func (c *client) repeats() string {
	setting := "none is needed"
	if c.Once != "" {
		setting = "`" + c.Once + "`"
	}
	return "| " + c.Language + " | " + c.Title + " | " + listed(c.habits, "once") + " | " + setting + " |\n"
}
