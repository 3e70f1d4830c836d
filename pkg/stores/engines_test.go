//go:build linux

package stores

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/go-sql-driver/mysql"
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

// postgres starts a PostgreSQL server. Its user tlsonly has to use TLS, and its user secretive has a password.
func postgres() (*engine, error) {
	programs, _ := filepath.Glob("/usr/lib/postgresql/*/bin")
	if len(programs) == 0 {
		return nil, fmt.Errorf("PostgreSQL is not installed: install Debian's package postgresql")
	}
	bin := programs[len(programs)-1]
	s, port, err := newService("postgres", "postgres")
	if err != nil {
		return nil, err
	}
	data := filepath.Join(s.folder, "data")
	if err := runOnce("postgres", bin+"/initdb", "-D", data, "-U", "esper", "--auth=trust", "--no-instructions"); err != nil {
		return nil, err
	}
	hba, err := os.ReadFile(data + "/pg_hba.conf")
	if err == nil {
		rules := "hostnossl all tlsonly all reject\nhost all secretive all scram-sha-256\n"
		err = os.WriteFile(data+"/pg_hba.conf", append([]byte(rules), hba...), 0o600)
	}
	if err != nil {
		return nil, err
	}
	s.args = []string{
		bin + "/postgres", "-D", data, "-p", port, "-c", "listen_addresses=127.0.0.1", "-c", "ssl=on",
		"-c", "ssl_cert_file=" + s.folder + "/server.pem", "-c", "ssl_key_file=" + s.folder + "/key.pem",
		"-c", "unix_socket_directories=" + s.folder, "-c", "max_connections=300",
	}
	s.stop = syscall.SIGINT // SIGTERM would wait for the clients to go
	e := &engine{name: "PostgreSQL", listens: "127.0.0.1:" + port, socket: s.folder, services: []*service{s}}
	e.at = func(name, via string) string { return postgresAt(e, "esper", name, via).String() }
	return e, e.prepare("pgx", postgresAt(e, "esper", "", "").dsn, sqlstore.PostgreSQL, "SHOW server_version",
		"CREATE USER tlsonly", "GRANT ALL ON esper_keys TO tlsonly", "CREATE USER secretive PASSWORD 'a word'", "CREATE USER ruled")
}

func postgresAt(e *engine, account, name, via string) address {
	if via == "" {
		via = e.listens
	}
	return address{"pgx", "postgres://" + account + "@" + via + "/postgres?sslmode=disable&connect_timeout=5", "esper_keys", name}
}

// pgbouncer starts a PgBouncer in front of PostgreSQL, in transaction mode: each statement may use another session.
func pgbouncer() (*engine, error) {
	behind := started.all["PostgreSQL"] // get has started it
	s, port, err := newService("pgbouncer", "postgres")
	if err != nil {
		return nil, err
	}
	_, to, _ := strings.Cut(behind.listens, ":")
	settings := "[databases]\npostgres = host=127.0.0.1 port=" + to + "\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = " + port +
		"\nunix_socket_dir =\nauth_type = trust\nauth_file = " + s.folder + "/users\npool_mode = transaction\ndefault_pool_size = 3\n"
	for name, text := range map[string]string{"ini": settings, "users": `"esper" ""` + "\n"} {
		if err := os.WriteFile(filepath.Join(s.folder, name), []byte(text), 0o644); err != nil {
			return nil, err
		}
	}
	s.args = []string{"/usr/sbin/pgbouncer", s.folder + "/ini"}
	e := &engine{name: "PgBouncer", listens: "127.0.0.1:" + port, services: []*service{s}}
	e.at = func(name, via string) string {
		a := postgresAt(e, "esper", name, via)
		a.dsn += "&default_query_exec_mode=exec"
		return a.String()
	}
	return e, e.prepare("pgx", postgresAt(e, "esper", "", "").dsn+"&default_query_exec_mode=exec", sqlstore.PostgreSQL, "SELECT 'in front of PostgreSQL'")
}

// mariadb starts a MariaDB server.
func mariadb() (*engine, error) {
	s, port, err := newService("mariadbd", "mysql")
	if err != nil {
		return nil, err
	}
	data := filepath.Join(s.folder, "data")
	if err := runOnce("mysql", "mariadb-install-db", "--no-defaults", "--datadir="+data, "--auth-root-authentication-method=normal", "--skip-test-db"); err != nil {
		return nil, err
	}
	s.args = []string{"mariadbd", "--no-defaults", "--datadir=" + data}
	return mysqlEngine("MariaDB", s, port)
}

// mysqld starts a MySQL server.
func mysqld() (*engine, error) {
	s, port, err := newService("mysqld", "mysql")
	if err != nil {
		return nil, err
	}
	data, users := filepath.Join(s.folder, "data"), filepath.Join(s.folder, "users.sql")
	s.args = []string{s.folder + "/bin/mysqld", "--no-defaults", "--basedir=" + s.folder, "--lc-messages-dir=" + s.folder + "/share", "--datadir=" + data, "--mysqlx=OFF"}
	program, err := filepath.Abs(".build/mysql.tar.gz")
	if err == nil {
		err = runOnce("", "tar", "xzf", program, "--no-same-owner", "-C", s.folder)
	}
	if err == nil {
		err = os.WriteFile(users, []byte("CREATE USER root@'127.0.0.1';\nGRANT ALL ON *.* TO root@'127.0.0.1' WITH GRANT OPTION;\n"), 0o644)
	}
	if err == nil {
		err = runOnce("mysql", append(slices.Clone(s.args), "--initialize-insecure", "--init-file="+users)...)
	}
	if err != nil {
		return nil, err
	}
	return mysqlEngine("MySQL", s, port)
}

// mysqlEngine starts a server that speaks MySQL's protocol.
func mysqlEngine(name string, s *service, port string) (*engine, error) {
	e := &engine{name: name, listens: "127.0.0.1:" + port, socket: filepath.Join(s.folder, "s"), services: []*service{s}}
	s.args = append(s.args, "--bind-address=127.0.0.1", "--port="+port, "--socket="+e.socket, "--max-connections=300", "--skip-name-resolve",
		"--ssl-ca="+s.folder+"/ca.pem", "--ssl-cert="+s.folder+"/server.pem", "--ssl-key="+s.folder+"/key.pem")
	e.at = func(name, via string) string { return mysqlAt(e, "root", "mysql", name, via).String() }
	return e, e.prepare("mysql", mysqlAt(e, "root", "mysql", "", "").dsn, sqlstore.MySQL, "SELECT version()", "CREATE USER tlsonly REQUIRE SSL",
		"GRANT ALL ON mysql.esper_keys TO tlsonly", "CREATE USER secretive IDENTIFIED BY 'a word'")
}

func mysqlAt(e *engine, account, schema, name, via string) address {
	if via == "" {
		via = e.listens
	}
	c := mysql.NewConfig()
	c.User, c.Net, c.Addr, c.DBName = account, "tcp", via, schema
	return address{"mysql", c.FormatDSN(), "esper_keys", name}
}

// sqlite creates a database file.
func sqlite() (*engine, error) {
	folder, err := newFolder("")
	if err != nil {
		return nil, err
	}
	dsn := "file:" + filepath.Join(folder, "keys.db") + "?_pragma=busy_timeout(1000)&_pragma=journal_mode(delete)&_pragma=synchronous(extra)"
	e := &engine{name: "SQLite", folder: folder}
	e.at = func(name, _ string) string { return address{"sqlite", dsn, "esper_keys", name}.String() }
	return e, e.prepare("sqlite", dsn, sqlstore.SQLite, "SELECT sqlite_version()")
}

// file is a folder for key files.
func file() (*engine, error) {
	folder, err := newFolder("")
	e := &engine{name: "File", version: runtime.GOOS, folder: folder}
	e.at = func(name, _ string) string { return address{"file", filepath.Join(folder, name), "", ""}.String() }
	return e, err
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
