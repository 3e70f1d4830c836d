package faults

import (
	"compress/gzip"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
)

const mebibyte = 1 << 20

// answers is a server that answers with a.
func answers(a answer) func(s *stage) { return func(s *stage) { s.answer = a } }

// silence acts on the request, and sends nothing until the client closes the connection.
func silence(s *stage, conn net.Conn, r *http.Request) bool {
	s.body(r.Method)
	_, _ = io.Copy(io.Discard, conn)
	return false
}

// lateClose sends an answer after which the connection ends, but only when the client closes it. With sized, the client
// can see where the answer ends.
func lateClose(sized bool) answer {
	a := altered(func(body string) ([]string, string) {
		if sized {
			return []string{"Connection: close", length(body)}, body
		}
		return []string{"Connection: close"}, body
	})
	return func(s *stage, conn net.Conn, r *http.Request) bool {
		a(s, conn, r)
		_, _ = io.Copy(io.Discard, conn)
		return false
	}
}

// cutUnsized ends a connection in an answer whose end is that of the connection.
func cutUnsized(sent int) func(s *stage) {
	return func(s *stage) {
		s.answer = lateClose(false)
		afterBytes(sent, false)(s)
	}
}

// split splits a body where white space changes nothing: before its members, or after them.
func split(body string, behind bool) (front, rest string) {
	if behind {
		return strings.TrimSuffix(body, "}"), "}"
	}
	return "{", body[1:]
}

// bomb answers with a body of 64 MiB that is 64 KiB when compressed, most of which is white space.
func bomb(behind bool) answer {
	blanks := strings.Repeat(packed(strings.Repeat(" ", mebibyte)), 64) // a series of gzip files is a gzip file
	return altered(func(body string) ([]string, string) {
		front, rest := split(body, behind)
		body = packed(front) + blanks + packed(rest)
		return []string{"Content-Encoding: gzip", length(body)}, body
	})
}

func packed(text string) string {
	var b strings.Builder
	z := gzip.NewWriter(&b)
	_, _ = io.WriteString(z, text)
	_ = z.Close()
	return b.String()
}

// padded answers with the normal body and so much white space.
func padded(size int, behind bool) answer {
	return altered(func(body string) ([]string, string) {
		front, rest := split(body, behind)
		body = front + strings.Repeat(" ", size) + rest
		return []string{length(body)}, body
	})
}

func headers(size int) answer {
	line := "X-Padding: " + strings.Repeat("x", 1000)
	return altered(func(body string) ([]string, string) {
		return append(slices.Repeat([]string{line}, size/len(line)), length(body)), body
	})
}

const informational = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n"

// before sends text, and then the normal answer.
func before(text string) answer {
	return func(s *stage, conn net.Conn, r *http.Request) bool {
		_, _ = io.WriteString(conn, text)
		return sound(s, conn, r)
	}
}

func endless(s *stage, conn net.Conn, r *http.Request) bool {
	s.body(r.Method)
	for {
		if _, err := io.WriteString(conn, strings.Repeat(informational, 100)); err != nil {
			return false
		}
	}
}

func switching(s *stage, conn net.Conn, r *http.Request) bool {
	_, body := s.body(r.Method)
	_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: esper\r\n\r\n"+body)
	return false
}

func refusing(status int) answer {
	return func(_ *stage, conn net.Conn, r *http.Request) bool {
		body := fmt.Sprintf(`{"message":"no","errors":["no"],"status":%d}`, status)
		_, _ = io.WriteString(conn, head(status, length(body))+body)
		return !r.Close
	}
}
