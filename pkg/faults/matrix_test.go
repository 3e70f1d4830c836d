package faults

import (
	"bytes"
	"cmp"
	"context"
	"flag"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"github.com/esper-go/esper-go/pkg/esper"
	"github.com/esper-go/esper-go/pkg/esper/espertest"
)

const (
	attempts = 3
	// ample is a time limit that no attempt reaches; short is one that a slow fault exceeds, and nothing else.
	ample = 5 * time.Minute
	short = 5 * time.Second
	// After so many bytes, the answers of all renewals are at the same place.
	inHeader, inBody, behindToken = 40, 150, 360
)

// fault is a row of the table in FAULTS.md: what goes wrong between client and server.
type fault struct {
	name  string
	limit time.Duration // of an attempt
	set   func(s *stage)
}

func faults() []fault {
	const cannot = "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n"
	const who = "HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n"
	return []fault{
		{"connection refused", ample, refused},
		{"no answer to a dial", short, unanswered},
		{"host name not found", ample, noName},
		{"black hole once connected", short, saying("")},
		{"no answer", short, failing(espertest.Fault{Handled: true, Delay: time.Hour})},
		{"reset during the request", ample, inRequest(true)},
		{"close during the request", ample, inRequest(false)},
		{"reset after the request", ample, afterBytes(0, true, sound)},
		{"close after the request", ample, afterBytes(0, false, sound)},
		{"reset in the answer's header", ample, afterBytes(inHeader, true, sound)},
		{"close in the answer's header", ample, afterBytes(inHeader, false, sound)},
		{"reset in the answer's body, before the token", ample, afterBytes(inBody, true, sound)},
		{"close in the answer's body, before the token", ample, afterBytes(inBody, false, sound)},
		{"reset in the answer's body, after the token", ample, afterBytes(behindToken, true, sound)},
		{"close in the answer's body, after the token", ample, afterBytes(behindToken, false, sound)},
		{"close in a body without a length, before the token", ample, afterBytes(inBody, false, unsized())},
		{"close in a body without a length, after the token", ample, afterBytes(behindToken, false, unsized())},
		{"1 kB/s, within the timeout", ample, slowly(100, 100*time.Millisecond, sound)},
		{"answer in pieces of a few bytes", ample, slowly(3, 10*time.Millisecond, sound)},
		{"slow close", short, lateClose(closing())},
		{"TLS: closed in the handshake", ample, secured(afterBytes(10, false, sound))},
		{"TLS: reset in the handshake", ample, secured(afterBytes(10, true, sound))},
		{"TLS: handshake without an end", short, secured(saying(""))},
		{"TLS: the server speaks something else", ample, secured(saying("220 ready\r\n"))},
		{"TLS: certificate of an unknown authority", ample, overTLS(host, time.Hour, false, nil)},
		{"TLS: certificate for another name", ample, overTLS("other.test", time.Hour, true, nil)},
		{"TLS: certificate expired", ample, overTLS(host, -time.Hour, true, nil)},
		{"proxy: CONNECT gets 407", ample, behindProxy(who, nil)},
		{"proxy: CONNECT gets 502", ample, behindProxy(cannot, nil)},
		{"proxy: closes on CONNECT", ample, behindProxy("", nil)},
		{"proxy: closes in its answer to CONNECT", ample, behindProxy("HTTP/1.1 200 Connection est", nil)},
		{"proxy: closes the tunnel at once", ample, behindProxy("HTTP/1.1 200 OK\r\n\r\n", nil)},
		{"proxy: refuses connections", ample, behindProxy("", refused)},
		{"HTTP/2: GOAWAY before the handler, once", ample, overHTTP2(false, 1, goAway(http2.ErrCodeNo))},
		{"HTTP/2: GOAWAY after the handler, once", ample, overHTTP2(true, 1, goAway(http2.ErrCodeNo))},
		{"HTTP/2: REFUSED_STREAM before the handler, once", ample, overHTTP2(false, 1, resetStream(http2.ErrCodeRefusedStream))},
		{"HTTP/2: REFUSED_STREAM after the handler, once", ample, overHTTP2(true, 1, resetStream(http2.ErrCodeRefusedStream))},
		{"HTTP/2: PROTOCOL_ERROR before the handler, once", ample, overHTTP2(false, 1, resetStream(http2.ErrCodeProtocol))},
		{"HTTP/2: PROTOCOL_ERROR after the handler, once", ample, overHTTP2(true, 1, resetStream(http2.ErrCodeProtocol))},
		{"HTTP/2: GOAWAY before the handler, always", short, overHTTP2(false, always, goAway(http2.ErrCodeNo))},
		{"HTTP/2: PROTOCOL_ERROR after the handler, always", 15 * time.Second, overHTTP2(true, always, resetStream(http2.ErrCodeProtocol))},
		{"HTTP/2: GOAWAY with PROTOCOL_ERROR before the handler, always", ample, overHTTP2(false, always, goAway(http2.ErrCodeProtocol))},
		{"HTTP/2: GOAWAY with PROTOCOL_ERROR after the handler, always", ample, overHTTP2(true, always, goAway(http2.ErrCodeProtocol))},
		{"HTTP/2: INTERNAL_ERROR after the handler, always", ample, overHTTP2(true, always, resetStream(http2.ErrCodeInternal))},
		{"HTTP/2: connection closed in the answer, always", ample, overHTTP2(true, always, halfAnswer)},
		{"gzip bomb of 64 MiB", ample, answers(bomb(false))},
		{"gzip bomb of 64 MiB after the token", ample, answers(bomb(true))},
		{"16 MiB without compression, after the token", ample, answers(padded(16*mebibyte, true))},
		{"headers of 60 KiB", ample, failing(headers(60 << 10))},
		{"headers of 10 MiB", ample, failing(headers(10 * mebibyte))},
		{"1 kB/s, beyond the timeout, token at the beginning", short, slowly(100, 100*time.Millisecond, padded(16<<10, true))},
		{"1 kB/s, beyond the timeout, token at the end", short, slowly(100, 100*time.Millisecond, padded(16<<10, false))},
		{"slow close of an answer without a length", short, lateClose(unsized())},
		{"100, 102 and 103 before the answer", ample, answers(before(informational))},
		{"a thousand 1xx answers before the answer", ample, answers(before(strings.Repeat(informational, 334)))},
		{"1xx answers without an end", ample, sending(endless)},
		{"101 Switching Protocols", ample, lateClose(switching)},
		{"429", ample, failing(espertest.Fault{Status: http.StatusTooManyRequests})},
		{"503", ample, failing(espertest.Fault{Status: http.StatusServiceUnavailable})},
	}
}

// operation is a method of the client.
type operation struct {
	name, method string
	call         func(ctx context.Context, c *esper.Client, key string) outcome
}

func (op operation) renews() bool { return op.method != http.MethodGet }

// outcome is what a call returned.
type outcome struct {
	result any
	newKey string // the new key, if the call was a renewal
	err    error
}

func operations() []operation {
	return []operation{
		{"TokenInfo", http.MethodGet, func(ctx context.Context, c *esper.Client, _ string) outcome {
			info, err := c.TokenInfo(ctx)
			return outcome{info, "", err}
		}},
		{"RenewToken", http.MethodPost, func(ctx context.Context, c *esper.Client, key string) outcome {
			renewed, err := c.RenewToken(ctx, esper.RenewRequest{
				EnterpriseID: enterpriseID, DeveloperAppID: developerAppID, AccessToken: esper.NewSecret(key),
			})
			return outcome{renewed, cmp.Or(renewed, new(esper.RenewedToken)).Token.Reveal(), err}
		}},
		{"RenewPersonalAccessToken", http.MethodPut, func(ctx context.Context, c *esper.Client, _ string) outcome {
			renewed, err := c.RenewPersonalAccessToken(ctx, tokenID, 4070908800)
			return outcome{renewed, cmp.Or(renewed, new(esper.PersonalAccessToken)).Token.Reveal(), err}
		}},
	}
}

// row calls each operation, and returns the fault's row of the table. RenewPersonalAccessToken has to get what RenewToken
// gets.
func (f fault) row(t *testing.T) string {
	t.Helper()
	var cells []string
	for _, op := range operations() {
		cells = append(cells, f.cell(t, op))
	}
	if cells[2] != cells[1] {
		t.Errorf("RenewPersonalAccessToken gets %s, RenewToken %s", cells[2], cells[1])
	}
	return fmt.Sprintf("| %s | %s | %s |\n", f.name, cells[0], cells[1])
}

// cell makes one call during the fault and one after it, and returns what the first one got, and how many requests the
// server handled.
func (f fault) cell(t *testing.T, op operation) string {
	t.Helper()
	var log bytes.Buffer
	s := newStage(t, f.set)
	client := s.client(f.limit, &log)
	old := s.server.Token()
	o := op.call(t.Context(), client, old)
	key, requests := s.server.Token(), s.requests(op.method)
	gets := describe(o, op)
	checkSecrets(t, &log, o)
	if op.renews() && requests > 1 && !strings.Contains(gets, "ErrRateLimited") {
		t.Errorf("%s was sent %d times, want once", op.name, requests)
	}
	if o.newKey != "" && (o.newKey != key || key == old) {
		t.Errorf("%s returned a key that is not the new key of the server", op.name)
	}
	if key != old && strings.HasPrefix(gets, esper.OutcomeNotRenewed.String()) {
		t.Errorf("%s: the server made a new key, but the outcome says that nothing was renewed", op.name)
	}

	client.CloseIdleConnections()
	s.sound.Store(true)
	s.server.Fail(0, espertest.Fault{})
	after := op.call(t.Context(), client, key)
	if now, n := s.server.Token(), s.requests(op.method); after.err != nil || op.renews() && (after.newKey != now || now == key || n != requests+1) {
		t.Errorf("%s after the fault: %v; it was sent %d times", op.name, after.err, n-requests)
	}
	checkSecrets(t, &log, after)
	if !op.renews() && requests > attempts {
		return gets + " | many ¹"
	}
	return fmt.Sprintf("%s | %d", gets, requests)
}

var update = flag.Bool("update", false, "write the rows that are found into "+file)

const file = "../esper/FAULTS.md"

// TestMatrix calls every operation under every fault, all faults at once, and compares what is found with the table in
// FAULTS.md.
func TestMatrix(t *testing.T) {
	log.SetOutput(io.Discard)
	page, err := os.ReadFile(file)
	must(err)
	faults := faults()
	rows := make([]string, len(faults))
	watchLeaks(t)
	t.Run("all", func(t *testing.T) {
		for i, f := range faults {
			t.Run(f.name, func(t *testing.T) {
				t.Parallel()
				rows[i] = f.row(t)
				if !*update && !strings.Contains(string(page), "\n"+rows[i]) {
					t.Errorf("%s has another row:\n%s", file, rows[i])
				}
			})
		}
	})
	if t.Failed() || slices.Contains(rows, "") { // the flag -run has left some out
		return
	}
	const begin, end = "\n|---|---|---|---|---|\n", "\n¹"
	above, table, _ := strings.Cut(string(page), begin)
	_, below, found := strings.Cut(table, end)
	whole := above + begin + strings.Join(rows, "") + end + below
	if found && *update {
		must(os.WriteFile(file, []byte(whole), 0o644))
	} else if whole != string(page) {
		t.Errorf("%s has other rows than are found: make faults writes them into its table", file)
	}
}
