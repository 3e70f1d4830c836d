package espertest

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Fault says what goes wrong with an answer. With Status, Body or [BeforeHeader], it replaces the
// normal answer, and the server does not act on the request, unless Handled is set. Without these,
// the server acts on the request and sends the normal answer, changed by the other fields.
type Fault struct {
	// Status is the HTTP status, 200 to 999. Zero is the status with which the operation succeeds.
	Status int
	// Header is added to the answer's headers and replaces those of the same name. Without Header, the
	// answer has Content-Type: application/json. A nil value removes a header: {"Content-Type": nil}.
	Header http.Header
	// Body is the answer's body, sent as it is. A Status of 401 or 403 with neither Body nor Header is Esper's own
	// refusal, in its error envelope; with any other Body it is that of a gateway (esper.ErrGateway).
	Body string
	// Delay is the wait before anything is sent. It ends early, without an answer, when the client
	// goes away or the server is closed. The server acts on a request after the delay, or before it
	// if Handled is set.
	Delay time.Duration
	// Reset says whether, and how, the connection breaks before the answer is complete.
	Reset Reset
	// Handled makes the server act on the request first, so that a renewal replaces the key. Only then
	// do the other fields take effect. [Server.Token] returns the new key at once.
	Handled bool
}

// Reset is how a connection breaks. If the connection was used before, and breaks before the
// header, net/http by itself sends a GET again.
type Reset int

const (
	// NoReset leaves the connection alone.
	NoReset Reset = iota
	// BeforeHeader resets the connection before anything is sent.
	BeforeHeader
	// InBody sends the header, with the Content-Length of the whole body, and the first half of the
	// body, rounded down, and closes the connection. An empty body is announced as one byte.
	InBody
)

// Fail makes the server answer the next n requests with f, whatever they ask for, or all requests from
// now on if n is negative. Faults queue up: those of an earlier call come first, except that a call ends
// an earlier one with a negative n. With n of 0, the call removes the faults of all earlier calls. If
// f.Status is out of range, Fail changes nothing and reports a violation.
func (s *Server) Fail(n int, f Fault) { s.queue("", n, f) }

// FailOperation is [Server.Fail] for the requests of one operation. op is its operationId in the API's
// description ("getTokenInfo"), the name of the client's method ("TokenInfo"), or a pattern that was given
// to [WithHandler]; in the first two, upper and lower case are the same. Its faults come before those of
// Fail. An unknown op changes nothing and is reported as a violation.
func (s *Server) FailOperation(op string, n int, f Fault) {
	id, ok := s.ids[strings.ToLower(op)]
	if !ok {
		s.violated(fmt.Errorf("FailOperation: there is no operation %q", op))
		return
	}
	s.queue(id, n, f)
}

// queued is a fault that waits for requests.
type queued struct {
	op    string // the operation that gets it; "" for any
	left  int    // how many more requests get it; negative: all
	fault Fault
}

func (s *Server) queue(op string, n int, f Fault) {
	if f.Status != 0 && (f.Status < http.StatusOK || f.Status > 999) {
		s.violated(fmt.Errorf("Fault.Status is %d, want 0 or 200 to 999", f.Status))
		return
	}
	f.Header = f.Header.Clone()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = slices.DeleteFunc(s.faults, func(q queued) bool { return q.op == op && (n == 0 || q.left < 0) })
	if n != 0 {
		s.faults = append(s.faults, queued{op, n, f})
	}
}

// takeFault returns the fault for a request for op, or the zero Fault if there is none. The caller holds mu.
func (s *Server) takeFault(op string) Fault {
	for _, wanted := range []string{op, ""} {
		if i := slices.IndexFunc(s.faults, func(q queued) bool { return q.op == wanted }); i >= 0 {
			f := s.faults[i].fault
			if s.faults[i].left--; s.faults[i].left == 0 {
				s.faults = slices.Delete(s.faults, i, i+1)
			}
			return f
		}
	}
	return Fault{}
}

// normal reports whether the normal answer is sent.
func (f Fault) normal() bool { return f.Status == 0 && f.Body == "" && f.Reset != BeforeHeader }

// send writes a to the client, or as much of it as the fault lets through.
func (f Fault) send(w http.ResponseWriter, a answer) {
	if f.Reset == BeforeHeader {
		resetConn(w)
	}
	h := w.Header()
	maps.Copy(h, a.header)
	for name, values := range f.Header {
		h[http.CanonicalHeaderKey(name)] = values
	}
	body := a.body
	if f.Reset == InBody {
		h.Set("Content-Length", strconv.Itoa(max(len(body), 1)))
		body = body[:len(body)/2]
	}
	w.WriteHeader(a.status)
	_, _ = w.Write(body) // the client may be gone, or the status may allow no body
	if f.Reset == InBody {
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler) // makes net/http close the connection
	}
}

// resetConn ends the connection with a TCP reset, and the handler with it.
func resetConn(w http.ResponseWriter) {
	if conn, _, err := http.NewResponseController(w).Hijack(); err == nil {
		if tcp, ok := conn.(interface{ SetLinger(sec int) error }); ok {
			_ = tcp.SetLinger(0) // makes Close send RST
		}
		_ = conn.Close()
	}
	panic(http.ErrAbortHandler)
}
