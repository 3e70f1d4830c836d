// Command openapi31 turns the OpenAPI 3.0 description into an OpenAPI 3.1 one, which says the same in the words of
// JSON Schema: a list of types takes the place of nullable and of x-types.
//
//	go run ./api/publish/openapi31 api/openapi.yaml api/openapi-3.1.yaml
package main

import (
	"bytes"
	"fmt"
	"os"

	"gopkg.in/yaml.v3"
)

const head = "# Made from openapi.yaml by `make generate`; changes belong there. The variable of the server has no description\n" +
	"# here: the JSON Schema of OpenAPI 3.1 that swagger-parser 13 brings along does not know it, and refuses the document.\n"

func main() {
	if len(os.Args) != 3 {
		fail(fmt.Errorf("usage: openapi31 openapi.yaml openapi-3.1.yaml"))
	}
	spec, err := os.ReadFile(os.Args[1]) //nolint:gosec // the file that its user names
	if err == nil {
		spec, err = convert(spec)
	}
	if err == nil {
		err = os.WriteFile(os.Args[2], spec, 0o644) //nolint:gosec // it is published
	}
	if err != nil {
		fail(err)
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "openapi31:", err)
	os.Exit(1) //nolint:forbidigo // this is a main program
}

func convert(spec []byte) ([]byte, error) {
	var doc yaml.Node
	if err := yaml.Unmarshal(spec, &doc); err != nil {
		return nil, err
	}
	version := member(doc.Content[0], "openapi")
	if version == nil {
		return nil, fmt.Errorf("this is no OpenAPI description")
	}
	version.Value = "3.1.0"
	for _, server := range member(doc.Content[0], "servers").Content {
		if variables := member(server, "variables"); variables != nil {
			for i := 1; i < len(variables.Content); i += 2 {
				remove(variables.Content[i], "description") // see head
			}
		}
	}
	walk(&doc, false)
	out := bytes.NewBufferString(head)
	enc := yaml.NewEncoder(out)
	enc.SetIndent(2)
	err := enc.Encode(&doc)
	return out.Bytes(), err
}

// walk converts the schemas in node, which lies inside a schema or not, and drops the comments, which are about
// OpenAPI 3.0.
func walk(node *yaml.Node, inSchema bool) {
	node.HeadComment, node.LineComment, node.FootComment = "", "", ""
	if node.Kind != yaml.MappingNode {
		for _, child := range node.Content {
			walk(child, inSchema)
		}
		return
	}
	if inSchema {
		convertSchema(node)
	}
	for i := 0; i < len(node.Content); i += 2 {
		key, value := node.Content[i], node.Content[i+1]
		key.HeadComment, key.LineComment, key.FootComment = "", "", ""
		switch {
		case inSchema && (key.Value == "examples" || key.Value == "default" || key.Value == "enum"): // values, not schemas
		case inSchema && key.Value == "properties", !inSchema && key.Value == "schemas":
			value.HeadComment = ""
			for j := 0; j < len(value.Content); j += 2 {
				value.Content[j].HeadComment = ""
				walk(value.Content[j+1], true)
			}
		default:
			walk(value, inSchema || key.Value == "schema")
		}
	}
}

func convertSchema(schema *yaml.Node) {
	if types := remove(schema, "x-types"); types != nil {
		schema.Content = append([]*yaml.Node{text("type"), types}, schema.Content...)
	}
	if nullable := remove(schema, "nullable"); nullable != nil && nullable.Value == "true" {
		if t := member(schema, "type"); t != nil {
			*t = *list(text(t.Value), &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: "null", Style: yaml.SingleQuotedStyle})
		}
	}
	if example := remove(schema, "example"); example != nil {
		schema.Content = append(schema.Content, text("examples"), list(example))
	}
	if more := member(schema, "additionalProperties"); more != nil && more.Value == "true" {
		remove(schema, "additionalProperties") // the default
	}
}

func member(mapping *yaml.Node, name string) *yaml.Node {
	for i := 0; i < len(mapping.Content); i += 2 {
		if mapping.Content[i].Value == name {
			return mapping.Content[i+1]
		}
	}
	return nil
}

func remove(mapping *yaml.Node, name string) *yaml.Node {
	for i := 0; i < len(mapping.Content); i += 2 {
		if value := mapping.Content[i+1]; mapping.Content[i].Value == name {
			mapping.Content = append(mapping.Content[:i], mapping.Content[i+2:]...)
			return value
		}
	}
	return nil
}

func text(s string) *yaml.Node {
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: s}
}

func list(items ...*yaml.Node) *yaml.Node {
	return &yaml.Node{Kind: yaml.SequenceNode, Style: yaml.FlowStyle, Content: items}
}
