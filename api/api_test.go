package api_test

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"

	"github.com/esper-go/esper-go/api"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func load(t *testing.T) *openapi3.T {
	t.Helper()
	doc, err := openapi3.NewLoader().LoadFromData(api.Spec)
	must(t, err)
	return doc
}

// TestSpecIsDocumented: each schema, property, operation and answer has what a reader needs. What they declare is
// TestUpstream's.
func TestSpecIsDocumented(t *testing.T) {
	doc := load(t)
	for name, s := range doc.Components.Schemas {
		if s.Value.Description == "" {
			t.Errorf("%s has no description", name)
		}
		for key, p := range s.Value.Properties {
			if p.Value.Description == "" || p.Value.Example == nil {
				t.Errorf("%s.%s: description %q, example %v", name, key, p.Value.Description, p.Value.Example)
			}
		}
	}
	for path, item := range doc.Paths.Map() {
		for _, op := range item.Operations() {
			successor := strings.HasPrefix(path, "/authn2/")
			if strings.Contains(op.Description, "soon be deprecated") == successor {
				t.Errorf("%s: the deprecation notice belongs in the descriptions of the two old endpoints, and nowhere else", op.OperationID)
			}
			if strings.Contains(op.Description, "has not been seen on the wire") != successor {
				t.Errorf("%s: only a description of personal access tokens says \"has not been seen on the wire\", and each does", op.OperationID)
			}
			for _, p := range op.Parameters {
				if p.Value.Description == "" || p.Value.Example == nil {
					t.Errorf("%s.%s: description %q, example %v", op.OperationID, p.Value.Name, p.Value.Description, p.Value.Example)
				}
			}
			for status, r := range op.Responses.Map() {
				if len(r.Value.Content["application/json"].Examples) == 0 {
					t.Errorf("%s %s: no example", op.OperationID, status)
				}
			}
		}
	}
}

// TestCompoundSchemasAreNamed: for an object or an array without a name, each generator makes up a different one. Of a
// schema with a name that is neither, some make an empty class.
func TestCompoundSchemasAreNamed(t *testing.T) {
	must(t, load(t).WalkSchemas(func(at string, s *openapi3.SchemaRef) error {
		name, component := strings.CutPrefix(at, "/components/schemas/")
		named := s.Ref != "" || component && !strings.Contains(name, "/")
		if compound := s.Value.Type.Is("object") || s.Value.Type.Is("array"); compound != named {
			t.Errorf("%s: it is an object or an array: %t; it has a name: %t", at, compound, named)
		}
		return nil
	}))
}

// TestLeafFirst: a schema stands after those that it refers to, for a generator that writes classes in this order.
func TestLeafFirst(t *testing.T) {
	_, text, _ := strings.Cut(string(api.Spec), "\n  schemas:\n")
	text, _, _ = strings.Cut(text, "\n  examples:\n")
	seen, references, name := map[string]bool{}, 0, ""
	for _, found := range regexp.MustCompile(`(?m)^    (\w+):$|#/components/schemas/(\w+)`).FindAllStringSubmatch(text, -1) {
		if found[1] != "" {
			seen[name], name = true, found[1]
		} else if references++; !seen[found[2]] {
			t.Errorf("%s refers to %s, which comes later", name, found[2])
		}
	}
	if want := len(load(t).Components.Schemas); len(seen) != want || references < 3 {
		t.Errorf("%d schemas, want %d; %d references between them, want at least 3", len(seen), want, references)
	}
}

// TestChangelogNamesTheSpec: each section of the changelog says once which version of the spec it comes with, and the
// newest says this one.
func TestChangelogNamesTheSpec(t *testing.T) {
	text, err := os.ReadFile("../CHANGELOG.md")
	must(t, err)
	line := regexp.MustCompile(`(?m)^Spec \d+\.\d+\.\d+\.$`)
	for i, section := range strings.Split(string(text), "\n## [")[1:] {
		name, _, _ := strings.Cut(section, "]")
		found := line.FindAllString(section, -1)
		if want := "Spec " + load(t).Info.Version + "."; len(found) != 1 || i == 0 && found[0] != want {
			t.Errorf("section %s has %q, want one line \"Spec X.Y.Z.\", and in the newest section %q", name, found, want)
		}
	}
}

// TestNoKeyInTheSpec: an example that was copied from a real answer would hold a real key. That is a long run of letters
// and digits.
func TestNoKeyInTheSpec(t *testing.T) {
	for _, word := range regexp.MustCompile(`[A-Za-z0-9]{25,}`).FindAllString(string(api.Spec), -1) {
		if strings.ContainsAny(word, "0123456789") {
			t.Errorf("this looks like a key: %s", word)
		}
	}
}
