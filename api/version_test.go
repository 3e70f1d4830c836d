package api_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// changelog checks that each section names the version of the spec that it comes with, the newest section this one.
func changelog(text, spec string) error {
	sections := strings.Split("\n"+text, "\n## [")[1:]
	if len(sections) == 0 {
		return fmt.Errorf("there is no section")
	}
	line := regexp.MustCompile(`(?m)^Spec (\d+)\.(\d+)\.(\d+)\.$`)
	var newer []int
	for i, section := range sections {
		name, _, _ := strings.Cut(section, "]")
		found := line.FindAllStringSubmatch(section, -1)
		if len(found) != 1 {
			return fmt.Errorf("section %s has the line \"Spec X.Y.Z.\" %d times, want once", name, len(found))
		}
		var version []int
		for _, part := range found[0][1:] {
			number, err := strconv.Atoi(part)
			if err != nil {
				return err
			}
			version = append(version, number)
		}
		if i == 0 && found[0][0] != "Spec "+spec+"." {
			return fmt.Errorf("section %s says %q, info.version is %s", name, found[0][0], spec)
		}
		if i > 0 && slices.Compare(version, newer) > 0 {
			return fmt.Errorf("section %s has a higher version of the spec than the one after it", name)
		}
		newer = version
	}
	return nil
}

// TestChangelogNamesTheSpec ties the two versions: a release of the module says which spec it was made from.
func TestChangelogNamesTheSpec(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "CHANGELOG.md"))
	if err != nil {
		t.Fatal(err)
	}
	if err := changelog(string(text), load(t).Info.Version); err != nil {
		t.Errorf("CHANGELOG.md: %v", err)
	}
}

func TestChangelogBites(t *testing.T) {
	for _, tc := range []struct{ name, text, want string }{
		{"right", "# C\n\n## [Unreleased]\n\nSpec 1.10.0.\n\n## [0.2.0]\n\nSpec 1.9.0.\n\n## [0.1.0]\n\nSpec 1.9.0.\n", ""},
		{"empty", "# C\n", "there is no section"},
		{"no line", "## [0.1.0]\n\n### Added\n", "section 0.1.0 has the line"},
		{"two lines", "## [0.1.0]\n\nSpec 1.10.0.\nSpec 1.10.0.\n", "2 times"},
		{"only an old section", "## [0.2.0]\n\n## [0.1.0]\n\nSpec 1.10.0.\n", "section 0.2.0 has the line"},
		{"another version", "## [0.1.0]\n\nSpec 1.9.0.\n", "info.version is 1.10.0"},
		{"went down", "## [0.2.0]\n\nSpec 1.10.0.\n\n## [0.1.0]\n\nSpec 1.11.0.\n", "section 0.1.0 has a higher version"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			err := changelog(tc.text, "1.10.0")
			if (err == nil) != (tc.want == "") || err != nil && !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want %q", err, tc.want)
			}
		})
	}
}
