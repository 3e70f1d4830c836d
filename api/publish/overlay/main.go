// Command overlay applies an OpenAPI overlay to a description and prints the result, as the
// generator of gen/ does: with the same library, in its strict mode. An action that matches nothing
// or changes nothing is an error, and so is a result that is no valid OpenAPI document.
//
//	go run ./api/publish/overlay api/openapi.yaml gen/overlay.yaml
package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/speakeasy-api/openapi/overlay"
	"gopkg.in/yaml.v3"
)

func main() {
	if len(os.Args) != 3 {
		fail(fmt.Errorf("usage: overlay openapi.yaml overlay.yaml"))
	}
	result, err := apply(os.Args[1], os.Args[2])
	if err != nil {
		fail(err)
	}
	if _, err := os.Stdout.Write(result); err != nil {
		fail(err)
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "overlay:", err)
	os.Exit(1) //nolint:forbidigo // this is a main program
}

func apply(specPath, overlayPath string) ([]byte, error) {
	spec, err := os.ReadFile(specPath) //nolint:gosec // the file that its user names
	if err != nil {
		return nil, err
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(spec, &doc); err != nil {
		return nil, err
	}
	over, err := overlay.Parse(overlayPath)
	if err != nil {
		return nil, err
	}
	if err := over.Validate(); err != nil {
		return nil, err
	}
	warnings, err := over.ApplyToStrict(&doc)
	if err != nil {
		return nil, err
	}
	if len(warnings) > 0 {
		return nil, fmt.Errorf("%s: %s", overlayPath, strings.Join(warnings, "; "))
	}

	var out bytes.Buffer
	enc := yaml.NewEncoder(&out)
	enc.SetIndent(2)
	if err := enc.Encode(&doc); err != nil {
		return nil, err
	}
	return out.Bytes(), validate(out.Bytes())
}

func validate(spec []byte) error {
	doc, err := openapi3.NewLoader().LoadFromData(spec)
	if err != nil {
		return err
	}
	err = doc.WalkSchemas(func(_ string, s *openapi3.SchemaRef) error {
		// Without a type it is any value, null included; kin-openapi takes null only where this is set.
		s.Value.Nullable = s.Value.Nullable || s.Value.Type == nil
		return nil
	})
	if err != nil {
		return err
	}
	return doc.Validate(context.Background(), openapi3.EnableExamplesValidation())
}
