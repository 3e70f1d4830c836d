//go:build linux

package stores

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"

	"github.com/go-sql-driver/mysql"

	"github.com/esper-go/esper-go/pkg/esper/renew/sqlstore"
)

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

// standby starts a standby of a PostgreSQL server.
func standby(of *engine) (*engine, error) {
	s, port, err := newService("standby", "postgres")
	if err != nil {
		return nil, err
	}
	bin, data := filepath.Dir(of.services[0].args[0]), filepath.Join(s.folder, "data")
	if err := runOnce("postgres", bin+"/pg_basebackup", "-D", data, "-R", "-c", "fast", "-d", "postgres://esper@"+of.listens+"/postgres?sslmode=disable"); err != nil {
		return nil, err
	}
	s.args = []string{bin + "/postgres", "-D", data, "-p", port, "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=" + s.folder, "-c", "max_connections=300"}
	e := &engine{name: "standby", listens: "127.0.0.1:" + port, services: []*service{s}}
	db, err := database("pgx", postgresAt(e, "esper", "", "").dsn)
	if err != nil {
		return nil, err
	}
	s.ready = db.PingContext
	return e, s.start()
}
