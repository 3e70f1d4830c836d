package faults

import (
	"compress/gzip"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/esper-go/esper-go/pkg/esper/espertest"
)

const mebibyte = 1 << 20

// sending lets send write each answer of the server to the client. The server writes an answer at once.
func sending(send func(conn net.Conn, answer string) error) func(s *stage) {
	return func(s *stage) {
		s.meet = func(conn net.Conn) net.Conn { return &faultyConn{conn, send} }
	}
}

type faultyConn struct {
	net.Conn
	send func(conn net.Conn, answer string) error
}

func (c *faultyConn) Write(b []byte) (int, error) {
	if err := c.send(c.Conn, string(b)); err != nil {
		return 0, err
	}
	return len(b), nil
}

// edit makes another answer of one.
type edit func(answer string) string

func sound(answer string) string { return answer }

// answers sends what e makes of an answer.
func answers(e edit) func(s *stage) {
	return sending(func(conn net.Conn, answer string) error {
		_, err := io.WriteString(conn, e(answer))
		return err
	})
}

// afterBytes ends a connection when so many bytes of an answer are sent, by FIN or by RST.
func afterBytes(sent int, reset bool, e edit) func(s *stage) {
	return sending(func(conn net.Conn, answer string) error {
		answer = e(answer)
		_, _ = io.WriteString(conn, answer[:min(sent, len(answer))])
		end(conn, reset)
		return net.ErrClosed
	})
}

// slowly sends size bytes at a time, with a pause before each.
func slowly(size int, pause time.Duration, e edit) func(s *stage) {
	return sending(func(conn net.Conn, answer string) error {
		for piece := range slices.Chunk([]byte(e(answer)), size) {
			<-time.After(pause)
			if _, err := conn.Write(piece); err != nil {
				return err
			}
		}
		return nil
	})
}

// lateClose sends an answer after which the connection ends, but only when the client closes it.
func lateClose(e edit) func(s *stage) {
	return sending(func(conn net.Conn, answer string) error {
		_, _ = io.WriteString(conn, e(answer))
		_, err := io.Copy(io.Discard, conn)
		return err
	})
}

// altered has the status and the body of the normal answer. edit returns the header's lines and what is sent.
func altered(edit func(body string) (lines []string, sent string)) edit {
	return func(answer string) string {
		header, body, _ := strings.Cut(answer, "\r\n\r\n")
		status, _, _ := strings.Cut(header, "\r\n")
		lines, body := edit(body)
		return strings.Join(append([]string{status, "Content-Type: application/json"}, lines...), "\r\n") + "\r\n\r\n" + body
	}
}

func length(body string) string { return "Content-Length: " + strconv.Itoa(len(body)) }

// closing is an answer after which the connection ends.
func closing() edit {
	return altered(func(body string) ([]string, string) { return []string{"Connection: close", length(body)}, body })
}

// unsized is one whose end is that of the connection.
func unsized() edit {
	return altered(func(body string) ([]string, string) { return []string{"Connection: close"}, body })
}

// split splits a body where white space changes nothing: before its members, or after them.
func split(body string, behind bool) (front, rest string) {
	if behind {
		return strings.TrimSuffix(body, "}"), "}"
	}
	return "{", body[1:]
}

// bomb has a body of 64 MiB that is 64 KiB when compressed, most of which is white space.
func bomb(behind bool) edit {
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

// padded has the normal body and so much white space.
func padded(size int, behind bool) edit {
	return altered(func(body string) ([]string, string) {
		front, rest := split(body, behind)
		body = front + strings.Repeat(" ", size) + rest
		return []string{length(body)}, body
	})
}

const informational = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n"

// before puts text before the normal answer.
func before(text string) edit {
	return func(answer string) string { return text + answer }
}

func endless(conn net.Conn, _ string) (err error) {
	for err == nil {
		_, err = io.WriteString(conn, strings.Repeat(informational, 100))
	}
	return err
}

func switching(answer string) string {
	_, body, _ := strings.Cut(answer, "\r\n\r\n")
	return "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: esper\r\n\r\n" + body
}

// failing is a fault of the server itself.
func failing(f espertest.Fault) func(s *stage) { return func(s *stage) { s.server.Fail(-1, f) } }

func headers(size int) espertest.Fault {
	value := strings.Repeat("x", 1000)
	return espertest.Fault{Handled: true, Header: http.Header{"X-Padding": slices.Repeat([]string{value}, size/len(value))}}
}
