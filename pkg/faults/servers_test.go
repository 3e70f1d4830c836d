package faults

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/esper-go/esper-go/pkg/esper/espertest"
)

// fake is the server of package espertest, for faults between the client and the server.
type fake struct {
	*espertest.Server
	listener net.Listener
}

// newFake starts a fake on a loopback port. wrap, if not nil, may put TLS around its listener.
func newFake(t *testing.T, wrap func(net.Listener) net.Listener) *fake {
	t.Helper()
	l := listen(t)
	if wrap != nil {
		l = wrap(l)
	}
	return &fake{espertest.NewServer(t, espertest.WithToken(canary), espertest.WithListener(l)), l}
}

func (f *fake) Address() string { return f.listener.Addr().String() }
func (f *fake) Key() string     { return f.Token() }

func (f *fake) Renewals() int {
	n, _ := strconv.Atoi(strings.TrimPrefix(f.Token(), canary+"-renewed-")) // 0 for the first key
	return n
}

func (f *fake) Requests(method string) int {
	n := 0
	for _, r := range f.Server.Requests() {
		if r.Method == method {
			n++
		}
	}
	return n
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	return listenAt(t, "127.0.0.1")
}

func listenAt(t *testing.T, address string) net.Listener {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", net.JoinHostPort(address, "0"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

// each calls serve for every connection of l, in a goroutine of its own. These goroutines end with the test.
func each(t *testing.T, l net.Listener, serve func(net.Conn)) {
	t.Helper()
	var group sync.WaitGroup
	var mu sync.Mutex
	open := make(map[net.Conn]bool)
	group.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			open[conn] = true
			mu.Unlock()
			group.Go(func() {
				serve(conn)
				_ = conn.Close()
				mu.Lock()
				delete(open, conn)
				mu.Unlock()
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		mu.Lock()
		for conn := range open {
			_ = conn.Close()
		}
		mu.Unlock()
		group.Wait()
	})
}

// script is a server that answers over HTTP/1.1 with whatever bytes answer writes.
type script struct {
	listener net.Listener

	mu     sync.Mutex
	counts map[string]int // requests by method
	keys   int            // how many new keys it has made
	answer answer
}

// answer writes to w the answer to r, which is the n-th request with its method. It reports whether
// the connection stays open.
type answer func(s *script, w io.Writer, r *http.Request, n int) bool

func newScript(t *testing.T, l net.Listener, a answer) *script {
	t.Helper()
	s := &script{listener: l, counts: make(map[string]int), answer: a}
	each(t, l, s.serve)
	return s
}

func (s *script) serve(conn net.Conn) {
	for in := bufio.NewReader(conn); ; {
		r, err := http.ReadRequest(in)
		if err != nil {
			return
		}
		if _, err = io.Copy(io.Discard, r.Body); err != nil {
			return
		}
		if !s.answer(s, conn, r, s.count(r.Method)) {
			return
		}
	}
}

// count counts a request, and returns how many with this method there were.
func (s *script) count(method string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.counts[method]++
	return s.counts[method]
}

func (s *script) Address() string { return s.listener.Addr().String() }

func (s *script) Key() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.key()
}

func (s *script) key() string { return fmt.Sprintf("%s-%04d", canary, s.keys) }

func (s *script) Renewals() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.keys
}

func (s *script) Requests(method string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.counts[method]
}

// body returns the normal answer to a request with method. For a renewal, it makes a new key first.
func (s *script) body(method string) (status int, body string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if renews(method) {
		s.keys++
	}
	return answerTo(method, s.key())
}

func answerTo(method, key string) (status int, body string) {
	switch method {
	case http.MethodPut:
		return http.StatusOK, fmt.Sprintf(`{"id":%q,"name":"token 1","prefix":"canary+k","legacy_token_id":571,"token":%q,"expiry_at":4070908800}`, tokenID, key)
	case http.MethodPost:
		return http.StatusCreated, fmt.Sprintf(`{"id":571,"user":"bindya","enterprise":"Esper [%s]","token":%q,`+
			`"expires_at":"2099-07-03T04:29:53.906020Z","scope":"read write"}`, enterpriseID, key)
	}
	return http.StatusOK, fmt.Sprintf(`{"id":"570","enterprise":%q,"user":"bindya","developer_app":%q,"token":%q,`+
		`"expires_on":"2099-11-19T15:42:16.637203Z","scope":["read","write"]}`, enterpriseID, developerAppID, key)
}

// head returns the status line and the header of an answer. Each of more is a header line. It is the same on each run.
func head(status int, more ...string) string {
	lines := append([]string{"HTTP/1.1 " + strconv.Itoa(status) + " " + http.StatusText(status), "Content-Type: application/json"}, more...)
	return strings.Join(lines, "\r\n") + "\r\n\r\n"
}

func length(body string) string { return "Content-Length: " + strconv.Itoa(len(body)) }

// sound sends the normal answer, in one write.
func sound(s *script, w io.Writer, r *http.Request, _ int) bool {
	status, body := s.body(r.Method)
	_, _ = io.WriteString(w, head(status, length(body))+body)
	return !r.Close
}

// scripted is a stage whose server answers with faulty, until the stage is sound.
func scripted(faulty answer) func(t *testing.T) *stage {
	return func(t *testing.T) *stage {
		t.Helper()
		st := new(stage)
		s := newScript(t, listen(t), st.until(faulty))
		return st.lead(s, to(s.Address()))
	}
}

// until answers with faulty until the stage is sound, and then normally.
func (st *stage) until(faulty answer) answer {
	return func(s *script, w io.Writer, r *http.Request, n int) bool {
		if st.sound.Load() {
			return sound(s, w, r, n)
		}
		return faulty(s, w, r, n)
	}
}
