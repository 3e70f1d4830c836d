package api_test

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// row is a row of DEVIATIONS.md.
type row struct{ where, vendor, here, evidence string }

// A row: id, where, the vendor, here, why, evidence.
var rowPattern = regexp.MustCompile("(?m)^\\| (D\\d\\d) \\| `(/[^`]*)` \\| ([^|]+) \\| ([^|]+) \\| [^|]+ \\| ([^|]+) \\|$")

func deviations(t *testing.T) (rows map[string]row, text string) {
	t.Helper()
	data, err := os.ReadFile("DEVIATIONS.md")
	if err != nil {
		t.Fatal(err)
	}
	rows = map[string]row{}
	for _, cells := range rowPattern.FindAllStringSubmatch(string(data), -1) {
		rows[cells[1]] = row{cells[2], cells[3], cells[4], cells[5]}
	}
	return rows, string(data)
}

// TestDeviationsPointIntoTheSpec: each row of DEVIATIONS.md has an id of its own, a place of its own that exists in the
// spec, and all six cells filled. A row that is only a precaution is in the table of those, and no other is.
func TestDeviationsPointIntoTheSpec(t *testing.T) {
	rows, text := deviations(t)
	if ids := strings.Count(text, "\n| D"); ids != len(rows) || ids == 0 {
		t.Errorf("%d rows have an id, %d are complete, with an id of their own", ids, len(rows))
	}
	_, precautions, _ := strings.Cut(text, "\n## Precautions\n")
	root, seen := tree(t), map[string]bool{}
	for id, r := range rows {
		if at(root, r.where) == nil || seen[r.where] {
			t.Errorf("%s: nothing is at %s, or it has another row", id, r.where)
		}
		seen[r.where] = true
		only := strings.Contains(r.evidence, "precaution") && !strings.Contains(r.evidence, "matrix")
		if strings.Contains(precautions, "\n| "+id+" |") != only {
			t.Errorf("%s is in the wrong table for its evidence: %s", id, r.evidence)
		}
	}
}
