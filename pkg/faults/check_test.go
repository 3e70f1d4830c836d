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

// canary is the first key, and the beginning of every new key. Its first letters, canaryStart, are the
// same in every encoding, so a search for them finds the key.
const (
	canary      = "canary+key/with=odd%20signs"
	canaryStart = "canary"
)

// describe returns what a caller can learn from an error, in a text that is the same on each run.
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
	// Which of these errors occurs depends on what the operating system notices first.
	case errors.As(err, &network), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), strings.Contains(err.Error(), "unexpected EOF"):
		return broken
	}
	for ; errors.Unwrap(err) != nil; err = errors.Unwrap(err) {
	}
	text := err.Error()
	if strings.Contains(text, "HTTP/1.x transport connection broken: ") {
		return hidden
	}
	text, _, _ = strings.Cut(text, ";") // without the advice
	return "“" + text + "”"
}

// checkSecrets fails the test if the key is in anything that a program may print.
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
			t.Errorf("a text that a program may print shows the key: %.500q", text)
			return
		}
	}
	log.Reset()
}

// chain returns err and all errors that it wraps.
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

// watchLeaks fails the test if more goroutines run, or more descriptors are open, at its end than now.
// It checks that after all clean-ups that the test adds later.
func watchLeaks(t *testing.T) {
	t.Helper()
	before := descriptors()
	known := goleak.IgnoreCurrent()
	t.Cleanup(func() {
		if err := goleak.Find(append(toxiproxyLeaks(), known)...); err != nil {
			t.Error(err)
		}
		after := descriptors()
		for end := time.Now().Add(time.Minute); after > before && time.Now().Before(end); after = descriptors() {
			<-time.After(time.Millisecond)
		}
		if after > before {
			t.Errorf("%d descriptors are open, %d more than before", after, after-before)
		}
	})
}

// toxiproxyLeaks tells goleak to ignore goroutines of toxiproxy that wait, some for ever, to pass on
// data of a connection that has ended. They do not belong to the client, and hold no descriptor.
func toxiproxyLeaks() []goleak.Option {
	return []goleak.Option{
		goleak.IgnoreAnyFunction("github.com/Shopify/toxiproxy/v2/toxics.(*ToxicStub).Run"),
		goleak.IgnoreAnyFunction("github.com/Shopify/toxiproxy/v2.(*ToxicLink).read"),
		goleak.IgnoreAnyFunction("github.com/Shopify/toxiproxy/v2.(*ToxicLink).write"),
	}
}

// descriptors counts the open files and connections of this process; 0 on a system without /proc.
func descriptors() int {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return 0
	}
	return len(entries)
}
