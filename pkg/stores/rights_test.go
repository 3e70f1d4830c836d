//go:build linux

package stores

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/esper-go/esper-go/pkg/esper/espertest"
	"github.com/esper-go/esper-go/pkg/esper/renew"
	"github.com/esper-go/esper-go/pkg/esper/renew/sqlstore"
	"github.com/esper-go/esper-go/pkg/internal/processes"
)

// TestRights opens a Source as users with more and more rights, on a table and a row with unusual names.
func TestRights(t *testing.T) {
	on(t, databases, func(t *testing.T, e *engine) {
		const table = `o'ps."the? keys"`
		schema, quoted := `"o'ps"`, `"o'ps"."""the? keys"""`
		if e.kind == "mysql" {
			schema, quoted = "`o'ps`", "`o'ps`.`\"the? keys\"`"
		}
		server := espertest.NewServer(t)
		as := func(account string, opts ...renew.Option) (*renew.Source, error) {
			a := e.as(account, "the fleet's \"key\" ` ? $1")
			a.table, a.dsn = table, strings.Replace(a.dsn, "/mysql", "/", 1)
			return openSource(t, server, a.String(), opts...)
		}
		e.execute(t, "CREATE SCHEMA "+schema)
		_, err := as(e.root)
		fails(t, e, "there is no such table", err, "; if the table is in another schema or database, write its name as schema.table; if it does not exist, or has other columns, create it with: CREATE TABLE IF NOT EXISTS "+quoted)
		e.execute(t, sqlstore.Schema(dialects()[e.kind], sqlstore.WithTable(table)))
		for _, user := range []struct{ name, rights string }{{"nobody", ""}, {"reader", "SELECT"}, {"writer", "SELECT, UPDATE"}, {"owner", "SELECT, INSERT, UPDATE"}} {
			e.execute(t, "CREATE USER "+user.name)
			if e.kind == "pgx" {
				e.execute(t, "GRANT USAGE ON SCHEMA "+schema+" TO "+user.name)
			}
			if user.rights != "" {
				e.execute(t, "GRANT "+user.rights+" ON "+quoted+" TO "+user.name)
			}
			if user.name != "owner" {
				_, err := as(user.name)
				fails(t, e, "an empty table, and the rights of a "+user.name, err, "INSERT and UPDATE on "+quoted)
			}
		}
		for _, name := range []string{"owner", "writer"} { // a writer needs a row that exists
			source, err := as(name)
			must(t, err)
			must(t, source.Renew(t.Context()))
			wants(t, source, server.Token())
		}
		reader, err := as("reader", renew.ReadOnly())
		must(t, err)
		wants(t, reader, server.Token())
		source, err := as("reader")
		if err == nil { // renew.Open makes no trial save, because this host has saved within a week
			err = source.Renew(t.Context())
		}
		fails(t, e, "a renewal, and the rights of a reader", err, "SELECT, INSERT and UPDATE on "+quoted)
		if n := processes.Posts(server); n != 2 {
			t.Errorf("%d renewals, want 2", n)
		}
	})
}

// TestUnfit opens stores on connections that may lose a confirmed save or read an old document. The store refuses them.
func TestUnfit(t *testing.T) {
	for _, row := range []struct{ engine, old, new, want string }{
		{"MariaDB", "/mysql", "/mysql?autocommit=0", "autocommit is off"},
		{"SQLite", "synchronous(extra)", "synchronous(normal)", "synchronous=EXTRA"},
		{"SQLite", "synchronous(extra)", "synchronous(full)", "synchronous=EXTRA"},
		{"SQLite", "journal_mode(delete)", "journal_mode(off)", "journal_mode=DELETE"},
	} {
		e := get(t, row.engine)
		_, _, err := storeAt(t, strings.Replace(e.fresh(t), row.old, row.new, 1)).Load(t.Context())
		fails(t, e, row.new, err, row.want)
	}
	e := get(t, "MariaDB")
	e.execute(t, "SET GLOBAL read_only = 1")
	_, _, err := storeAt(t, e.fresh(t)).Load(t.Context())
	fails(t, e, "read_only is set", err, "primary")
	e.execute(t, "SET GLOBAL read_only = 0")
	_, _, err = storeAt(t, e.fresh(t)).Load(t.Context())
	must(t, err)
}

// TestLocked: while another session locks the row, a call ends with its context. It works once the row is free.
func TestLocked(t *testing.T) {
	on(t, databases+" SQLite", func(t *testing.T, e *engine) {
		store := storeAt(t, e.fresh(t))
		version, err := store.Save(t.Context(), []byte("first"), "")
		must(t, err)
		tx, err := e.db(t).BeginTx(t.Context(), nil)
		must(t, err)
		_, err = tx.ExecContext(t.Context(), "UPDATE esper_keys SET document = document")
		must(t, err)
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		defer cancel()
		began := time.Now()
		_, err = store.Save(ctx, []byte("second"), version)
		if took := time.Since(began); !errors.Is(err, context.DeadlineExceeded) || took > 10*time.Second {
			t.Errorf("Save of a row that another session has locked: %v after %v", err, took)
		}
		must(t, tx.Rollback())
		// A conflict is fine here: the save that ended with its context may have taken effect.
		if _, err = store.Save(t.Context(), []byte("second"), version); err != nil && !errors.Is(err, renew.ErrConflict) {
			t.Errorf("Save afterwards: %v", err)
		}
		if document, _ := load(t, store); string(document) != "second" {
			t.Errorf("Load afterwards: %q", document)
		}
	})
}

// TestStandby checks that the store refuses a PostgreSQL standby, and that it finds the primary if the DSN has both
// hosts.
func TestStandby(t *testing.T) {
	e, server := get(t, "PostgreSQL"), espertest.NewServer(t)
	source, err := openSource(t, server, e.at("of the primary"))
	must(t, err)
	follower := standby(t, e)
	text := follower.at("of the primary")
	_, err = openSource(t, server, text)
	fails(t, e, "it is a standby", err, "connect to the primary")
	both := strings.Replace(text, follower.listens, follower.listens+","+e.listens, 1)
	both = strings.Replace(both, "sslmode=disable", "sslmode=disable&target_session_attrs=read-write", 1)
	other, err := openSource(t, server, both)
	must(t, err)
	must(t, other.Renew(t.Context()))
	must(t, source.Check(t.Context()))
	wants(t, source, server.Token())
}
