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
	hidden      = "HTTP/1.x transport connection broken"
)

// describe returns what a caller gets, in a text that is the same on each run.
func describe(o outcome, op operation) string {
	if o.err == nil {
		return "**" + op.prize + "**"
	}
	text := cause(o.err)
	if renewal := (*esper.RenewalError)(nil); errors.As(o.err, &renewal) {
		text = renewal.Outcome.String() + ", " + text
	}
	if timeout := os.IsTimeout(o.err); timeout != errors.Is(o.err, context.DeadlineExceeded) {
		text += fmt.Sprintf(", though os.IsTimeout says %t", timeout)
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
		return "connection broken"
	}
	for ; errors.Unwrap(err) != nil; err = errors.Unwrap(err) {
	}
	text := err.Error()
	if strings.Contains(text, hidden+": ") {
		text = hidden // what follows depends on the answer
	}
	text, _, _ = strings.Cut(text, ";") // without the advice
	return "“" + text + "”"
}

// checkSecrets fails the test if the key is in anything that a program may print.
func checkSecrets(t *testing.T, log *bytes.Buffer, o outcome) {
	t.Helper()
	slog.New(slog.NewTextHandler(log, nil)).Info("outcome", "error", o.err, "result", o.result)
	slog.New(slog.NewJSONHandler(log, nil)).Info("outcome", "error", o.err, "result", o.result)
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
		if err := goleak.Find(known); err != nil {
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

// descriptors counts the open files and connections of this process; 0 on a system without /proc.
func descriptors() int {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return 0
	}
	return len(entries)
}
