// Tokeninfo says whose key ESPER_API_KEY is, and when it ends.
package main

import (
	"context"
	"fmt"
	"log"

	"github.com/esper-go/esper-go/pkg/esper"
)

func main() {
	client, err := esper.NewFromEnv() // ESPER_ENVIRONMENT and ESPER_API_KEY
	if err != nil {
		log.Fatal(err)
	}
	info, err := client.TokenInfo(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("This key of", info.User, "ends at", info.ExpiresAt)
}
