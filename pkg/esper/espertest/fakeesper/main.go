// Command fakeesper runs the fake Esper server of package espertest, for tests in any language:
//
//	go run ./pkg/esper/espertest/fakeesper -addr 127.0.0.1:0
//
// It prints one line of JSON with url, key, enterprise_id and developerapp_id, and serves until
// it is interrupted. With -fail it answers with a fault, to test what a client does then. The fields are
// those of espertest.Fault. times is the number of requests that get the fault; without it, all do:
//
//	go run ./pkg/esper/espertest/fakeesper -fail '{"times":1,"status":429,"header":{"Retry-After":["7"]},
//		"body":"{\"message\":\"Slow down\"}","delay":"1s","reset":"in-body","handled":true}'
//
// reset is before-header or in-body. If requests broke the API's description, the program prints each such
// violation to standard error and exits with 1. If it cannot start, it exits with 2.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/esper-go/esper-go/pkg/esper/espertest"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run serves until ctx ends and returns the exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("fakeesper", flag.ContinueOnError)
	flags.SetOutput(stderr)
	addr := flags.String("addr", "127.0.0.1:0", "the `address` to listen on; port 0 is any free one")
	token := flags.String("token", "", "the first `key`, which must not be a real one (default fake-esper-key)")
	var fail fault
	flags.Func("fail", "answer with this `fault`, written as JSON, in place of the normal answer", fail.parse)
	lifetime := flags.Duration("lifetime", 90*24*time.Hour, "the `duration` for which each key is valid, such as 10m")
	retired := flags.Int("retired", 0, "answer the two token endpoints with this `status`, 404 or 410, as if Esper had retired them")
	keep := flags.Bool("keep-old-key", false, "let the old key go on working after a renewal")
	if err := flags.Parse(args); errors.Is(err, flag.ErrHelp) {
		return 0
	} else if err != nil {
		return 2
	}
	if flags.NArg() > 0 {
		_, _ = fmt.Fprintln(stderr, "fakeesper: unexpected argument:", flags.Arg(0))
		return 2
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", *addr)
	if err != nil {
		_, _ = fmt.Fprintln(stderr, "fakeesper:", err)
		return 2
	}
	opts := []espertest.Option{espertest.WithListener(listener), espertest.WithToken(*token), espertest.WithLifetime(*lifetime)}
	if *keep {
		opts = append(opts, espertest.KeepOldKey())
	}
	if *retired != 0 {
		opts = append(opts, espertest.WithRetired(*retired, "renewToken", "getTokenInfo"))
	}
	server := espertest.New(opts...)
	server.Fail(fail.times, fail.Fault)
	err = json.NewEncoder(stdout).Encode(struct {
		URL            string `json:"url"`
		Key            string `json:"key"`
		EnterpriseID   string `json:"enterprise_id"`
		DeveloperAppID string `json:"developerapp_id"`
	}{server.URL, server.Token(), server.EnterpriseID, server.DeveloperAppID})
	if err == nil {
		<-ctx.Done()
	}
	server.Close()
	if err != nil {
		_, _ = fmt.Fprintln(stderr, "fakeesper:", err)
		return 2
	}
	violations := server.Violations()
	for _, v := range violations {
		_, _ = fmt.Fprintln(stderr, "fakeesper: violation:", v)
	}
	return min(len(violations), 1)
}
