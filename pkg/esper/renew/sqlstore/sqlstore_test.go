package sqlstore

import (
	"cmp"
	"context"
	"database/sql"
	"database/sql/driver"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/esper-go/esper-go/pkg/esper"
	"github.com/esper-go/esper-go/pkg/esper/espertest"
	"github.com/esper-go/esper-go/pkg/esper/renew"
)

// fakeDB is a database driver, and its own connection, with one table, which has one row at most. The tests in
// pkg/stores use real engines.
type fakeDB struct {
	driver.Conn
	version    string
	document   []byte
	unfit      string   // the value of Dialect.check
	statements []string // all statements that were sent
	writes     int      // how many of them write
	// The error of a statement that reads, and of one that writes, before and after it does.
	read, before, after func() error
}

// times returns an error the first n times, and then none.
func times(n int, err error) func() error {
	return func() error {
		if n--; n < 0 {
			return nil
		}
		return err
	}
}

const always = 1_000_000

// fake returns a fakeDB that makes no error, and a store in it.
func fake(t *testing.T, d Dialect, opts ...Option) (renew.Store, *fakeDB) {
	t.Helper()
	f := &fakeDB{read: times(0, nil), before: times(0, nil), after: times(0, nil)}
	db := sql.OpenDB(f)
	t.Cleanup(func() { _ = db.Close() })
	s, err := New(db, d, opts...)
	if err != nil {
		t.Fatal(err)
	}
	return s, f
}

func (f *fakeDB) Connect(context.Context) (driver.Conn, error) { return f, nil }
func (*fakeDB) Driver() driver.Driver                          { return nil }
func (*fakeDB) Close() error                                   { return nil }

func (f *fakeDB) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	f.statements = append(f.statements, query)
	f.writes++
	if err := cmp.Or(f.before(), ctx.Err()); err != nil {
		return nil, err
	}
	expected := ""
	if len(args) == 4 {
		expected, _ = args[3].Value.(string)
	} else if f.version != "" {
		return nil, errors.New("duplicate key")
	}
	if expected != f.version {
		return driver.RowsAffected(0), nil
	}
	f.version, _ = args[0].Value.(string)
	document, _ := args[1].Value.([]byte)
	f.document = slices.Clone(document)
	return driver.RowsAffected(1), f.after()
}

func (f *fakeDB) QueryContext(ctx context.Context, query string, _ []driver.NamedValue) (driver.Rows, error) {
	if strings.Contains(query, "SELECT coalesce(max(file)") { // what Inspect asks
		return &fakeRows{row: []driver.Value{""}}, nil
	}
	f.statements = append(f.statements, query)
	row := []driver.Value{nil, nil, f.unfit}
	if f.version != "" {
		row = []driver.Value{f.version, slices.Clone(f.document), f.unfit}
	}
	return &fakeRows{row: row}, cmp.Or(f.read(), ctx.Err())
}

type fakeRows struct{ row []driver.Value }

func (r *fakeRows) Columns() []string { return strings.Fields("version document unfit")[:len(r.row)] }
func (*fakeRows) Close() error        { return nil }

func (r *fakeRows) Next(dest []driver.Value) error {
	if r.row == nil {
		return io.EOF
	}
	copy(dest, r.row)
	r.row = nil
	return nil
}

// saved returns a store that holds a document, and the document's version.
func saved(t *testing.T) (renew.Store, *fakeDB, string) {
	t.Helper()
	s, f := fake(t, PostgreSQL)
	version, err := s.Save(t.Context(), []byte("first"), "")
	if err != nil {
		t.Fatal(err)
	}
	f.writes = 0
	return s, f, version
}

// TestOutcome has writes fail, after they took effect or before. Save finds out which.
func TestOutcome(t *testing.T) {
	full, away := errors.New("no space left on device"), errors.New("connection refused")
	for name, test := range map[string]struct {
		first               bool // there is no row yet
		after, before, read error
		now                 string // the version that another process has saved meanwhile
		want                error  // the error that is to be told, or nil
	}{
		"database/sql repeats it":         {after: driver.ErrBadConn},
		"the connection is cut":           {after: io.ErrUnexpectedEOF},
		"the server says deadlock":        {after: coded("40P01")},
		"the server ends in a commit":     {after: coded("57P01")},
		"the driver knows no rows":        {after: errors.New("no rows affected")},
		"the server gives up later":       {after: context.DeadlineExceeded},
		"database/sql repeats the first":  {after: driver.ErrBadConn, first: true},
		"the connection is cut, at first": {after: io.ErrUnexpectedEOF, first: true},
		"it fails":                        {before: full, want: full},
		"it fails, and the read too":      {before: full, read: away, want: away},
		"it fails, and another one saved": {before: full, now: "another's", want: renew.ErrConflict},
	} {
		s, f, version := saved(t)
		if test.first {
			f.version, version = "", ""
		}
		f.version = cmp.Or(test.now, f.version)
		f.after, f.before, f.read = times(1, test.after), times(always, test.before), times(1, test.read)
		got, err := s.Save(t.Context(), []byte("second"), version)
		switch {
		case test.want == nil:
			if err != nil || got != f.version || string(f.document) != "second" {
				t.Errorf("%s: Save returned %q, %v, and the row has %q with %q", name, got, err, f.version, f.document)
			}
		case err == nil, !strings.Contains(err.Error(), test.want.Error()), errors.Is(err, renew.ErrConflict) != errors.Is(test.want, renew.ErrConflict):
			t.Errorf("%s: Save returned %v, want %v", name, err, test.want)
		}
		if repeated := errors.Is(test.after, driver.ErrBadConn); test.want != nil && f.writes != 1 || repeated && f.writes < 2 {
			t.Errorf("%s: the statement was sent %d times; only database/sql repeats it, or Save if other sessions are in the way", name, f.writes)
		}
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
			s, f := fake(t, d)
			f.before, f.read = times(3, err), times(5, err)
			_, saveErr := s.Save(t.Context(), []byte("x"), "")
			f.read = times(5, err)
			if document, _, loadErr := s.Load(t.Context()); errors.Join(saveErr, loadErr) != nil || string(document) != "x" {
				t.Errorf("dialect %d: while others are in the way for a while: Save %v, Load %q, %v", d, saveErr, document, loadErr)
			}
			f.read = times(always, err)
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
	s, f := fake(t, SQLite)
	f.before = func() error {
		cancel()
		return errors.New("interrupted (9)")
	}
	if _, err := s.Save(ctx, []byte("x"), ""); !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "interrupted") {
		t.Error(err)
	}
}

func TestArguments(t *testing.T) {
	db := sql.OpenDB(&fakeDB{})
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
	if got := Schema(0) + Schema(SQLite+1); got != "" {
		t.Errorf("the schema of no dialect: %q", got)
	}
}

// TestNoSecrets has a driver's error quote the document, in its text and in a field, in several notations. The store's
// error must not hold the key.
func TestNoSecrets(t *testing.T) {
	const canary = "MadeUpKeyMadeUpKeyMadeUpKeyM01"
	document := []byte(`{"key": "` + canary + `", "to": "<\u00e9>"}`)
	for name, form := range map[string]string{
		"as it is":   string(document),
		"quoted":     fmt.Sprintf("%q", document),
		"in hex":     hex.EncodeToString(document),
		"in HEX":     strings.ToUpper(hex.EncodeToString(document)),
		"in Go":      fmt.Sprintf("%#v", document),
		"in numbers": fmt.Sprint(document),
		"cut":        canary[:25],
	} {
		s, f, version := saved(t)
		f.before = times(always, &rowError{Words: "invalid input: " + form, Detail: canary})
		_, err := s.Save(t.Context(), document, version)
		if err == nil || !strings.Contains(err.Error(), "22P02") {
			t.Fatalf("%s: %v", name, err)
		}
		printed := fmt.Sprintf("%v %+v %#v %q, after %q", err, err, err, err, f.statements)
		for form, secret := range map[string]string{
			"raw": canary[:20], "hex": hex.EncodeToString([]byte(canary[:10])),
			"Go":     strings.Trim(fmt.Sprintf("%#v", []byte(canary[:8])), "[]byte{}"),
			"base64": base64.StdEncoding.EncodeToString([]byte(canary))[:20],
		} {
			if strings.Contains(strings.ToLower(printed), strings.ToLower(secret)) {
				t.Errorf("%s: the error, or a statement, holds the key (%s): %s", name, form, printed)
			}
		}
		var own *rowError
		if errors.As(err, &own) {
			t.Errorf("%s: errors.As finds the driver's error, whose fields quote the row", name)
		}
	}
}

// rowError is like an error of a PostgreSQL driver. In Detail the server quotes the row.
type rowError struct{ Words, Detail string }

func (e *rowError) Error() string  { return e.Words }
func (*rowError) SQLState() string { return "22P02" }

// TestAdvice opens a Source on a database that is read-only, or lacks the table or a right. The error says what to do.
func TestAdvice(t *testing.T) {
	server := espertest.NewServer(t)
	for name, test := range map[string]struct {
		dialect   Dialect
		read      error  // of the statement that reads
		write     error  // of the statement that writes
		unfit     string // what the server says of itself
		want      string
		permanent bool
	}{
		"PostgreSQL, no table":     {PostgreSQL, coded("42P01"), nil, "", `CREATE TABLE IF NOT EXISTS "o'ps"."my""Keys?" ( name text`, true},
		"PostgreSQL, no right":     {PostgreSQL, nil, coded("42501"), "", `SELECT, INSERT and UPDATE on "o'ps"."my""Keys?"`, true},
		"PostgreSQL, only reads":   {PostgreSQL, nil, coded("25006"), "", "primary", false},
		"MySQL, no table":          {MySQL, errors.New("Error 1146 (42S02): Table 'ops.x' doesn't exist"), nil, "", "CREATE TABLE IF NOT EXISTS `o'ps`.`my\"Keys?` ( name varbinary", true},
		"MySQL, no right":          {MySQL, nil, errors.New("Error 1142 (42000): UPDATE command denied to user"), "", "grant", true},
		"MySQL, only reads":        {MySQL, nil, errors.New("Error 1290 (HY000): The server is running with --read-only"), "", "primary", false},
		"SQLite, no table":         {SQLite, errors.New("SQL logic error: no such table: x (1)"), nil, "", `CREATE TABLE IF NOT EXISTS "my""Keys?" ( name text NOT NULL`, true},
		"SQLite, another's table":  {SQLite, errors.New("no such column: k.version"), nil, "", `CREATE TABLE`, true},
		"SQLite, hot journal":      {SQLite, errors.New("attempt to write a readonly database (776)"), nil, "", "a save was interrupted", false},
		"SQLite, not readable":     {SQLite, errors.New("unable to open database file (14)"), nil, "", "able to read the file", true},
		"PostgreSQL, a replica":    {PostgreSQL, nil, nil, "replica", "connect to the primary", false},
		"MySQL, nothing is saved":  {MySQL, nil, nil, "autocommit", "autocommit is off", true},
		"SQLite, a power cut":      {SQLite, nil, nil, "synchronous", "synchronous=EXTRA", true},
		"SQLite, a killed program": {SQLite, nil, nil, "journal", "journal_mode=DELETE", true},
		"SQLite, only reads":       {SQLite, nil, errors.New("attempt to write a readonly database (8)"), "", "to write it and in its folder", true},
	} {
		table := `my"Keys?`
		if test.dialect != SQLite {
			table = "o'ps." + table
		}
		s, f := fake(t, test.dialect, WithTable(table))
		f.unfit, f.read, f.before = test.unfit, times(always, test.read), times(always, test.write)
		_, err := renew.Open(t.Context(), server.URL, s, renew.WithInitialToken(esper.NewSecret(server.Token())))
		text := fmt.Sprint(err)
		var p interface{ Permanent() bool }
		if !errors.As(err, &p) || p.Permanent() != test.permanent {
			t.Errorf("%s: permanent is not %v: %v", name, test.permanent, err)
		}
		if !strings.Contains(text, test.want) || strings.Contains(text, "\n") || test.dialect == SQLite && strings.Contains(text, "primary") {
			t.Errorf("%s: %v\nwant in one line %q", name, err, test.want)
		}
	}
}
