package esper_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// page returns a file of the repository, with Unix line ends.
func page(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("..", "..", filepath.FromSlash(name)))
	if err != nil {
		t.Fatal(err)
	}
	return strings.ReplaceAll(string(data), "\r", "")
}

// links checks that each link of a page leads to a file, and that a link with the name of a test leads to the file
// with that test. It returns the number of links to tests.
func links(t *testing.T, name string) (tests int) {
	t.Helper()
	for _, link := range regexp.MustCompile(`\[([^\]]+)\]\(([^):#]+)[^)]*\)`).FindAllStringSubmatch(page(t, name), -1) {
		text, target := link[1], filepath.Join("..", "..", filepath.Dir(name), filepath.FromSlash(link[2]))
		if link[2] == "https" {
			continue
		}
		source, err := os.ReadFile(target)
		if err != nil {
			t.Errorf("%s: [%s]: %v", name, text, err)
			continue
		}
		if strings.HasPrefix(text, "Test") {
			tests++
			if !strings.Contains(string(source), "\nfunc "+text+"(") {
				t.Errorf("%s: %s has no %s", name, link[2], text)
			}
		}
	}
	return tests
}

func TestPageLinks(t *testing.T) {
	for _, name := range []string{"README.md", ".github/CONTRIBUTING.md", ".github/SECURITY.md", "api/README.md", "api/DEVIATIONS.md", "api/conformance/README.md"} {
		links(t, name)
	}
	if tests := links(t, "pkg/esper/PROMISES.md"); tests < 30 {
		t.Errorf("only %d tests are linked", tests)
	}
}
