package main

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"

	"github.com/esper-go/esper-go/pkg/esper"
)

// hostile compares the times of esper-go and of net/http for answers that are costly to process. Each is as long as
// esper-go reads at most. net/http only reads them.
func (b *bench) hostile(ctx context.Context) error {
	costly := costlyAnswers()
	for _, name := range slices.Sorted(maps.Keys(costly)) {
		times, err := costly[name].times(ctx, max(b.blocks/5, 2))
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		r := ratioOf(times[ours], times[plainly])
		fmt.Fprintf(&b.costly, "| %s | %.3f [%.3f, %.3f] |\n", name, r.median, r.low, r.high)
	}
	return nil
}

const plainly = "net/http"

// costly is an answer. Its head is the header without the last lines, which serve adds.
type costly struct {
	head, body string
	gzip       bool
}

func costlyAnswers() map[string]costly {
	fill := func(begin, unit, end string) string {
		return begin + strings.Repeat(unit, (1<<20-len(begin)-len(end))/len(unit)) + end
	}
	var member bytes.Buffer
	z, _ := gzip.NewWriterLevel(&member, gzip.BestCompression) // the level is valid
	_ = z.Close()
	const bad, ok = "HTTP/1.1 400 Bad Request", "HTTP/1.1 200 OK"
	return map[string]costly{
		"header line":         {bad + "\r\nX-Request-Id: " + strings.Repeat("x", 9<<20), "", false},
		"empty gzip members":  {bad, fill("", member.String(), ""), true},
		"member name":         {bad, fill(`{"errors": {"`, "n", `": ["fault"]}}`), false},
		"escapes":             {bad, fill(`{"message": "`, `\u0025`, `"}`), false},
		"percent signs":       {bad, fill(`{"message": "`, `%25`, `"}`), false},
		"entities":            {bad, fill(`{"message": "`, `&amp;`, `"}`), false},
		"faults":              {bad, fill(`{"errors": [`, `"`+strings.Repeat("%25&amp;", 250)+`",`, `"end"]}`), false},
		"nesting":             {bad, fill(`{"errors": `, "[", ""), false},
		"members":             {bad, fill(`{`, `"a":1,`, `"b":1}`), false},
		"HTML":                {bad, fill("<html><title>", "<title>", ""), false},
		"tokens":              {bad, fill(`{"a": [`, `{"token": "x"},`, `1]}`), false},
		"success, one member": {ok, fill(`{"id": 1, "enterprise": "e", "x": "`, "x", `"}`), false},
		"success, members":    {ok, fill(`{"id": 1, "enterprise": "e",`, `"a":1,`, `"b":1}`), false},
		"success, arrays":     {ok, fill(`{"id": 1, "enterprise": "e", "x": [`, "[],", `1]}`), false},
		"success, scopes":     {ok, fill(`{"id": 1, "enterprise": "e", "scope": [`, `"s",`, `"t"]}`), false},
	}
}

func (c costly) times(ctx context.Context, blocks int) (map[string][]float64, error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	defer listener.Close() //nolint:errcheck // it ends the goroutine that accepts
	go c.serve(listener)
	base := "http://" + listener.Addr().String()
	client, err := esper.New(base, esper.APIKey(key), esper.WithRetry(esper.Retry{MaxAttempts: 1}))
	if err != nil {
		return nil, err
	}
	defer client.CloseIdleConnections()
	plain := &http.Transport{MaxResponseHeaderBytes: 64 << 10, DisableCompression: true}
	defer plain.CloseIdleConnections()
	return paired([]subject{
		{ours, func() error { _, _ = client.TokenInfo(ctx); return ctx.Err() }},
		{plainly, func() error { return c.read(ctx, plain, base) }},
	}, blocks, 5)
}

// serve sends the answer to one request of each connection, and closes it.
func (c costly) serve(listener net.Listener) {
	answer := c.head + "\r\nContent-Type: application/json\r\n\r\n" + c.body
	for {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		go func() {
			defer conn.Close()
			if _, err := http.ReadRequest(bufio.NewReader(conn)); err == nil {
				_, _ = io.WriteString(conn, answer)
			}
		}()
	}
}

func (c costly) read(ctx context.Context, plain *http.Transport, base string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, base, nil)
	if err != nil {
		return err
	}
	resp, err := plain.RoundTrip(req)
	if err != nil {
		return ctx.Err() // the header is too long
	}
	var body io.Reader = resp.Body
	if c.gzip {
		if body, err = gzip.NewReader(body); err != nil {
			return errors.Join(err, resp.Body.Close())
		}
	}
	_, _ = io.ReadAll(io.LimitReader(body, 1<<20))
	return resp.Body.Close()
}
