//go:build linux

package stores

import (
	"context"
	"database/sql"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/esper-go/esper-go/pkg/esper/renew/storetest"
)

// TestContract checks the contract of a store on each engine, and on connections with unusual settings. The store refuses
// those that may lose a confirmed save or read an old document.
func TestContract(t *testing.T) {
	settings := []struct{ engine, name, old, new, refused string }{ // old, in the address, is replaced by new
		{"PostgreSQL", "serializable", "sslmode=disable", "sslmode=disable&default_transaction_isolation=serializable", ""},
		{"PostgreSQL", "repeatable read", "sslmode=disable", "sslmode=disable&default_transaction_isolation=repeatable%20read", ""},
		{"PostgreSQL", "simple protocol", "sslmode=disable", "sslmode=disable&default_query_exec_mode=simple_protocol", ""},
		{"MariaDB", "serializable", "/mysql", "/mysql?tx_isolation=%27SERIALIZABLE%27", ""},
		{"MariaDB", "rows found", "/mysql", "/mysql?clientFoundRows=true&interpolateParams=true", ""},
		{"MariaDB", "autocommit=0", "/mysql", "/mysql?autocommit=0", "autocommit is off"},
		{"SQLite", "does not wait", "busy_timeout(1000)", "busy_timeout(0)", ""},
		{"SQLite", "immediate", "?", "?_txlock=immediate&", ""},
		{"SQLite", "synchronous(normal)", "synchronous(extra)", "synchronous(normal)", "synchronous=EXTRA"},
		{"SQLite", "synchronous(full)", "synchronous(extra)", "synchronous(full)", "synchronous=EXTRA"},
		{"SQLite", "journal_mode(off)", "journal_mode(delete)", "journal_mode(off)", "journal_mode=DELETE"},
	}
	on(t, stores, func(t *testing.T, e *engine) {
		var opts []storetest.Option
		if e.name == "Kubernetes" {
			opts = append(opts, storetest.MaxDocument(1<<20))
		}
		t.Run("as it is", func(t *testing.T) { storetest.Run(t, e.fresh, open, opts...) })
		for _, set := range settings {
			if set.engine != e.name {
				continue
			}
			address := func(t *testing.T) string {
				address := strings.Replace(e.fresh(t), set.old, set.new, 1)
				if !strings.Contains(address, set.new) {
					t.Fatalf("%q is not in %q", set.old, address)
				}
				return address
			}
			t.Run(set.name, func(t *testing.T) {
				if set.refused == "" {
					storetest.Run(t, address, open)
				} else {
					_, _, err := storeAt(t, address(t)).Load(t.Context())
					if err == nil || !strings.Contains(err.Error(), set.refused) || strings.Contains(err.Error(), "\n") {
						t.Fatalf("%v\nwant in one line: %s", err, set.refused)
					}
					outcome(e, set.name, err.Error())
				}
			})
		}
	})
}

// TestEtcd runs storetest on the store that storetest's README shows, with the API server's etcd.
func TestEtcd(t *testing.T) {
	if !strings.Contains(read(t, "../esper/renew/storetest/README.md"), "```go\n"+read(t, "etcdstore/etcdstore.go")+"```") {
		t.Error("storetest/README.md and etcdstore/etcdstore.go differ")
	}
	storetest.Run(t, func(t *testing.T) string {
		args := get(t, "Kubernetes").services[0].args
		return strings.Join([]string{"etcd", args[1+slices.Index(args, "--listen-client-urls")], newName()}, "\t")
	}, open, storetest.MaxDocument(1<<20))
}

// TestGivenUp has saves wait for another session that has locked the row, and those of PostgreSQL also for a standby that
// is away. A save ends with its context, and the store works afterwards.
func TestGivenUp(t *testing.T) {
	on(t, databases+" SQLite", func(t *testing.T, e *engine) {
		name := newName()
		store := storeAt(t, e.at(name))
		save := func(limit time.Duration) error {
			ctx, cancel := context.WithTimeout(t.Context(), limit)
			defer cancel()
			_, version := load(t, store)
			_, err := store.Save(ctx, []byte("x"), version)
			return err
		}
		must(t, save(startTime))
		tx := e.lock(t, name)
		if err := save(time.Second); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a save of a row that another session has locked: %v", err)
		}
		must(t, tx.Rollback())
		if e.name == "PostgreSQL" {
			e.execute(t, "ALTER SYSTEM SET synchronous_standby_names = 'nobody'", "SELECT pg_reload_conf()")
			until(t, "a save waits", func() bool { return errors.Is(save(time.Second), context.DeadlineExceeded) })
			e.execute(t, "ALTER SYSTEM RESET synchronous_standby_names", "SELECT pg_reload_conf()")
		}
		eventually(t, func() error { return save(startTime) })
	})
}

// lock has another session lock a row, until the test ends or rolls that back.
func (e *engine) lock(t *testing.T, name string) *sql.Tx {
	t.Helper()
	tx, err := e.db(t).BeginTx(t.Context(), nil)
	must(t, err)
	_, err = tx.ExecContext(t.Context(), "UPDATE esper_keys SET document = document WHERE name = '"+name+"'")
	must(t, err)
	return tx
}
