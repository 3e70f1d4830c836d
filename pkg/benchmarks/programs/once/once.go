// Package once is what the programs that are weighed have in common.
package once

import (
	"context"
	"fmt"
	"os"

	"github.com/esper-go/esper-go/pkg/benchmarks/internal/peers/peer"
)

// Main makes one call to the base URL that is the program's argument.
func Main(make peer.New) {
	client, err := make(os.Args[1], nil)
	if err == nil {
		_, err = client.TokenInfo(context.Background())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1) //nolint:forbidigo // a main program
	}
}
