package api_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
)

const (
	getAt   = "/paths/~1v1~1token-info~1/get"
	renewAt = "/paths/~1v0~1enterprise~1{enterprise_id}~1developerapp~1{developerapp_id}~1renew-token~1/post"
	infoAt  = "/components/schemas/TokenInfoV1"
)

// TestUpstreamSeesAnyChange changes openapi.yaml in one place at a time: each value, each member that is there, and one
// member more in each object. Each change has to be reported.
func TestUpstreamSeesAnyChange(t *testing.T) {
	u, spec := vendor(t), tree(t)
	rows, _ := deviations(t)
	tried := 0
	change(spec, "", false, func(what string) {
		tried++
		problems, _ := compare(u, rows, spec)
		if !slices.ContainsFunc(problems, func(problem string) bool { return strings.Contains(problem, "the vendor has") }) {
			t.Errorf("%s: no problem is reported", what)
		}
	})
	if t.Logf("%d changes", tried); tried < 500 {
		t.Error("this test shows nothing")
	}
}

// change changes what is below node, calls try, and changes it back, for each change. Names says that the author chose the
// names of node's members.
func change(node any, place string, names bool, try func(what string)) {
	replace := func(at string, old any, set func(any)) {
		switch old.(type) {
		case map[string]any, []any:
		default:
			set(fmt.Sprint(old, " changed"))
			try(at + " is something else")
			set(old)
		}
	}
	switch v := node.(type) {
	case []any:
		for i, child := range v {
			at := fmt.Sprintf("%s/%d", place, i)
			replace(at, child, func(other any) { v[i] = other })
			change(child, at, false, try)
		}
	case map[string]any:
		if _, refers := v["$ref"]; (!refers || names) && place != "/components" { // neither declares anything by itself
			v["x-more"] = "more"
			try(place + " has one member more")
			delete(v, "x-more")
		}
		for _, key := range slices.Sorted(maps.Keys(v)) {
			at, child := place+"/"+escape(key), v[key]
			if !names && textKeys[key] || at == "/info" || at == "/tags" || at == "/components/examples" {
				continue
			}
			delete(v, key)
			try(at + " is gone")
			v[key] = child
			replace(at, child, func(other any) { v[key] = other })
			change(child, at, !names && nameKeys[key], try)
		}
	}
}

// TestUpstreamSeesIdleRows changes upstream.json or DEVIATIONS.md instead. Each change has to be reported.
func TestUpstreamSeesIdleRows(t *testing.T) {
	edit := func(u upstream, id string, change func(*difference)) {
		for _, p := range u.Places {
			for i := range p.Differences {
				if p.Differences[i].ID == id {
					change(&p.Differences[i])
				}
			}
		}
	}
	spec := tree(t)
	for _, tc := range []struct {
		name   string
		change func(upstream, map[string]row)
		want   string
	}{
		{"a row without a difference", func(_ upstream, rows map[string]row) {
			rows["D99"] = row{where: "/info"}
		}, "D99 (/info) has to explain"},
		{"a difference without a row", func(_ upstream, rows map[string]row) { delete(rows, "D36") }, "D36 has no row"},
		{"prose without a row", func(_ upstream, rows map[string]row) { delete(rows, "D07") }, "D07 has no row"},
		{"both", func(u upstream, _ map[string]row) { u.Prose["D21"] = "no reason" }, "D21 ("},
		{"a row for another place", func(_ upstream, rows map[string]row) {
			rows["D36"] = row{where: rows["D37"].where, vendor: "string, date-time", here: "null"}
		}, "D36 (/components/schemas/TokenRenewV0/properties/scope) has to explain"},
		{"the vendor means the same by now", func(u upstream, _ map[string]row) {
			for _, p := range u.Places {
				for i := range p.Vendor {
					if p.Under+p.Vendor[i].At == infoAt+"/properties/enterprise" {
						p.Vendor[i].Is = map[string]any{"type": "string"}
					}
				}
			}
		}, "D22 explains nothing"},
		{"the sources differ", func(u upstream, _ map[string]row) {
			u.Places[1].Vendor = append(u.Places[1].Vendor, fact{At: "/operationId", Source: "[py]", Is: "get_token_info"})
		}, "the sources differ at " + getAt + "/operationId"},
		{"a row that says another type", func(_ upstream, rows map[string]row) {
			rows["D24"] = row{where: rows["D24"].where, vendor: "`integer`", here: rows["D24"].here}
		}, "D24: the vendor's cell in DEVIATIONS.md does not name"},
		{"a row that forgets null", func(_ upstream, rows map[string]row) {
			rows["D24"] = row{where: rows["D24"].where, vendor: rows["D24"].vendor, here: "`string`"}
		}, "D24: here and DEVIATIONS.md do not agree on null"},
		{"a difference that says something else", func(u upstream, _ map[string]row) {
			edit(u, "D10", func(d *difference) { d.Here = 2.0 })
		}, renewAt + "/parameters/access_token/schema/minLength ("},
	} {
		t.Run(tc.name, func(t *testing.T) {
			u := vendor(t)
			rows, _ := deviations(t)
			tc.change(u, rows)
			problems, _ := compare(u, rows, spec)
			if !strings.Contains(strings.Join(problems, "\n"), tc.want) {
				t.Errorf("no problem says %q:\n%s", tc.want, strings.Join(problems, "\n"))
			}
		})
	}
}
