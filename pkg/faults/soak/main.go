// Soak runs 64 callers and a renewing source for minutes against a server that fails at random and whose
// clock jumps. After a third of the time, the server ends renew-token, and the source renews through
// personal access tokens. Soak checks that memory, goroutines and descriptors do not grow, that no key is
// lost that could have been kept, that no key is renewed twice, and that every error has a known type.
//
//	go run ./soak -for 10m
//
// It exits with 1 if any of these checks fails. The same seed makes the same faults likely, but not in
// the same order, since the order of the calls of 64 callers differs from run to run.
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
		os.Exit(1) //nolint:forbidigo // the exit code is the verdict
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
	idle := measure() // with the server running; the last count is taken after the server has ended
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
