package espertest_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/esper-go/esper-go/pkg/esper"
	"github.com/esper-go/esper-go/pkg/esper/espertest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// reply is what a client sees of an answer.
type reply struct {
	status int
	header http.Header
	body   string
	json   map[string]any // nil if the body is no JSON object
	err    error          // why there is no answer, or only a part of one
}

// send makes one request on a connection of its own, so that net/http does not send it again.
func send(t *testing.T, method, target, key, body string) reply {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, target, strings.NewReader(body))
	must(t, err)
	if body == "" {
		req.Body = http.NoBody
	}
	if key != "" {
		req.Header.Set("Authorization", "Bearer "+key)
	}
	req.Header.Set("Content-Type", "application/json")
	return do(req)
}

func do(req *http.Request) reply {
	res, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
	if err != nil {
		return reply{err: err}
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	r := reply{status: res.StatusCode, header: res.Header, body: string(body), err: err}
	_ = json.Unmarshal(body, &r.json)
	return r
}

func infoURL(s *espertest.Server) string { return s.URL + "/v1/token-info/" }

func renewURL(s *espertest.Server, key string) string {
	return s.URL + "/v0/enterprise/" + s.EnterpriseID + "/developerapp/" + s.DeveloperAppID +
		"/renew-token/?access_token=" + url.QueryEscape(key)
}

// ask makes the request for an operation, with the newest key.
func ask(t *testing.T, s *espertest.Server, operation, body string) reply {
	t.Helper()
	const tokens = "/authn2/v0/personal-access-token/"
	switch key := s.Token(); operation {
	case "renewToken":
		return renew(t, s, key)
	case "listPersonalAccessTokens":
		return send(t, "GET", s.URL+tokens, key, "")
	case "renewPersonalAccessToken":
		return send(t, "PUT", s.URL+tokens+"0d3f8d3a-6f0f-4b8e-9d55-000000000001", key, body)
	default:
		return info(t, s, key)
	}
}

func info(t *testing.T, s *espertest.Server, key string) reply {
	t.Helper()
	return send(t, "GET", infoURL(s), key, "")
}

func renew(t *testing.T, s *espertest.Server, key string) reply {
	t.Helper()
	return send(t, "POST", renewURL(s, key), key, "")
}

// want checks the status of an answer, and that an error has the documented form.
func want(t *testing.T, got reply, status int) reply {
	t.Helper()
	list, _ := got.json["errors"].([]any)
	message, _ := got.json["message"].(string)
	envelope := len(list) == 1 && message != "" && got.json["status"] == float64(status) && len(got.json) == 3
	if got.status != status || status >= 400 && !envelope {
		t.Errorf("status %d with %s, %v; want %d, and the error envelope from 400 on", got.status, got.body, got.err, status)
	}
	return got
}

// statuses are the statuses of the answers to requests for token info (i), renewals (r) and the list of tokens (l) with the
// newest key, and to token info with the first key (I) and its renewal (R).
func statuses(t *testing.T, s *espertest.Server, requests string) string {
	t.Helper()
	const first = "fake-esper-key"
	var all []string
	for _, request := range requests {
		var got reply
		switch request {
		case 'I':
			got = info(t, s, first)
		case 'R':
			got = send(t, "POST", renewURL(s, first), s.Token(), "")
		default:
			got = ask(t, s, map[rune]string{'i': "getTokenInfo", 'r': "renewToken", 'l': "listPersonalAccessTokens"}[request], "")
		}
		all = append(all, fmt.Sprint(got.status))
	}
	return strings.Join(all, " ")
}

// wantTime checks that v is a time with microseconds, about d from now.
func wantTime(t *testing.T, v any, d time.Duration) {
	t.Helper()
	text, _ := v.(string)
	at, err := time.Parse("2006-01-02T15:04:05.000000Z", text)
	if off := time.Until(at) - d; err != nil || off > time.Minute || off < -time.Minute {
		t.Errorf("time = %v, want microseconds in UTC, %v from now; %v", v, d, err)
	}
}

func clientOf(t *testing.T, s *espertest.Server, environment string, options ...esper.Option) *esper.Client {
	t.Helper()
	client, err := esper.New(environment, esper.APIKey(s.Token()), options...)
	must(t, err)
	t.Cleanup(client.CloseIdleConnections)
	return client
}
