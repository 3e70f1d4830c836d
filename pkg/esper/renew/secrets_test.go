package renew

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// canary is a key with characters that URLs and JSON escape. The stub makes new keys that begin in the same way.
const canary = "canary key+0/%"

// checkNoCanary fails the test if text holds a key, plain or percent-encoded.
func checkNoCanary(t testing.TB, what, text string) {
	t.Helper()
	for _, form := range []string{"canary key", url.QueryEscape("canary key"), url.PathEscape("canary key")} {
		if strings.Contains(text, form) {
			t.Errorf("%s shows the key: %.500s", what, text)
			return
		}
	}
}

// checkPrinted prints a value in many ways, and checks that none shows a key.
func checkPrinted(t testing.TB, what string, v any) {
	t.Helper()
	var log strings.Builder
	slog.New(slog.NewTextHandler(&log, nil)).Info(what, slog.Any("value", v))
	texts := []string{log.String()}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		texts = append(texts, fmt.Sprintf(verb, v))
	}
	if data, err := json.Marshal(v); err == nil {
		texts = append(texts, string(data))
	}
	for _, text := range texts {
		checkNoCanary(t, what, text)
		if strings.Contains(text, fmt.Sprintf("%x", canary)) || strings.Contains(text, strings.Trim(fmt.Sprint([]byte(canary)), "[]")) {
			t.Errorf("%s shows the key's bytes: %s", what, text)
		}
	}
}

func checkStatus(t testing.TB, s Status) {
	t.Helper()
	checkPrinted(t, "a status", s)
	checkPrinted(t, "an error", s.LastError)
}

// withCanary opens a source whose store has the key canary.
func withCanary(t *testing.T, server *stub, opts ...Option) (*faulty, *Source) {
	t.Helper()
	store := newFaulty()
	server.revoke(canary)
	put(t, store, living(canary, server.lifetime))
	return store, opened(t, server, store, opts...)
}

// get sends a request through the transport of source, closes the body of the answer, and returns its status.
func get(t *testing.T, source *Source, server *stub, method string) (int, error) {
	t.Helper()
	var body io.ReadCloser
	if method == http.MethodPost {
		body = io.NopCloser(strings.NewReader("body"))
	}
	resp, err := source.Transport(server).RoundTrip(request(t, method, device, body))
	if err != nil {
		return 0, err
	}
	return resp.StatusCode, resp.Body.Close()
}

func TestNoSecretShows(t *testing.T) {
	t.Parallel()
	echo := func(status int) fault {
		return says(status, `{"message": "no: `+canary+`", "errors": ["`+url.QueryEscape(canary)+`"]}`)
	}
	for name, renewal := range map[string]fault{
		"works": func(c call) (*http.Response, error) { return c.act(), nil },
		"400":   echo(400), "401": echo(401), "403": echo(403), "429": echo(429), "500": echo(500), "201": echo(201),
		"half":  says(201, `{"token": "canary key+9/%`),
		"reset": func(call) (*http.Response, error) { return nil, fmt.Errorf("Post %q: reset", canary) },
		"lost":  handled(resets),
	} {
		for _, disk := range []bool{true, false} {
			synctest.Test(t, func(t *testing.T) {
				var log records
				var told recorder
				server := newStub(90 * day)
				store, source := withCanary(t, server, log.option(), told.option())
				if !disk {
					store.set(unable("Save", ""))
				}
				server.fault = only("renew", renewal)
				time.Sleep(80 * day)
				for range 11 * 3 {
					if _, err := source.Token(); err != nil {
						checkNoCanary(t, name, err.Error())
					}
					synctest.Wait()
					checkStatus(t, source.Status())
					time.Sleep(8 * time.Hour)
				}
				if _, err := get(t, source, server, http.MethodGet); err != nil {
					checkNoCanary(t, name, err.Error())
				}
				synctest.Wait()
				for _, e := range told {
					checkStatus(t, e.Status)
				}
				if len(told) == 0 || log.String() == "" {
					t.Errorf("%s: nothing was logged, or the function of WithOnChange was not called", name)
				}
				checkNoCanary(t, "the log", log.String())
			})
		}
	}
}
