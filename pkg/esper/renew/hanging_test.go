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

	"github.com/esper-go/esper-go/pkg/esper"
)

// calling is a log handler that makes a call before it handles a record.
type calling struct {
	slog.Handler
	call func()
}

func (calling) Enabled(context.Context, slog.Level) bool { return true }

func (c calling) Handle(ctx context.Context, r slog.Record) error {
	c.call()
	return c.Handler.Handle(ctx, r)
}

// Whatever hangs, and whatever the source is doing, Run and Close together take two minutes at most, and twenty seconds,
// the time of the renewal that is under way, if nothing hangs. Close ends Run, or the context of Run ends first: then
// Close has a few seconds of its own to save a key. The error says so if a new key is in memory alone. After that, every
// call returns ErrClosed.
func TestRunAndCloseEnd(t *testing.T) {
	t.Parallel()
	const load, save, untilRunEnds = "Load", "Save", "Save, until Run has ended"
	for _, name := range []string{
		"nothing", load, save, untilRunEnds, "Load, deaf", "Save, deaf", "the log", "OnChange",
		"the server is silent", "the server dribbles", "a login page", "all of it",
	} {
		for _, moment := range []string{"idle", "before a renewal", "during a renewal", "during a renewal by a caller", "unsaved"} {
			for _, signal := range []bool{false, true} { // the context of Run ends first
				synctest.Test(t, func(t *testing.T) {
					var began atomic.Bool
					hangs := func(part string) bool {
						return began.Load() && (name == "all of it" || strings.HasPrefix(name, part))
					}
					released := make(chan struct{})
					defer close(released)
					at := func(ctx context.Context, part string) error {
						if !hangs(part) {
							return nil
						}
						if name != load && name != save && name != untilRunEnds { // it ignores its context
							ctx = context.Background()
						}
						wait(ctx, released)
						return ctx.Err()
					}
					server, store := newStub(2*time.Hour), newFaulty()
					store.set(func(ctx context.Context, method, document string) error {
						if moment == "unsaved" && !began.Load() && strings.Contains(document, `"key-1"`) {
							return errDisk
						}
						return at(ctx, method)
					})
					server.fault = func(c call) (*http.Response, error) {
						switch {
						case hangs("the server is"):
							return silent(c)
						case hangs("the server dribbles"):
							body, blanks := io.Pipe()
							go func() {
								for c.Context().Err() == nil {
									pause(c.Context(), 5*time.Second)
									_, _ = io.WriteString(blanks, " ")
								}
								_ = blanks.Close()
							}()
							return &http.Response{StatusCode: 201, Header: http.Header{}, Body: body}, nil
						case hangs("a login page"):
							return reply(401, "<html>sign in</html>"), nil
						}
						return hang(20 * time.Second)(c)
					}
					source := opened(t, server, store, WithOnChange(func(Event) { _ = at(t.Context(), "OnChange") }),
						WithLogger(slog.New(calling{slog.DiscardHandler, func() { _ = at(t.Context(), "the log") }})))
					ctx, cancel := context.WithCancel(t.Context())
					defer cancel()
					ended := make(chan error, 1)
					go func() { ended <- source.Run(ctx) }()
					switch moment {
					case "idle":
						began.Store(true)
						time.Sleep(65 * time.Second)
					case "before a renewal":
						time.Sleep(time.Until(source.Status().NextAttempt) - time.Second)
						began.Store(true)
						time.Sleep(3 * time.Second)
					default:
						if strings.HasSuffix(moment, "by a caller") {
							go func() { _ = source.Renew(t.Context()) }()
						}
						for server.counted("renew") == 0 {
							time.Sleep(time.Second)
						}
						if moment == "unsaved" {
							time.Sleep(30 * time.Second)
						}
						began.Store(true)
					}
					begun, most := time.Now(), map[bool]time.Duration{true: 20 * time.Second, false: 2 * time.Minute}[name == "nothing"]
					judge := func(what string, err error) {
						saved := stored(t, store.Store).Key == source.now.Load().state.Doc.Key
						if name == "nothing" && strings.HasPrefix(moment, "during") && stored(t, store.Store).Key != key("key-1") {
							t.Errorf("%s, %v: %s did not wait for the renewal", moment, signal, what)
						}
						late := name == untilRunEnds && signal && what == "Close" // the store works again
						if saved != (err == nil) || !saved && (late || !errors.Is(err, ErrNotSaved)) {
							t.Errorf("%s hangs, %s, %v: the key is saved: %v; %s: %v", name, moment, signal, saved, what, err)
						}
					}
					if signal {
						cancel()
						judge("Run", <-ended)
						if name == untilRunEnds {
							store.set(nil)
						}
					}
					judge("Close", source.Close())
					if !signal {
						judge("Run", <-ended)
					}
					if took := time.Since(begun); took > most || server.counted("renewed") > 1 {
						t.Errorf("%s hangs, %s, %v: Run and Close took %v, with %d renewals", name, moment, signal, took, server.counted("renewed"))
					}
					if _, err := get(t, source, server); !errors.Is(err, ErrClosed) || source.Close() != nil {
						t.Errorf("Transport after Close: %v, want ErrClosed, or a second Close failed", err)
					}
					for call, f := range calls {
						if err := f(t.Context(), source); call != "Open" && errors.Is(err, ErrClosed) != (call != "Run") {
							t.Errorf("%s after Close: %v, want ErrClosed", call, err)
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
// is left behind: the next call works, also in the last minutes of the key, and with a nil context, which counts as
// context.Background. A conflict that leaves the document as it was is no failure.
func TestStoreHangsOrPanics(t *testing.T) {
	t.Parallel()
	const conflicts = "conflicts"
	for name, fault := range map[string]func(ctx context.Context, released <-chan struct{}) error{
		"hangs":       func(ctx context.Context, _ <-chan struct{}) error { <-ctx.Done(); return ctx.Err() },
		"hangs, deaf": func(_ context.Context, released <-chan struct{}) error { <-released; return nil },
		"panics":      func(context.Context, <-chan struct{}) error { panic("a bug with " + stubFirst) },
		conflicts:     func(context.Context, <-chan struct{}) error { return ErrConflict },
	} {
		for _, method := range []string{"Load", "Save", "Inspect"} {
			for caller, call := range calls {
				if method == "Inspect" && caller != "Open" || method != "Save" && name == conflicts {
					continue
				}
				synctest.Test(t, func(t *testing.T) {
					server, store, source := advisory(t, nil)
					var asked atomic.Bool
					server.keepOld = true
					server.add("given")
					released := make(chan struct{})
					store.set(func(ctx context.Context, called, _ string) error {
						if called != method || asked.Swap(true) {
							return nil
						}
						return fault(ctx, released)
					})
					begun := time.Now()
					err := call(t.Context(), source)
					took := time.Since(begun)
					text := errors.Join(err, source.Status().LastError)
					tells := slices.Contains([]string{"Open", "Check", "RenewIfDue", "Renew"}, caller) && name != conflicts
					named := text == nil || strings.Contains(text.Error(), "the store: ")
					if took > 100*time.Second || tells != (err != nil) || !named {
						t.Errorf("%s in %s, %s: %v after %v, Status %v", name, method, caller, err, took, source.Status().LastError)
					}
					if text != nil && strings.Contains(text.Error(), stubFirst) {
						t.Errorf("%s in %s, %s: the error shows the key: %v", name, method, caller, text)
					}
					close(released)
					time.Sleep(time.Until(source.Status().ExpiresAt) - time.Minute)
					server.add("given")
					if caller != "Run" { // which would not return
						must(t, call(nil, source), name, method, caller)
					}
					must(t, source.Renew(t.Context()), name, method, caller)
					must(t, source.Close(), name, method, caller)
				})
			}
		}
	}
}

// While the log handler hangs, 256 records and changes wait. What does not fit is counted, and the log is told the
// count. Records displace no change, and of the changes the newest stay.
func TestQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const renewals = 300
		var log strings.Builder
		text := slog.NewTextHandler(&log, nil)
		var told recorder
		released := make(chan struct{})
		source := opened(t, newStub(90*day), Memory(), told.option(), WithLogger(slog.New(calling{text, func() { <-released }})))
		for range renewals {
			must(t, source.Renew(t.Context()))
		}
		close(released)
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

// A log handler and a function of WithOnChange may use the source: they do not wait for the renewal that they are
// told of, and a failure that they cause is not told. The function may call Close while another Close waits for it.
func TestCallbacksMayUseTheSource(t *testing.T) {
	const calm = "with time left"
	for name, until := range map[string]time.Duration{calm: 80 * day, "in the last minutes": 90*day - 4*time.Minute, "ended": 90*day + time.Minute, "the server fails": 81 * day} {
		synctest.Test(t, func(t *testing.T) {
			server := newStub(90 * day)
			var own atomic.Pointer[Source]
			var records, changes atomic.Int32
			var ends, ended atomic.Bool
			logger := slog.New(calling{slog.DiscardHandler, func() {
				if s := own.Load(); s != nil {
					records.Add(1)
					_, _ = s.Token()
					_ = s.Status()
					_, _ = get(t, s, server)
				}
			}})
			source := opened(t, server, Memory(), WithLogger(logger), WithClientOptions(esper.WithLogger(logger)), WithOnChange(func(Event) {
				changes.Add(1)
				for _, name := range []string{"Token", "Check", "RenewIfDue"} {
					_ = calls[name](t.Context(), own.Load())
				}
				if ends.Load() {
					time.Sleep(time.Second) // until Close has been called
					ended.Store(own.Load().Close() == nil)
				}
			}))
			own.Store(source)
			time.Sleep(until)
			if name == "the server fails" {
				server.set(fails(503))
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
			defer cancel()
			if _, err := source.TokenContext(ctx); errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%s: the call hung", name)
			}
			time.Sleep(time.Minute)
			if records.Load() == 0 || changes.Load() == 0 || changes.Load() > 3 {
				t.Errorf("%s: the functions were not called, or too often: %d logs, %d changes", name, records.Load(), changes.Load())
			}
			if name != calm {
				return
			}
			ends.Store(true)
			must(t, source.Renew(t.Context()), name)
			if err := source.Close(); err != nil || !ended.Load() {
				t.Errorf("%s: Close: %v; the function that called it too has returned: %v", name, err, ended.Load())
			}
		})
	}
}

// When its context ends, a call begins nothing more, and finishes a renewal that has begun; also shortly after a Run.
func TestContextEnds(t *testing.T) {
	for _, after := range []time.Duration{0, 500 * time.Millisecond, 2 * time.Second} {
		for name, call := range map[string]func(s *Source, ctx context.Context) error{
			"RenewIfDue": (*Source).RenewIfDue, "Renew": (*Source).Renew, "Run": (*Source).Run,
			"Close": func(s *Source, ctx context.Context) error {
				go func() { _ = s.Renew(context.WithoutCancel(ctx)) }()
				<-ctx.Done()
				return s.Close()
			},
		} {
			synctest.Test(t, func(t *testing.T) {
				server, store, source := advisory(t, nil)
				ctx, cancel := context.WithCancel(t.Context())
				cancel()
				must(t, source.Run(ctx))
				time.Sleep(stopTime - 5*time.Second)
				store.set(func(ctx context.Context, method, _ string) error {
					if method == "Load" {
						time.Sleep(time.Second)
					}
					return ctx.Err()
				})
				server.fault = hang(20 * time.Second)
				ctx, cancel = context.WithTimeout(t.Context(), after)
				defer cancel()
				begun := time.Now()
				err := call(source, ctx)
				posts, took := server.counted("renew"), time.Since(begun)
				waits := name == "Run" || name == "Close"
				if renewed := posts == 1; !waits && (err == nil) != renewed || waits && err != nil {
					t.Errorf("%s, whose context ends after %v: %d renewals, and %v", name, after, posts, err)
				}
				if after < time.Second && (posts != 0 || took > time.Second) || after > time.Second && (posts != 1 || took != 21*time.Second || stored(t, store).Key != key("key-1")) {
					t.Errorf("%s, whose context ends after %v: %d renewals, returned after %v", name, after, posts, took)
				}
				time.Sleep(time.Second) // a read that was given up goes on alone
			})
		}
	}
}
