//go:build linux

package stores

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // "pgx"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	_ "modernc.org/sqlite" // "sqlite"

	"github.com/esper-go/esper-go/pkg/esper/renew"
	"github.com/esper-go/esper-go/pkg/esper/renew/kubestore"
	"github.com/esper-go/esper-go/pkg/esper/renew/sqlstore"
	"github.com/esper-go/esper-go/pkg/stores/etcdstore"
)

// engine is a database or an API server that keeps documents.
type engine struct {
	name, version string
	kind          string // of its addresses
	root          string // the account that may do anything
	listens       string // the address at which its clients connect; "" for SQLite, which has none
	socket        string // the same for a socket; for SQLite, the file
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
var started = struct {
	mu  sync.Mutex
	all map[string]*engine
}{all: make(map[string]*engine)}

// get returns a running engine, which it starts if need be. In a process that storetest started, get starts nothing,
// and the engine has only its name.
func get(t *testing.T, name string) *engine {
	t.Helper()
	if os.Getenv("ESPER_STORETEST_TEST") != "" {
		return &engine{name: name}
	}
	if name == "PgBouncer" || name == "Standby" {
		get(t, "PostgreSQL")
	}
	started.mu.Lock()
	defer started.mu.Unlock()
	e := started.all[name]
	if e == nil {
		e = map[string]func(*testing.T) *engine{
			"PostgreSQL": postgres, "PgBouncer": pgbouncer, "Standby": standby, "MariaDB": mariadb, "MySQL": mysqld, "SQLite": sqlite,
			"Kubernetes": kubernetes,
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
		s.start(t)
	}
}

func newService(t *testing.T) (s *service, port string) {
	t.Helper()
	folder := newFolder(t)
	certificates(t, folder)
	if os.Getuid() == 0 {
		must(t, exec.CommandContext(t.Context(), "chown", "-R", fmt.Sprintf("%d:%d", nobody, nobody), folder).Run())
	}
	return &service{folder: folder, stop: syscall.SIGTERM}, freePort(t)
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

// via is the same engine for clients that connect to it at another address.
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

// at returns the address of the row or Secret with this name: all that a process needs to open the store.
func (e *engine) at(name string) string {
	return strings.Join([]string{e.kind, e.dsn(e.root, e.listens), name}, "\t")
}

var names atomic.Int64

// newName returns a name for a row or a Secret that no test has used.
func newName() string { return fmt.Sprintf("key-%d", names.Add(1)) }

// fresh returns the address of a row or Secret that does not exist yet.
func (e *engine) fresh(*testing.T) string { return e.at(newName()) }

// pools has the clients of engines that this process has open, by their DSN.
var pools sync.Map

func pooled[T any](dsn string, connect func() (T, error)) (T, error) {
	once, _ := pools.LoadOrStore(dsn, sync.OnceValues(connect)) // which makes no connection yet
	return once.(func() (T, error))()
}

func database(kind, dsn string) (*sql.DB, error) {
	return pooled(dsn, func() (*sql.DB, error) {
		db, err := sql.Open(kind, dsn)
		if err == nil {
			db.SetMaxOpenConns(8)
		}
		return db, err
	})
}

func dialects() map[string]sqlstore.Dialect {
	return map[string]sqlstore.Dialect{"pgx": sqlstore.PostgreSQL, "mysql": sqlstore.MySQL, "sqlite": sqlstore.SQLite}
}

// open makes a store, in this process or another.
func open(address string) (renew.Store, error) {
	parts := strings.Split(address, "\t")
	if len(parts) != 3 {
		return nil, fmt.Errorf("%q is not an address", address)
	}
	kind, dsn, name := parts[0], parts[1], parts[2]
	switch kind {
	case "kubernetes":
		clients, err := clientsAs(dsn)
		if err != nil {
			return nil, err
		}
		return kubestore.New(clients.CoreV1().Secrets(path.Base(dsn)), name), nil
	case "etcd":
		client, err := pooled(dsn, func() (*clientv3.Client, error) {
			return clientv3.New(clientv3.Config{Endpoints: []string{dsn}, DialTimeout: 10 * time.Second, Logger: zap.NewNop()})
		})
		return etcdstore.Store{Client: client, Key: name}, err
	}
	db, err := database(kind, dsn)
	if err != nil {
		return nil, err
	}
	return sqlstore.New(db, dialects()[kind], sqlstore.WithName(name))
}

// storeAt opens the store at an address.
func storeAt(t *testing.T, address string) renew.Store {
	t.Helper()
	store, err := open(address)
	must(t, err)
	return store
}

// eventually repeats a check until it succeeds: an engine needs a moment after a crash, or to see a new object.
func eventually(t testing.TB, try func() error) {
	t.Helper()
	err := try()
	for over := time.Now().Add(startTime); err != nil && time.Now().Before(over); <-time.After(20 * time.Millisecond) {
		err = try()
	}
	must(t, err)
}

// until waits for something to be so.
func until(t testing.TB, what string, is func() bool) {
	t.Helper()
	eventually(t, func() error {
		if !is() {
			return errors.New("it is not so: " + what)
		}
		return nil
	})
}

// load reads a document. Connections from before a crash may first have to leave the pool.
func load(t *testing.T, store renew.Store) (document []byte, version string) {
	t.Helper()
	eventually(t, func() (err error) {
		document, version, err = store.Load(t.Context())
		return err
	})
	return document, version
}

const startTime = 60 * time.Second // for an engine to be ready, also after a crash

// service is the process of a server. A test can kill it and start it again.
type service struct {
	args   []string
	asRoot bool // if the tests do
	folder string
	ready  func(ctx context.Context) error
	stop   syscall.Signal // with which it ends in an orderly way, and soon

	cmd   *exec.Cmd
	said  *tape         // what cmd has printed
	ended chan struct{} // closed once cmd has ended: then another process may have its pid
}

// folders makes the folder of all others that newFolder makes. TestMain removes it.
var folders = sync.OnceValues(func() (string, error) {
	folder, err := os.MkdirTemp("", "esper-stores-")
	return folder, errors.Join(err, os.Chmod(folder, 0o755))
})

// newFolder makes a temporary folder.
func newFolder(t testing.TB) string {
	t.Helper()
	all, err := folders()
	must(t, err)
	folder, err := os.MkdirTemp(all, "") //nolint:usetesting // an engine outlives the test that starts it
	must(t, err)
	return folder
}

// nobody is the user as whom an engine runs that refuses to run as root, if the tests run as root.
const nobody = 65534

// launch starts the process. The kernel kills it when the thread ends that started it (Pdeathsig), even because this
// process is killed. So that thread does nothing else until the process has ended.
func (s *service) launch() error {
	cmd, said, ended := exec.Command(s.args[0], s.args[1:]...), new(tape), make(chan struct{})
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if os.Getuid() == 0 && !s.asRoot {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: nobody, Gid: nobody}
	}
	cmd.Dir, cmd.Stdout, cmd.Stderr = "/", said, said
	errs := make(chan error)
	go func() {
		runtime.LockOSThread()
		errs <- cmd.Start()
		_ = cmd.Wait()
		close(ended)
	}()
	s.cmd, s.said, s.ended = cmd, said, ended
	return <-errs
}

// runOnce runs a program and waits until it ends.
func runOnce(t *testing.T, args ...string) {
	t.Helper()
	s := &service{args: args}
	must(t, s.launch())
	if <-s.ended; !s.cmd.ProcessState.Success() {
		t.Fatalf("%s: %v\n%s", args[0], s.cmd.ProcessState, s.said)
	}
}

// start starts the service and waits until it is ready. If the service ends, start begins again: processes from before
// a crash may still be ending.
func (s *service) start(t testing.TB) {
	t.Helper()
	eventually(t, func() error {
		if !s.runs() {
			if err := s.launch(); err != nil {
				return err
			}
		}
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		if err := s.ready(ctx); err != nil {
			return fmt.Errorf("%s is not ready: %w\n%s", s.args[0], err, s.said)
		}
		return nil
	})
}

// end asks the process to end, and waits until it has.
func (s *service) end() {
	_ = s.cmd.Process.Signal(s.stop)
	<-s.ended
}

// kill sends SIGKILL to the process and its children, and waits until all have ended: each has the pipe for what it
// prints. After that they write nothing.
func (s *service) kill() {
	if s.runs() {
		s.signal(syscall.SIGKILL)
		<-s.ended
	}
}

func (s *service) runs() bool {
	select {
	case <-s.ended:
		return false
	default:
		return s.ended != nil
	}
}

// signal sends a signal to the process and its children.
func (s *service) signal(sig syscall.Signal) {
	pids := strconv.Itoa(s.cmd.Process.Pid)
	files, _ := filepath.Glob("/proc/" + pids + "/task/*/children")
	for _, file := range files {
		children, _ := os.ReadFile(file)
		pids += " " + string(children)
	}
	for text := range strings.FieldsSeq(pids) {
		if pid, err := strconv.Atoi(text); err == nil {
			_ = syscall.Kill(pid, sig)
		}
	}
}

var lastPort atomic.Int64 // of those that freePort gives

// freePort returns a port of the loopback interface on which nobody listens, and which it has not returned before. It
// returns no port that the system gives to outgoing connections (from 16000 on gVisor, from 32768 on Linux): a
// connection could take such a port while the engine that listens there is killed.
func freePort(t testing.TB) string {
	t.Helper()
	const lowest, number = 10_000, 6_000
	lastPort.CompareAndSwap(0, rand.Int64N(number))
	for range number {
		port := strconv.FormatInt(lowest+lastPort.Add(1)%number, 10)
		if l, err := net.Listen("tcp", "127.0.0.1:"+port); err == nil {
			must(t, l.Close())
			return port
		}
	}
	t.Fatal("no port is free")
	return ""
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// tape keeps what is written to it. Several may write and read it at once.
type tape struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (w *tape) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.Write(p)
}

func (w *tape) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.String()
}
