package espertest

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"time"
)

// Fault says how the server answers in place of, or on the way to, its normal answer. Without
// Status, Body and [BeforeHeader] the answer is the normal one, changed by what else is set; with
// one of them the server does not act on the request, unless Handled is set.
type Fault struct {
	// Status is the HTTP status, 200 to 999. Zero is the status with which the operation succeeds.
	Status int
	// Header is added to the answer's headers and replaces those of the same name. The answer's own
	// is Content-Type: application/json. A name with a nil value is not sent: {"Content-Type": nil}.
	Header http.Header
	// Body is the answer's body, sent as it is.
	Body string
	// Delay is the wait before anything is sent. It ends early, without an answer, when the client
	// goes away or the server is closed. The server acts on a request after the delay, or before it
	// if Handled is set.
	Delay time.Duration
	// Reset ends the connection instead of the answer.
	Reset Reset
	// Handled makes the server act on the request first, so that a renewal replaces the key, and then
	// lose the normal answer to what else is set here. [Server.Token] has the new key at once.
	Handled bool
}

// Reset is how a connection breaks. A client from net/http repeats, unasked, a GET that ends so on
// a connection that was used before.
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

// Fail answers the next n requests with f, whatever they ask for; all that follow if n is negative.
// Calls add up: what an earlier one has left over comes first, but a later call ends one without a
// number. With n of 0, nothing is left over of earlier calls. A Status that no answer can have changes
// nothing and is reported as a violation.
func (s *Server) Fail(n int, f Fault) { s.queue("Fail", "", n, f) }

// FailOperation is Fail for the requests of one operation, named as in the API's description or as the
// method of the client, in any case ("getTokenInfo", "TokenInfo", "renewToken"), or by the pattern
// that was given to [WithHandler]. Its faults go before those of [Server.Fail]. Another name changes
// nothing and is reported as a violation.
func (s *Server) FailOperation(op string, n int, f Fault) {
	id, ok := s.operationID(op)
	if !ok {
		s.violated(fmt.Errorf("FailOperation: there is no operation %q", op))
		return
	}
	s.queue("FailOperation", id, n, f)
}

// queued is a fault and how many more requests get it; negative: all.
type queued struct {
	op    string // "" for any
	left  int
	fault Fault
}

func (s *Server) queue(method, op string, n int, f Fault) {
	if f.Status != 0 && (f.Status < http.StatusOK || f.Status > 999) {
		s.violated(fmt.Errorf("%s: Fault.Status is %d, want 0 or 200 to 999", method, f.Status))
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

// takeFault returns the fault for one request, zero if there is none. The caller holds mu.
func (s *Server) takeFault(op string) Fault {
	i := slices.IndexFunc(s.faults, func(q queued) bool { return q.op == op })
	if i < 0 {
		i = slices.IndexFunc(s.faults, func(q queued) bool { return q.op == "" })
	}
	if i < 0 {
		return Fault{}
	}
	f := s.faults[i].fault
	if s.faults[i].left--; s.faults[i].left == 0 {
		s.faults = slices.Delete(s.faults, i, i+1)
	}
	return f
}

// normal reports whether the normal answer is sent.
func (f Fault) normal() bool { return f.Status == 0 && f.Body == "" && f.Reset != BeforeHeader }

// wait sleeps for the delay; false if it ended early.
func (f Fault) wait(ctx context.Context, done <-chan struct{}) bool {
	if f.Delay <= 0 {
		return true
	}
	timer := time.NewTimer(f.Delay)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
	case <-done:
	}
	return false
}

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
		panic(http.ErrAbortHandler) // how net/http is told to close a connection
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
