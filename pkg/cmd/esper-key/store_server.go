package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
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

// connect opens a connection to a database. If the server offers no TLS, the error says what to do.
type connect func(ctx context.Context) (driver.Conn, error)

func (connect) Driver() driver.Driver { return nil }

func (c connect) Connect(ctx context.Context) (driver.Conn, error) {
	connection, err := c(ctx)
	if err != nil && (errors.Is(err, mysql.ErrNoTLS) || strings.Contains(err.Error(), "server refused TLS connection")) {
		err = fmt.Errorf("%w; the server offers no TLS: turn it on there, or add sslmode=disable to the store's URL if nobody can listen on the way to it", err)
	}
	return connection, err
}

// parameters are those that the URL of each database server may have.
type parameters struct {
	row    []sqlstore.Option
	socket string // of a server on this machine
	mode   string // of TLS, in PostgreSQL's words, or "" if the URL does not say
	ca     string // a file with the certificates of authorities, in PEM
}

// open opens the store. address is the server's, for errors.
func (p parameters) open(a *app, c connect, d sqlstore.Dialect, address string) (renew.Store, error) {
	store, err := a.sqlStore(sql.OpenDB(c), d, p.row)
	if err != nil {
		return nil, err
	}
	return onServer{store, address}, nil
}

// The modes of TLS, as --help and errors list them. The words of other clients are known too.
const tlsModes = "disable, prefer, require, verify-ca and verify-full"

// takeParameters removes the parameters from a URL's query. The clients of the databases have several names for each about
// TLS, and several values.
func takeParameters(u *url.URL, query url.Values) (p parameters, err error) {
	p.row, p.socket = rowOf(query), take(query, "socket")
	if host := u.Hostname(); p.socket != "" && host != "" && host != "localhost" {
		return p, usage("the URL of the store names a host and a socket; keep one")
	}
	word := func(text string) string { return strings.NewReplacer("-", "", "_", "").Replace(strings.ToLower(text)) }
	modes := map[string]string{
		"disable": "disable", "disabled": "disable", "false": "disable", "0": "disable",
		"allow": "prefer", "prefer": "prefer", "preferred": "prefer",
		"require": "require", "required": "require", "skipverify": "require", "true": "require", "1": "require",
		"verifyca": "verify-ca", "verifyfull": "verify-full", "verifyidentity": "verify-full",
	}
	for name := range maps.Clone(query) {
		switch word(name) {
		case "sslca", "sslrootcert":
			p.ca = take(query, name)
		case "sslmode", "usessl", "ssl", "tls":
			value := word(take(query, name))
			mode, ok := modes[value]
			if word(name) == "tls" && (value == "true" || value == "1") {
				mode = "verify-full" // as go-sql-driver/mysql means it
			}
			switch {
			case !ok:
				return p, usage("the value of %s in the store's URL is not known; write sslmode=, and one of %s", name, tlsModes)
			case p.mode != "" && p.mode != mode:
				return p, usage("two parameters of the store's URL disagree about TLS; keep one, such as sslmode=verify-full")
			}
			p.mode = mode
		}
	}
	if p.ca != "" && p.mode == "" {
		p.mode = "verify-ca"
	}
	return p, nil
}

// readable fails if a file has no certificates of authorities. It is looked at for each connection: it may come late, or
// change.
func readable(file string) error {
	data, err := os.ReadFile(file) //nolint:gosec // the operator names it
	if err == nil && !x509.NewCertPool().AppendCertsFromPEM(data) {
		err = fmt.Errorf("%s has no certificate in PEM", file)
	}
	if err != nil && file != "" && file != "system" {
		return fmt.Errorf("the certificates of the store's authority: %w", err)
	}
	return nil
}

// readURL reads a URL of PostgreSQL. The error of pgx quotes the URL, which may hold a password.
func readURL(u url.URL, query url.Values) (*pgx.ConnConfig, error) {
	u.RawQuery = strings.ReplaceAll(query.Encode(), "+", "%20") // for pgx, a + is no blank
	config, err := pgx.ParseConfig(u.String())
	if err != nil {
		return nil, errors.Join(errors.New("the settings of the store cannot be used"), errors.Unwrap(err))
	}
	return config, nil
}

func (a *app) postgresStore(u *url.URL, query url.Values) (renew.Store, error) {
	p, err := takeParameters(u, query)
	if err != nil {
		return nil, err
	}
	set := func(name, value string) {
		if value != "" {
			query.Set(name, value)
		}
	}
	set("sslmode", p.mode)
	set("sslrootcert", p.ca)
	// A named prepared statement fails behind a pooler.
	set("default_query_exec_mode", cmp.Or(query.Get("default_query_exec_mode"), "exec"))
	folder, port, _ := strings.Cut(p.socket, "/.s.PGSQL.") // perhaps the socket's file, not its folder
	set("host", folder)
	set("port", port)
	written := p.mode != "" || os.Getenv("PGSSLMODE") != ""
	unread := maps.Clone(query) // the files that it names may be missing for now
	for _, file := range []string{"sslrootcert", "sslcert", "sslkey"} {
		unread.Set(file, "")
	}
	config, err := readURL(*u, unread)
	if err != nil {
		return nil, usage("the URL of the PostgreSQL store cannot be used; check its host, port, database and parameters, and the variables that begin with PG")
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
	return p.open(a, func(ctx context.Context) (driver.Conn, error) {
		if err := readable(cmp.Or(p.ca, os.Getenv("PGSSLROOTCERT"))); err != nil {
			return nil, err
		}
		config, err := readURL(*u, query)
		if err != nil {
			return nil, err
		}
		return stdlib.GetConnector(*config).Connect(ctx)
	}, sqlstore.PostgreSQL, strings.Join(addresses, ","))
}

func (a *app) mysqlStore(u *url.URL, query url.Values) (renew.Store, error) {
	p, err := takeParameters(u, query)
	if err == nil { // the driver would have the server set any other parameter as a variable
		err = nothingElse(u, query, "allowCleartextPasswords", "allowNativePasswords", "allowOldPasswords", "charset", "collation", "compress",
			"connectionAttributes", "loc", "maxAllowedPacket", "parseTime", "readTimeout", "rejectReadOnly", "timeout", "writeTimeout")
	}
	if err != nil {
		return nil, err
	}
	config, err := mysql.ParseDSN("/?" + query.Encode())
	if err != nil {
		return nil, usage("the parameters of the MySQL store's URL cannot be used")
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
	config.AllowFallbackToPlaintext = p.mode == "prefer"
	_ = config.Apply(mysql.BeforeConnect(func(_ context.Context, c *mysql.Config) (err error) {
		c.TLS, err = p.tls(host)
		return err
	}))
	c, err := mysql.NewConnector(config)
	if err != nil || host == "" && p.socket == "" || config.DBName == "" {
		return nil, usage("the URL of the MySQL store cannot be used; it is mysql://user@host/database, or mysql://user@/database?socket=/run/mysqld/mysqld.sock")
	}
	return p.open(a, c.Connect, sqlstore.MySQL, config.Addr)
}

// tls returns the settings for TLS with a MySQL host, or nil if TLS is not to be used. They are those that pgx makes of the
// same parameters.
func (p parameters) tls(host string) (*tls.Config, error) {
	if err := readable(p.ca); err != nil {
		return nil, err
	}
	alike := url.URL{Scheme: "postgres", User: url.User("a"), Host: net.JoinHostPort(cmp.Or(host, "localhost"), "1")}
	config, err := readURL(alike, url.Values{"sslmode": {p.mode}, "sslrootcert": {p.ca}, "sslcert": {""}, "sslkey": {""}, "sslnegotiation": {"postgres"}})
	if err != nil || config.TLSConfig == nil {
		return nil, err
	}
	for _, suite := range tls.CipherSuites() {
		config.TLSConfig.CipherSuites = append(config.TLSConfig.CipherSuites, suite.ID)
	}
	// MySQL 5.7 and the first releases of 8.0 have no key exchange that Go offers by itself.
	config.TLSConfig.CipherSuites = append(config.TLSConfig.CipherSuites, tls.TLS_RSA_WITH_AES_256_GCM_SHA384, tls.TLS_RSA_WITH_AES_128_GCM_SHA256)
	return config.TLSConfig, nil
}

// local reports whether a host is this machine: a loopback address, or a folder with a socket.
func local(host string) bool {
	return host == "localhost" || net.ParseIP(host).IsLoopback() || filepath.IsAbs(host)
}
