//go:build linux

package stores

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	_ "github.com/go-sql-driver/mysql" // "mysql"
)

// postgres starts a PostgreSQL server. Its user tlsonly has to use TLS, and its user secretive has a password.
func postgres(t *testing.T) *engine {
	t.Helper()
	programs, _ := filepath.Glob("/usr/lib/postgresql/*/bin")
	if len(programs) == 0 {
		t.Fatal("PostgreSQL is not installed: install Debian's package postgresql")
	}
	bin := programs[len(programs)-1]
	s, port := newService(t)
	data := filepath.Join(s.folder, "data")
	runOnce(t, bin+"/initdb", "-D", data, "-U", "esper", "--auth=trust", "--no-instructions")
	hba, err := os.ReadFile(data + "/pg_hba.conf")
	must(t, err)
	rules := "hostnossl all tlsonly all reject\nhost all secretive all scram-sha-256\n"
	must(t, os.WriteFile(data+"/pg_hba.conf", append([]byte(rules), hba...), 0o600))
	s.args = []string{
		bin + "/postgres", "-D", data, "-p", port, "-c", "listen_addresses=127.0.0.1", "-c", "ssl=on",
		"-c", "ssl_cert_file=" + s.folder + "/ca.pem", "-c", "ssl_key_file=" + s.folder + "/key.pem",
		"-c", "unix_socket_directories=" + s.folder, "-c", "max_connections=300",
		"-c", "wal_writer_delay=10s", "-c", "wal_writer_flush_after=1GB", // what does not wait for the disk itself is late
	}
	s.stop = syscall.SIGINT // SIGTERM would wait for the clients to go
	return postgresAt(s, port, "").prepare(t, "SHOW server_version",
		"CREATE USER tlsonly", "GRANT ALL ON esper_keys TO tlsonly", "CREATE USER secretive PASSWORD 'a word'",
		"CREATE USER nobody; CREATE USER reader; CREATE USER writer; CREATE USER owner", `CREATE SCHEMA "o'ps"`, `GRANT USAGE ON SCHEMA "o'ps" TO PUBLIC`)
}

func postgresAt(s *service, port, parameters string) *engine {
	return &engine{kind: "pgx", root: "esper", listens: "127.0.0.1:" + port, socket: s.folder + "/.s.PGSQL." + port, services: []*service{s}, dsn: func(account, listens string) string {
		return "postgres://" + account + "@" + listens + "/postgres?sslmode=disable&connect_timeout=5" + parameters
	}}
}

// pgbouncer starts a PgBouncer in front of PostgreSQL, in transaction mode: each statement may use another session.
func pgbouncer(t *testing.T) *engine {
	t.Helper()
	s, port := newService(t)
	_, to, _ := strings.Cut(started.all["PostgreSQL"].listens, ":") // get has started it
	settings := "[databases]\npostgres = host=127.0.0.1 port=" + to + "\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = " + port +
		"\nunix_socket_dir =\nauth_type = trust\nauth_file = " + s.folder + "/users\npool_mode = transaction\ndefault_pool_size = 3\n"
	must(t, os.WriteFile(s.folder+"/ini", []byte(settings), 0o644))
	must(t, os.WriteFile(s.folder+"/users", []byte(`"esper" ""`+"\n"), 0o644))
	s.args = []string{"/usr/sbin/pgbouncer", s.folder + "/ini"}
	return postgresAt(s, port, "&default_query_exec_mode=exec").prepare(t, "SELECT 'in front of PostgreSQL'")
}

// standby starts a standby of PostgreSQL.
func standby(t *testing.T) *engine {
	t.Helper()
	s, port := newService(t)
	primary := started.all["PostgreSQL"]
	runOnce(t, filepath.Dir(primary.server().args[0])+"/pg_basebackup", "-D", s.folder+"/data", "-R", "-c", "fast", "-d", primary.dsn(primary.root, primary.listens))
	s.args = append(slices.Clone(primary.server().args), "-D", s.folder+"/data", "-p", port, "-c", "unix_socket_directories="+s.folder)
	e := postgresAt(s, port, "")
	s.ready = e.db(t).PingContext
	e.start(t)
	e.version = "of PostgreSQL"
	return e
}

// mariadb starts a MariaDB server.
func mariadb(t *testing.T) *engine {
	t.Helper()
	s, port := newService(t)
	data := filepath.Join(s.folder, "data")
	runOnce(t, "mariadb-install-db", "--no-defaults", "--datadir="+data, "--auth-root-authentication-method=normal", "--skip-test-db")
	s.args = []string{"mariadbd", "--no-defaults", "--datadir=" + data}
	return mysqlEngine(t, s, port)
}

// mysqld starts a MySQL server.
func mysqld(t *testing.T) *engine {
	t.Helper()
	s, port := newService(t)
	data, users := filepath.Join(s.folder, "data"), filepath.Join(s.folder, "users.sql")
	s.args = []string{s.folder + "/bin/mysqld", "--no-defaults", "--basedir=" + s.folder, "--lc-messages-dir=" + s.folder + "/share", "--datadir=" + data, "--mysqlx=OFF"}
	program, err := filepath.Abs(".build/mysql.tar.gz")
	must(t, err)
	if out, err := exec.CommandContext(t.Context(), "tar", "xzf", program, "--no-same-owner", "-C", s.folder).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	must(t, os.WriteFile(users, []byte("CREATE USER root@'127.0.0.1';\nGRANT ALL ON *.* TO root@'127.0.0.1' WITH GRANT OPTION;\n"), 0o644))
	runOnce(t, append(slices.Clone(s.args), "--initialize-insecure", "--init-file="+users)...)
	return mysqlEngine(t, s, port)
}

// mysqlEngine starts a server that speaks MySQL's protocol.
func mysqlEngine(t *testing.T, s *service, port string) *engine {
	t.Helper()
	e := &engine{kind: "mysql", root: "root", listens: "127.0.0.1:" + port, socket: filepath.Join(s.folder, "s"), services: []*service{s}}
	s.args = append(s.args, "--bind-address=127.0.0.1", "--port="+port, "--socket="+e.socket, "--max-connections=300", "--skip-name-resolve",
		"--ssl-ca="+s.folder+"/ca.pem", "--ssl-cert="+s.folder+"/ca.pem", "--ssl-key="+s.folder+"/key.pem")
	e.dsn = func(account, listens string) string { return account + "@tcp(" + listens + ")/mysql" }
	return e.prepare(t, "SELECT version()", "CREATE USER tlsonly REQUIRE SSL", "GRANT ALL ON mysql.esper_keys TO tlsonly",
		"CREATE USER secretive IDENTIFIED BY 'a word'", "GRANT SELECT, INSERT, UPDATE ON mysql.esper_keys TO secretive",
		"CREATE USER nobody, reader, writer, owner", "CREATE SCHEMA `o'ps`",
		"GRANT SELECT ON mysql.esper_keys TO nobody, reader, writer, owner") // without a right there, nobody can use the database
}

// sqlite creates a database file.
func sqlite(t *testing.T) *engine {
	t.Helper()
	e := &engine{kind: "sqlite", socket: filepath.Join(newFolder(t), "keys.db")}
	e.dsn = func(string, string) string {
		return "file:" + e.socket + "?_pragma=busy_timeout(1000)&_pragma=journal_mode(delete)&_pragma=synchronous(extra)"
	}
	return e.prepare(t, "SELECT sqlite_version()")
}
