package main

import (
	"database/sql"
	"net/url"
	"os"
	"strings"

	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/esper-go/esper-go/pkg/esper/renew"
	"github.com/esper-go/esper-go/pkg/esper/renew/sqlstore"
)

func postgresStore(u *url.URL) (renew.Store, func(), error) {
	own, rest, err := options(u, "table", "name")
	if err != nil {
		return nil, nil, err
	}
	plain := *u
	plain.RawQuery = rest.Encode()
	config, err := pgx.ParseConfig(plain.String())
	if err != nil { // not wrapped, because it quotes the URL
		return nil, nil, usage("the URL of the PostgreSQL store cannot be used; check its host, port, database and parameters, and the variables that begin with PG")
	}
	return sqlStore(stdlib.OpenDB(*config), sqlstore.PostgreSQL, own, false)
}

func mysqlStore(u *url.URL) (renew.Store, func(), error) {
	own, rest, err := options(u, "table", "name")
	if err != nil {
		return nil, nil, err
	}
	config, err := mysql.ParseDSN("/?" + rest.Encode())
	if err != nil {
		return nil, nil, usage("the parameters of the MySQL store's URL cannot be used")
	}
	config.User, config.DBName, config.Net, config.Addr = u.User.Username(), strings.TrimPrefix(u.Path, "/"), "tcp", u.Host
	config.Passwd = os.Getenv("MYSQL_PWD")
	if password, ok := u.User.Password(); ok {
		config.Passwd = password
	}
	if u.Port() == "" {
		config.Addr = u.Host + ":3306"
	}
	config.Logger = new(mysql.NopLogger)
	connector, err := mysql.NewConnector(config)
	if err != nil || u.Hostname() == "" || config.DBName == "" {
		return nil, nil, usage("the URL of the MySQL store cannot be used; it is mysql://user@host/database")
	}
	return sqlStore(sql.OpenDB(connector), sqlstore.MySQL, own, false)
}
