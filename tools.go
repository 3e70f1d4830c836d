//go:build tools

// Package tools pins the code generator, so that `go generate` runs the version in go.mod.
// Linters and scanners are run with `go run package@version` and need no line here.
package tools

import (
	_ "github.com/oapi-codegen/oapi-codegen/v2/cmd/oapi-codegen"
)
