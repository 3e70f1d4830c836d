package faults

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/esper-go/esper-go/pkg/esper"
)

// framing is a way in which an answer shows where its body ends.
type framing struct {
	name    string
	unsized bool // the body ends when the connection ends
	wrap    func(status int, body string) string
	// carried returns the part of the body that is in text, a beginning of what wrap returned.
	carried func(text string) string
}

func framings() []framing {
	return []framing{
		{"Content-Length", false, func(status int, body string) string { return head(status, length(body)) + body }, afterHead},
		{"chunked", false, func(status int, body string) string {
			return fmt.Sprintf("%s%x\r\n%s\r\n0\r\n\r\n", head(status, "Transfer-Encoding: chunked"), len(body), body)
		}, func(text string) string {
			_, data, _ := strings.Cut(afterHead(text), "\r\n")
			data, _, _ = strings.Cut(data, "\r\n")
			return data
		}},
		{"until the connection ends", true, func(status int, body string) string { return head(status, "Connection: close") + body }, afterHead},
	}
}

func afterHead(text string) string {
	_, body, _ := strings.Cut(text, "\r\n\r\n")
	return body
}

// sweep is a series of calls. Their answers are cut off after 0 bytes, 1 byte, and so on.
type sweep struct {
	framing framing
	reset   bool
	op      operation
}

func (s sweep) name() string {
	return fmt.Sprintf("%s, %s, %s", s.op.name, s.framing.name, s.ending())
}

func (s sweep) ending() string {
	if s.reset {
		return "reset"
	}
	return "close"
}

func sweeps() (all []sweep) {
	for _, op := range []operation{tokenInfo, renewToken, renewPersonalToken} {
		for _, f := range framings() {
			all = append(all, sweep{f, false, op}, sweep{f, true, op})
		}
	}
	return all
}

// span is a range of offsets at which callers get the same.
type span struct {
	from, to int
	gets     string
}

// run makes a call for each offset at which the answer can be cut off.
func (s sweep) run(t *testing.T) (spans []span) {
	t.Helper()
	server := newScript(t, listen(t), func(server *script, w io.Writer, r *http.Request, _ int) bool {
		_, _ = io.WriteString(w, s.framing.wrap(server.body(r.Method)))
		return !r.Close && !s.framing.unsized
	})
	st := new(stage).lead(server, nil)
	var log bytes.Buffer
	client := st.client(t, ample, &log)
	for at := range len(s.framing.wrap(answerTo(s.op.method, server.Key()))) + 1 {
		got := s.cut(t, st, client, &log, at)
		if t.Failed() {
			t.Fatalf("the answer was cut off at offset %d", at)
		}
		if n := len(spans); n > 0 && spans[n-1].gets == got {
			spans[n-1].to = at
		} else {
			spans = append(spans, span{at, at, got})
		}
	}
	return spans
}

// cut makes a call whose answer is cut off at the offset at, and then one whose answer is not.
func (s sweep) cut(t *testing.T, st *stage, client *esper.Client, log *bytes.Buffer, at int) (gets string) {
	t.Helper()
	toxics := []toxic{cutAt("downstream", at)}
	if s.reset {
		toxics = append(toxics, reset("downstream"))
	}
	address, stop := proxyTo(t, st.Address(), toxics...)
	defer stop()
	st.dial = to(address)
	before := st.Requests(s.op.method)
	o := s.op.call(t, client, st.Key())
	text := s.framing.wrap(answerTo(s.op.method, st.Key()))
	expected := s.want(text[:at], st.Key(), at == len(text))
	got := want{describe(o.err), st.Requests(s.op.method) - before}
	if prefix, _, ok := strings.Cut(got.gets, hidden); ok { // cut off inside the header
		got.gets = prefix + broken
	}
	if got != expected {
		t.Errorf("got  %+v: %v\nwant %+v", got, o.err, expected)
	}
	s.checkKey(t, o, s.framing.carried(text[:at]), st.Key())
	checkSecrets(t, log, o)

	client.CloseIdleConnections()
	st.dial = st.healed
	if o = s.op.call(t, client, st.Key()); o.err != nil {
		t.Errorf("the call after the fault: %v", o.err)
	}
	checkSecrets(t, log, o)
	st.checkClosed(t, client)
	return got.gets
}

// want returns what a caller has to get if only sent arrives of an answer. whole says that sent is all of it.
func (s sweep) want(sent, key string, whole bool) want {
	carried := s.framing.carried(sent)
	lost := broken
	if s.framing.unsized && !s.reset {
		lost = "ErrInvalidResponse" // the end looks regular; only the JSON shows that it is cut off
	}
	headless := !strings.Contains(sent, "\r\n\r\n")
	if s.op.renews() {
		switch {
		case headless:
			return want{unknown + broken, 1}
		case !strings.Contains(carried, `"`+key+`"`):
			return want{unread + lost, 1}
		}
		return want{succeeded, 1}
	}
	switch {
	case whole && !(s.framing.unsized && s.reset):
		return want{succeeded, 1}
	case headless, lost == broken:
		return want{broken, attempts}
	}
	return want{lost, 1}
}

// checkKey checks that the caller has the new key, or the part of the body that arrived.
func (s sweep) checkKey(t *testing.T, o outcome, carried, key string) {
	t.Helper()
	if !s.op.renews() {
		return
	}
	if o.err == nil {
		if o.newKey != key {
			t.Fatal("the call returned a key that is not the new key of the server")
		}
		return
	}
	var renewal *esper.RenewalError
	if !errors.As(o.err, &renewal) || string(renewal.Body) != carried {
		t.Fatalf("the error does not hold exactly the %d bytes of the body that arrived: %v", len(carried), o.err)
	}
}
