package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

// hello is the line that the program prints when it has started.
type hello struct {
	URL, Key       string
	EnterpriseID   string `json:"enterprise_id"`
	DeveloperAppID string `json:"developerapp_id"`
}

func readHello(t *testing.T, r io.Reader) hello {
	t.Helper()
	line, err := bufio.NewReader(r).ReadBytes('\n')
	if err != nil {
		t.Fatal(err)
	}
	var h hello
	if err := json.Unmarshal(line, &h); err != nil {
		t.Fatalf("%q: %v", line, err)
	}
	return h
}

// send makes a request on a connection of its own.
func send(t *testing.T, method, target, key string) (*http.Response, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, target, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+key)
	return (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
}

// request sends a request and returns the status of the answer.
func request(t *testing.T, method, target, key string) int {
	t.Helper()
	res, err := send(t, method, target, key)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	return res.StatusCode
}

// get returns the answer to getTokenInfo, its body, and the error of reading the body.
func get(t *testing.T, h hello) (res *http.Response, body string, err error) {
	t.Helper()
	res, err = send(t, "GET", h.URL+"/v1/token-info/", h.Key)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(res.Body)
	_ = res.Body.Close()
	return res, string(b), err
}

// serve runs the program in this process, and calls use, which may send requests. It then ends the program, and returns
// the exit code and what the program wrote to standard error.
func serve(t *testing.T, use func(hello), args ...string) (code int, stderr string) {
	t.Helper()
	var errs strings.Builder
	return serveTo(t, &errs, use, args...)
}

// serveTo is serve with a standard error that may be read once a request has been answered.
func serveTo(t *testing.T, errs *strings.Builder, use func(hello), args ...string) (code int, stderr string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	out, in := io.Pipe()
	exit := make(chan int)
	go func() { exit <- run(ctx, args, in, errs) }()
	use(readHello(t, out))
	cancel()
	return <-exit, errs.String()
}

func TestRun(t *testing.T) {
	const key = "odd &+%;=/ key"
	code, stderr := serve(t, func(h hello) {
		if h.Key != key {
			t.Errorf("the program prints the key %q, want that of -token", h.Key)
		}
		renew := h.URL + "/v0/enterprise/" + h.EnterpriseID + "/developerapp/" + h.DeveloperAppID +
			"/renew-token/?access_token=" + url.QueryEscape(h.Key)
		if got := request(t, "POST", renew, h.Key); got != 201 {
			t.Errorf("renewal: %d", got)
		}
		if got := request(t, "GET", h.URL+"/v1/token-info/", h.Key); got != 200 {
			t.Errorf("old key: %d, want 200", got)
		}
	}, "-token", key, "-keep-old-key")
	if code != 0 || stderr != "" {
		t.Errorf("exit %d, stderr %q", code, stderr)
	}
}

// A violation is told while the program runs.
func TestRunReportsViolations(t *testing.T) {
	var told strings.Builder
	code, _ := serveTo(t, &told, func(h hello) {
		request(t, "GET", h.URL+"/v1/token-info", h.Key)
		if !strings.Contains(told.String(), "fakeesper: violation: GET /v1/token-info: ") {
			t.Errorf("stderr %q while the program runs, want the violation", told.String())
		}
	})
	if code != 1 {
		t.Errorf("exit %d", code)
	}
}

// The program warns of a life in which no renewal begins, and still serves.
func TestRunWarnsOfAShortLife(t *testing.T) {
	for lifetime, warns := range map[string]bool{"60s": true, "5m": false, "-1s": false} {
		code, stderr := serve(t, func(hello) {}, "-lifetime", lifetime)
		if code != 0 || strings.Contains(stderr, "is never renewed") != warns {
			t.Errorf("%s: exit %d, stderr %q", lifetime, code, stderr)
		}
	}
}

func TestRunFails(t *testing.T) {
	code, stderr := serve(t, func(h hello) {
		res, body, err := get(t, h)
		if res.StatusCode != 429 || res.Header.Get("Retry-After") != "7" || body != "slow down" || err != nil {
			t.Errorf("answer %d %v %q, %v", res.StatusCode, res.Header, body, err)
		}
		if got := request(t, "GET", h.URL+"/v1/token-info/", h.Key); got != 200 {
			t.Errorf("after the one fault: %d", got)
		}
	}, "-times", "1", "-status", "429", "-header", "Retry-After: 7", "-body", "slow down")
	if code != 0 || stderr != "" {
		t.Errorf("exit %d, stderr %q", code, stderr)
	}
}

func TestRunLifetime(t *testing.T) {
	_, _ = serve(t, func(h hello) {
		_, body, err := get(t, h)
		if err != nil || !strings.Contains(body, time.Now().UTC().Add(10*time.Minute).Format("2006-01-02T15")) && !strings.Contains(body, time.Now().UTC().Format("2006-01-02T15")) {
			t.Errorf("%s, %v; want a key that ends in ten minutes", body, err)
		}
	}, "-lifetime", "10m")
	_, _ = serve(t, func(h hello) {
		if got := request(t, "GET", h.URL+"/v1/token-info/", h.Key); got != 401 {
			t.Errorf("status = %d, want 401 for a key that has ended", got)
		}
	}, "-lifetime", "-1s")
}

func TestRunFailsAlways(t *testing.T) {
	_, _ = serve(t, func(h hello) {
		for range 3 {
			if got := request(t, "GET", h.URL+"/v1/token-info/", h.Key); got != 503 {
				t.Errorf("status = %d", got)
			}
		}
	}, "-status", "503")
}

func TestRunFailsInBody(t *testing.T) {
	_, _ = serve(t, func(h hello) {
		res, body, err := get(t, h)
		if res.StatusCode != 200 || body != "ab" || !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("answer %d %q, %v", res.StatusCode, body, err)
		}
	}, "-body", "abcd", "-reset", "in-body")
}

func TestRunFailsBeforeHeader(t *testing.T) {
	_, _ = serve(t, func(h hello) {
		renew := h.URL + "/v0/enterprise/" + h.EnterpriseID + "/developerapp/" + h.DeveloperAppID +
			"/renew-token/?access_token=" + h.Key
		started := time.Now()
		if res, err := send(t, "POST", renew, h.Key); err == nil {
			_ = res.Body.Close()
			t.Errorf("status = %d, want a reset", res.StatusCode)
		}
		if d := time.Since(started); d < 50*time.Millisecond {
			t.Errorf("the delay was %v", d)
		}
		if got := request(t, "GET", h.URL+"/v1/token-info/", h.Key); got != 401 {
			t.Errorf("old key: %d, want 401, since the server has renewed the key", got)
		}
	}, "-times", "1", "-delay", "50ms", "-reset", "before-header", "-handled")
}

// brokenPipe is a writer that always fails.
type brokenPipe struct{}

func (brokenPipe) Write([]byte) (int, error) { return 0, errors.New("broken pipe") }

func TestRunErrors(t *testing.T) {
	for _, c := range []struct {
		args   []string
		stdout io.Writer
		code   int
	}{
		{[]string{"-h"}, io.Discard, 0},
		{[]string{"-what"}, io.Discard, 2},
		{[]string{"-addr", "no address"}, io.Discard, 2},
		{[]string{"extra"}, io.Discard, 2},
		{[]string{"-status", "100"}, io.Discard, 2},
		{[]string{"-status", "1000"}, io.Discard, 2},
		{[]string{"-header", "no colon"}, io.Discard, 2},
		{[]string{"-delay", "1"}, io.Discard, 2},
		{[]string{"-reset", "later"}, io.Discard, 2},
		{nil, brokenPipe{}, 2},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second) // ends a server that should not have started
		var stderr bytes.Buffer
		if code := run(ctx, c.args, c.stdout, &stderr); code != c.code || stderr.Len() == 0 {
			t.Errorf("%q: exit %d, want %d; stderr %q", c.args, code, c.code, stderr.String())
		}
		cancel()
	}
}

func TestProgram(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	program := filepath.Join(t.TempDir(), "fakeesper.exe")
	if out, err := exec.CommandContext(ctx, "go", "build", "-o", program, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	cmd := exec.CommandContext(ctx, program, "-addr", "127.0.0.1:0")
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	h := readHello(t, stdout)
	if got := request(t, "GET", h.URL+"/v1/token-info/", h.Key); got != 200 {
		t.Errorf("status = %d", got)
	}
	if runtime.GOOS == "windows" { // Windows cannot interrupt a single process
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		return
	}
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("after an interrupt: %v", err)
	}
}
