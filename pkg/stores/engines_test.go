//go:build linux

package stores

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	_ "github.com/jackc/pgx/v5/stdlib" // "pgx"
	_ "modernc.org/sqlite"             // "sqlite"

	"github.com/esper-go/esper-go/pkg/esper/renew"
	"github.com/esper-go/esper-go/pkg/esper/renew/sqlstore"
)

// engine is a database or an API server that keeps documents.
type engine struct {
	name    string
	version string
	// listens is the address at which its clients connect; "" for SQLite and files, which have none.
	listens  string
	socket   string // the same for a socket, or its folder
	services []*service
	folder   string // the folder of an engine without services
	// at returns the address of the row or Secret with this name, for open. If via is not "", the address leads through
	// the proxy that listens there.
	at func(name, via string) string
}

// address has what a process needs to open a store. For Kubernetes, table is the namespace.
type address struct{ kind, dsn, table, name string }

func (a address) String() string { return strings.Join([]string{a.kind, a.dsn, a.table, a.name}, "\t") }

// pools has the databases and Kubernetes clients that this process has open, by their DSN.
var pools sync.Map

func database(kind, dsn string) (*sql.DB, error) {
	if db, ok := pools.Load(dsn); ok {
		return db.(*sql.DB), nil
	}
	db, err := sql.Open(kind, dsn)
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(8)
	if other, loaded := pools.LoadOrStore(dsn, db); loaded {
		_ = db.Close()
		return other.(*sql.DB), nil
	}
	return db, nil
}

// open makes a store, in this process or another.
func open(text string) (renew.Store, error) {
	parts := strings.Split(text, "\t")
	if len(parts) != 4 {
		return nil, fmt.Errorf("%q is not an address", text)
	}
	a := address{parts[0], parts[1], parts[2], parts[3]}
	switch a.kind {
	case "kubernetes":
		return openSecret(a)
	case "file":
		return renew.File(a.dsn), nil
	}
	db, err := database(a.kind, a.dsn)
	if err != nil {
		return nil, err
	}
	dialect := map[string]sqlstore.Dialect{"pgx": sqlstore.PostgreSQL, "mysql": sqlstore.MySQL, "sqlite": sqlstore.SQLite}[a.kind]
	return sqlstore.New(db, dialect, sqlstore.WithTable(a.table), sqlstore.WithName(a.name))
}

var names atomic.Int64

// newName returns a name for a row or a Secret that no test has used.
func newName() string { return fmt.Sprintf("key-%d", names.Add(1)) }

// fresh returns the address of a row or Secret that does not exist yet.
func (e *engine) fresh(t *testing.T) string {
	t.Helper()
	return e.at(newName(), "")
}

// kill kills the engine. After that, start starts it again.
func (e *engine) kill() {
	for _, s := range e.services {
		s.kill()
	}
}

// hold suspends the engine's processes if still is true, and lets them continue if it is false.
func (e *engine) hold(still bool) {
	for _, s := range e.services {
		s.hold(still)
	}
}

func (e *engine) start(t testing.TB) {
	t.Helper()
	for i := len(e.services) - 1; i >= 0; i-- {
		must(t, e.services[i].start())
	}
}

func newService(name, account string) (s *service, port string, err error) {
	folder, err := newFolder(account)
	if err != nil {
		return nil, "", err
	}
	n, err := freePort()
	return &service{name: name, account: account, folder: folder, stop: syscall.SIGTERM}, fmt.Sprint(n), errors.Join(err, certificates(folder, account))
}

// prepare starts a SQL engine, creates the table, executes more statements and asks for the engine's version.
func (e *engine) prepare(kind, dsn string, d sqlstore.Dialect, version string, more ...string) error {
	db, err := database(kind, dsn)
	if err != nil {
		return err
	}
	for _, s := range e.services {
		s.ready = db.PingContext
		if err := s.start(); err != nil {
			return err
		}
	}
	for _, statement := range append([]string{sqlstore.Schema(d)}, more...) {
		if _, err := db.ExecContext(context.Background(), statement); err != nil {
			return err
		}
	}
	return db.QueryRowContext(context.Background(), version).Scan(&e.version)
}

// started has the engines that tests asked for. TestMain stops them.
var started struct {
	mu  sync.Mutex
	all map[string]*engine
}

func kinds() map[string]func() (*engine, error) {
	return map[string]func() (*engine, error){"PostgreSQL": postgres, "MariaDB": mariadb, "MySQL": mysqld, "SQLite": sqlite, "Kubernetes": kubernetes, "File": file}
}

// servers returns the names of the engines that have processes of their own.
func servers() []string {
	return slices.DeleteFunc(slices.Sorted(maps.Keys(kinds())), func(name string) bool { return name == "SQLite" || name == "File" })
}

// on runs a test on every engine, and on more.
func on(t *testing.T, test func(t *testing.T, e *engine), more ...string) {
	t.Helper()
	for _, name := range append(slices.Sorted(maps.Keys(kinds())), more...) {
		t.Run(name, func(t *testing.T) { test(t, get(t, name)) })
	}
}

// get returns a running engine, which it starts if need be. In a process that storetest started, get starts nothing,
// and the engine has only its name.
func get(t *testing.T, name string) *engine {
	t.Helper()
	if os.Getenv("ESPER_STORETEST_TEST") != "" {
		return &engine{name: name}
	}
	if name == "PgBouncer" {
		get(t, "PostgreSQL")
	}
	started.mu.Lock()
	defer started.mu.Unlock()
	if started.all == nil {
		started.all = make(map[string]*engine)
	}
	if e := started.all[name]; e != nil {
		return e
	}
	makes := kinds()[name]
	if name == "PgBouncer" {
		makes = pgbouncer
	}
	e, err := makes()
	must(t, err)
	started.all[name] = e
	t.Logf("%s %s", name, e.version)
	return e
}

func TestMain(m *testing.M) {
	code := m.Run()
	if err := writeReport(); err != nil {
		fmt.Println(err)
		code = 1
	}
	for _, e := range started.all {
		e.kill()
		if e.folder != "" {
			_ = os.RemoveAll(e.folder)
		}
		for _, s := range e.services {
			s.remove()
		}
	}
	_ = os.RemoveAll(built)
	os.Exit(code)
}
