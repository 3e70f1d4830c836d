package esper_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/esper-go/esper-go/pkg/esper"
)

// hostile are answers that make work, each as long as is read of one.
func hostile() map[string]struct{ head, body string } {
	fill := func(begin, unit, end string) string {
		return begin + strings.Repeat(unit, (1<<20-len(begin)-len(end))/len(unit)) + end
	}
	var member bytes.Buffer
	z, _ := gzip.NewWriterLevel(&member, gzip.BestCompression) // the level is valid
	_ = z.Close()
	const bad, ok = "HTTP/1.1 400 Bad Request", "HTTP/1.1 200 OK"
	return map[string]struct{ head, body string }{
		"header line":         {bad + "\r\nX-Request-Id: " + strings.Repeat("x", 9<<20), ""},
		"empty gzip members":  {bad, fill("", member.String(), "")},
		"member name":         {bad, fill(`{"errors": {"`, "n", `": ["fault"]}}`)},
		"escapes":             {bad, fill(`{"message": "`, `\u0025`, `"}`)},
		"percent signs":       {bad, fill(`{"message": "`, `%25`, `"}`)},
		"entities":            {bad, fill(`{"message": "`, `&amp;`, `"}`)},
		"faults":              {bad, fill(`{"errors": [`, `"`+strings.Repeat("%25&amp;", 250)+`",`, `"end"]}`)},
		"nesting":             {bad, fill(`{"errors": `, "[", "")},
		"members":             {bad, fill(`{`, `"a":1,`, `"b":1}`)},
		"HTML":                {bad, fill("<html><title>", "<title>", "")},
		"tokens":              {bad, fill(`{"a": [`, `{"token": "x"},`, `1]}`)},
		"success, one member": {ok, fill(`{"id": 1, "enterprise": "e", "x": "`, "x", `"}`)},
		"success, members":    {ok, fill(`{"id": 1, "enterprise": "e",`, `"a":1,`, `"b":1}`)},
		"success, arrays":     {ok, fill(`{"id": 1, "enterprise": "e", "x": [`, "[],", `1]}`)},
		"success, scopes":     {ok, fill(`{"id": 1, "enterprise": "e", "scope": [`, `"s",`, `"t"]}`)},
	}
}

// BenchmarkHostileAnswers compares what an answer costs this client with what it costs net/http alone,
// which only reads it, within the same limits.
func BenchmarkHostileAnswers(b *testing.B) {
	for name, answer := range hostile() {
		base := rawServer(b, answer.head+"\r\nContent-Type: application/json\r\n\r\n"+answer.body)
		b.Run(name+"/net-http", func(b *testing.B) {
			plain := &http.Transport{MaxResponseHeaderBytes: 64 << 10, DisableCompression: true}
			defer plain.CloseIdleConnections()
			for b.Loop() {
				req, err := http.NewRequestWithContext(context.Background(), http.MethodGet, base, nil)
				if err != nil {
					b.Fatal(err)
				}
				resp, err := plain.RoundTrip(req)
				if err != nil {
					continue // the header is too long
				}
				var text io.Reader = resp.Body
				if strings.HasPrefix(name, "empty gzip") {
					if text, err = gzip.NewReader(resp.Body); err != nil {
						b.Fatal(err)
					}
				}
				_, _ = io.ReadAll(io.LimitReader(text, 1<<20))
				_ = resp.Body.Close()
			}
		})
		b.Run(name+"/esper", func(b *testing.B) {
			c := clientFor(b, base, "MadeUpKeyMadeUpKeyMadeUpKeyM01", esper.WithRetry(esper.Retry{MaxAttempts: 1}))
			for b.Loop() {
				_, _ = c.TokenInfo(context.Background())
			}
		})
	}
}
