package esper_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/esper-go/esper-go/pkg/esper"
)

func TestTokenInfo_WaitsHaveFullJitter(t *testing.T) {
	for name, tt := range map[string]struct {
		retry        esper.Retry
		attempts     int
		first, limit time.Duration
	}{
		"defaults":     {esper.Retry{}, 4, 250 * time.Millisecond, 30 * time.Second},
		"own":          {esper.Retry{MaxAttempts: 6, MinWait: time.Second, MaxWait: 4 * time.Second}, 6, time.Second, 4 * time.Second},
		"one attempt":  {esper.Retry{MaxAttempts: 1}, 1, 0, 0},
		"many":         {esper.Retry{MaxAttempts: 11}, 11, 250 * time.Millisecond, 30 * time.Second},
		"long MinWait": {esper.Retry{MinWait: time.Minute}, 4, time.Minute, time.Minute},
		"low MaxWait":  {esper.Retry{MaxWait: 10 * time.Millisecond}, 4, 10 * time.Millisecond, 10 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				lowest, highest := make([]float64, tt.attempts-1), make([]float64, tt.attempts-1)
				for trial := range 200 {
					server, asked := scripted(raw(503, ""))
					_, err := clientFor(t, memory, oldKey, server, esper.WithRetry(tt.retry)).TokenInfo(t.Context())
					if !errors.Is(err, esper.ErrServer) || len(*asked) != tt.attempts {
						t.Fatalf("%d attempts, %v", len(*asked), err)
					}
					for n := range (*asked)[1:] {
						wait := (*asked)[n+1].Sub((*asked)[n])
						bound := min(tt.first<<n, tt.limit)
						if wait < 0 || wait > bound {
							t.Errorf("wait %d is %v, its bound %v", n, wait, bound)
						}
						share := float64(wait) / float64(bound)
						if lowest[n], highest[n] = min(lowest[n], share), max(highest[n], share); trial == 0 {
							lowest[n] = share
						}
					}
				}
				if tt.attempts > 1 && (slices.Max(lowest) > 0.2 || slices.Min(highest) < 0.8) {
					t.Errorf("the shortest waits are %.2f of their bounds, the longest %.2f", lowest, highest)
				}
			})
		})
	}
}

func TestTokenInfo_RetryAfter(t *testing.T) {
	const jitter, atOnce = -1, -2
	in := func(d time.Duration) func() string {
		return func() string { return time.Now().Add(d).UTC().Format(http.TimeFormat) }
	}
	is := func(text string) func() string { return func() string { return text } }
	for name, tt := range map[string]struct {
		value func() string
		wait  time.Duration
	}{
		"1": {is("1"), time.Second}, "007": {is("007"), 7 * time.Second}, "MaxWait": {is("30"), 30 * time.Second},
		"over MaxWait": {is("31"), atOnce}, "ten years": {is("315360000"), atOnce},
		"date": {in(5 * time.Second), 5 * time.Second}, "RFC 850 date": {is("Saturday, 01-Jan-00 00:00:09 GMT"), 9 * time.Second},
		"past date": {in(-time.Hour), jitter}, "present date": {in(0), jitter}, "far date": {in(time.Hour), atOnce},
		"year 9999": {is("Fri, 31 Dec 9999 23:59:59 GMT"), atOnce}, "year 1": {is("Mon, 01 Jan 0001 00:00:00 GMT"), jitter},
		"0": {is("0"), jitter}, "-1": {is("-1"), jitter}, "NaN": {is("NaN"), jitter}, "1.5": {is("1.5"), jitter},
		"+1": {is("+1"), jitter}, "1e308": {is("1e308"), jitter}, "20 digits": {is("18446744073709551616"), jitter},
		"overflow": {is("9223372037"), jitter}, "word": {is("soon"), jitter}, "list": {is("1, 2"), jitter},
	} {
		t.Run(name, func(t *testing.T) {
			for _, status := range []int{429, 503} {
				synctest.Test(t, func(t *testing.T) {
					server, asked := scripted(raw(status, "", "Retry-After: "+tt.value()), raw(200, infoAnswer))
					start := time.Now()
					_, err := clientFor(t, memory, oldKey, server).TokenInfo(t.Context())
					took := time.Since(start)
					api, refused := errors.AsType[*esper.APIError](err)
					switch {
					case tt.wait == atOnce && (took != 0 || len(*asked) != 1 || !refused || api.RetryAfter <= 30*time.Second):
						t.Errorf("took %v, %d attempts, %v; want an error at once", took, len(*asked), err)
					case tt.wait == jitter && (took > 250*time.Millisecond || err != nil):
						t.Errorf("took %v, %v; want the usual wait", took, err)
					case tt.wait >= 0 && (took != tt.wait || err != nil):
						t.Errorf("took %v, %v; want %v", took, err, tt.wait)
					}
				})
			}
		})
	}
}

func TestLogger_OneRecordAnAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const info, renew = "TokenInfo GET /v1/token-info/ ",
			"RenewToken POST /v0/enterprise/{enterprise_id}/developerapp/{developerapp_id}/renew-token/ "
		all := info + "503 1\n" + info + "0 2\n" + info + "200 3\n" + renew + "429 1\n" + renew + "201 2\n"
		for level, want := range map[slog.Level]string{slog.LevelInfo: "", slog.LevelDebug: all} {
			var out bytes.Buffer
			logger := slog.New(slog.NewJSONHandler(&out, &slog.HandlerOptions{Level: level}))
			server, _ := scripted(raw(503, ""), "", raw(200, infoAnswer), raw(429, oldKey), raw(201, realRenewal))
			client := clientFor(t, memory+"/base%20path/api/", oldKey, esper.WithLogger(logger), server)
			_, err := client.TokenInfo(t.Context())
			renewed, renewErr := client.RenewToken(t.Context(), renewal(oldKey))
			if wantRenewed(t, renewed, renewErr); err != nil {
				t.Error(err)
			}
			got := ""
			for line := range strings.Lines(out.String()) {
				var r map[string]any
				if err := json.Unmarshal([]byte(line), &r); err != nil || r["level"] != "DEBUG" || r["duration"] != 0.0 {
					t.Errorf("record %s: %v", line, err)
				}
				got += fmt.Sprintln(r["operation"], r["method"], r["path"], r["status"], r["attempt"])
				const fields = "[attempt duration level method msg operation path status time]"
				if names := fmt.Sprint(slices.Sorted(maps.Keys(r))); names != fields {
					t.Errorf("record %s has %v", line, names)
				}
			}
			if got != want || strings.Contains(out.String(), oldKey) {
				t.Errorf("at %v: %s", level, out.String())
			}
		}
	})
}
