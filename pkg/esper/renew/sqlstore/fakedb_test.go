package sqlstore

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
)

// fakeDB is a database driver with one table, which has one row at most. The tests in pkg/stores use real engines.
type fakeDB struct {
	mu         sync.Mutex
	version    string
	document   []byte
	unfit      string   // the value of Dialect.check
	statements []string // all statements that were sent
	// before and after are called with n around the n-th statement that writes. The error that they return is the
	// error of the statement. If before returns one, nothing is written.
	before, after func(n int) error
	read          func() error // the error of a statement that reads
	writes        int
}

func open(t *testing.T, f *fakeDB) *sql.DB {
	t.Helper()
	db := sql.OpenDB(f)
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// A fakeDB is its own connection.
func (f *fakeDB) Connect(context.Context) (driver.Conn, error) { return f, nil }
func (*fakeDB) Driver() driver.Driver                          { return nil }
func (*fakeDB) Prepare(string) (driver.Stmt, error)            { return nil, errors.New("not used") }

func (*fakeDB) Begin() (driver.Tx, error) { return nil, errors.New("not used") }
func (*fakeDB) Close() error              { return nil }

func (f *fakeDB) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.statements = append(f.statements, query)
	f.writes++
	if f.before != nil {
		if err := f.before(f.writes); err != nil {
			return nil, err
		}
	}
	if err := ctx.Err(); err != nil {
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
	if f.after != nil {
		if err := f.after(f.writes); err != nil {
			return nil, err
		}
	}
	return driver.RowsAffected(1), nil
}

func (f *fakeDB) QueryContext(ctx context.Context, query string, _ []driver.NamedValue) (driver.Rows, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if strings.Contains(query, "SELECT coalesce(max(file)") { // what Inspect asks
		return &fakeRows{row: []driver.Value{""}}, nil
	}
	f.statements = append(f.statements, query)
	if f.read != nil {
		if err := f.read(); err != nil {
			return nil, err
		}
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	row := []driver.Value{nil, nil, f.unfit}
	if f.version != "" {
		row = []driver.Value{f.version, slices.Clone(f.document), f.unfit}
	}
	return &fakeRows{row: row}, nil
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
