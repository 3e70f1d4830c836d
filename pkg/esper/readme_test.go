package esper_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Each link of a page leads to a file, and a link with the name of a test leads to the file with that test.
func TestPageLinks(t *testing.T) {
	root, tests := filepath.Join("..", ".."), 0
	for _, name := range []string{
		"README.md", ".github/CONTRIBUTING.md", ".github/SECURITY.md", "api/README.md", "api/DEVIATIONS.md",
		"api/conformance/README.md", "pkg/esper/PROMISES.md",
	} {
		page, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(name)))
		if err != nil {
			t.Fatal(err)
		}
		for _, link := range regexp.MustCompile(`\[([^\]]+)\]\(([^):#]+)[^)]*\)`).FindAllStringSubmatch(string(page), -1) {
			text, target := link[1], filepath.Join(root, filepath.Dir(name), filepath.FromSlash(link[2]))
			if link[2] == "https" {
				continue
			}
			source, err := os.ReadFile(target)
			if err != nil {
				t.Errorf("%s: [%s]: %v", name, text, err)
			} else if strings.HasPrefix(text, "Test") {
				if tests++; !strings.Contains(string(source), "\nfunc "+text+"(") {
					t.Errorf("%s: %s has no %s", name, link[2], text)
				}
			}
		}
	}
	if tests < 30 {
		t.Errorf("only %d tests are linked", tests)
	}
}
