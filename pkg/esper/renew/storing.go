package renew

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/esper-go/esper-go/pkg/esper"
	"github.com/esper-go/esper-go/pkg/esper/internal/redact"
	"github.com/esper-go/esper-go/pkg/esper/renew/internal/policy"
)

const (
	storeTime = 15 * time.Second // for one read of the store, or one save
	mostHung  = 2                // how many calls of the store may hang at once
)

// limited carries out one call of the store. Its time limit holds for a store that ignores contexts too: that call goes
// on alone. The next call waits for it, storeTime at most; then another is made beside it. After an error, what call sets
// must not be read: it may still be running.
func (s *Source) limited(ctx context.Context, call func(ctx context.Context) error) error {
	defer s.tellWarnings()
	waiting, cancel := context.WithTimeout(ctx, storeTime)
	defer cancel()
	for len(s.hung) > 0 && waiting.Err() == nil {
		select {
		case <-s.hung[0]: //nolint:errcheck // its result came too late
			s.hung = s.hung[1:]
		case <-waiting.Done():
		}
	}
	if n := len(s.hung); n >= mostHung || n > 0 && ctx.Err() != nil {
		return fmt.Errorf("%d earlier calls of it have not returned: %w", n, context.DeadlineExceeded)
	}
	ctx, cancelCall := context.WithTimeout(ctx, storeTime)
	result, over := make(chan error, 1), make(chan struct{})
	go func() {
		defer cancelCall()
		defer func() {
			if p := recover(); p != nil {
				result <- fmt.Errorf("it panicked: %v", p)
			}
		}()
		result <- call(ctx)
	}()
	const mercy = 100 * time.Millisecond // a store that heeds its context returns in that time
	defer context.AfterFunc(ctx, func() { time.AfterFunc(mercy, func() { close(over) }) })()
	select {
	case err := <-result:
		return err
	case <-over:
		s.hung = append(s.hung, result)
		return fmt.Errorf("it did not return in time: %w", ctx.Err())
	}
}

func (s *Source) load(ctx context.Context) (content, string, error) {
	var data []byte
	var version string
	err := s.limited(ctx, func(ctx context.Context) (err error) {
		data, version, err = s.store.Load(ctx)
		return err
	})
	if err == nil && data == nil {
		return content{}, version, nil
	}
	if err == nil && (s.read.Key.IsZero() || s.readText.Reveal() != string(data)) {
		s.readText = esper.NewSecret(string(data))
		s.read, err = decode(data, s.server.String())
	}
	if err != nil {
		return content{}, "", s.storeError("reading", err)
	}
	return s.read, version, nil
}

func (s *Source) save(ctx context.Context, d policy.Document) error {
	data, err := encode(d, s.server.String(), time.Now())
	if err == nil {
		old, version := s.version, ""
		err = s.limited(ctx, func(ctx context.Context) (err error) {
			version, err = s.store.Save(ctx, data, old)
			return err
		})
		if err == nil {
			s.version = version
			return nil
		}
	}
	return s.storeError("writing", err, d.Key.Reveal())
}

// storeError adds the name of the store to an error, unless the error has it already. Its text is fit to be shown: errors of
// databases and webhooks may quote a document.
func (s *Source) storeError(doing string, err error, keys ...string) error {
	keys = append(keys, s.initial.Reveal())
	if held := s.now.Load(); held != nil {
		keys = append(keys, held.state.Doc.Key.Reveal())
		keys = append(keys, held.state.Doc.Aside()...)
	}
	const mark = "§" // keeps the store's name, which may look like a key
	name := s.storeName()
	text := redact.Text(strings.ReplaceAll(err.Error(), name, mark), keys...)
	what := name
	if strings.Contains(text, mark) {
		what = "the key document"
	}
	return &worded{fmt.Sprintf("renew: %s %s: %s", doing, what, strings.ReplaceAll(text, mark, name)), err}
}

func (s *Source) storeName() string {
	if named, ok := s.store.(fmt.Stringer); ok {
		return named.String()
	}
	return "the store"
}

// both returns two errors, such as those of the server and of the store, in one, on one line.
func both(first, second error) error {
	switch {
	case first == nil:
		return second
	case second == nil || errors.Is(first, second):
		return first
	}
	return fmt.Errorf("%w; and %w", first, second)
}
