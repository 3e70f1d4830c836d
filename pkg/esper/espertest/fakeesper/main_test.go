package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

// ask makes a request with the first key, on a connection of its own. It returns the status and what was read of the
// body, or "no answer". The server is what the program prints when it has started.
func ask(t *testing.T, server map[string]string, name string) string {
	t.Helper()
	method, path, _ := strings.Cut(map[string]string{
		"info": "GET /v1/token-info/", "no slash": "GET /v1/token-info",
		"renew": "POST /v0/enterprise/" + server["enterprise_id"] + "/developerapp/" + server["developerapp_id"] +
			"/renew-token/?access_token=" + url.QueryEscape(server["key"]),
	}[name], " ")
	req, err := http.NewRequestWithContext(t.Context(), method, server["url"]+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+server["key"])
	res, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
	if err != nil {
		return "no answer"
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if errors.Is(err, io.ErrUnexpectedEOF) {
		body = append(body, "…"...)
	}
	return fmt.Sprint(res.StatusCode, " ", res.Header.Get("Retry-After"), " ", string(body))
}

// TestRun runs the program in this process, with flags, and makes requests.
func TestRun(t *testing.T) {
	const refused, accepted, renewed = `401  {"errors":["`, `200  {"id":"570",`, `201  {"id":571,`
	for _, tc := range []struct {
		flags string
		asks  string // separated by commas
		want  []string
		code  int
		says  string // on standard error
	}{
		{"-token odd&+%;=/key -keep-old-key", "renew,info", []string{renewed, accepted}, 0, ""},
		{"", "renew,info", []string{renewed, refused}, 0, ""},
		{"", "no slash", []string{"405 "}, 1, "fakeesper: violation: GET /v1/token-info: "},
		{"-lifetime 60s", "info", []string{accepted}, 0, "is never renewed"},
		{"-lifetime 5m", "info", []string{accepted}, 0, ""},
		{"-lifetime -1s", "info", []string{refused}, 0, ""},
		{"-retired 410", "info,renew", []string{"410 ", "410 "}, 0, ""},
		{"-times 1 -status 429 -header Retry-After:7 -body slow", "info,info", []string{"429 7 slow", accepted}, 0, ""},
		{"-status 503", "info,info,info", []string{"503 ", "503 ", "503 "}, 0, ""},
		{"-body abcd -reset in-body", "info", []string{"200  ab…"}, 0, ""},
		{"-times 1 -delay 50ms -reset before-header -handled", "renew,info", []string{"no answer", refused}, 0, ""},
	} {
		t.Run(tc.flags, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			out, in := io.Pipe()
			exit := make(chan int)
			var stderr strings.Builder
			go func() { exit <- run(ctx, strings.Fields(tc.flags), in, &stderr) }()
			var server map[string]string
			if err := json.NewDecoder(out).Decode(&server); err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			for i, name := range strings.Split(tc.asks, ",") {
				if got := ask(t, server, name); !strings.HasPrefix(got, tc.want[i]) {
					t.Errorf("%s: %s, want %s", name, got, tc.want[i])
				}
			}
			if strings.Contains(tc.flags, "-delay 50ms") && time.Since(began) < 50*time.Millisecond {
				t.Error("there was no delay")
			}
			if said := stderr.String(); !strings.Contains(said, tc.says) || tc.says == "" && said != "" { // while it runs
				t.Errorf("standard error has %q, want %q", said, tc.says)
			}
			if cancel(); <-exit != tc.code {
				t.Errorf("the exit code is not %d", tc.code)
			}
		})
	}
}

func TestRunErrors(t *testing.T) {
	out, broken := io.Pipe()
	_ = out.Close()
	for flags, want := range map[string]int{
		"-h": 0, "-what": 2, "-addr nowhere": 2, "extra": 2, "-status 100": 2, "-status 1000": 2, "-header nocolon": 2,
		"-delay 1": 2, "-reset later": 2, "": 2,
	} {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute) // ends a server that should not have started
		var stderr strings.Builder
		if code := run(ctx, strings.Fields(flags), broken, &stderr); code != want || stderr.Len() == 0 {
			t.Errorf("%q: exit %d, want %d; stderr %q", flags, code, want, stderr.String())
		}
		cancel()
	}
}
