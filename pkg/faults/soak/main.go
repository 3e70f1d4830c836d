// Soak has 64 callers and a renewing source talk for minutes to a server that fails at random, whose
// clock jumps, and which ends renew-token after a third of the time: from then on the source renews
// through personal access tokens. It judges what came of it: memory, goroutines and descriptors stay
// flat, no key is lost that could have been kept, none is renewed twice, and every error has a type.
//
//	go run ./soak -for 10m
//
// It exits with 1 if anything of that does not hold. The seed makes the same faults likely again, but
// not in the same order: 64 callers never meet them in the same order.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"time"
)

func main() {
	length := flag.Duration("for", 10*time.Minute, "how long")
	seed := flag.Uint64("seed", rand.Uint64(), "of the faults") //nolint:gosec // faults need not be secret
	flag.Parse()
	if err := soak(*length, *seed); err != nil {
		fmt.Fprintf(os.Stdout, "\nFAILED\n%v\n", err)
		os.Exit(1) //nolint:forbidigo // a program that judges ends with its verdict
	}
	fmt.Fprintln(os.Stdout, "\nPASSED")
}

func soak(length time.Duration, seed uint64) error {
	fmt.Fprintf(os.Stdout, "for %v, seed %d\n", length, seed)
	folder, err := os.MkdirTemp("", "soak")
	if err != nil {
		return err
	}
	defer os.RemoveAll(folder) //nolint:errcheck // it is the system's temporary folder

	ctx, cancel := context.WithTimeout(context.Background(), length)
	defer cancel()
	server, err := serve(ctx, seed, time.Now().Add(length/3))
	if err != nil {
		return err
	}
	idle := measure() // with the server, which ends before the count is taken again
	faults := new(findings)
	keeper := newKeeper(server, folder, faults)
	load, err := newLoad(server.base, keeper, faults)
	if err != nil {
		return err
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		keeper.run(ctx)
	}()
	select {
	case <-keeper.ready:
	case <-ctx.Done():
	}
	load.start(ctx, seed)
	samples := watch(ctx, length, load)
	<-done
	load.wait()
	load.closeIdle()
	server.close()

	fmt.Fprintln(os.Stdout, "\nwhat callers got:")
	faults.print(os.Stdout)
	fmt.Fprintf(os.Stdout, "\nfaults of the server: %s\n%s\n", server.summary(), keeper)
	return errors.Join(faults.verdict(), server.verdict(), keeper.verdict(), flat(samples), settled(idle))
}
