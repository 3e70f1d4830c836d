package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"

	"github.com/esper-go/esper-go/pkg/esper"
	"github.com/esper-go/esper-go/pkg/esper/renew"
)

// findings counts what callers got, by kind, and keeps errors that no caller should get.
type findings struct {
	mu     sync.Mutex
	counts map[string]int
	wrong  []error
}

func (f *findings) note(err error) {
	kind := kindOf(err)
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.counts == nil {
		f.counts = make(map[string]int)
	}
	f.counts[kind]++
	if err == nil || len(f.wrong) > 9 {
		return
	}
	if kind == "" {
		f.wrong = append(f.wrong, fmt.Errorf("an error without a type: %T: %w", err, err))
	}
	if strings.Contains(err.Error(), canary) {
		f.wrong = append(f.wrong, errors.New("a key is in an error of type "+kind))
	}
}

// kindOf returns the kind of an error, as far as a program can tell it; "" if it cannot.
func kindOf(err error) string {
	if err == nil {
		return "success"
	}
	var (
		renewal *esper.RenewalError
		api     *esper.APIError
		network *net.OpError
	)
	outcome := ""
	if errors.As(err, &renewal) {
		outcome = renewal.Outcome.String() + ", "
	}
	for _, sentinel := range []struct {
		err  error
		name string
	}{
		{renew.ErrKeyLost, "ErrKeyLost"},
		{renew.ErrKeyExpired, "ErrKeyExpired"},
		{renew.ErrClosed, "ErrClosed"},
		{renew.ErrNotRenewable, "ErrNotRenewable"},
		{esper.ErrResponseTooLarge, "ErrResponseTooLarge"},
		{esper.ErrInvalidResponse, "ErrInvalidResponse"},
		{context.Canceled, "Canceled"},
		{context.DeadlineExceeded, "DeadlineExceeded"},
	} {
		if errors.Is(err, sentinel.err) {
			return outcome + sentinel.name
		}
	}
	switch {
	case errors.As(err, &api):
		return fmt.Sprintf("%sAPIError %d", outcome, api.StatusCode)
	case errors.As(err, &network), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return outcome + "connection broken"
	}
	return ""
}

func (f *findings) print(w io.Writer) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, kind := range slices.Sorted(maps.Keys(f.counts)) {
		fmt.Fprintf(w, "%9d %s\n", f.counts[kind], kind)
	}
}

func (f *findings) verdict() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.counts["success"] == 0 {
		return errors.New("no call succeeded")
	}
	return errors.Join(f.wrong...)
}
