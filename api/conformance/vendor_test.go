//go:build conformance

package conformance

import (
	"encoding/json"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/go-openapi/jsonpointer"
)

// vendorSpec is an OpenAPI description with only what Esper itself declares about the operations. It is made from the
// facts in ../upstream.json.
const vendorSpec = "vendor.yaml"

func writeVendorSpec(t *testing.T, path string) {
	t.Helper()
	data, err := os.ReadFile("../upstream.json")
	must(t, err)
	var upstream struct {
		Places []struct {
			Under  string
			Vendor []struct {
				At string
				Is any
			}
		}
	}
	must(t, json.Unmarshal(data, &upstream))
	doc := map[string]any{"info": map[string]any{"title": "Esper's own", "version": "1.0.0"}}
	for _, p := range upstream.Places {
		for _, f := range p.Vendor {
			if f.Is != nil { // of several sources, the last is the newest
				put(doc, p.Under+f.At, f.Is)
			}
		}
	}
	doc["openapi"] = "3.0.3" // the facts are the same in 3.1, which fewer generators read
	doc["servers"] = []any{doc["servers"].(map[string]any)["0"]}
	for path, item := range doc["paths"].(map[string]any) {
		for _, op := range item.(map[string]any) {
			operation := op.(map[string]any)
			byName, _ := operation["parameters"].(map[string]any)
			list := []any{}
			for _, name := range slices.Sorted(maps.Keys(byName)) {
				parameter := byName[name].(map[string]any)
				parameter["name"] = name
				list = append(list, parameter)
			}
			operation["parameters"] = list
			for _, response := range operation["responses"].(map[string]any) {
				response.(map[string]any)["description"] = path
			}
		}
	}
	data, err = json.Marshal(doc) // JSON is YAML too
	must(t, err)
	must(t, os.WriteFile(path, data, 0o600))
}

// put sets the place to which a JSON pointer leads, below node, to value.
func put(node map[string]any, pointer string, value any) {
	parts := strings.Split(pointer, "/")[1:]
	last := len(parts) - 1
	for _, part := range parts[:last] {
		key := jsonpointer.Unescape(part)
		if _, ok := node[key].(map[string]any); !ok {
			node[key] = map[string]any{}
		}
		node = node[key].(map[string]any)
	}
	node[jsonpointer.Unescape(parts[last])] = value
}
