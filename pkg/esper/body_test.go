package esper_test

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/esper-go/esper-go/pkg/esper"
)

const (
	mebibyte = 1 << 20
	hugeBody = 256 * mebibyte
	maxExtra = 8 * mebibyte // bytes that a call may allocate, whatever the size of the answer
)

// huge returns a handler that answers with begin and then spaces, hugeBody bytes in all. It allocates its memory
// beforehand, so that lean does not count it.
func huge(t *testing.T, status int, framing, begin string) http.HandlerFunc {
	t.Helper()
	spaces := bytes.Repeat([]byte(" "), mebibyte)
	head := []byte(begin)
	if framing == "gzip" {
		head, spaces = gzipped(t, head), gzipped(t, spaces) // members of one stream
	}
	return func(w http.ResponseWriter, r *http.Request) {
		switch framing {
		case "sized":
			w.Header().Set("Content-Length", strconv.Itoa(hugeBody))
		case "gzip":
			if r.Header.Get("Accept-Encoding") != "" {
				t.Errorf("%s asks for gzip, which net/http would decompress without a limit", r.Method)
			}
			w.Header().Set("Content-Encoding", "gzip")
		}
		w.WriteHeader(status)
		_, err := w.Write(head)
		for n := 0; n < hugeBody/mebibyte-1 && err == nil; n++ {
			_, err = w.Write(spaces)
		}
		if framing == "sized" && err == nil {
			_, _ = w.Write(spaces[:mebibyte-len(head)])
		}
	}
}

func gzipped(t *testing.T, text []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	_, err := w.Write(text)
	if err = errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// lean fails the test if call, the server's part of it included, allocates maxExtra or more.
func lean(t *testing.T, call func()) {
	t.Helper()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	call()
	runtime.ReadMemStats(&after)
	if grown := after.TotalAlloc - before.TotalAlloc; grown >= maxExtra {
		t.Errorf("%.1f MiB allocated", float64(grown)/mebibyte)
	}
}

func TestBody_Huge(t *testing.T) {
	early := `{"token": "` + newKey + `", "id": 571, "pad": "`
	for _, framing := range []string{"sized", "chunked", "gzip"} {
		t.Run(framing, func(t *testing.T) {
			base, requests := counted(t, huge(t, 200, framing, `{"id": "570"}`))
			client := clientFor(t, base, oldKey, quickRetry(4))
			lean(t, func() {
				if info, err := client.TokenInfo(t.Context()); info != nil || !errors.Is(err, esper.ErrResponseTooLarge) {
					t.Errorf("TokenInfo: %v, %v", info, err)
				}
			})
			wantCount(t, "requests", requests.Load(), 1)

			base, requests = counted(t, huge(t, 201, framing, `{"id": 571, "pad": "`))
			client = clientFor(t, base, oldKey, quickRetry(4))
			lean(t, func() {
				renewed, err := client.RenewToken(t.Context(), renewal(oldKey))
				wantLost(t, renewed, err, esper.OutcomeUnreadable, `{"id": 571, "pad": "`+strings.Repeat(" ", mebibyte-20))
				if !errors.Is(err, esper.ErrResponseTooLarge) {
					t.Errorf("%v is not ErrResponseTooLarge", err)
				}
			})
			wantCount(t, "POSTs", requests.Load(), 1)

			base, requests = counted(t, huge(t, 201, framing, early))
			client = clientFor(t, base, oldKey, quickRetry(4))
			lean(t, func() {
				renewed, err := client.RenewToken(t.Context(), renewal(oldKey))
				wantRenewed(t, renewed, err)
			})
			wantCount(t, "POSTs", requests.Load(), 1)

			base, requests = counted(t, huge(t, 400, framing, `{"message": "no"}`))
			client = clientFor(t, base, oldKey, quickRetry(4))
			lean(t, func() {
				_, err := client.TokenInfo(t.Context())
				var api *esper.APIError
				if !errors.As(err, &api) || api.StatusCode != 400 || len(api.Body) != mebibyte {
					t.Errorf("error %v", err)
				}
			})
			wantCount(t, "requests", requests.Load(), 1)
		})
	}
}

func TestBody_TheBoundItself(t *testing.T) {
	pad := func(text string, size int) string { return text + strings.Repeat(" ", size-len(text)) }
	for _, framed := range []string{"sized", "chunked"} {
		for extra := -1; extra <= 1; extra++ {
			t.Run(fmt.Sprintf("%s %+d", framed, extra), func(t *testing.T) {
				body := pad(someInfo, mebibyte+extra)
				base, _ := counted(t, func(w http.ResponseWriter, _ *http.Request) {
					if framed == "sized" {
						w.Header().Set("Content-Length", strconv.Itoa(len(body)))
					}
					_, _ = io.WriteString(w, body)
				})
				client := clientFor(t, base, oldKey)
				info, err := client.TokenInfo(t.Context())
				if fits := extra <= 0; (err == nil && info.ID == "570") != fits || errors.Is(err, esper.ErrResponseTooLarge) == fits {
					t.Errorf("TokenInfo: %v, %v", info, err)
				}
				// The answer ends right at the limit, or one byte before or after it.
				body = strings.Repeat(" ", mebibyte+extra-len(realRenewal)) + realRenewal
				renewed, err := client.RenewToken(t.Context(), renewal(oldKey))
				if got := fields(wantRenewed(t, renewed, err)); extra <= 0 && got != realFields {
					t.Errorf("RenewToken: %s", got)
				}
				end := `"token": "` + newKey + `"`
				body = strings.Repeat(" ", mebibyte+extra-1-len(end)) + "{" + end
				renewed, err = client.RenewToken(t.Context(), renewal(oldKey))
				if extra <= 0 {
					wantRenewed(t, renewed, err)
				} else {
					wantLost(t, renewed, err, esper.OutcomeUnreadable, body[:mebibyte])
				}
			})
		}
	}
}

// connections starts a server and counts the connections that it accepts.
func connections(t *testing.T, handler http.HandlerFunc) (base string, accepted *atomic.Int32) {
	t.Helper()
	accepted = new(atomic.Int32)
	server := httptest.NewUnstartedServer(handler)
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			accepted.Add(1)
		}
	}
	server.Start()
	t.Cleanup(server.Close)
	return server.URL, accepted
}

func TestBody_ConnectionIsUsedAgain(t *testing.T) {
	for name, tt := range map[string]struct {
		handler http.HandlerFunc
		want    int32 // connections for five calls
	}{
		"success":         {answer(200, "application/json", someInfo), 1},
		"no JSON":         {answer(200, "text/html", "<html>"), 1},
		"an error":        {answer(404, "application/json", `{"message": "no"}`), 1},
		"a large error":   {answer(404, "text/html", strings.Repeat("x", mebibyte/2)), 1},
		"an empty error":  {answer(401, "", ""), 1},
		"a redirect":      {answer(302, "", ""), 1},
		"too large":       {answer(200, "text/html", strings.Repeat("x", 2*mebibyte)), 5},
		"too large error": {answer(404, "text/html", strings.Repeat("x", 2*mebibyte)), 5},
	} {
		t.Run(name, func(t *testing.T) {
			base, accepted := connections(t, tt.handler)
			client := clientFor(t, base, oldKey)
			for range 5 {
				_, _ = client.TokenInfo(t.Context())
			}
			wantCount(t, "connections", accepted.Load(), tt.want)
		})
	}
}

func TestBody_OfTheGeneratedClient(t *testing.T) {
	var body string
	base, _ := counted(t, func(w http.ResponseWriter, r *http.Request) { answer(200, "application/json", body)(w, r) })
	var sent *http.Request
	client := clientFor(t, base, oldKey, esper.WithMiddleware(func(next http.RoundTripper) http.RoundTripper {
		return roundTripFunc(func(req *http.Request) (*http.Response, error) { sent = req; return next.RoundTrip(req) })
	}))
	for size, want := range map[int]error{mebibyte: nil, mebibyte + 1: esper.ErrResponseTooLarge, 2 * mebibyte: esper.ErrResponseTooLarge} {
		body = strings.Repeat("x", size)
		resp, err := client.Generated().GetTokenInfo(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(resp.Body)
		if len(got) != mebibyte || !errors.Is(err, want) {
			t.Errorf("of %d bytes read %d, %v", size, len(got), err)
		}
		if n, err := resp.Body.Read(make([]byte, 10)); n != 0 || err == nil || want != nil && !errors.Is(err, want) {
			t.Errorf("after the end: %d, %v", n, err)
		}
		if _, timed := sent.Context().Deadline(); !timed || sent.Context().Err() == nil {
			t.Errorf("deadline %t, error %v; want a context with a deadline that has ended with the call", timed, sent.Context().Err())
		}
		if err := errors.Join(resp.Body.Close(), resp.Body.Close()); err != nil {
			t.Error(err)
		}
	}
}

// The body of a 101 answer is the connection itself. Reading it would outlast every timeout.
func TestBody_SwitchOfProtocolsIsNoBody(t *testing.T) {
	base, requests := counted(t, func(w http.ResponseWriter, _ *http.Request) {
		if conn, _, err := http.NewResponseController(w).Hijack(); err == nil {
			switchProtocols(t, conn)
			conn.Close()
		}
	})
	_, err := clientFor(t, base, oldKey, quickRetry(2)).TokenInfo(t.Context())
	var api *esper.APIError
	if !errors.As(err, &api) || api.StatusCode != 101 || len(api.Body) != 0 {
		t.Errorf("error %v", err)
	}
	wantCount(t, "requests", requests.Load(), 1)
}
