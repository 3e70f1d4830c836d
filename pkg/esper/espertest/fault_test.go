package espertest_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/esper-go/esper-go/pkg/esper"
	"github.com/esper-go/esper-go/pkg/esper/espertest"
)

func TestFaultAnswers(t *testing.T) {
	const normal = `{"id":571,` // how it begins
	for name, c := range map[string]struct {
		fault       espertest.Fault
		status      int // 0: nothing arrives
		contentType string
		body        string
		newKey      bool
	}{
		"status":       {espertest.Fault{Status: 502}, 502, "application/json", "", false},
		"success":      {espertest.Fault{Status: 200}, 200, "application/json", "", false},
		"body":         {espertest.Fault{Body: "{"}, 201, "application/json", "{", false},
		"content type": {espertest.Fault{Body: "<p>", Header: http.Header{"content-type": {"text/html"}}}, 201, "text/html", "<p>", false},
		"no type":      {espertest.Fault{Body: "{}", Header: http.Header{"Content-Type": nil}}, 201, "", "{}", false},
		"handled":      {espertest.Fault{Status: 500, Body: "x", Handled: true}, 500, "application/json", "x", true},
		"handled body": {espertest.Fault{Body: "x", Handled: true}, 201, "application/json", "x", true},
		"no body":      {espertest.Fault{Status: 204, Body: "x"}, 204, "application/json", "", false},
		"handled only": {espertest.Fault{Handled: true}, 201, "application/json", normal, true},
		"header only":  {espertest.Fault{Header: http.Header{"Content-Type": {"text/plain"}}}, 201, "text/plain", normal, true},
		"refusal":      {espertest.Fault{Status: 403}, 403, "application/json", `{"errors":["`, false},

		"reset before the header":          {espertest.Fault{Reset: espertest.BeforeHeader}, 0, "", "", false},
		"reset before the header, handled": {espertest.Fault{Reset: espertest.BeforeHeader, Handled: true}, 0, "", "", true},
		"reset in the body":                {espertest.Fault{Body: "12345", Reset: espertest.InBody}, 201, "application/json", "12", false},
		"reset in an empty body":           {espertest.Fault{Status: 201, Reset: espertest.InBody}, 201, "application/json", "", false},
		"reset in the normal answer":       {espertest.Fault{Reset: espertest.InBody}, 201, "application/json", normal, true},
	} {
		t.Run(name, func(t *testing.T) {
			s := espertest.NewServer(t) // would fail if the server checked the answer of a fault
			s.Fail(1, c.fault)
			if c.fault.Header != nil {
				c.fault.Header.Set("Content-Type", "changed afterwards")
			}
			key := s.Token()
			got := renew(t, s, key)
			ct := got.header.Get("Content-Type")
			begun := strings.HasPrefix(c.body, `{"`) && strings.HasPrefix(got.body, c.body)
			if got.status != c.status || ct != c.contentType || got.body != c.body && !begun {
				t.Errorf("answer = %d %q %q, want %d %q %q", got.status, ct, got.body, c.status, c.contentType, c.body)
			}
			cut := errors.Is(got.err, io.ErrUnexpectedEOF)
			if cut != (c.fault.Reset == espertest.InBody) || (got.err != nil) != (c.fault.Reset != espertest.NoReset) || begun && !cut && got.json == nil {
				t.Errorf("%v, %s", got.err, got.body)
			}
			if size := strconv.Itoa(max(len(c.fault.Body), 1)); cut && !begun && got.header.Get("Content-Length") != size {
				t.Errorf("Content-Length is %q, want that of the whole body, %s", got.header.Get("Content-Length"), size)
			}
			if (s.Token() != key) != c.newKey || len(s.Requests()) != 1 {
				t.Errorf("Token() = %q after %d requests, want a new key: %v", s.Token(), len(s.Requests()), c.newKey)
			}
			want(t, info(t, s, s.Token()), 200)
		})
	}
}

func TestDelayEndsWithTheClient(t *testing.T) {
	for _, handled := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			s := espertest.NewServer(t)
			key := s.Token()
			s.Fail(1, espertest.Fault{Delay: time.Hour, Handled: handled})
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			req, _ := http.NewRequestWithContext(ctx, "POST", renewURL(s, key), nil)
			req.Header.Set("Authorization", "Bearer "+key)
			resp, err := s.Transport().RoundTrip(req)
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%v, %v, want the deadline", resp, err)
			}
			synctest.Wait()
			if renewed := s.Token() != key; renewed != handled {
				t.Errorf("handled %v: renewed %v; the client went away during the delay", handled, renewed)
			}
		})
	}
}

// Wrong calls are violations, and change nothing. A fault is for an unknown path too.
func TestWrongCalls(t *testing.T) {
	s := espertest.New()
	defer s.Close()
	says := []string{"Fault.Status is -1", "Fault.Status is 99", "Fault.Status is 101", "Fault.Status is 1000", "Fault.Status is 98", `operation "renew"`, `operation "nothing"`}
	for _, status := range []int{-1, 99, 101, 1000} {
		s.Fail(1, espertest.Fault{Status: status})
	}
	s.FailOperation("renewToken", 1, espertest.Fault{Status: 98})
	s.FailOperation("renew", 1, espertest.Fault{Status: 500})
	s.Retire(404, "nothing")
	got := s.Violations()
	if len(got) != len(says) {
		t.Fatalf("%v", got)
	}
	for i, err := range got {
		if !strings.Contains(err.Error(), says[i]) {
			t.Errorf("%v does not say %s", err, says[i])
		}
	}
	if got := statuses(t, s, "ir"); got != "200 201" {
		t.Error(got)
	}
	s.Fail(1, espertest.Fault{Body: "x"})
	if got := send(t, "GET", s.URL+"/nowhere/", "", ""); got.status != 200 || got.body != "x" || len(s.Violations()) != len(says)+1 {
		t.Errorf("answer = %d %q, violations %v, want the fault and one violation", got.status, got.body, s.Violations())
	}
}

// In a bubble of testing/synctest, waits take no time, and no goroutine of the server is left at its end. The transport
// reaches the server whatever host a request names.
func TestTransport(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := espertest.NewServer(t)
		begun := time.Now()
		client := clientOf(t, s, "https://foo-api.esper.cloud/api", esper.WithTransport(s.Transport()))
		s.Fail(1, espertest.Fault{Status: 503, Header: http.Header{"Retry-After": {"20"}}})
		if _, err := client.TokenInfo(t.Context()); err != nil || time.Since(begun) != 20*time.Second {
			t.Errorf("after %v: %v", time.Since(begun), err)
		}
		time.Sleep(91 * 24 * time.Hour)
		if _, err := client.TokenInfo(t.Context()); !errors.Is(err, esper.ErrUnauthorized) {
			t.Errorf("the key has expired: %v", err)
		}
		s.Fail(-1, espertest.Fault{Delay: time.Hour})
		begun = time.Now()
		time.AfterFunc(time.Second, s.Close)
		if _, err := client.TokenInfo(t.Context()); err == nil || errors.Is(err, esper.ErrUnauthorized) || time.Since(begun) > 20*time.Second {
			t.Errorf("a closed server answers, after %v: %v", time.Since(begun), err)
		}
	})
}
