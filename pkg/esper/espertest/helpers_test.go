package espertest_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/esper-go/esper-go/pkg/esper/espertest"
)

// reply is what a client sees of an answer.
type reply struct {
	status int
	header http.Header
	body   string
	json   map[string]any // nil if the body is no JSON object
}

// send makes one request on a connection of its own, so that net/http does not send it again.
func send(method, target, key string) (reply, error) {
	req, err := http.NewRequest(method, target, nil)
	if err != nil {
		return reply{}, err
	}
	if key != "" {
		req.Header.Set("Authorization", "Bearer "+key)
	}
	return do(req)
}

func do(req *http.Request) (reply, error) {
	tr := &http.Transport{DisableKeepAlives: true}
	res, err := tr.RoundTrip(req)
	if err != nil {
		return reply{}, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	r := reply{status: res.StatusCode, header: res.Header, body: string(body)}
	_ = json.Unmarshal(body, &r.json)
	return r, err
}

func mustSend(t *testing.T, method, target, key string) reply {
	t.Helper()
	r, err := send(method, target, key)
	if err != nil {
		t.Fatalf("%s: %v", method, err)
	}
	return r
}

func infoURL(s *espertest.Server) string { return s.URL + "/v1/token-info/" }

func renewURL(s *espertest.Server, key string) string {
	return s.URL + "/v0/enterprise/" + s.EnterpriseID + "/developerapp/" + s.DeveloperAppID +
		"/renew-token/?access_token=" + url.QueryEscape(key)
}

func wantStatus(t *testing.T, got reply, want int) {
	t.Helper()
	if got.status != want {
		t.Errorf("status = %d, want %d; body %s", got.status, want, got.body)
	}
}

// wantEnvelope checks that an error has the documented form.
func wantEnvelope(t *testing.T, got reply, want int) {
	t.Helper()
	wantStatus(t, got, want)
	list, _ := got.json["errors"].([]any)
	message, _ := got.json["message"].(string)
	if len(list) != 1 || message == "" || got.json["status"] != float64(want) || len(got.json) != 3 {
		t.Errorf("body = %s, want the error envelope with status %d", got.body, want)
	}
}

// wantExpiry checks that v is a time with microseconds, about d from now.
func wantExpiry(t *testing.T, v any, d time.Duration) {
	t.Helper()
	text, _ := v.(string)
	at, err := time.Parse("2006-01-02T15:04:05.000000Z", text)
	if off := time.Until(at) - d; err != nil || off > time.Minute || off < -time.Minute {
		t.Errorf("time = %v, want microseconds in UTC, %v from now; %v", v, d, err)
	}
}
