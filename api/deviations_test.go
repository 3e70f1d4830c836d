package api_test

import (
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
)

// TestDeviationsPointIntoTheSpec keeps the list from outliving what it describes: each row has an
// id of its own, in order, a place that exists, and all six cells filled.
func TestDeviationsPointIntoTheSpec(t *testing.T) {
	text, err := os.ReadFile("DEVIATIONS.md")
	if err != nil {
		t.Fatal(err)
	}
	spec, err := load(t).MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	var root any
	if err := json.Unmarshal(spec, &root); err != nil {
		t.Fatal(err)
	}
	rows := regexp.MustCompile("(?m)^\\| (D\\d\\d) \\| `(/[^`]*)` \\| [^|]+ \\| [^|]+ \\| [^|]+ \\| [^|]+ \\|$").
		FindAllStringSubmatch(string(text), -1)
	if ids := regexp.MustCompile(`(?m)^\| D`).FindAllString(string(text), -1); len(ids) != len(rows) || len(rows) == 0 {
		t.Fatalf("%d rows have an id, %d are complete", len(ids), len(rows))
	}
	places := map[string]bool{}
	for i, row := range rows {
		id, place := row[1], row[2]
		if want := fmt.Sprintf("D%02d", i+1); id != want {
			t.Errorf("row %d is %s, want %s", i+1, id, want)
		}
		if places[place] {
			t.Errorf("%s: %s has another row", id, place)
		}
		places[place] = true
		if !exists(root, place) {
			t.Errorf("%s: nothing at %s", id, place)
		}
	}
}

// exists reports whether a JSON pointer leads somewhere.
func exists(root any, pointer string) bool {
	at := root
	for _, key := range strings.Split(pointer, "/")[1:] {
		key = strings.NewReplacer("~1", "/", "~0", "~").Replace(key)
		switch v := at.(type) {
		case map[string]any:
			next, ok := v[key]
			if !ok {
				return false
			}
			at = next
		case []any:
			if key != "0" || len(v) == 0 { // no row points further into a list
				return false
			}
			at = v[0]
		default:
			return false
		}
	}
	return true
}
