// Program of one client, which makes one call.
package main

import (
	"github.com/esper-go/esper-go/pkg/benchmarks/internal/peers/ogenotelpeer"
	"github.com/esper-go/esper-go/pkg/benchmarks/programs/once"
)

func main() { once.Main(ogenotelpeer.New) }
