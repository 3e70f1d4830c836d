package esper_test

import (
	"bytes"
	"context"
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

// timed answers with the steps in turn, the last one again and again, and notes when it was asked.
type timed struct {
	steps []func() (*http.Response, error)
	at    []time.Time
}

func (s *timed) RoundTrip(*http.Request) (*http.Response, error) {
	s.at = append(s.at, time.Now())
	return s.steps[min(len(s.at), len(s.steps))-1]()
}

func step(status int, body string, header ...string) func() (*http.Response, error) {
	return func() (*http.Response, error) { return respond(status, strings.NewReader(body), header...), nil }
}

func failure(err error) func() (*http.Response, error) {
	return func() (*http.Response, error) { return nil, err }
}

// timedCall makes one TokenInfo in fake time and returns how long it took.
func timedCall(ctx context.Context, t *testing.T, s *timed, opts ...esper.Option) (took time.Duration, err error) {
	t.Helper()
	client := clientFor(t, "foo", oldKey, append(opts, instead(s.RoundTrip))...)
	start := time.Now()
	info, err := client.TokenInfo(ctx)
	if err == nil && info.ID != "570" {
		t.Errorf("info %+v", info)
	}
	return time.Since(start), err
}

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
					s := &timed{steps: []func() (*http.Response, error){step(503, "")}}
					_, err := timedCall(t.Context(), t, s, esper.WithRetry(tt.retry))
					if !errors.Is(err, esper.ErrServer) || len(s.at) != tt.attempts {
						t.Fatalf("%d attempts, %v", len(s.at), err)
					}
					for n := range s.at[1:] {
						wait := s.at[n+1].Sub(s.at[n])
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
					busy := step(status, "", "Retry-After", tt.value())
					s := &timed{steps: []func() (*http.Response, error){busy, step(200, infoAnswer)}}
					took, err := timedCall(t.Context(), t, s)
					var api *esper.APIError
					switch {
					case tt.wait == atOnce && (took != 0 || len(s.at) != 1 || !errors.As(err, &api) || api.RetryAfter <= 30*time.Second):
						t.Errorf("took %v, %d attempts, %v; want an error at once", took, len(s.at), err)
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
			s := &timed{steps: []func() (*http.Response, error){
				step(503, ""), failure(errors.New(oldKey)), step(200, infoAnswer), step(429, oldKey), step(201, realRenewal),
			}}
			client := clientFor(t, "https://h.test/base%20path/api/", oldKey, esper.WithLogger(logger), instead(s.RoundTrip))
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
