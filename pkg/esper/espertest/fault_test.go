package espertest_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/esper-go/esper-go/pkg/esper/espertest"
)

func TestFailCounts(t *testing.T) {
	s := espertest.NewServer(t)
	status := func() int { return mustSend(t, "GET", infoURL(s), s.Token()).status }
	s.Fail(2, espertest.Fault{Status: 503})
	if a, b, c := status(), status(), status(); a != 503 || b != 503 || c != 200 {
		t.Errorf("statuses = %d %d %d, want 503 twice, then 200", a, b, c)
	}
	s.Fail(-1, espertest.Fault{Status: 500})
	for range 5 {
		if got := status(); got != 500 {
			t.Errorf("status = %d, want 500 for every one", got)
		}
	}
	s.Fail(1, espertest.Fault{Status: 429})
	if a, b := status(), status(); a != 429 || b != 200 {
		t.Errorf("statuses = %d %d, want the new fault once, and the old one ended", a, b)
	}
	s.Fail(3, espertest.Fault{Status: 502})
	s.Fail(0, espertest.Fault{})
	if got := status(); got != 200 {
		t.Errorf("status = %d after Fail(0), want 200", got)
	}
	if got := len(s.Requests()); got != 11 {
		t.Errorf("%d requests recorded, want 11", got)
	}
}

func TestFaultAnswers(t *testing.T) {
	for name, c := range map[string]struct {
		fault       espertest.Fault
		status      int
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
	} {
		t.Run(name, func(t *testing.T) {
			s := espertest.NewServer(t) // would fail if the server checked the answer of a fault
			s.Fail(1, c.fault)
			key := s.Token()
			got := mustSend(t, "POST", renewURL(s, key), key)
			wantStatus(t, got, c.status)
			if ct := got.header.Get("Content-Type"); ct != c.contentType || got.body != c.body {
				t.Errorf("answer = %q %q, want %q %q", ct, got.body, c.contentType, c.body)
			}
			if (s.Token() != key) != c.newKey {
				t.Errorf("Token() = %q, want a new key: %v", s.Token(), c.newKey)
			}
		})
	}
}

func TestFaultWithoutAnswerKeepsTheNormalOne(t *testing.T) {
	s := espertest.NewServer(t)
	header := http.Header{"X-Request-Id": {"7"}, "Content-Type": {"text/plain"}}
	s.Fail(1, espertest.Fault{Header: header, Delay: 50 * time.Millisecond})
	header.Set("X-Request-Id", "changed afterwards")
	key, start := s.Token(), time.Now()
	got := mustSend(t, "POST", renewURL(s, key), key)
	if d := time.Since(start); d < 50*time.Millisecond {
		t.Errorf("answered after %v, want a delay", d)
	}
	wantStatus(t, got, 201)
	if got.json["token"] != "fake-esper-key-renewed-1" || got.header.Get("X-Request-Id") != "7" ||
		got.header.Get("Content-Type") != "text/plain" {
		t.Errorf("answer = %v %s, want the normal body with the headers of the fault", got.header, got.body)
	}
	s.Fail(1, espertest.Fault{Handled: true})
	wantStatus(t, mustSend(t, "POST", renewURL(s, s.Token()), s.Token()), 201)
	if s.Token() != "fake-esper-key-renewed-2" {
		t.Errorf("Token() = %q, want one renewal for a handled request", s.Token())
	}
}

func TestResetBeforeHeader(t *testing.T) {
	for _, handled := range []bool{false, true} {
		s := espertest.NewServer(t)
		key := s.Token()
		s.Fail(1, espertest.Fault{Reset: espertest.BeforeHeader, Handled: handled})
		if got, err := send("POST", renewURL(s, key), key); err == nil {
			t.Errorf("handled %v: answer %d, want none", handled, got.status)
		}
		if n := len(s.Requests()); n != 1 {
			t.Errorf("handled %v: %d requests, want 1", handled, n)
		}
		if renewed := s.Token() != key; renewed != handled {
			t.Errorf("handled %v: renewed %v", handled, renewed)
		}
		wantStatus(t, mustSend(t, "GET", infoURL(s), s.Token()), 200)
	}
}

func TestResetInBody(t *testing.T) {
	s := espertest.NewServer(t)
	s.Fail(1, espertest.Fault{Body: "12345", Reset: espertest.InBody})
	got, err := send("GET", infoURL(s), s.Token())
	if !errors.Is(err, io.ErrUnexpectedEOF) || got.body != "12" || got.header.Get("Content-Length") != "5" {
		t.Errorf("read %q of %s bytes, %v; want half of 5", got.body, got.header.Get("Content-Length"), err)
	}
	s.Fail(1, espertest.Fault{Status: 201, Reset: espertest.InBody})
	got, err = send("GET", infoURL(s), s.Token())
	if !errors.Is(err, io.ErrUnexpectedEOF) || got.body != "" || got.status != 201 {
		t.Errorf("read %d %q, %v; want no body, and an early end", got.status, got.body, err)
	}
	// The normal answer is cut off, after the server has acted.
	key := s.Token()
	s.Fail(1, espertest.Fault{Reset: espertest.InBody})
	got, err = send("POST", renewURL(s, key), key)
	if !errors.Is(err, io.ErrUnexpectedEOF) || !strings.HasPrefix(got.body, `{"id":571,`) || s.Token() == key {
		t.Errorf("read %q, %v; want half of a renewal", got.body, err)
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

func TestDelayEndsWithTheServer(t *testing.T) {
	s := espertest.New()
	s.Fail(-1, espertest.Fault{Delay: time.Hour})
	errs := make(chan error)
	go func() {
		_, err := send("GET", infoURL(s), s.Token())
		errs <- err
	}()
	for len(s.Requests()) == 0 {
		time.Sleep(time.Millisecond)
	}
	s.Close() // does not wait for the delay
	if err := <-errs; err == nil {
		t.Error("the server answered after Close")
	}
}

func TestFailRefusesWhatIsNoStatus(t *testing.T) {
	s := espertest.New()
	defer s.Close()
	for i, status := range []int{-1, 99, 101, 1000} {
		s.Fail(1, espertest.Fault{Status: status})
		if got := s.Violations(); len(got) != i+1 || !strings.Contains(got[i].Error(), "Fault.Status") {
			t.Errorf("status %d: violations %v, want %d", status, got, i+1)
		}
	}
	wantStatus(t, mustSend(t, "GET", infoURL(s), s.Token()), 200)
}

func TestFaultOnAnUnknownPath(t *testing.T) {
	s := espertest.New()
	defer s.Close()
	s.Fail(1, espertest.Fault{Body: "x"})
	if got := mustSend(t, "GET", s.URL+"/nowhere/", ""); got.status != 200 || got.body != "x" || len(s.Violations()) != 1 {
		t.Errorf("answer = %d %q, violations %v, want the fault and one violation", got.status, got.body, s.Violations())
	}
}
