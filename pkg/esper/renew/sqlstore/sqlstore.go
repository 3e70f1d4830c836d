// Package sqlstore stores the document of package renew in a row of a database table, so that programs on several
// machines can share a key. It uses database/sql alone: you choose the driver.
//
//	db, err := sql.Open("pgx", dsn) // or another driver
//	…
//	store, err := sqlstore.New(db, sqlstore.PostgreSQL)
//	…
//	source, err := renew.Open(ctx, environment, store, renew.WithInitialToken(key))
//
// [Schema] returns the table's DDL, which a person or a migration runs once.
//
// # Durability
//
// A confirmed save must survive a crash of the database:
//
//   - PostgreSQL needs no setting. Each write of the store waits for the disk, even with synchronous_commit=off.
//   - MySQL and MariaDB: leave innodb_flush_log_at_trx_commit at 1. With 0 or 2, a power cut undoes the last second.
//   - SQLite: open the database with journal_mode=DELETE, its default, and synchronous=EXTRA, which is not. With
//     journal_mode=WAL synchronous=FULL is enough. The store refuses less.
//   - If a standby may take over, the commit must wait for the standby (synchronous_standby_names, semi-synchronous
//     replication, Group Replication). Otherwise a failover can undo a confirmed save.
//
// Use any isolation level except READ UNCOMMITTED.
//
// # The primary
//
// Connect to the primary, for reads too: a replica lags behind, and would hand out a key that has already been
// replaced. The store refuses a server that is in recovery or has read_only set. To reach the primary, give pgx or
// libpq all hosts and target_session_attrs=read-write, and give a MySQL driver the writer's address. If a proxy splits
// reads from writes, exempt this database from that rule.
//
// # TLS and poolers
//
// The driver decides about TLS, and by default neither pgx nor go-sql-driver/mysql insists on it: pgx falls back to plain
// text, and the other one never uses TLS. Write sslmode=verify-full or tls=true into the DSN.
//
// The statements need no session of their own, and no named prepared statement, so that they work through PgBouncer in
// transaction mode. Pgx prepares statements by itself: write default_query_exec_mode=exec into its DSN.
//
// # SQLite's file
//
// Renew.Open looks at the file of a SQLite database as it does at that of renew.File, and refuses it where other users
// can replace it or put a journal beside it. Make the file before SQLite does, with mode 0600 (or 0640, for readers of
// its group), since SQLite lets every user read it. Readers open it with mode=ro, which works on a read-only mount too,
// unless the file is in WAL mode. A file that is mounted by itself is refused, because its journal would be missing there.
//
// # Secrets
//
// The document holds the key in plain text: keep the table and its backups as secret as the key. The store sends the
// document as a parameter, so it is not in the SQL text, unless a driver is told to put it there (interpolateParams of
// go-sql-driver/mysql). A server that logs parameters (log_min_duration_statement with log_parameter_max_length,
// general_log) logs the key, and so does a tracer in the driver. Errors of this package quote no part of the document
// and wrap no error of a driver.
package sqlstore

import (
	"context"
	"crypto/rand"
	"database/sql"
	"fmt"
	mathrand "math/rand/v2"
	"strings"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/esper-go/esper-go/pkg/esper"
	"github.com/esper-go/esper-go/pkg/esper/renew"
	"github.com/esper-go/esper-go/pkg/internal/keyfile"
)

const (
	defaultTable = "esper_keys"
	defaultName  = "default"
	maxName      = 255 // the longest name of a row, in bytes

	busyTime  = 5 * time.Second       // how long the store repeats a statement that fails because of other sessions
	busyPause = 50 * time.Millisecond // the longest pause before it repeats the statement
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

// WithTable sets the name of the table, esper_keys by default. A dot separates the schema or database from the table.
// Any other character except NUL may be part of a name, and upper and lower case differ where the engine tells them
// apart.
func WithTable(name string) Option { return func(o *options) { o.table = name } }

// WithName sets the name of the row, "default" by default, at most 255 bytes. Each key in the table has its own row.
func WithName(name string) Option { return func(o *options) { o.name = name } }

// New returns a store that uses db. New sends nothing to the database. renew.Open checks that the store works, and
// its error has the DDL of a missing table, or names the missing right. The caller closes db, after the Source.
//
// For a nil db, an unknown dialect or a bad name the error is [esper.ErrInvalidArgument].
//
// Load and Save send one statement each. If the answer does not tell whether a save took effect, Save reads the row.
// The store repeats a statement that failed only because of other sessions (a serialization failure, a deadlock, a
// locked database), for at most five seconds. When its context ends, a call returns as soon as the driver does. The
// store is safe for concurrent use, and may share db with the rest of the program.
func New(db *sql.DB, d Dialect, opts ...Option) (renew.Store, error) {
	o := newOptions(opts)
	invalid := func(text string) error { return fmt.Errorf("sqlstore: %w: %s", esper.ErrInvalidArgument, text) }
	switch {
	case db == nil:
		return nil, invalid("the database is nil")
	case !d.valid():
		return nil, invalid("the dialect must be PostgreSQL, MySQL or SQLite")
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

	file atomic.Pointer[keyfile.Store] // of a SQLite database, once Inspect knows it
}

// String names the store in errors.
func (s *store) String() string {
	name := fmt.Sprintf("the row %q of the table %s", s.options.name, s.dialect.quoteTable(s.options.table))
	if file := s.file.Load(); file != nil {
		name += " in " + file.String()
	}
	return name
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
		return nil, "", s.plainFailure("the row has an empty version, which this store never writes")
	}
	return document, stored.String, nil
}

// Save implements [renew.Store].
//
// Versions are random. A counter would, after a backup is restored, give the same versions to other documents.
//
// When a connection breaks, database/sql or the driver may send a statement twice. The second one changes nothing,
// because the first one has replaced the old version. Save then finds its own new version in the row, and succeeds.
func (s *store) Save(ctx context.Context, document []byte, version string) (newVersion string, err error) {
	newVersion = rand.Text()
	err = s.persist(ctx, func() error { return s.save(ctx, document, version, newVersion) })
	if err != nil {
		return "", err
	}
	return newVersion, nil
}

// save sends the statement. persist may repeat the call with the same versions: they replace the document once at most.
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
	case err == nil && rows == 0:
		err = &failure{text: "the server changed no row, and gave no error; a policy for row-level security has to let this user UPDATE the row", permanent: true}
	case err == nil:
		err = s.plainFailure(fmt.Sprintf("the statement changed %d rows, want one; is the column name the table's primary key?", rows))
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

// persist repeats a call that fails because of other sessions, for busyTime at most.
func (s *store) persist(ctx context.Context, call func() error) error {
	over := time.Now().Add(busyTime)
	for {
		err := call()
		if !isBusy(err) || time.Now().After(over) {
			return err
		}
		pause := time.NewTimer(mathrand.N(busyPause)) //nolint:gosec // so that waiting sessions do not all retry at once
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
			return s.failure(ctx, ctx.Err(), nil)
		}
	}
}
