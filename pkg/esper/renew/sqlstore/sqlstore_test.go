package sqlstore

import (
	"context"
	"database/sql/driver"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/esper-go/esper-go/pkg/esper"
	"github.com/esper-go/esper-go/pkg/esper/renew"
)

func newStore(t *testing.T, f *fakeDB, d Dialect, opts ...Option) renew.Store {
	t.Helper()
	s, err := New(open(t, f), d, opts...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// saved returns a store that holds a document, and the document's version.
func saved(t *testing.T, f *fakeDB) (renew.Store, string) {
	t.Helper()
	s := newStore(t, f, PostgreSQL)
	version, err := s.Save(t.Context(), []byte("first"), "")
	if err != nil {
		t.Fatal(err)
	}
	f.writes = 0
	return s, version
}

// TestRepeated has writes take effect and then return an error. Save must find out that they took effect.
func TestRepeated(t *testing.T) {
	for name, err := range map[string]error{
		"database/sql repeats it":   driver.ErrBadConn,
		"the connection is cut":     io.ErrUnexpectedEOF,
		"the server says deadlock":  coded("40P01"),
		"the driver knows no rows":  errors.New("no rows affected"),
		"the server gives up later": context.DeadlineExceeded,
	} {
		f := &fakeDB{}
		s, version := saved(t, f)
		f.after = func(n int) error {
			if n == 1 {
				return err
			}
			return nil
		}
		got, saveErr := s.Save(t.Context(), []byte("second"), version)
		if saveErr != nil || got != f.version || string(f.document) != "second" {
			t.Errorf("%s: Save returned %q, %v, and the row has %q with %q", name, got, saveErr, f.version, f.document)
		}
		if err == driver.ErrBadConn && f.writes < 2 { //nolint:errorlint // the map's own value, which nothing wraps
			t.Errorf("%s: database/sql sent the statement only once, so the test proves nothing", name)
		}
		// The same for the save that creates the row.
		f.version, f.writes = "", 0
		if got, saveErr = s.Save(t.Context(), []byte("third"), ""); saveErr != nil || got != f.version {
			t.Errorf("%s, without a row: Save returned %q, %v, and the row has %q", name, got, saveErr, f.version)
		}
	}
}

// TestNotDone has writes fail without taking effect.
func TestNotDone(t *testing.T) {
	f := &fakeDB{}
	s, version := saved(t, f)
	broken := errors.New("no space left on device")
	f.before = func(int) error { return broken }
	if _, err := s.Save(t.Context(), []byte("second"), version); err == nil || !strings.Contains(err.Error(), broken.Error()) || errors.Is(err, renew.ErrConflict) {
		t.Errorf("a statement that fails: %v", err)
	}
	if f.writes != 1 {
		t.Errorf("Save sent a statement %d times, want once: its error was not about other sessions", f.writes)
	}
	f.read = func() error { return errors.New("connection refused") }
	if _, err := s.Save(t.Context(), []byte("second"), version); err == nil || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("the write and the read both fail: %v", err)
	}
	f.read, f.before = nil, func(int) error {
		f.version = "another's"
		return broken
	}
	if _, err := s.Save(t.Context(), []byte("second"), version); !errors.Is(err, renew.ErrConflict) {
		t.Errorf("a statement that fails after another process has saved: %v", err)
	}
}

// coded is an error with a SQLSTATE, as PostgreSQL drivers return it.
type coded string

func (c coded) Error() string    { return "the server's words" }
func (c coded) SQLState() string { return string(c) }

// TestBusy has statements fail because of other sessions, for a while and for ever.
func TestBusy(t *testing.T) {
	for err, d := range map[error]Dialect{
		coded("40001"): PostgreSQL,
		errors.New("Error 1213 (40001): Deadlock found when trying to get lock"): MySQL,
		errors.New("database is locked"):                                         SQLite,
		errors.New("SQLITE_BUSY: another program is writing"):                    SQLite,
	} {
		synctest.Test(t, func(t *testing.T) {
			f := &fakeDB{}
			s := newStore(t, f, d)
			reads := 0
			f.before = func(n int) error {
				if n < 4 {
					return err
				}
				return nil
			}
			f.read = func() error {
				if reads++; reads%3 != 0 {
					return err
				}
				return nil
			}
			if _, err := s.Save(t.Context(), []byte("x"), ""); err != nil {
				t.Errorf("dialect %d: Save while others are in the way for a while: %v", d, err)
			}
			if document, _, err := s.Load(t.Context()); err != nil || string(document) != "x" {
				t.Errorf("dialect %d: Load while others are in the way for a while: %q, %v", d, document, err)
			}
			f.read = func() error { return err }
			began := time.Now()
			if _, _, err := s.Load(t.Context()); err == nil || time.Since(began) > busyTime+busyPause || time.Since(began) < busyTime {
				t.Errorf("dialect %d: Load while others are in the way for ever: %v after %v", d, err, time.Since(began))
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			began = time.Now()
			if _, _, err := s.Load(ctx); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) > time.Second {
				t.Errorf("dialect %d: Load with a second of time: %v after %v", d, err, time.Since(began))
			}
		})
	}
}

// TestInterrupted has a driver stop because the context ended, and return an error that does not wrap the context's.
func TestInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	f := &fakeDB{}
	s := newStore(t, f, SQLite)
	f.before = func(int) error {
		cancel()
		return errors.New("interrupted (9)")
	}
	if _, err := s.Save(ctx, []byte("x"), ""); !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "interrupted") {
		t.Error(err)
	}
}

func TestArguments(t *testing.T) {
	db := open(t, &fakeDB{})
	long := strings.Repeat("n", maxName+1)
	for name, try := range map[string]func() (renew.Store, error){
		"no database":      func() (renew.Store, error) { return New(nil, SQLite) },
		"no dialect":       func() (renew.Store, error) { return New(db, 0) },
		"another dialect":  func() (renew.Store, error) { return New(db, SQLite+1) },
		"no name":          func() (renew.Store, error) { return New(db, SQLite, WithName("")) },
		"a long name":      func() (renew.Store, error) { return New(db, SQLite, WithName(long)) },
		"a name with NUL":  func() (renew.Store, error) { return New(db, SQLite, WithName("a\x00b")) },
		"no table":         func() (renew.Store, error) { return New(db, SQLite, WithTable("")) },
		"a part is empty":  func() (renew.Store, error) { return New(db, SQLite, WithTable("a.")) },
		"a table with NUL": func() (renew.Store, error) { return New(db, SQLite, WithTable("a\x00b")) },
		"not UTF-8":        func() (renew.Store, error) { return New(db, SQLite, WithTable("a\xffb")) },
	} {
		if s, err := try(); s != nil || !errors.Is(err, esper.ErrInvalidArgument) {
			t.Errorf("%s: %v, %v", name, s, err)
		}
	}
	if _, err := New(db, SQLite, nil, WithName(long[1:]), WithTable("a.b")); err != nil {
		t.Error(err)
	}
}

func TestSchema(t *testing.T) {
	for d, want := range map[Dialect]string{PostgreSQL: ` "o""ps"."Keys?" (`, MySQL: " `o\"ps`.`Keys?` (", SQLite: ` "o""ps"."Keys?" (`} {
		if got := Schema(d, WithTable(`o"ps.Keys?`), nil); !strings.Contains(got, want) || strings.Contains(got, "esper_keys") || !strings.Contains(Schema(d), " esper_keys (") {
			t.Errorf("dialect %d: %s", d, got)
		}
	}
	if got := Schema(0) + Schema(SQLite+1); got != "" {
		t.Errorf("the schema of no dialect: %q", got)
	}
}
