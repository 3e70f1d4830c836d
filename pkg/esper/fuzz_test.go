package esper

import (
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/esper-go/esper-go/pkg/esper/internal/redact"
)

// shows reports whether a text shows a key, as it is or percent-encoded.
func shows(text, key string) bool {
	return strings.Contains(text, key) || strings.Contains(text, url.QueryEscape(key)) ||
		strings.Contains(text, url.PathEscape(key))
}

func FuzzErrorBody(f *testing.F) {
	const canary = "canary50%key&made+up/fuzz01"
	for _, body := range []string{
		``, `null`, `[]`, `"text"`, `<html>502</html>`, `{"detail": "` + canary[:20] + `"}`, `{"errors": "` + canary + `"}`,
		`{"errors": ["` + canary + `"], "message": "m ` + canary + `", "status": 400}`, "{\"message\": \"\xff\"}",
		`{"errors": {"access_token": ["` + url.QueryEscape(canary) + `"], "` + canary + `": 1}, "status": "400"}`,
		`{"errors": [{"a": [[[[[1]]]]]}, null, true, 1e99], "message": {"a": 1}}`, `{"message": "a\nb\u2028c\u0000\ud800"}`,
		`{"message": "` + "\\u0063anary50%key&made+up/fuzz01" + `"}`, `{"message": "` + strings.Repeat("x", 5000),
		`{"errors": [` + strings.Repeat("1,", 100) + `1]}`,
	} {
		f.Add(400, body, canary)
		f.Add(503, body, "a request")
	}
	f.Fuzz(func(t *testing.T, status int, body, requestID string) {
		a := newAttempt(t.Context(), time.Minute, NewSecret(canary), httptest.NewRequest(http.MethodGet, "/", nil), false)
		defer a.cancel()
		resp := &http.Response{StatusCode: status, Header: http.Header{"X-Request-Id": {requestID}}}
		answered := a.newAnswer(resp, []byte(body), nil)
		err := newAPIError("TokenInfo", 1, answered, a.secrets())
		if err.StatusCode != status || string(err.Body) != body || len(err.Details) > 32 {
			t.Errorf("%#v", err)
		}
		fields := err.Message + err.RequestID + strings.Join(err.Details, " ")
		for _, text := range []string{err.Error(), fmt.Sprintf("%+v", *err), fmt.Sprintf("%#v %q", err, err), fields} {
			if shows(text, canary) {
				t.Errorf("%q shows the key", text)
			}
			if strings.ContainsFunc(text, unicode.IsControl) || !utf8.ValidString(text) {
				t.Errorf("%q is no line of text", text)
			}
			if len(text) > 3*(32+3)*(redact.MaxText+20) {
				t.Errorf("%d bytes of text", len(text))
			}
		}
	})
}

func FuzzRetryAfter(f *testing.F) {
	for _, seed := range []string{
		"", "0", "1", "-1", "+1", "007", "1.5", "1e308", "NaN", "4294967295", "4294967296", "18446744073709551616", "1 ",
		"Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994",
		"Fri, 31 Dec 9999 23:59:59 GMT", "Mon, 01 Jan 0001 00:00:00 GMT",
	} {
		f.Add(seed, int64(784111777))
		f.Add(seed, int64(1<<40))
	}
	f.Fuzz(func(t *testing.T, value string, now int64) {
		got := retryAfter(value, time.Unix(now, 0))
		if got < 0 {
			t.Fatalf("%q: %v", value, got)
		}
		digits := value != "" && strings.Trim(value, "0123456789") == ""
		seconds, err := strconv.ParseInt(value, 10, 64)
		switch {
		case digits && err == nil && seconds <= math.MaxUint32 && got != time.Duration(seconds)*time.Second,
			digits && (err != nil || seconds > math.MaxUint32) && got != 0:
			t.Errorf("%q: %v", value, got)
		case !digits && got > 0:
			if date, err := http.ParseTime(value); err != nil || !date.After(time.Unix(now, 0)) {
				t.Errorf("%q: %v at %d", value, got, now)
			}
		}
	})
}
