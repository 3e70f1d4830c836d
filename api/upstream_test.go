package api_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// upstream is upstream.json: what the vendor declares, place by place, and where openapi.yaml differs on purpose.
// A place is a JSON pointer into openapi.yaml with its references followed and its parameters named.
type upstream struct {
	Prose  map[string]string // rows of DEVIATIONS.md that no machine can compare, and why
	Places []struct {
		Under       string
		Vendor      []fact
		Differences []difference
	}
}

type fact struct {
	At, Source string
	Is         any // null where the source does not say it
}

type difference struct {
	ID, At string
	Here   any // null where openapi.yaml does not say it
}

func vendor(t *testing.T) upstream {
	t.Helper()
	data, err := os.ReadFile("upstream.json")
	must(t, err)
	var u upstream
	must(t, json.Unmarshal(data, &u))
	return u
}

// row is a row of DEVIATIONS.md.
type row struct{ where, vendor, here, evidence string }

// A row: id, where, the vendor, here, why, evidence.
var rowPattern = regexp.MustCompile("(?m)^\\| (D\\d\\d) \\| `(/[^`]*)` \\| ([^|]+) \\| ([^|]+) \\| [^|]+ \\| ([^|]+) \\|$")

func deviations(t *testing.T) (rows map[string]row, text string) {
	t.Helper()
	data, err := os.ReadFile("DEVIATIONS.md")
	must(t, err)
	rows = map[string]row{}
	for _, cells := range rowPattern.FindAllStringSubmatch(string(data), -1) {
		rows[cells[1]] = row{cells[2], cells[3], cells[4], cells[5]}
	}
	return rows, string(data)
}

// tree is the description as JSON has it.
func tree(t *testing.T) map[string]any {
	t.Helper()
	text, err := load(t).MarshalJSON()
	must(t, err)
	var root map[string]any
	must(t, json.Unmarshal(text, &root))
	return root
}

// compare checks upstream.json, the rows of DEVIATIONS.md and openapi.yaml against each other. It returns the problems
// that it finds, and lists the differences between the vendor and openapi.yaml that have a row.
func compare(u upstream, rows map[string]row, spec map[string]any) (problems, found []string) {
	report := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }
	theirs, expected, named := map[string]any{}, map[string]any{}, map[string]bool{}
	said := map[string][]any{} // for each place, what each of the sources says
	for _, p := range u.Places {
		if name, ok := strings.CutPrefix(p.Under, "/components/schemas/"); ok {
			named[name] = true
		}
		for _, f := range p.Vendor {
			said[p.Under+f.At] = append(said[p.Under+f.At], f.Is)
			put(theirs, p.Under+f.At, clone(f.Is))
			put(expected, p.Under+f.At, clone(f.Is))
		}
	}
	ours := declared(spec, named)
	why, explained := map[string]string{}, map[string]bool{}
	for _, p := range u.Places {
		for _, d := range p.Differences {
			place := p.Under + d.At
			sides := said[place]
			if sides == nil {
				sides = []any{at(expected, place)}
			}
			if !slices.ContainsFunc(sides, func(side any) bool { return !reflect.DeepEqual(side, d.Here) }) {
				report("%s explains nothing: the vendor has %s at %s too", d.ID, asJSON(d.Here), place)
			}
			for _, text := range leafTexts(sides, nil) {
				if !strings.Contains(rows[d.ID].vendor, text) {
					report("%s: the vendor's cell in DEVIATIONS.md does not name %s", d.ID, text)
				}
			}
			member, _ := d.Here.(map[string]any)
			anything := member != nil && len(member) == 0
			if nullable := anything || member["nullable"] == true || member["x-types"] != nil; nullable != strings.Contains(rows[d.ID].here, "null") {
				report("%s: here and DEVIATIONS.md do not agree on null", d.ID)
			}
			put(expected, place, clone(d.Here))
			why[place] = d.ID
			explained[d.ID] = explained[d.ID] || path.Base(place) == path.Base(rows[d.ID].where)
			found = append(found, fmt.Sprintf("%s %s: the vendor %s, here %s", d.ID, place, asJSON(sides...), asJSON(d.Here)))
		}
	}
	for place, sides := range said {
		if len(sides) > 1 && why[place] == "" {
			report("the sources differ at %s and no row says so: %s", place, asJSON(sides...))
		}
	}
	for id := range rows {
		if (u.Prose[id] == "") == !explained[id] {
			report("%s (%s) has to explain a difference there, or to be prose: one of both", id, rows[id].where)
		}
	}
	for id := range maps.Keys(u.Prose) {
		explained[id] = true
	}
	for id := range explained {
		if rows[id].where == "" {
			report("%s has no row in DEVIATIONS.md", id)
		}
	}
	want, vendors := declared(expected, named), declared(theirs, named)
	for _, place := range differing(want, ours, "") {
		report("%s: the vendor has %s, here is %s, the differences that are explained allow %s", place,
			asJSON(at(vendors, place)), asJSON(at(ours, place)), asJSON(at(want, place)))
	}
	slices.Sort(problems)
	return problems, found
}

func TestUpstream(t *testing.T) {
	u := vendor(t)
	rows, text := deviations(t)
	problems, found := compare(u, rows, tree(t))
	for _, problem := range problems {
		t.Error(problem)
	}
	t.Logf("%d differences have a row:\n%s", len(found), strings.Join(found, "\n"))
	for id, reason := range u.Prose {
		t.Logf("%s is prose: %s", id, reason)
	}
	if len(u.Prose) > 4 {
		t.Errorf("%d rows are prose: most can be compared", len(u.Prose))
	}
	for _, p := range u.Places {
		for _, f := range p.Vendor {
			for mark := range strings.SplitSeq(f.Source, " ") {
				if !strings.Contains(text, "\n| "+mark+" |") {
					t.Errorf("%s%s: DEVIATIONS.md does not know the source %q", p.Under, f.At, mark)
				}
			}
		}
	}
}

func clone(v any) any {
	var c any
	if err := json.Unmarshal([]byte(asJSON(v)), &c); err != nil {
		panic(err) // it came out of JSON
	}
	return c
}

func asJSON(values ...any) string {
	texts := make([]string, 0, len(values))
	for _, v := range values {
		text, err := json.Marshal(v)
		if err != nil {
			panic(err) // it came out of JSON
		}
		texts = append(texts, string(text))
	}
	return strings.Join(texts, " or ")
}

// leafTexts collects the texts in a value, without references and addresses.
func leafTexts(v any, to []string) []string {
	switch v := v.(type) {
	case string:
		if !strings.ContainsAny(v, "/#") {
			to = append(to, v)
		}
	case []any:
		for _, item := range v {
			to = leafTexts(item, to)
		}
	case map[string]any:
		for _, item := range v {
			to = leafTexts(item, to)
		}
	}
	return to
}

// Without its explanation, each difference is reported, and so are changes of the kinds that no difference has.
func TestUpstreamWantsExplanations(t *testing.T) {
	rows, _ := deviations(t)
	wantReported := func(u upstream, spec map[string]any, what string) {
		problems, _ := compare(u, rows, spec)
		if !slices.ContainsFunc(problems, regexp.MustCompile("the vendor has|the sources differ").MatchString) {
			t.Errorf("%s: it is not reported", what)
		}
	}
	for i, p := range vendor(t).Places {
		for j, d := range p.Differences {
			u := vendor(t)
			u.Places[i].Differences = slices.Delete(u.Places[i].Differences, j, j+1)
			wantReported(u, tree(t), d.ID+", "+p.Under+d.At)
		}
	}
	for place, value := range map[string]any{
		"/paths/~1v1~1token-info~1/get/deprecated":               true,
		"/components/securitySchemes/apiKey/scheme":              "basic",
		"/components/parameters/AccessToken/in":                  "header", // behind a reference
		"/components/schemas/TokenRenewV0/properties/id/x-types": []any{"string"},
		"/components/schemas/ScopeList/items/type":               "integer",
	} {
		spec := tree(t)
		put(spec, place, value)
		wantReported(vendor(t), spec, place)
	}
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
