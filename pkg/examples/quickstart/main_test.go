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

// TestTenant renews the key only with -renew, and only if the file for the new one does not exist. If the answer cannot be
// read, it is kept in the file. TestPublished shows that the file holds the new key.
func TestTenant(t *testing.T) {
	fake := espertest.NewServer(t)
	t.Setenv("ESPER_ENVIRONMENT", fake.URL)
	t.Setenv("ESPER_API_KEY", fake.Token())
	out := filepath.Join(t.TempDir(), "key")
	got, err := quickstart(t, false, out)
	if n := len(fake.Requests()); err != nil || n != 1 || !strings.Contains(got, "was not renewed") {
		t.Errorf("without -renew: %v, %d requests\n%s", err, n, got)
	}
	fake.FailOperation("renewToken", 1, espertest.Fault{Status: 201, Body: "unreadable answer"})
	for n := range 2 { // the second time, the file exists
		_, err = quickstart(t, true, out)
		if kept, _ := os.ReadFile(out); err == nil || string(kept) != "unreadable answer" || len(fake.Requests()) != 3+n {
			t.Errorf("%v, and the file has %q after %d requests", err, kept, len(fake.Requests()))
		}
	}
	got, err = quickstart(t, true, out+"2")
	before, _, renewed := strings.Cut(got, "Renewed")
	if err != nil || !renewed || !strings.Contains(before, "may stop working") || strings.Contains(got, fake.Token()) {
		t.Errorf("%v; the warning must come before the renewal, and the key never:\n%s", err, got)
	}
}
