// Package api holds the OpenAPI description of Esper's token endpoints.
//
// It imports only package embed, so that a program which serves or checks the description links no
// YAML or OpenAPI library through it.
package api

import _ "embed"

//go:generate go run ./publish/openapi31 openapi.yaml openapi-3.1.yaml

// Spec is the OpenAPI 3.0 document in YAML, byte for byte the file api/openapi.yaml.
// api/DEVIATIONS.md lists how the document differs from Esper's own, and the evidence for each difference.
// All packages share Spec: copy it before changing it.
//
//go:embed openapi.yaml
var Spec []byte
