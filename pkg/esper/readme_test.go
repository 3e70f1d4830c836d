package esper_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Each promise of the README is linked to a test, which must be there under that name.
func TestReadmeLinks(t *testing.T) {
	root := filepath.Join("..", "..")
	readme, err := os.ReadFile(filepath.Join(root, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	links := regexp.MustCompile(`\[([^\]]+)\]\(([^):]+)\)`).FindAllStringSubmatch(string(readme), -1)
	tests := 0
	for _, link := range links {
		name, path := link[1], filepath.Join(root, filepath.FromSlash(link[2]))
		if _, err := os.Stat(path); err != nil {
			t.Errorf("[%s]: %v", name, err)
			continue
		}
		if !strings.HasPrefix(name, "Test") {
			continue
		}
		tests++
		source, err := os.ReadFile(path)
		if err != nil || !strings.Contains(string(source), "\nfunc "+name+"(") {
			t.Errorf("%s has no %s (%v)", link[2], name, err)
		}
	}
	if tests < 10 {
		t.Errorf("only %d promises are linked to a test", tests)
	}
}
