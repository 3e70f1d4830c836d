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
// on alone, and its result is dropped. The next call waits for it, storeTime at most; then another is made beside it.
func limited[T any](ctx context.Context, s *Source, call func(ctx context.Context) (T, error)) (T, error) {
	type result struct {
		value T
		err   error
	}
	defer s.tellWarnings()
	var none T
	for len(s.hung) > 0 {
		oldest := after(ctx, storeTime)
		select {
		case <-s.hung[0]:
			s.hung = s.hung[1:]
			continue
		case <-oldest:
		}
		if len(s.hung) >= mostHung || ctx.Err() != nil {
			return none, fmt.Errorf("%d earlier calls of it have not returned: %w", len(s.hung), context.DeadlineExceeded)
		}
		break
	}
	ctx, cancel := context.WithTimeout(ctx, storeTime)
	done, results := make(chan struct{}), make(chan result, 1)
	go func() {
		defer close(done)
		defer cancel()
		defer func() {
			if p := recover(); p != nil {
				results <- result{none, fmt.Errorf("it panicked: %v", p)}
			}
		}()
		value, err := call(ctx)
		results <- result{value, err}
	}()
	select {
	case r := <-results:
		return r.value, r.err
	case <-ctx.Done():
	}
	const mercy = 100 * time.Millisecond // a store that heeds its context returns now
	select {
	case r := <-results:
		return r.value, r.err
	case <-time.After(mercy):
	}
	s.hung = append(s.hung, done)
	return none, fmt.Errorf("it did not return in time: %w", ctx.Err())
}

func (s *Source) load(ctx context.Context) (content, string, error) {
	type loaded struct {
		data    []byte
		version string
	}
	l, err := limited(ctx, s, func(ctx context.Context) (l loaded, err error) {
		l.data, l.version, err = s.store.Load(ctx)
		return l, err
	})
	if err == nil && l.data == nil {
		return content{}, l.version, nil
	}
	if err == nil && (s.read.Key.IsZero() || s.readText.Reveal() != string(l.data)) {
		s.readText = esper.NewSecret(string(l.data))
		s.read, err = decode(l.data, s.server.String())
	}
	if err != nil {
		return content{}, "", s.storeError("reading", err)
	}
	return s.read, l.version, nil
}

func (s *Source) save(ctx context.Context, d policy.Document) error {
	data, err := encode(d, s.server.String(), time.Now())
	if err == nil {
		old := s.version
		var version string
		version, err = limited(ctx, s, func(ctx context.Context) (string, error) { return s.store.Save(ctx, data, old) })
		if err == nil {
			s.version = version
			return nil
		}
	}
	return s.storeError("writing", err, d.Key.Reveal())
}

// storeError is an error of a store whose text is fit to be shown. Errors of databases and webhooks may quote a document.
type storeError struct {
	text string
	err  error
}

func (e *storeError) Error() string { return e.text }
func (e *storeError) Unwrap() error { return e.err }

// storeError adds the name of the store to an error, unless the error has it already.
func (s *Source) storeError(doing string, err error, keys ...string) error {
	name, text := s.storeName(), err.Error()
	what := name
	if strings.Contains(text, name) {
		what = "the key document"
	}
	keys = append(keys, s.initial.Reveal())
	if held := s.now.Load(); held != nil {
		keys = append(keys, held.state.Doc.Key.Reveal())
		keys = append(keys, held.state.Doc.Aside()...)
	}
	return &storeError{fmt.Sprintf("renew: %s %s: %s", doing, what, clean(text, name, keys...)), err}
}

// clean hides what may be a key in a text, but for the store's own name in it.
func clean(text, name string, keys ...string) string {
	parts := strings.Split(text, name)
	for i, part := range parts {
		shown := strings.TrimSpace(part)
		parts[i] = strings.Replace(part, shown, redact.Text(shown, keys...), 1) // the blanks around it stay
	}
	return strings.Join(parts, name)
}

func (s *Source) storeName() string {
	if named, ok := s.store.(fmt.Stringer); ok {
		return named.String()
	}
	return "the store"
}

// both returns the errors of the server and of the store in one, on one line.
func both(server, store error) error {
	switch {
	case server == nil:
		return store
	case store == nil || errors.Is(server, store):
		return server
	}
	return fmt.Errorf("%w; and %w", server, store)
}
