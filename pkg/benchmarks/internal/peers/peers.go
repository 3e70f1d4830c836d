// Package peers has the clients that are measured. The client of ogen is generated from the OpenAPI description for each
// run, and is not in the repository.
package peers

//go:generate go tool ogen -loglevel warn -clean -config ogen.yml -target ogen -package ogen ../../../../api/openapi.yaml

// The names of the clients.
const (
	Bare    = "hand-written, bare"
	Careful = "hand-written, careful"
	Esper   = "esper-go"
	Oapi    = "oapi-codegen"
	Ogen    = "ogen"
)

// Named is a client with its name.
type Named struct {
	Name string
	New  New
}

// All returns the clients.
func All() []Named {
	return []Named{{Esper, NewEsper}, {Careful, NewCareful}, {Bare, NewBare}, {Oapi, NewOapi}, {Ogen, NewOgen}}
}
