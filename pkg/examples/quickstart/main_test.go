package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/esper-go/esper-go/pkg/esper"
	"github.com/esper-go/esper-go/pkg/esper/espertest"
)

func quickstart(t *testing.T, renew bool, out string) (string, error) {
	t.Helper()
	var b strings.Builder
	err := run(t.Context(), &b, renew, out)
	return b.String(), err
}

func TestFake(t *testing.T) {
	t.Setenv("ESPER_ENVIRONMENT", "")
	t.Setenv("ESPER_API_KEY", "")
	got, err := quickstart(t, false, "")
	if err != nil {
		t.Fatal(err)
	}
	first, _, _ := strings.Cut(got, "\n")
	if !strings.Contains(first, "fake server") {
		t.Errorf("the first line does not say that the server is a fake: %q", first)
	}
	for _, want := range []string{"f44373cb-1800-43c6-aab3-c81f8b1f435c", "read, write", "(in 89 days)", "Renewed"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is missing in:\n%s", want, got)
		}
	}
	if strings.Contains(got, "fake-esper-key") {
		t.Errorf("a key is shown:\n%s", got)
	}
}

func TestTenant(t *testing.T) {
	fake := espertest.NewServer(t)
	old := fake.Token()
	t.Setenv("ESPER_ENVIRONMENT", fake.URL)
	t.Setenv("ESPER_API_KEY", old)
	out := filepath.Join(t.TempDir(), "key")

	got, err := quickstart(t, false, out)
	if err != nil || !strings.Contains(got, "was not renewed") || fake.Token() != old {
		t.Fatalf("without -renew: %v, key renewed: %v\n%s", err, fake.Token() != old, got)
	}

	got, err = quickstart(t, true, out)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Index(got, "may stop working") > strings.Index(got, "Renewed") || strings.Contains(got, fake.Token()) {
		t.Errorf("the warning must come before the renewal, and the key never:\n%s", got)
	}
	if stored, err := os.ReadFile(out); err != nil || strings.TrimSpace(string(stored)) != fake.Token() {
		t.Errorf("the new key is not in the file (%v)", err)
	}

	posts := len(fake.Requests())
	t.Setenv("ESPER_API_KEY", fake.Token())
	if _, err := quickstart(t, true, out); err == nil || len(fake.Requests()) != posts+1 {
		t.Errorf("a file that exists must stop the renewal before it is sent: %v", err)
	}
}

// TestUnreadRenewalIsKept: if the answer to a renewal cannot be read, it is written to the file.
func TestUnreadRenewalIsKept(t *testing.T) {
	fake := espertest.NewServer(t)
	t.Setenv("ESPER_ENVIRONMENT", fake.URL)
	t.Setenv("ESPER_API_KEY", fake.Token())
	out := filepath.Join(t.TempDir(), "key")
	client, err := esper.NewFromEnv()
	if err != nil {
		t.Fatal(err)
	}
	info, err := client.TokenInfo(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	fake.Fail(1, espertest.Fault{Status: 201, Body: "unreadable answer"})
	var b strings.Builder
	if err := renewInto(t.Context(), &b, client, info, fake.Token(), out); err == nil {
		t.Error("no error for an answer without a key")
	}
	if kept, err := os.ReadFile(out); err != nil || string(kept) != "unreadable answer" {
		t.Errorf("the answer is not kept: %q, %v", kept, err)
	}
}

func TestMissingKey(t *testing.T) {
	t.Setenv("ESPER_ENVIRONMENT", "foo")
	t.Setenv("ESPER_API_KEY", "")
	if _, err := quickstart(t, false, ""); err == nil || !strings.Contains(err.Error(), "ESPER_API_KEY") {
		t.Errorf("err = %v, want one that names ESPER_API_KEY", err)
	}
}

func TestExpiry(t *testing.T) {
	for _, tc := range []struct {
		left time.Duration
		want string
	}{
		{90*24*time.Hour - time.Minute, "(in 89 days)"},
		{30 * time.Hour, "hours)"},
		{-time.Hour, "(it has expired)"},
	} {
		if got := expiry(time.Now().Add(tc.left)); !strings.Contains(got, tc.want) {
			t.Errorf("%v: %q, want %q", tc.left, got, tc.want)
		}
	}
	if got := expiry(time.Time{}); got != "the server does not say" {
		t.Errorf("no end: %q", got)
	}
}
