package main

import (
	"cmp"
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/esper-go/esper-go/pkg/esper/renew"
	"github.com/esper-go/esper-go/pkg/esper/renew/sqlstore"
)

// onServer is a store in a database server. Its name in errors has the server's address.
type onServer struct {
	renew.Store
	address string
}

func (s onServer) String() string { return fmt.Sprintf("%s on %s", s.Store, s.address) }

// connector opens connections. Its errors say what to do if the server offers no TLS.
type connector struct {
	driver.Connector
}

func (c connector) Connect(ctx context.Context) (driver.Conn, error) {
	connection, err := c.Connector.Connect(ctx)
	if err != nil && (errors.Is(err, mysql.ErrNoTLS) || strings.Contains(err.Error(), "server refused TLS connection")) {
		err = fmt.Errorf("%w; the server offers no TLS: turn it on there, or add sslmode=disable to the store's URL if nobody can listen on the way to it", err)
	}
	return connection, err
}

// server opens the store in a database server. address is the server's, for errors.
func server(c driver.Connector, d sqlstore.Dialect, row []sqlstore.Option, address string) (renew.Store, func(), error) {
	store, closeStore, err := sqlStore(sql.OpenDB(connector{c}), d, row, false)
	if err != nil {
		return nil, nil, err
	}
	return onServer{store, address}, closeStore, nil
}

// parameters are those that the URL of each database server may have.
type parameters struct {
	security
	row    []sqlstore.Option
	socket string // of a server on this machine
}

func takeParameters(u *url.URL, query url.Values) (p parameters, err error) {
	p.row, p.socket = rowOf(query), take(query, "socket")
	if host := u.Hostname(); p.socket != "" && host != "" && host != "localhost" {
		return p, usage("the URL of the store names a host and a socket; keep one")
	}
	p.security, err = takeSecurity(query)
	return p, err
}

// postgres opens connections to PostgreSQL. It reads the files with certificates again for each connection: they may
// come late, or change.
type postgres struct{ url, ca string }

func (postgres) Driver() driver.Driver { return stdlib.GetDefaultDriver() }

func (p postgres) Connect(ctx context.Context) (driver.Conn, error) {
	if p.ca != "" && p.ca != "system" {
		if _, err := authorities(p.ca); err != nil {
			return nil, err
		}
	}
	config, err := pgx.ParseConfig(p.url)
	if err != nil { // it quotes the URL, which may hold a password
		return nil, errors.Join(errors.New("the settings of the PostgreSQL store cannot be used"), errors.Unwrap(err))
	}
	return stdlib.GetConnector(*config).Connect(ctx)
}

func postgresStore(u *url.URL, query url.Values) (renew.Store, func(), error) {
	p, err := takeParameters(u, query)
	if err != nil {
		return nil, nil, err
	}
	set := func(name, value string) {
		if value != "" {
			query.Set(name, value)
		}
	}
	set("sslmode", p.mode)
	set("sslrootcert", p.ca)
	if !query.Has("default_query_exec_mode") {
		query.Set("default_query_exec_mode", "exec") // a named prepared statement fails behind a pooler
	}
	folder, port, _ := strings.Cut(p.socket, "/.s.PGSQL.") // perhaps the socket's file, not its folder
	set("host", folder)
	set("port", port)
	written := p.mode != "" || os.Getenv("PGSSLMODE") != ""
	unread := maps.Clone(query) // the files that it names may be missing for now
	for _, file := range []string{"sslrootcert", "sslcert", "sslkey"} {
		unread.Set(file, "")
	}
	config, err := pgx.ParseConfig(withQuery(*u, unread))
	if err != nil {
		return nil, nil, usage("the URL of the PostgreSQL store cannot be used; check its host, port, database and parameters, and the variables that begin with PG")
	}
	hosts := append([]*pgconn.FallbackConfig{{Host: config.Host, Port: config.Port, TLSConfig: config.TLSConfig}}, config.Fallbacks...)
	var addresses []string
	for i, h := range hosts {
		_, address := pgconn.NetworkAddress(h.Host, h.Port)
		if !slices.Contains(addresses, address) {
			addresses = append(addresses, address)
		} else if !written && h.TLSConfig == nil && hosts[i-1].TLSConfig != nil && !local(h.Host) { // pgx would fall back to plain text
			query.Set("sslmode", "require")
		}
	}
	return server(postgres{withQuery(*u, query), cmp.Or(p.ca, os.Getenv("PGSSLROOTCERT"))}, sqlstore.PostgreSQL, p.row, strings.Join(addresses, ","))
}

// withQuery returns the URL with other parameters, for pgx, for which a + is no blank.
func withQuery(u url.URL, query url.Values) string {
	u.RawQuery = strings.ReplaceAll(query.Encode(), "+", "%20")
	return u.String()
}

func mysqlStore(u *url.URL, query url.Values) (renew.Store, func(), error) {
	p, err := takeParameters(u, query)
	if err == nil { // the driver would have the server set any other parameter as a variable
		err = nothingElse(u, query, "allowCleartextPasswords", "allowNativePasswords", "allowOldPasswords", "charset", "collation", "compress",
			"connectionAttributes", "loc", "maxAllowedPacket", "parseTime", "readTimeout", "rejectReadOnly", "timeout", "writeTimeout")
	}
	if err != nil {
		return nil, nil, err
	}
	config, err := mysql.ParseDSN("/?" + query.Encode())
	if err != nil {
		return nil, nil, usage("the parameters of the MySQL store's URL cannot be used")
	}
	config.User, config.DBName = u.User.Username(), strings.TrimPrefix(u.Path, "/")
	config.Passwd = os.Getenv("MYSQL_PWD")
	if password, ok := u.User.Password(); ok {
		config.Passwd = password
	}
	host := u.Hostname()
	config.Net, config.Addr = "tcp", net.JoinHostPort(host, cmp.Or(u.Port(), "3306"))
	standard := "require"
	switch {
	case p.socket != "":
		config.Net, config.Addr = "unix", p.socket
		standard = "disable"
	case local(host):
		standard = "prefer"
	}
	p.mode = cmp.Or(p.mode, standard)
	config.Logger = new(mysql.NopLogger)
	_ = config.Apply(mysql.BeforeConnect(func(_ context.Context, c *mysql.Config) (err error) {
		c.TLS, err = p.config(host)
		c.AllowFallbackToPlaintext = p.mode == "prefer" || p.mode == "allow"
		return err
	}))
	c, err := mysql.NewConnector(config)
	if err != nil || host == "" && p.socket == "" || config.DBName == "" {
		return nil, nil, usage("the URL of the MySQL store cannot be used; it is mysql://user@host/database, or mysql://user@/database?socket=/run/mysqld/mysqld.sock")
	}
	return server(c, sqlstore.MySQL, p.row, config.Addr)
}

// local reports whether a host is this machine: a loopback address, or a folder with a socket.
func local(host string) bool {
	return host == "localhost" || net.ParseIP(host).IsLoopback() || filepath.IsAbs(host)
}
