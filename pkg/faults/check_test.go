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
		if op.renews() {
			return "**the new key**"
		}
		return "**the answer**"
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
	for _, known := range []struct {
		name string
		err  error
	}{
		{"ErrResponseTooLarge", esper.ErrResponseTooLarge},
		{"ErrInvalidResponse", esper.ErrInvalidResponse},
		{"ErrRateLimited", esper.ErrRateLimited},
		{"ErrServer", esper.ErrServer},
		{"DeadlineExceeded", context.DeadlineExceeded},
		{"connection refused", syscall.ECONNREFUSED},
	} {
		if errors.Is(err, known.err) {
			return known.name
		}
	}
	if api, ok := errors.AsType[*esper.APIError](err); ok {
		return fmt.Sprintf("APIError %d", api.StatusCode)
	}
	for _, known := range []any{new(*net.DNSError), new(*tls.CertificateVerificationError), new(tls.RecordHeaderError)} {
		if errors.As(err, known) {
			return strings.Trim(fmt.Sprintf("%T", known), "*")
		}
	}
	// Which of these errors occurs depends on what the operating system notices first.
	_, network := errors.AsType[*net.OpError](err)
	if network || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || strings.Contains(err.Error(), "unexpected EOF") {
		return "connection broken"
	}
	for ; errors.Unwrap(err) != nil; err = errors.Unwrap(err) {
	}
	text, _, _ := strings.Cut(err.Error(), ";") // without the advice
	if strings.Contains(text, hidden+": ") {
		text = hidden // what follows depends on the answer
	}
	return "“" + text + "”"
}

// checkSecrets fails the test if the key is in anything that a program may print.
func checkSecrets(t *testing.T, log *bytes.Buffer, o outcome) {
	t.Helper()
	show := func(v any) { fmt.Fprintf(log, "%v %+v %#v %s %q\n", v, v, v, v, v) }
	show(o.result)
	slog.New(slog.NewJSONHandler(log, nil)).Info("outcome", "error", o.err, "result", o.result)
	for all := []error{o.err}; len(all) > 0; all = all[1:] {
		switch e := all[0].(type) { //nolint:errorlint // this is the walk along the chain
		case nil:
			continue
		case interface{ Unwrap() error }:
			all = append(all, e.Unwrap())
		case interface{ Unwrap() []error }:
			all = append(all, e.Unwrap()...)
		}
		show(all[0])
		_, _ = log.WriteString(all[0].Error())
	}
	if text := log.String(); strings.Contains(strings.ToLower(text), canaryStart) {
		t.Errorf("a text that a program may print shows the key: %.5000q", text)
	}
	log.Reset()
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
	entries, _ := os.ReadDir("/proc/self/fd")
	return len(entries)
}
