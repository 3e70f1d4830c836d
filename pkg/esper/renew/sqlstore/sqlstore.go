// Package sqlstore keeps the document of package renew in a row of a table, for programs on several machines
// that share a key. It uses database/sql alone: the driver is yours.
//
//	db, err := sql.Open("pgx", dsn) // or another driver
//	…
//	store, err := sqlstore.New(db, sqlstore.PostgreSQL)
//	…
//	source, err := renew.Open(ctx, environment, store, renew.WithInitialToken(key))
//
// [Schema] is the table's DDL, which a person or a migration runs once.
//
// # What the database has to keep
//
// A save that was confirmed must outlive a crash. PostgreSQL does so, whatever synchronous_commit says, for
// this store asks for it. In MySQL and MariaDB leave innodb_flush_log_at_trx_commit at 1: with 0 or 2 a power
// cut takes back the last second. SQLite must be opened with synchronous=FULL, which is its default; the
// store refuses less. Of a database with a standby that may take over, the commit must wait for the standby
// (synchronous_standby_names, semi-synchronous replication, Group Replication), or a fail-over can take back
// what was confirmed. Any isolation level will do but READ UNCOMMITTED.
//
// # The primary
//
// Reads go to the primary, like writes: a replica lags behind, and would hand out a key that has been
// renewed away. The store refuses a server in recovery or with read_only set. To get to the primary, give
// pgx or libpq all hosts and target_session_attrs=read-write; for MySQL name the writer's address, and leave
// this database out of a proxy's rule that splits reads from writes.
//
// # Secrets
//
// The document holds the key in plain text: the table is as secret as the key, and so are its backups. It
// is sent as a parameter, never as a part of a statement; that holds unless a driver is told to put them in
// (interpolateParams of go-sql-driver/mysql). A server that logs parameters (log_min_duration_statement with
// log_parameter_max_length, general_log) and a tracer in the driver log the key. Errors of this package do not
// quote the document, and wrap no error of a driver.
package sqlstore

import (
	"context"
	"crypto/rand"
	"database/sql"
	"fmt"
	mathrand "math/rand/v2"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/esper-go/esper-go/pkg/esper"
	"github.com/esper-go/esper-go/pkg/esper/renew"
)

const (
	defaultTable = "esper_keys"
	defaultName  = "default"
	maxName      = 255 // bytes, of a row's name

	busyTime  = 5 * time.Second // how long a statement is repeated that fails because of other sessions
	busyPause = 50 * time.Millisecond
)

// Option changes what [New] makes.
type Option func(*options)

type options struct{ table, name string }

func newOptions(opts []Option) options {
	o := options{table: defaultTable, name: defaultName}
	for _, opt := range opts {
		if opt != nil {
			opt(&o)
		}
	}
	return o
}

// WithTable names the table, esper_keys by default. A dot separates a schema or database from the table; the
// parts may hold any character, quotes too, and their case counts.
func WithTable(name string) Option { return func(o *options) { o.table = name } }

// WithName names the row, "default" by default: one for each key that the table holds, at most 255 bytes.
func WithName(name string) Option { return func(o *options) { o.name = name } }

// New returns a store in db. It sends nothing: renew.Open proves that the store works, and its error has the
// DDL of a table that is missing, or the right that is. The caller closes db, after the Source.
//
// A nil db, an unknown dialect or a bad name is [esper.ErrInvalidArgument].
//
// Each call is one statement of its own; Save reads the row again if the answer to its statement did not say
// what became of it. What fails only because of others at the same time (a serialization failure, a deadlock,
// a locked database) is repeated, for five seconds at most. A call ends with its context, as soon as the
// driver lets go. The store is safe for concurrent use, if db is its own or shared.
func New(db *sql.DB, d Dialect, opts ...Option) (renew.Store, error) {
	o := newOptions(opts)
	invalid := func(text string) error { return fmt.Errorf("sqlstore: %w: %s", esper.ErrInvalidArgument, text) }
	switch {
	case db == nil:
		return nil, invalid("the database is nil")
	case !d.valid():
		return nil, invalid("the dialect is none of PostgreSQL, MySQL, SQLite")
	case o.name == "" || len(o.name) > maxName || !plain(o.name):
		return nil, invalid("the row's name must be 1 to 255 bytes of UTF-8 without a NUL")
	case !plain(o.table):
		return nil, invalid("the table's name must be UTF-8 without a NUL")
	}
	for part := range strings.SplitSeq(o.table, ".") {
		if part == "" {
			return nil, invalid("the table's name, or a part of it, is empty")
		}
	}
	return &store{db: db, dialect: d, options: o, sql: d.statements(o.table)}, nil
}

func plain(name string) bool { return utf8.ValidString(name) && !strings.Contains(name, "\x00") }

type store struct {
	db      *sql.DB
	dialect Dialect
	options options
	sql     statements
}

// String names the store in errors.
func (s *store) String() string {
	return fmt.Sprintf("the row %q of the table %s", s.options.name, s.dialect.quoteTable(s.options.table))
}

// Load implements [renew.Store].
func (s *store) Load(ctx context.Context) (document []byte, version string, err error) {
	err = s.persist(ctx, func() error {
		document, version, err = s.load(ctx)
		return err
	})
	if err != nil {
		return nil, "", err
	}
	return document, version, nil
}

func (s *store) load(ctx context.Context) (document []byte, version string, err error) {
	var stored sql.NullString
	var unfit string
	if err := s.db.QueryRowContext(ctx, s.sql.load, s.options.name).Scan(&stored, &document, &unfit); err != nil {
		return nil, "", s.failure(ctx, err, nil)
	}
	switch {
	case unfit != "":
		return nil, "", s.unfit(unfit)
	case !stored.Valid:
		return nil, "", nil
	case stored.String == "":
		return nil, "", s.plainFailure("the row has an empty version, which this program never writes")
	}
	return document, stored.String, nil
}

// Save implements [renew.Store].
//
// Versions are random, so that no version comes back when a backup is restored. A driver repeats a statement when a
// connection was lost, and the second time its condition does not hold. Save then sees its own version in the row, and
// knows that the first statement was carried out.
func (s *store) Save(ctx context.Context, document []byte, version string) (newVersion string, err error) {
	newVersion = rand.Text()
	err = s.persist(ctx, func() error { return s.save(ctx, document, version, newVersion) })
	if err != nil {
		return "", err
	}
	return newVersion, nil
}

// save sends the statement. It may be called again with the same versions: the document is replaced once at most.
func (s *store) save(ctx context.Context, document []byte, version, newVersion string) error {
	statement, args := s.sql.insert, []any{newVersion, document, s.options.name}
	if version != "" {
		statement, args = s.sql.update, append(args, version)
	}
	var rows int64
	result, err := s.db.ExecContext(ctx, statement, args...)
	if err == nil {
		rows, err = result.RowsAffected()
	}
	switch {
	case err == nil && rows == 1:
		return nil
	case err == nil:
		err = s.plainFailure(fmt.Sprintf("the statement changed %d rows, want one; is the name the table's primary key?", rows))
	default:
		err = s.failure(ctx, err, document)
	}
	if ctx.Err() != nil {
		return err
	}
	_, now, loadErr := s.load(ctx)
	switch {
	case loadErr != nil:
		return loadErr
	case now == newVersion:
		return nil
	case now != version:
		return renew.ErrConflict
	}
	return err
}

// persist repeats a call as long as it fails because of other sessions.
func (s *store) persist(ctx context.Context, call func() error) error {
	over := time.Now().Add(busyTime)
	for {
		err := call()
		if !isBusy(err) || time.Now().After(over) {
			return err
		}
		pause := time.NewTimer(mathrand.N(busyPause)) //nolint:gosec // spreads those who wait
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
			return s.failure(ctx, ctx.Err(), nil)
		}
	}
}
