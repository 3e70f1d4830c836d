package faults

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/esper-go/esper-go/pkg/esper"
)

// canary is the key, and the beginning of every new one. Its first letters stand for it in whatever
// way the rest is encoded.
const (
	canary      = "canary+key/with=odd%20signs"
	canaryStart = "canary"
)

// describe says what a caller can tell from an error, in words that are the same on each run.
func describe(err error) string {
	if err == nil {
		return "success"
	}
	text := cause(err)
	if renewal := (*esper.RenewalError)(nil); errors.As(err, &renewal) {
		text = renewal.Outcome.String() + ", " + text
	}
	var t interface{ Timeout() bool }
	if timeout := errors.As(err, &t) && t.Timeout(); timeout != errors.Is(err, context.DeadlineExceeded) {
		text += fmt.Sprintf(", though Timeout() is %t", timeout)
	}
	return text
}

func cause(err error) string {
	for _, sentinel := range []struct {
		err  error
		name string
	}{
		{esper.ErrResponseTooLarge, "ErrResponseTooLarge"},
		{esper.ErrInvalidResponse, "ErrInvalidResponse"},
		{esper.ErrRateLimited, "ErrRateLimited"},
		{esper.ErrServer, "ErrServer"},
		{esper.ErrUnauthorized, "ErrUnauthorized"},
		{context.DeadlineExceeded, "DeadlineExceeded"},
		{syscall.ECONNREFUSED, "connection refused"},
	} {
		if errors.Is(err, sentinel.err) {
			return sentinel.name
		}
	}
	var (
		api         *esper.APIError
		dns         *net.DNSError
		certificate *tls.CertificateVerificationError
		record      tls.RecordHeaderError
		network     *net.OpError
	)
	switch {
	case errors.As(err, &api):
		return fmt.Sprintf("APIError %d", api.StatusCode)
	case errors.As(err, &dns):
		return "net.DNSError"
	case errors.As(err, &certificate):
		return "tls.CertificateVerificationError"
	case errors.As(err, &record):
		return "tls.RecordHeaderError"
	// Which of these it is depends on what the system noticed first.
	case errors.As(err, &network), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return broken
	}
	for ; errors.Unwrap(err) != nil; err = errors.Unwrap(err) {
	}
	text := err.Error()
	if _, after, ok := strings.Cut(text, "or the connection failed ("); ok { // of the error, only the type is told
		kind, _, _ := strings.Cut(after, ",")
		return hidden + " (" + kind + ")"
	}
	text, _, _ = strings.Cut(text, ";") // without the advice
	return "“" + text + "”"
}

// checkSecrets looks for the key in everything that a program may print.
func checkSecrets(t *testing.T, log *bytes.Buffer, o outcome) {
	t.Helper()
	logger := slog.New(slog.NewTextHandler(log, nil))
	logger.Info("outcome", "error", o.err, "result", o.result)
	logger = slog.New(slog.NewJSONHandler(log, nil))
	logger.Info("outcome", "error", o.err, "result", o.result)
	texts := []string{log.String()}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
		texts = append(texts, fmt.Sprintf(verb, o.result))
		for _, err := range chain(o.err) {
			texts = append(texts, err.Error(), fmt.Sprintf(verb, err))
		}
	}
	for _, text := range texts {
		if strings.Contains(strings.ToLower(text), canaryStart) {
			t.Errorf("the key is in %.500q", text)
			return
		}
	}
	log.Reset()
}

// chain returns err and all that it wraps.
func chain(err error) []error {
	if err == nil {
		return nil
	}
	all := []error{err}
	switch e := err.(type) { //nolint:errorlint // this is the walk along the chain
	case interface{ Unwrap() error }:
		all = append(all, chain(e.Unwrap())...)
	case interface{ Unwrap() []error }:
		for _, inner := range e.Unwrap() {
			all = append(all, chain(inner)...)
		}
	}
	return all
}

// watchLeaks fails the test if it ends with a goroutine or a descriptor more than now. It looks last,
// after the clean-ups that the test adds.
func watchLeaks(t *testing.T) {
	t.Helper()
	before := descriptors()
	known := goleak.IgnoreCurrent()
	t.Cleanup(func() {
		if err := goleak.Find(append(toxiproxyLeaks(), known)...); err != nil {
			t.Error(err)
		}
		after := descriptors()
		for end := time.Now().Add(5 * time.Second); after > before && time.Now().Before(end); after = descriptors() {
			<-time.After(time.Millisecond)
		}
		if after > before {
			t.Errorf("%d descriptors are open, %d more than before", after, after-before)
		}
	})
}

// toxiproxyLeaks are goroutines of toxiproxy that wait, some for ever, to pass on what came after
// the end of a connection. They have no part in the client, and hold no descriptor.
func toxiproxyLeaks() []goleak.Option {
	return []goleak.Option{
		goleak.IgnoreAnyFunction("github.com/Shopify/toxiproxy/v2/toxics.(*ToxicStub).Run"),
		goleak.IgnoreAnyFunction("github.com/Shopify/toxiproxy/v2.(*ToxicLink).read"),
		goleak.IgnoreAnyFunction("github.com/Shopify/toxiproxy/v2.(*ToxicLink).write"),
	}
}

// descriptors counts this process's open files and connections; 0 where the system does not tell.
func descriptors() int {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return 0
	}
	return len(entries)
}
