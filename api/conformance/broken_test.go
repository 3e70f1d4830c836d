//go:build conformance

package conformance

import (
	"fmt"
	"net"
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
