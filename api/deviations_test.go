package api_test

import (
	"os"
	"regexp"
	"testing"
)

// A row: id, where, the vendor, here, why, evidence.
var rowPattern = regexp.MustCompile("(?m)^\\| (D\\d\\d) \\| `(/[^`]*)` \\| ([^|]+) \\| ([^|]+) \\| [^|]+ \\| [^|]+ \\|$")

// TestDeviationsPointIntoTheSpec: each row of DEVIATIONS.md has an id of its own, in rising order, a place
// that exists in the spec, and all six cells filled.
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
	places := map[string]bool{}
	for i, row := range rows {
		id, place := row[1], row[2]
		if i > 0 && id <= rows[i-1][1] {
			t.Errorf("%s comes after %s", id, rows[i-1][1])
		}
		if places[place] {
			t.Errorf("%s: %s has another row", id, place)
		}
		places[place] = true
		if at(root, place) == nil {
			t.Errorf("%s: nothing at %s", id, place)
		}
	}
}
