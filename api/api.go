// Package api holds the OpenAPI description of Esper's two token endpoints.
//
// It imports nothing but what embedding needs, so that a program which serves or checks the
// description links no YAML or OpenAPI library through it.
package api

import _ "embed"

//go:generate go run ./publish/openapi31 openapi.yaml openapi-3.1.yaml

// Spec is the OpenAPI 3.0 document in YAML, byte for byte the file api/openapi.yaml.
// api/DEVIATIONS.md lists how it differs from Esper's own documents, and on whose evidence.
// It is shared: copy it before changing it.
//
//go:embed openapi.yaml
var Spec []byte
