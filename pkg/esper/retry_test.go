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
		"own":          {esper.Retry{MaxAttempts: 6, MinWait: 1000, MaxWait: 4000}, 6, 1000, 4000},
		"one attempt":  {esper.Retry{MaxAttempts: 1}, 1, 0, 0},
		"many":         {esper.Retry{MaxAttempts: 11}, 11, 250 * time.Millisecond, 30 * time.Second},
		"long MinWait": {esper.Retry{MinWait: time.Minute}, 4, time.Minute, time.Minute},
		"low MaxWait":  {esper.Retry{MaxWait: 10 * time.Millisecond}, 4, 10 * time.Millisecond, 10 * time.Millisecond},
	} {
		synctest.Test(t, func(t *testing.T) {
			shares := make([][]float64, tt.attempts-1) // of the bound, for each wait
			for range 200 {
				server, asked := scripted(raw(503, ""))
				_, err := clientFor(t, memory, oldKey, server, esper.WithRetry(tt.retry)).TokenInfo(t.Context())
				if !errors.Is(err, esper.ErrServer) || len(*asked) != tt.attempts {
					t.Fatalf("%s: %d attempts, %v", name, len(*asked), err)
				}
				for n := range shares {
					wait, bound := (*asked)[n+1].Sub((*asked)[n]), min(tt.first<<n, tt.limit)
					if shares[n] = append(shares[n], float64(wait)/float64(bound)); wait < 0 || wait > bound {
						t.Errorf("%s: wait %d is %v, its bound %v", name, n, wait, bound)
					}
				}
			}
			for n, s := range shares {
				if slices.Min(s) > 0.2 || slices.Max(s) < 0.8 {
					t.Errorf("%s: wait %d is %.2f to %.2f of its bound", name, n, slices.Min(s), slices.Max(s))
				}
			}
		})
	}
}

func TestTokenInfo_RetryAfter(t *testing.T) {
	const jitter, atOnce, date = -1, -2, http.TimeFormat
	epoch := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC) // when a synctest bubble begins
	for value, wait := range map[string]time.Duration{
		"1": time.Second, "007": 7 * time.Second, "30": 30 * time.Second, "31": atOnce, "315360000": atOnce, "0": jitter,
		epoch.Add(5 * time.Second).Format(date): 5 * time.Second, "Saturday, 01-Jan-00 00:00:09 GMT": 9 * time.Second,
		epoch.Add(-time.Hour).Format(date): jitter, epoch.Format(date): jitter, epoch.Add(time.Hour).Format(date): atOnce,
		"Fri, 31 Dec 9999 23:59:59 GMT": atOnce, "Mon, 01 Jan 0001 00:00:00 GMT": jitter, "-1": jitter, "NaN": jitter,
		"1.5": jitter, "+1": jitter, "1e308": jitter, "18446744073709551616": jitter, "9223372037": jitter, "soon": jitter,
		"1, 2": jitter,
	} {
		for _, status := range []int{429, 503} {
			synctest.Test(t, func(t *testing.T) {
				server, asked := scripted(raw(status, "", "Retry-After: "+value), raw(200, infoAnswer))
				_, err := clientFor(t, memory, oldKey, server).TokenInfo(t.Context())
				took := time.Since(epoch)
				api, refused := errors.AsType[*esper.APIError](err)
				switch {
				case wait == atOnce && (took != 0 || len(*asked) != 1 || !refused || api.RetryAfter <= 30*time.Second):
					t.Errorf("%s: took %v, %d attempts, %v; want an error at once", value, took, len(*asked), err)
				case wait == jitter && (took > 250*time.Millisecond || err != nil):
					t.Errorf("%s: took %v, %v; want the usual wait", value, took, err)
				case wait >= 0 && (took != wait || err != nil):
					t.Errorf("%s: took %v, %v; want %v", value, took, err, wait)
				}
			})
		}
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
