//go:build linux

package stores

import (
	"context"
	"database/sql"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/esper-go/esper-go/pkg/esper"
	"github.com/esper-go/esper-go/pkg/esper/espertest"
	"github.com/esper-go/esper-go/pkg/esper/renew"
	"github.com/esper-go/esper-go/pkg/esper/renew/sqlstore"
	"github.com/esper-go/esper-go/pkg/internal/processes"
)

// accounts are users of a SQL engine. The value is the rights on the table that TestRights grants to the user.
var accounts = map[string]string{
	"nobody": "",
	"reader": "SELECT",
	"writer": "SELECT, UPDATE",
	"owner":  "SELECT, INSERT, UPDATE",
}

// admin returns a connection that may do anything, and a function that returns the address of a row for an account.
func admin(t *testing.T, e *engine) (db *sql.DB, as func(account, table, name string) string) {
	t.Helper()
	if e.name == "PostgreSQL" {
		a := postgresAt(e, "esper", "", "")
		db, err := database(a.kind, a.dsn)
		must(t, err)
		return db, func(account, table, name string) string {
			a := postgresAt(e, account, name, "")
			a.table = table
			return a.String()
		}
	}
	a := mysqlAt(e, "root", "mysql", "", "")
	db, err := database(a.kind, a.dsn)
	must(t, err)
	return db, func(account, table, name string) string {
		a := mysqlAt(e, account, "", name, "")
		a.table = table
		return a.String()
	}
}

func execute(t *testing.T, db *sql.DB, statements ...string) {
	t.Helper()
	for _, statement := range statements {
		if _, err := db.ExecContext(t.Context(), statement); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
}

// openSource opens a Source on the store at an address. The initial key is the server's.
func openSource(t *testing.T, server *espertest.Server, address string, opts ...renew.Option) (*renew.Source, error) {
	t.Helper()
	store, err := open(address)
	must(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	source, err := renew.Open(ctx, server.URL, store, append(opts, renew.WithInitialToken(esper.NewSecret(server.Token())))...)
	if source != nil {
		t.Cleanup(func() { _ = source.Close() })
	}
	return source, err
}

// TestRights opens a Source as users with more and more rights.
func TestRights(t *testing.T) {
	for _, name := range []string{"PostgreSQL", "MariaDB", "MySQL"} {
		t.Run(name, func(t *testing.T) {
			e := get(t, name)
			db, as := admin(t, e)
			table, quoted, user := `o'ps."the? keys"`, `"o'ps"."""the? keys"""`, func(s string) string { return s }
			dialect := sqlstore.PostgreSQL
			if name != "PostgreSQL" {
				quoted, user, dialect = "`o'ps`.`\"the? keys\"`", func(s string) string { return s + "@'%'" }, sqlstore.MySQL
			}
			schema, _, _ := strings.Cut(quoted, ".")
			execute(t, db, "CREATE SCHEMA "+schema)
			for account := range accounts {
				create := "CREATE USER " + user(account)
				if name == "PostgreSQL" {
					create += "; GRANT USAGE ON SCHEMA " + schema + " TO " + account
				}
				execute(t, db, create)
			}
			server := espertest.NewServer(t)

			_, err := openSource(t, server, as(root(e), table, "x"))
			fails(t, "without the table", err, "if the table is in another schema or database, write its name as schema.table; if it does not exist, or has other columns, create it with: CREATE TABLE IF NOT EXISTS "+quoted)

			execute(t, db, sqlstore.Schema(dialect, sqlstore.WithTable(table)))
			for account, rights := range accounts {
				if rights != "" {
					execute(t, db, "GRANT "+rights+" ON "+quoted+" TO "+user(account))
				}
			}
			for _, account := range []string{"nobody", "reader", "writer"} {
				_, err := openSource(t, server, as(account, table, "the fleet's \"key\" ` ? $1"))
				fails(t, account+", on an empty table", err, "INSERT and UPDATE on "+quoted)
			}
			source, err := openSource(t, server, as("owner", table, "the fleet's \"key\" ` ? $1"))
			must(t, err)
			must(t, source.Renew(t.Context()))
			wants(t, source, server.Token())

			source, err = openSource(t, server, as("writer", table, "the fleet's \"key\" ` ? $1"))
			must(t, err)
			must(t, source.Renew(t.Context()))
			wants(t, source, server.Token())

			reader, err := openSource(t, server, as("reader", table, "the fleet's \"key\" ` ? $1"), renew.ReadOnly())
			must(t, err)
			wants(t, reader, server.Token())
			source, err = openSource(t, server, as("reader", table, "the fleet's \"key\" ` ? $1"))
			if err == nil { // renew.Open makes no trial save, because this host has saved within a week
				err = source.Renew(t.Context())
			}
			fails(t, "a renewal by reader", err, "SELECT, INSERT and UPDATE on "+quoted)
			if n := processes.Posts(server); n != 2 {
				t.Errorf("%d renewals, want 2", n)
			}
		})
	}
}

func fails(t *testing.T, what string, err error, want string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
		t.Errorf("%s: %v\nwant in one line: %s", what, err, want)
	}
}

func wants(t *testing.T, source *renew.Source, key string) {
	t.Helper()
	if token, err := source.Token(); err != nil || token.AccessToken != key {
		t.Errorf("the key is not the server's newest: %v", err)
	}
}

// TestUnfit opens stores on connections that may lose a confirmed save or read an old document. The store refuses them.
func TestUnfit(t *testing.T) {
	for name, test := range map[string]struct{ address, want string }{
		"autocommit is off":  {strings.Replace(get(t, "MariaDB").fresh(t), "/mysql", "/mysql?autocommit=0", 1), "autocommit is off"},
		"synchronous=normal": {strings.Replace(get(t, "SQLite").fresh(t), "synchronous(extra)", "synchronous(normal)", 1), "synchronous=EXTRA"},
		"synchronous=full":   {strings.Replace(get(t, "SQLite").fresh(t), "synchronous(extra)", "synchronous(full)", 1), "synchronous=EXTRA"},
		"journal_mode=off":   {strings.Replace(get(t, "SQLite").fresh(t), "journal_mode(delete)", "journal_mode(off)", 1), "journal_mode=DELETE"},
	} {
		store, err := open(test.address)
		must(t, err)
		_, _, err = store.Load(t.Context())
		fails(t, name, err, test.want)
	}
	e := get(t, "MariaDB")
	db, _ := admin(t, e)
	execute(t, db, "SET GLOBAL read_only = 1")
	store, err := open(e.fresh(t))
	must(t, err)
	_, _, err = store.Load(t.Context())
	fails(t, "MariaDB with read_only", err, "primary")
	execute(t, db, "SET GLOBAL read_only = 0")
	if _, _, err := store.Load(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestLocked: while another session locks the row, a call ends with its context. It works once the row is free.
func TestLocked(t *testing.T) {
	for name, lock := range map[string]string{"PostgreSQL": "UPDATE esper_keys SET document = document", "MariaDB": "UPDATE esper_keys SET version = 'x'", "MySQL": "UPDATE esper_keys SET version = 'x'", "SQLite": "UPDATE esper_keys SET version = 'x'"} {
		t.Run(name, func(t *testing.T) {
			text := get(t, name).fresh(t)
			store, err := open(text)
			must(t, err)
			version, err := store.Save(t.Context(), []byte("first"), "")
			must(t, err)
			a := strings.Split(text, "\t")
			db, err := database(a[0], a[1])
			must(t, err)
			tx, err := db.BeginTx(t.Context(), nil)
			must(t, err)
			_, err = tx.ExecContext(t.Context(), lock)
			must(t, err)
			ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
			defer cancel()
			began := time.Now()
			_, err = store.Save(ctx, []byte("second"), version)
			if took := time.Since(began); !errors.Is(err, context.DeadlineExceeded) || took > 2*time.Second {
				t.Errorf("Save of a row that another session has locked: %v after %v", err, took)
			}
			must(t, tx.Rollback())
			// A conflict is fine here: the save that ended with its context may have taken effect.
			if _, err = store.Save(t.Context(), []byte("second"), version); err != nil && !errors.Is(err, renew.ErrConflict) {
				t.Errorf("Save afterwards: %v", err)
			}
			if document, _, err := load(t, store); err != nil || string(document) != "second" {
				t.Errorf("Load afterwards: %q, %v", document, err)
			}
		})
	}
}

// TestStandby checks that the store refuses a PostgreSQL standby, and that it finds the primary if the DSN has both
// hosts.
func TestStandby(t *testing.T) {
	e := get(t, "PostgreSQL")
	server := espertest.NewServer(t)
	source, err := openSource(t, server, e.at("of the primary", ""))
	must(t, err)
	follower, err := standby(e)
	must(t, err)
	t.Cleanup(func() { discard(follower) })
	text := postgresAt(e, "esper", "of the primary", follower.listens).String()
	_, err = openSource(t, server, text)
	fails(t, "a standby", err, "connect to the primary")
	both := strings.Replace(text, follower.listens, follower.listens+","+e.listens, 1)
	both = strings.Replace(both, "sslmode=disable", "sslmode=disable&target_session_attrs=read-write", 1)
	other, err := openSource(t, server, both)
	must(t, err)
	must(t, other.Renew(t.Context()))
	must(t, source.Check(t.Context()))
	wants(t, source, server.Token())
}

// TestConfirmedIsKept kills an engine directly after a save, several times. The engine must still have the confirmed
// document. PostgreSQL is set up not to wait for its disk: the store has to make it wait.
func TestConfirmedIsKept(t *testing.T) {
	const kills = 5
	for _, name := range servers() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e, err := kinds()[name]()
			must(t, err)
			t.Cleanup(func() { discard(e) })
			text := e.fresh(t)
			if name == "PostgreSQL" {
				text = strings.Replace(text, "sslmode=disable", "sslmode=disable&synchronous_commit=off", 1)
				e.services[0].args = append(e.services[0].args, "-c", "wal_writer_delay=10s", "-c", "wal_writer_flush_after=1GB")
				e.kill()
				e.start(t)
			}
			store, err := open(text)
			must(t, err)
			version := ""
			for i := range kills {
				document := strings.Repeat("x", 100+i)
				next, err := store.Save(t.Context(), []byte(document), version)
				e.kill()
				must(t, err)
				e.start(t)
				got, now, err := load(t, store)
				if err != nil || string(got) != document || now != next {
					t.Fatalf("kill %d: the store has %q with %d bytes, %v; %q was confirmed", i, now, len(got), err, next)
				}
				version = next
			}
		})
	}
}

// load repeats Load until it succeeds. Connections from before the crash have to leave the pool first.
func load(t *testing.T, store renew.Store) (document []byte, version string, err error) {
	t.Helper()
	err = errors.New("not tried")
	for over := time.Now().Add(startTime); err != nil && time.Now().Before(over); <-time.After(50 * time.Millisecond) {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		document, version, err = store.Load(ctx)
		cancel()
	}
	return document, version, err
}

// discard kills an engine that other tests do not use, and removes its files.
func discard(e *engine) {
	e.kill()
	for _, s := range e.services {
		s.remove()
	}
}
