package api_test

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// A row: id, where, the vendor, here, why, evidence.
var rowPattern = regexp.MustCompile("(?m)^\\| (D\\d\\d) \\| `(/[^`]*)` \\| ([^|]+) \\| ([^|]+) \\| [^|]+ \\| ([^|]+) \\|$")

// TestDeviationsPointIntoTheSpec: each row of DEVIATIONS.md has an id of its own, a place that exists in the spec, and all
// six cells filled. A row that is only a precaution is in the table of those, and no other is.
func TestDeviationsPointIntoTheSpec(t *testing.T) {
	text, err := os.ReadFile("DEVIATIONS.md")
	if err != nil {
		t.Fatal(err)
	}
	root := tree(t)
	rows := rowPattern.FindAllStringSubmatch(string(text), -1)
	if ids := regexp.MustCompile(`(?m)^\| D`).FindAllString(string(text), -1); len(ids) != len(rows) || len(rows) == 0 {
		t.Fatalf("%d rows have an id, %d are complete", len(ids), len(rows))
	}
	_, precautions, _ := strings.Cut(string(text), "\n## Precautions\n")
	seen := map[string]bool{}
	for _, row := range rows {
		id, place, evidence := row[1], row[2], row[5]
		if seen[place] || seen[id] {
			t.Errorf("%s, or %s, has another row", id, place)
		}
		seen[place], seen[id] = true, true
		only := strings.Contains(evidence, "precaution") && !strings.Contains(evidence, "matrix")
		if strings.Contains(precautions, row[0]) != only {
			t.Errorf("%s is in the wrong table for its evidence: %s", id, evidence)
		}
		if at(root, place) == nil {
			t.Errorf("%s: nothing at %s", id, place)
		}
	}
}
