package peers

import (
	"github.com/esper-go/esper-go/pkg/benchmarks/internal/peers/esperclient"
	"github.com/esper-go/esper-go/pkg/benchmarks/internal/peers/floor"
	"github.com/esper-go/esper-go/pkg/benchmarks/internal/peers/oapi"
	"github.com/esper-go/esper-go/pkg/benchmarks/internal/peers/ogenotelpeer"
	"github.com/esper-go/esper-go/pkg/benchmarks/internal/peers/ogenpeer"
	"github.com/esper-go/esper-go/pkg/benchmarks/internal/peers/peer"
	"github.com/esper-go/esper-go/pkg/benchmarks/internal/peers/resty2"
	"github.com/esper-go/esper-go/pkg/benchmarks/internal/peers/resty3"
)

// The names of the clients that the harness asks for by name.
const (
	Floor     = "floor"
	Default   = "floor, default transport"
	Esper     = "esper-go"
	Generated = "oapi-codegen"
	Python    = "esperclient (Python)"
)

// Named is a client in Go.
type Named struct {
	Name    string
	Program string // its folder in programs/, if it has one
	New     peer.New
}

// All returns the clients in Go, the floor first.
func All() []Named {
	return []Named{
		{Floor, "floor", floor.New},
		{Default, "", floor.NewDefault},
		{Esper, "esper", esperclient.New},
		{Generated, "oapi", oapi.New},
		{"ogen without OTel", "ogen", ogenpeer.New},
		{"ogen", "ogenotel", ogenotelpeer.New},
		{"resty v2", "resty2", resty2.New},
		{"resty v3", "resty3", resty3.New},
	}
}

// Find returns the client of that name, or one whose New is nil.
func Find(name string) Named {
	for _, n := range All() {
		if n.Name == name {
			return n
		}
	}
	return Named{}
}
