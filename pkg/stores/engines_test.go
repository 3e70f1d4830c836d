//go:build linux

package stores

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // "pgx"
	_ "modernc.org/sqlite"             // "sqlite"

	"github.com/esper-go/esper-go/pkg/esper"
	"github.com/esper-go/esper-go/pkg/esper/espertest"
	"github.com/esper-go/esper-go/pkg/esper/renew"
	"github.com/esper-go/esper-go/pkg/esper/renew/sqlstore"
)

// engine is a database or an API server that keeps documents.
type engine struct {
	name, version string
	kind          string // of its addresses
	root          string // the account that may do anything
	listens       string // the address at which its clients connect; "" for SQLite, which has none
	socket        string // the same for a socket, or its folder; for SQLite, the file
	services      []*service
	dsn           func(account, listens string) string
}

// The names of the engines.
const (
	databases = "MariaDB MySQL PostgreSQL"
	servers   = "Kubernetes " + databases // those with processes of their own
	stores    = servers + " SQLite"
)

// on runs a test on each of the named engines, beside each other.
func on(t *testing.T, names string, test func(t *testing.T, e *engine)) {
	t.Helper()
	for name := range strings.FieldsSeq(names) {
		t.Run(name, func(t *testing.T) {
			e := get(t, name)
			t.Parallel()
			test(t, e)
		})
	}
}

// started has the engines that tests asked for. TestMain stops them.
var started struct {
	mu  sync.Mutex
	all map[string]*engine
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
	e := started.all[name]
	if e == nil {
		e = map[string]func(*testing.T) *engine{
			"PostgreSQL": postgres, "PgBouncer": pgbouncer, "MariaDB": mariadb, "MySQL": mysqld, "SQLite": sqlite, "Kubernetes": kubernetes,
		}[name](t)
		e.name, started.all[name] = name, e
		t.Logf("%s %s", name, e.version)
	}
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
	}
	if folder, err := folders(); err == nil {
		_ = os.RemoveAll(folder)
	}
	os.Exit(code)
}

// kill kills the engine. After that, start starts it again.
func (e *engine) kill() {
	for _, s := range e.services {
		s.kill()
	}
}

func (e *engine) signal(sig syscall.Signal) {
	for _, s := range e.services {
		s.signal(sig)
	}
}

// server is the process to which clients connect.
func (e *engine) server() *service { return e.services[len(e.services)-1] }

func (e *engine) start(t testing.TB) {
	t.Helper()
	for _, s := range e.services {
		must(t, s.start())
	}
}

func newService(t *testing.T, name string) (s *service, port string) {
	t.Helper()
	folder := newFolder(t)
	give(t, folder)
	certificates(t, folder)
	return &service{name: name, folder: folder, stop: syscall.SIGTERM}, freePort(t)
}

// prepare starts a SQL engine, creates the table, executes more statements and asks for the engine's version.
func (e *engine) prepare(t *testing.T, version string, more ...string) *engine {
	t.Helper()
	for _, s := range e.services {
		s.ready = e.db(t).PingContext
	}
	e.start(t)
	e.execute(t, append([]string{sqlstore.Schema(dialects()[e.kind])}, more...)...)
	must(t, e.db(t).QueryRowContext(t.Context(), version).Scan(&e.version))
	return e
}

// via is the same engine for clients that connect to it through a proxy.
func (e engine) via(listens string) *engine { //nolint:gocritic // a copy
	e.listens = listens
	return &e
}

// db is a connection that may do anything.
func (e *engine) db(t *testing.T) *sql.DB {
	t.Helper()
	db, err := database(e.kind, e.dsn(e.root, e.listens))
	must(t, err)
	return db
}

func (e *engine) execute(t *testing.T, statements ...string) {
	t.Helper()
	for _, statement := range statements {
		if _, err := e.db(t).ExecContext(t.Context(), statement); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
}

// address has what a process needs to open a store. For Kubernetes, table is the namespace.
type address struct{ kind, dsn, table, name string }

func (a address) String() string { return strings.Join([]string{a.kind, a.dsn, a.table, a.name}, "\t") }

// as returns the address of the row or Secret with this name, for an account.
func (e *engine) as(account, name string) address {
	table := "esper_keys"
	if e.kind == "kubernetes" {
		table = "fleet"
	}
	return address{e.kind, e.dsn(account, e.listens), table, name}
}

func (e *engine) at(name string) string { return e.as(e.root, name).String() }

var names atomic.Int64

// newName returns a name for a row or a Secret that no test has used.
func newName() string { return fmt.Sprintf("key-%d", names.Add(1)) }

// fresh returns the address of a row or Secret that does not exist yet.
func (e *engine) fresh(*testing.T) string { return e.at(newName()) }

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
	other, _ := pools.LoadOrStore(dsn, db) // to open a database makes no connection
	return other.(*sql.DB), nil
}

func dialects() map[string]sqlstore.Dialect {
	return map[string]sqlstore.Dialect{"pgx": sqlstore.PostgreSQL, "mysql": sqlstore.MySQL, "sqlite": sqlstore.SQLite}
}

// open makes a store, in this process or another.
func open(text string) (renew.Store, error) {
	parts := strings.Split(text, "\t")
	if len(parts) != 4 {
		return nil, fmt.Errorf("%q is not an address", text)
	}
	a := address{parts[0], parts[1], parts[2], parts[3]}
	if a.kind == "kubernetes" {
		return openSecret(a)
	}
	db, err := database(a.kind, a.dsn)
	if err != nil {
		return nil, err
	}
	return sqlstore.New(db, dialects()[a.kind], sqlstore.WithTable(a.table), sqlstore.WithName(a.name))
}

// storeAt opens the store at an address.
func storeAt(t *testing.T, address string) renew.Store {
	t.Helper()
	store, err := open(address)
	must(t, err)
	return store
}

// openSource opens a Source on the store at an address. The initial key is the server's.
func openSource(t *testing.T, server *espertest.Server, address string, opts ...renew.Option) (*renew.Source, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	source, err := renew.Open(ctx, server.URL, storeAt(t, address), append(opts, renew.WithInitialToken(esper.NewSecret(server.Token())))...)
	if source != nil {
		t.Cleanup(func() { _ = source.Close() })
	}
	return source, err
}

// fails wants an error in one line with a text. The page has it.
func fails(t *testing.T, e *engine, situation string, err error, want string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
		t.Errorf("%s: %v\nwant in one line: %s", situation, err, want)
		return
	}
	outcome(e, situation, err.Error())
}

func wants(t *testing.T, source *renew.Source, key string) {
	t.Helper()
	if token, err := source.Token(); err != nil || token.AccessToken != key {
		t.Errorf("the key is not the server's newest: %v", err)
	}
}

// eventually repeats a check until it succeeds: an engine needs a moment after a crash, or to see a new object.
func eventually(t *testing.T, try func() error) {
	t.Helper()
	err := try()
	for over := time.Now().Add(startTime); err != nil && time.Now().Before(over); <-time.After(20 * time.Millisecond) {
		err = try()
	}
	must(t, err)
}

// load reads a document. Connections from before a crash may first have to leave the pool.
func load(t *testing.T, store renew.Store) (document []byte, version string) {
	t.Helper()
	eventually(t, func() (err error) {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		document, version, err = store.Load(ctx)
		return err
	})
	return document, version
}
