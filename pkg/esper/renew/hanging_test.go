package renew

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// part is something that a source calls. Once it hangs, no call returns before the part is released, or its context
// ends.
type part struct {
	hangs    atomic.Bool
	waiting  atomic.Int32 // calls that have not returned
	deaf     bool         // ignores the context
	released chan struct{}
}

func (p *part) call(ctx context.Context) error {
	if !p.hangs.Load() {
		return nil
	}
	p.waiting.Add(1)
	defer p.waiting.Add(-1)
	if p.deaf {
		ctx = context.Background()
	}
	select {
	case <-p.released:
	case <-ctx.Done():
	}
	return ctx.Err()
}

// save is call for faulty.set.
func (p *part) save(ctx context.Context, _ []byte) error { return p.call(ctx) }

// dribble is the body of an answer that does not end: one blank every five seconds.
type dribble struct{ ctx context.Context }

func (dribble) Close() error { return nil }

func (d dribble) Read(b []byte) (int, error) {
	select {
	case <-time.After(5 * time.Second):
		return copy(b, " "), nil
	case <-d.ctx.Done():
		return 0, io.EOF
	}
}

// Whatever hangs, and whatever the source is doing, Run and Close together take two minutes at most. The error says so
// if a new key is in memory alone.
func TestRunAndCloseEnd(t *testing.T) {
	t.Parallel()
	for _, name := range []string{
		"Load", "Save", "Load, deaf", "Save, deaf", "the log", "OnChange",
		"the server is silent", "the server dribbles", "a login page", "all of it",
	} {
		is := func(part string) bool { return name == "all of it" || strings.HasPrefix(name, part) }
		for _, moment := range []string{"idle", "before a renewal", "during a renewal", "unsaved"} {
			for _, signal := range []bool{false, true} { // the context of Run ends first
				synctest.Test(t, func(t *testing.T) {
					p := &part{released: make(chan struct{}), deaf: name != "Load" && name != "Save"}
					defer close(p.released)
					at := func(ctx context.Context, part string) error {
						if is(part) {
							return p.call(ctx)
						}
						return nil
					}
					server, disk := newStub(2*time.Hour), newFaulty()
					store := &faulty{
						Store: disk,
						load:  func(ctx context.Context) error { return at(ctx, "Load") },
						save:  func(ctx context.Context, _ []byte) error { return at(ctx, "Save") },
					}
					logger := slog.New(calling{slog.DiscardHandler, func() { _ = at(t.Context(), "the log") }})
					onChange := WithOnChange(func(Event) { _ = at(t.Context(), "OnChange") })
					server.fault = func(req *http.Request, op string, act func() *http.Response) (*http.Response, error) {
						switch {
						case p.hangs.Load() && is("the server is"):
							return silent(req, op, act)
						case p.hangs.Load() && is("the server dribbles"):
							return &http.Response{StatusCode: 201, Header: http.Header{}, Body: dribble{req.Context()}}, nil
						case p.hangs.Load() && is("a login page"):
							return reply(401, "<html>sign in</html>"), nil
						}
						return hang(20*time.Second)(req, op, act)
					}
					source := opened(t, server, store, WithLogger(logger), onChange)
					if moment == "unsaved" {
						disk.set(nil, diskFullFor(`"key-1"`))
					}
					ctx, cancel := context.WithCancel(t.Context())
					defer cancel()
					ended := make(chan error, 1)
					go func() { ended <- source.Run(ctx) }()
					switch moment {
					case "idle":
						p.hangs.Store(true)
						time.Sleep(65 * time.Second)
					case "before a renewal":
						time.Sleep(time.Until(source.Status().NextAttempt) - time.Second)
						p.hangs.Store(true)
						time.Sleep(3 * time.Second)
					default:
						for server.counted("renew") == 0 {
							time.Sleep(time.Second)
						}
						if moment == "unsaved" {
							time.Sleep(30 * time.Second)
						}
						p.hangs.Store(true)
						disk.set(nil, nil)
					}
					begun := time.Now()
					var ran error
					if signal {
						cancel()
						ran = <-ended
					}
					err := source.Close()
					if !signal {
						ran = <-ended
					}
					took := time.Since(begun)
					if took > 2*time.Minute {
						t.Errorf("%s hangs, %s, %v: Run and Close took %v", name, moment, signal, took)
					}
					saved := stored(t, disk.Store).Key == source.now.Load().state.Doc.Key
					for _, err := range []error{ran, err} {
						if saved != (err == nil) || !saved && !errors.Is(err, ErrNotSaved) {
							t.Errorf("%s hangs, %s, %v: the key is saved: %v; Run and Close: %v", name, moment, signal, saved, err)
						}
					}
				})
			}
		}
	}
}

// calls are the methods that may call the store. Each is called while the key is due.
var calls = map[string]func(ctx context.Context, s *Source) error{
	"Open": func(ctx context.Context, s *Source) error {
		other, err := Open(ctx, "foo", s.store, func(o *settings) { *o = s.settings })
		if err == nil {
			err = other.Close()
		}
		return err
	},
	"Token": func(ctx context.Context, s *Source) error { _, err := s.TokenContext(ctx); return err },
	"Reject": func(ctx context.Context, s *Source) error {
		_, err := s.Reject(ctx, tokenOf(s.now.Load().state))
		return err
	},
	"Check":      func(ctx context.Context, s *Source) error { return s.Check(ctx) },
	"RenewIfDue": func(ctx context.Context, s *Source) error { return s.RenewIfDue(ctx) },
	"Renew":      func(ctx context.Context, s *Source) error { return s.Renew(ctx) },
	"Adopt":      func(ctx context.Context, s *Source) error { return s.Adopt(ctx, key("given")) },
	"Run": func(ctx context.Context, s *Source) error {
		ctx, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		return s.Run(ctx)
	},
}

// A store that does not return, or that panics, makes a call fail in time, with an error that names the store. Nothing
// is left behind: the next call works.
func TestStoreHangsOrPanics(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]func(ctx context.Context, released <-chan struct{}) error{
		"hangs":       func(ctx context.Context, _ <-chan struct{}) error { <-ctx.Done(); return ctx.Err() },
		"hangs, deaf": func(_ context.Context, released <-chan struct{}) error { <-released; return nil },
		"panics":      func(context.Context, <-chan struct{}) error { panic("a bug with " + stubFirst) },
	} {
		for _, method := range []string{"Load", "Save", "Inspect"} {
			for caller, call := range calls {
				if method == "Inspect" && caller != "Open" {
					continue
				}
				synctest.Test(t, func(t *testing.T) {
					server, store, source := advisory(t, nil)
					var asked atomic.Bool
					server.keepOld = true
					server.add("given")
					released := make(chan struct{})
					once := func(ctx context.Context) error {
						if asked.Swap(true) {
							return nil
						}
						return fault(ctx, released)
					}
					switch method {
					case "Load":
						store.set(once, nil)
					case "Save":
						store.set(nil, func(ctx context.Context, _ []byte) error { return once(ctx) })
					case "Inspect":
						store.inspect = once
					}
					begun := time.Now()
					err := call(t.Context(), source)
					took := time.Since(begun)
					text := errors.Join(err, source.Status().LastError)
					tells := slices.Contains([]string{"Open", "Check", "RenewIfDue", "Renew"}, caller)
					named := text == nil || strings.Contains(text.Error(), "the store: ")
					if took > 100*time.Second || tells != (err != nil) || !named {
						t.Errorf("%s in %s, %s: %v after %v, Status %v", name, method, caller, err, took, source.Status().LastError)
					}
					if text != nil && strings.Contains(text.Error(), stubFirst) {
						t.Errorf("%s in %s, %s: the error shows the key: %v", name, method, caller, text)
					}
					close(released)
					time.Sleep(5 * time.Minute)
					if err := source.Renew(t.Context()); err != nil {
						t.Errorf("%s in %s, %s: Renew after that: %v", name, method, caller, err)
					}
					if err := source.Close(); err != nil {
						t.Errorf("%s in %s, %s: Close after that: %v", name, method, caller, err)
					}
				})
			}
		}
	}
}

// For hours, the save of a new key does not return and ignores its context, as on a dead mount. Callers get the new key
// from memory, and it is saved once the mount is back.
func TestDeadMount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, store, source := advisory(t, nil)
		dead := &part{released: make(chan struct{}), deaf: true}
		store.set(nil, dead.save)
		server.fault = only("renew", func(act func() *http.Response) (*http.Response, error) {
			dead.hangs.Store(true)
			return act(), nil
		})
		wantKey(t, source, stubFirst)
		time.Sleep(3 * time.Minute)
		wantKey(t, source, "key-1")
		if status := source.Status(); status.Saved || !errors.Is(status.LastError, context.DeadlineExceeded) {
			t.Errorf("Status: %+v", status)
		}
		time.Sleep(2 * time.Hour)
		if n := dead.waiting.Load(); n > 2 {
			t.Errorf("%d calls of the store hang at once, want 2 at most", n)
		}
		dead.hangs.Store(false)
		close(dead.released)
		time.Sleep(time.Minute)
		wantKey(t, source, "key-1")
		if err := source.Close(); err != nil || stored(t, store).Key != key("key-1") || server.counted("renew") != 1 {
			t.Errorf("Close: %v, stored %v, %d renewals", err, stored(t, store), server.counted("renew"))
		}
	})
}

// While the log handler hangs, 256 records and changes wait. What does not fit is counted, and the log is told the
// count. Records displace no change, and of the changes the newest stay.
func TestQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const renewals = 300
		var log strings.Builder
		text := slog.NewTextHandler(&log, nil)
		handler := &part{released: make(chan struct{}), deaf: true}
		var told recorder
		source := opened(t, newStub(90*day), Memory(), told.option(), WithLogger(slog.New(calling{text, func() { _ = handler.call(t.Context()) }})))
		handler.hangs.Store(true)
		for range renewals {
			if err := source.Renew(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		close(handler.released)
		source.tell.wait()
		records := strings.Count(log.String(), "was renewed")
		want := fmt.Sprintf("dropped=%d", 2*renewals-len(told)-records)
		if !strings.Contains(log.String(), want) || len(told) < 255 {
			t.Errorf("%d changes and %d records were told, want %s in the log:\n%s", len(told), records, want, &log)
		}
		for i, e := range told {
			if want := renewals + 2 - len(told) + i; e.Status.Serial != want {
				t.Fatalf("change %d of %d is about the key with serial %d, want %d", i, len(told), e.Status.Serial, want)
			}
		}
	})
}
