package api_test

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/go-openapi/jsonpointer"
)

// The members under these keys have names that the author chose; under all other keys, names that OpenAPI defines.
var nameKeys = map[string]bool{
	"paths": true, "properties": true, "responses": true, "headers": true, "parameters": true,
	"schemas": true, "securitySchemes": true, "content": true, "variables": true, "encoding": true,
	"links": true, "callbacks": true, "mapping": true,
}

// Texts and examples are not compared, because each side writes its own.
var textKeys = map[string]bool{"description": true, "summary": true, "example": true, "examples": true, "externalDocs": true}

// declared returns what a description declares, in a form that does not depend on how it is written. The schemas of named
// are compared by themselves, and all else where it is used.
func declared(doc map[string]any, named map[string]bool) map[string]any {
	root := maps.Clone(doc)
	schemas := map[string]any{}
	for name := range named {
		schemas[name] = at(doc, "/components/schemas/"+name)
	}
	root["components"] = map[string]any{"schemas": schemas, "securitySchemes": at(doc, "/components/securitySchemes")}
	delete(root, "info")
	delete(root, "tags")
	return plain(doc, root, named, false).(map[string]any)
}

// plain follows the references in node, except those to named schemas, leaves out its texts, takes lists without an order
// as sets, and finds parameters by their name. Names says that the author chose the names of node's members.
func plain(doc, node any, named map[string]bool, names bool) any {
	switch v := node.(type) {
	case map[string]any:
		if ref, ok := v["$ref"].(string); ok && !names && !named[strings.TrimPrefix(ref, "#/components/schemas/")] {
			return plain(doc, at(doc, strings.TrimPrefix(ref, "#")), named, false)
		}
		out := map[string]any{}
		for key, child := range v {
			list, isList := child.([]any)
			switch {
			case !names && textKeys[key]:
			case !names && isList && (key == "required" || key == "enum" || key == "parameters"):
				set := map[string]any{}
				for _, item := range list {
					name, value := fmt.Sprint(item), any(true)
					if key == "parameters" {
						parameter, _ := plain(doc, item, named, false).(map[string]any)
						name, value = fmt.Sprint(parameter["name"]), parameter
						delete(parameter, "name")
					}
					set[name] = value
				}
				if len(set) > 0 {
					out[key] = set
				}
			default:
				out[key] = plain(doc, child, named, !names && nameKeys[key])
			}
		}
		return out
	case []any:
		if len(v) == 0 {
			return "[]"
		}
		out := map[string]any{}
		for i, item := range v {
			out[strconv.Itoa(i)] = plain(doc, item, named, false)
		}
		return out
	}
	return node
}

// differing returns the places at which two values after plain differ.
func differing(a, b any, place string) (places []string) {
	one, isOne := a.(map[string]any)
	other, isOther := b.(map[string]any)
	if !isOne || !isOther {
		if fmt.Sprintf("%#v", a) != fmt.Sprintf("%#v", b) {
			places = append(places, place)
		}
		return places
	}
	all := maps.Clone(one)
	maps.Copy(all, other)
	for _, key := range slices.Sorted(maps.Keys(all)) {
		places = append(places, differing(one[key], other[key], place+"/"+jsonpointer.Escape(key))...)
	}
	return places
}

// at returns the value at a JSON pointer, or nil.
func at(root any, place string) any {
	pointer, err := jsonpointer.New(place)
	if err != nil {
		return nil
	}
	value, _, _ := pointer.Get(root) // nil if nothing is there
	return value
}

// put sets the value at a JSON pointer, or removes it if value is nil.
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
	if value == nil {
		delete(node, jsonpointer.Unescape(parts[last]))
	}
}
