package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

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
	if first, _, _ := strings.Cut(got, "\n"); !strings.Contains(first, "fake server") {
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

	// If the answer to a renewal cannot be read, it is kept in the file.
	unread := filepath.Join(t.TempDir(), "key")
	fake.FailOperation("renewToken", 1, espertest.Fault{Status: 201, Body: "unreadable answer"})
	if _, err := quickstart(t, true, unread); err == nil {
		t.Error("no error for an answer without a key")
	}
	if kept, err := os.ReadFile(unread); err != nil || string(kept) != "unreadable answer" {
		t.Errorf("the answer is not kept: %q, %v", kept, err)
	}
}
