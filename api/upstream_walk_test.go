package api_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// walker lists what a description declares, in a form that does not depend on how it is written. It follows
// references, finds parameters by their name, and takes lists without an order as sets.
type walker struct {
	root   any
	named  map[string]bool   // schemas that both sides name: references to them are compared by name
	leaves map[string]string // place → value, as JSON
	where  map[string]string // place → JSON pointer into the document itself
	used   map[string]bool   // components that something refers to
	open   []string          // references that are being followed
}

// The members under these keys have names that the author chose; under all other keys, names that OpenAPI defines.
var nameKeys = map[string]bool{
	"paths": true, "properties": true, "responses": true, "headers": true, "parameters": true,
	"schemas": true, "securitySchemes": true, "content": true, "variables": true, "encoding": true,
	"links": true, "callbacks": true, "mapping": true,
}

// Texts and examples are not compared, because each side writes its own.
var textKeys = map[string]bool{"description": true, "summary": true, "example": true, "examples": true, "externalDocs": true}

func declared(root any, named map[string]bool) *walker {
	w := &walker{
		root: root, named: named,
		leaves: map[string]string{}, where: map[string]string{}, used: map[string]bool{},
	}
	w.walk(root, "", "", false)
	// Add the components that nothing refers to, which walk does not reach.
	components, _ := at(root, "/components").(map[string]any)
	for kind, list := range components {
		members, _ := list.(map[string]any)
		for name := range members {
			place := "/components" + "/" + escape(kind) + "/" + escape(name)
			if kind != "examples" && !w.used[place] && w.where[place] == "" {
				w.leaf(place, place, members[name])
			}
		}
	}
	return w
}

// walk lists node. The two sides are compared at place; where is a pointer into the document itself. Names says that the
// author chose the names of node's members.
func (w *walker) walk(node any, place, where string, names bool) {
	w.where[place] = where
	switch v := node.(type) {
	case map[string]any:
		if ref, ok := v["$ref"].(string); ok && !names {
			w.follow(ref, place)
			return
		}
		if !names && !slices.ContainsFunc(slices.Collect(maps.Keys(v)), func(key string) bool { return !textKeys[key] }) {
			w.leaf(place, where, map[string]any{}) // it exists, but declares nothing besides texts
		}
		for key, child := range v {
			to, from := place+"/"+escape(key), where+"/"+escape(key)
			list, isList := child.([]any)
			switch {
			case w.skip(key, to, names):
			case isList && !names:
				w.list(key, list, to, from)
			default:
				w.walk(child, to, from, !names && nameKeys[key])
			}
		}
	case []any:
		w.list("", v, place, where)
	default:
		w.leaf(place, where, node)
	}
}

// skip reports whether a member is left out. Texts, info and tags are; components are compared where they are used.
func (w *walker) skip(key, place string, names bool) bool {
	parts := strings.Split(place, "/")
	if parts[1] == "components" && len(parts) <= 4 { // compared here: schemas that both sides name
		return len(parts) == 3 && key != "schemas" && key != "securitySchemes" ||
			len(parts) == 4 && parts[2] == "schemas" && !w.named[key]
	}
	return place == "/info" || place == "/tags" || !names && textKeys[key]
}

func (w *walker) list(key string, list []any, place, where string) {
	w.where[place] = where
	if len(list) == 0 && key != "parameters" && key != "required" {
		w.leaf(place, where, list)
	}
	for i, item := range list {
		from := fmt.Sprintf("%s/%d", where, i)
		switch key {
		case "required", "enum":
			w.leaf(place+"/"+escape(fmt.Sprint(item)), from, true)
		case "parameters":
			parameter, _ := item.(map[string]any)
			if ref, ok := parameter["$ref"].(string); ok {
				from = strings.TrimPrefix(ref, "#")
				w.used[from] = true
				parameter, _ = at(w.root, from).(map[string]any)
			}
			rest := maps.Clone(parameter)
			delete(rest, "name")
			to := place + "/" + escape(fmt.Sprint(parameter["name"]))
			if w.where[to] != "" { // the name occurs twice, in two places of a request
				to += " in " + fmt.Sprint(parameter["in"])
			}
			w.walk(rest, to, from, false)
		default:
			w.walk(item, fmt.Sprintf("%s/%d", place, i), from, false)
		}
	}
}

func (w *walker) follow(ref, place string) {
	target := strings.TrimPrefix(ref, "#")
	w.used[target] = true
	name, isSchema := strings.CutPrefix(target, "/components/schemas/")
	if isSchema && w.named[name] || slices.Contains(w.open, target) {
		w.leaf(place+"/$ref", w.where[place]+"/$ref", ref)
		return
	}
	from := w.where[place]
	w.open = append(w.open, target)
	w.walk(at(w.root, target), place, target, false)
	w.open = w.open[:len(w.open)-1]
	w.where[place] = from
}

func (w *walker) leaf(place, where string, value any) {
	text, err := json.Marshal(value)
	if err != nil {
		panic(err) // it came out of JSON
	}
	w.leaves[place], w.where[place] = string(text), where
}

var escapes, unescapes = strings.NewReplacer("~", "~0", "/", "~1"), strings.NewReplacer("~1", "/", "~0", "~")

func escape(key string) string { return escapes.Replace(key) }

func unescape(part string) string { return unescapes.Replace(part) }

// at returns the value at a JSON pointer, or nil.
func at(root any, pointer string) any {
	for _, part := range strings.Split(pointer, "/")[1:] {
		switch v := root.(type) {
		case map[string]any:
			root = v[unescape(part)]
		case []any:
			i, err := strconv.Atoi(part)
			if err != nil || i < 0 || i >= len(v) {
				return nil
			}
			root = v[i]
		default:
			return nil
		}
	}
	return root
}

// put sets the value at a JSON pointer, or removes it if value is nil.
func put(root map[string]any, pointer string, value any) {
	node := root
	parts := strings.Split(pointer, "/")[1:]
	for i, part := range parts {
		key := unescape(part)
		if i == len(parts)-1 {
			if value == nil {
				delete(node, key)
			} else {
				node[key] = value
			}
			return
		}
		next, ok := node[key].(map[string]any)
		if !ok {
			next = map[string]any{}
			node[key] = next
		}
		node = next
	}
}
