package esper_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/esper-go/esper-go/pkg/esper"
)

// pipeTransport connects to serve in memory, so that a testing/synctest bubble holds both ends. Serve gets the
// connection after the head of a request was read from it.
func pipeTransport(serve func(conn net.Conn)) *http.Transport {
	return &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) {
		client, server := net.Pipe()
		go func() {
			defer server.Close()
			var request []byte
			for buf := make([]byte, 4096); !bytes.HasSuffix(request, []byte("\r\n\r\n")); {
				n, err := server.Read(buf)
				if err != nil {
					return
				}
				request = append(request, buf[:n]...)
			}
			serve(server)
		}()
		return client, nil
	}}
}

// head returns the head of an answer whose body has length bytes, or is chunked if length is negative.
func head(length int) string {
	framing := "Transfer-Encoding: chunked"
	if length >= 0 {
		framing = fmt.Sprintf("Content-Length: %d", length)
	}
	return strings.Join([]string{"HTTP/1.1 201 Created", "Content-Type: application/json", framing, "", ""}, "\r\n")
}

// cutBodies are answers in which newKey occurs once, as the top-level token.
var cutBodies = []string{
	`{"id": 571, "old": {"token": "nested"}, "list": [{"token": "listed"}], "note": "\"token\": \"quoted\"", ` +
		`"token": "` + newKey + `", "expires_at": "2023-07-03T04:29:53.906020Z"}`,
	`{"token": "` + newKey + `", "id": 571, "old": {"token": "nested"}}`,
	`{"id": 571, "token\u0020": "no", "token": "` + newKey + `"}`,
}

// Behind each byte of an answer the connection is closed, or says nothing more. The key is returned if it has
// arrived, and otherwise what has arrived. Package faults does the same with resets over a network.
func TestRenewToken_CutAtEachByte(t *testing.T) {
	for _, body := range cutBodies {
		for length := range len(body) + 1 {
			for _, begin := range []string{head(len(body)), head(-1)} {
				for _, hangs := range []bool{false, true} {
					synctest.Test(t, func(t *testing.T) { cut(t, body, length, begin, hangs) })
				}
			}
		}
	}
}

func cut(t *testing.T, body string, length int, begin string, hangs bool) {
	t.Helper()
	text := begin + body[:length]
	if length > 0 && strings.Contains(begin, "chunked") {
		text = fmt.Sprintf("%s%x\r\n%s\r\n", begin, length, body[:length])
	}
	var posts atomic.Int32
	transport := pipeTransport(func(conn net.Conn) {
		posts.Add(1)
		if _, _ = io.WriteString(conn, text); hangs {
			_, _ = io.Copy(io.Discard, conn) // until the client hangs up
		}
	})
	client := clientFor(t, memory, oldKey, esper.WithTransport(transport), esper.WithTimeout(7*time.Second), quickRetry(3))
	start := time.Now()
	renewed, err := client.RenewToken(t.Context(), renewal(oldKey))
	if length >= strings.Index(body, newKey)+len(newKey)+1 {
		wantRenewed(t, renewed, err)
	} else {
		wantLost(t, renewed, err, esper.OutcomeUnreadable, body[:length])
		if os.IsTimeout(err) != hangs {
			t.Errorf("%v: a timeout %t", err, !hangs)
		}
	}
	whole := length == len(body) && begin == head(length)
	if took := time.Since(start); hangs && !whole && took != 7*time.Second || (whole || !hangs) && took != 0 {
		t.Errorf("it took %v", took)
	}
	wantCount(t, "POSTs", posts.Load(), 1)
	if t.Failed() {
		t.Fatalf("after %d bytes with %s", length, begin)
	}
}
