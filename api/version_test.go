package api_test

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// TestChangelogNamesTheSpec: each section of the changelog says once which version of the spec it comes with, and the
// newest says this one.
func TestChangelogNamesTheSpec(t *testing.T) {
	text, err := os.ReadFile("../CHANGELOG.md")
	if err != nil {
		t.Fatal(err)
	}
	line := regexp.MustCompile(`(?m)^Spec \d+\.\d+\.\d+\.$`)
	for i, section := range strings.Split(string(text), "\n## [")[1:] {
		name, _, _ := strings.Cut(section, "]")
		found := line.FindAllString(section, -1)
		if want := "Spec " + load(t).Info.Version + "."; len(found) != 1 || i == 0 && found[0] != want {
			t.Errorf("section %s has %q, want one line \"Spec X.Y.Z.\", and in the newest section %q", name, found, want)
		}
	}
}
