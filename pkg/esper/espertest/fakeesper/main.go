// Command fakeesper runs the fake Esper server of package espertest, for tests in any language:
//
//	go run ./pkg/esper/espertest/fakeesper -addr 127.0.0.1:0
//
// It prints one line of JSON with url, key, enterprise_id and developerapp_id, and serves until
// it is interrupted. It can answer with a fault, to test what a client does then; the flags for that are the
// fields of espertest.Fault, and -times is the number of requests that get the fault:
//
//	go run ./pkg/esper/espertest/fakeesper -times 1 -status 429 -header 'Retry-After: 7' -body '{"message":"Slower"}'
//
// If a request breaks the API's description, the program says so on standard error at once, and in the end
// exits with 1. If it cannot start, it exits with 2.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/esper-go/esper-go/pkg/esper/espertest"
)

// shortest is the lifetime with which package renew still renews a key: it begins when no more than half of such a
// short life is left, and not in the last 40 seconds.
const shortest = 80 * time.Second

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run serves until ctx ends and returns the exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	say := func(v ...any) { _, _ = fmt.Fprintln(stderr, append([]any{"fakeesper:"}, v...)...) }
	flags := flag.NewFlagSet("fakeesper", flag.ContinueOnError)
	flags.SetOutput(stderr)
	addr := flags.String("addr", "127.0.0.1:0", "the `address` to listen on; port 0 is any free one")
	token := flags.String("token", "", "the first `key`, not a real one (default fake-esper-key)")
	lifetime := flags.Duration("lifetime", 90*24*time.Hour, "the `duration` for which each key is valid, such as 10m")
	retired := flags.Int("retired", 0, "answer the two token endpoints with this `status`, 404 or 410, as if retired")
	keep := flags.Bool("keep-old-key", false, "let the old key go on working after a renewal")
	f := espertest.Fault{Header: http.Header{}}
	times := flags.Int("times", -1, "how many requests get the fault that the next flags describe; -1: all")
	flags.IntVar(&f.Status, "status", 0, "answer with this `status`, 200 to 999, in place of the normal answer")
	flags.StringVar(&f.Body, "body", "", "answer with this `text` in place of the normal answer")
	flags.Func("header", "add this `line` to the answer's headers, such as 'Retry-After: 7'", func(line string) error {
		name, value, ok := strings.Cut(line, ":")
		if f.Header.Add(name, strings.TrimSpace(value)); !ok {
			return errors.New("want a name, a colon and a value")
		}
		return nil
	})
	flags.DurationVar(&f.Delay, "delay", 0, "wait this `duration` before the answer, such as 1.5s")
	flags.Func("reset", "break the connection `when`: before-header or in-body", func(when string) error {
		resets := map[string]espertest.Reset{"before-header": espertest.BeforeHeader, "in-body": espertest.InBody}
		if f.Reset = resets[when]; f.Reset == espertest.NoReset {
			return errors.New("want before-header or in-body")
		}
		return nil
	})
	flags.BoolVar(&f.Handled, "handled", false, "act on the request first, so that a renewal replaces the key")
	if err := flags.Parse(args); errors.Is(err, flag.ErrHelp) {
		return 0
	} else if err != nil {
		return 2
	}
	if flags.NArg() > 0 {
		say("unexpected argument:", flags.Arg(0))
		return 2
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", *addr)
	if err != nil {
		say(err)
		return 2
	}
	if *lifetime > 0 && *lifetime < shortest {
		say("a key that lives", *lifetime, "is never renewed by esper-key or package renew,",
			"which begin nothing in a key's last 40 seconds; try -lifetime 5m")
	}
	opts := []espertest.Option{
		espertest.WithListener(listener), espertest.WithToken(*token), espertest.WithLifetime(*lifetime),
		espertest.OnViolation(func(err error) { say("violation:", err) }),
	}
	if *keep {
		opts = append(opts, espertest.KeepOldKey())
	}
	server := espertest.New(opts...)
	defer server.Close()
	server.Retire(*retired, "renewToken", "getTokenInfo")
	if server.Fail(*times, f); len(server.Violations()) > 0 { // it has told what is wrong with the fault
		return 2
	}
	hello := map[string]string{"url": server.URL, "key": server.Token()}
	hello["enterprise_id"], hello["developerapp_id"] = server.EnterpriseID, server.DeveloperAppID
	if err := json.NewEncoder(stdout).Encode(hello); err != nil {
		say(err)
		return 2
	}
	<-ctx.Done()
	server.Close()
	return min(len(server.Violations()), 1)
}
