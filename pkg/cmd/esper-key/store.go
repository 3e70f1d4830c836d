package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/url"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"

	_ "modernc.org/sqlite" // the driver "sqlite"

	"github.com/esper-go/esper-go/pkg/esper/renew"
	"github.com/esper-go/esper-go/pkg/esper/renew/sqlstore"
	"github.com/esper-go/esper-go/pkg/internal/keyfile"
)

// openStore opens the store that a URL names. With readOnly it makes no file and no table. What a person should know about
// the store, it passes to warn. No error repeats the URL, which may hold a password.
func openStore(address string, readOnly bool, warn func(text string)) (store renew.Store, closeStore func(), err error) {
	if address == "" {
		return nil, nil, usage("no store is given: set %s to the URL of a store, such as file:///var/lib/esper-key/key.json, or use --store", storeVariable)
	}
	address = strings.TrimSpace(address) // a variable that was read from a file may end with a line end
	if strings.ContainsAny(address, `"'`) {
		return nil, nil, usage("the URL of the store holds a quote; remove it, or write it as %%22 or %%27 if it belongs to the URL")
	}
	u, err := url.Parse(address)
	if err != nil {
		return nil, nil, usage("the URL of the store cannot be read; a socket is written as ?socket=/run/postgresql, and in a password @, / and %% as %%40, %%2F and %%25")
	}
	query, err := url.ParseQuery(u.RawQuery)
	switch {
	case u.Fragment != "" || strings.HasSuffix(address, "#"):
		return nil, nil, usage("the URL of the store holds a #; write it as %%23")
	case err != nil:
		return nil, nil, usage("the query of the store's URL cannot be read")
	case u.Scheme == "file":
		return fileStore(u, query)
	case u.Scheme == "sqlite":
		return sqliteStore(u, query, readOnly, warn)
	case u.Scheme == "postgres", u.Scheme == "postgresql":
		return postgresStore(u, query)
	case u.Scheme == "mysql":
		return mysqlStore(u, query)
	case u.Scheme == "kubernetes":
		return secretStore(u, query)
	}
	return nil, nil, usage("the URL of the store has to begin with file:///, postgres://, mysql://, sqlite:/// or kubernetes://; a file is written as file:///var/lib/esper-key/key.json")
}

// take removes a parameter from the query, and returns its value.
func take(query url.Values, name string) string {
	defer query.Del(name)
	return query.Get(name)
}

// nothingElse refuses the parameters that were not taken, except the named ones. What is no plain word may be a part of a
// password, and is not repeated.
func nothingElse(u *url.URL, query url.Values, except ...string) error {
	for _, name := range slices.Sorted(maps.Keys(query)) {
		if slices.Contains(except, name) {
			continue
		}
		if !regexp.MustCompile(`^[A-Za-z_-]{1,40}$`).MatchString(name) {
			name = "whose name is no plain word"
		}
		return usage("the store's URL (%s:) has an unknown parameter, %s; `esper-key --help` lists the parameters", u.Scheme, name)
	}
	return nil
}

// filePath returns the path of a file: or sqlite: URL.
func filePath(u *url.URL) (string, error) {
	path := u.Path
	if runtime.GOOS == "windows" {
		path = filepath.FromSlash(strings.TrimPrefix(path, "/"))
	}
	if u.Opaque != "" || u.Host != "" || !filepath.IsAbs(path) {
		return "", usage("the path in the store's URL has to be absolute, with three slashes, as in %s:///var/lib/esper-key/key", u.Scheme)
	}
	return path, nil
}

func fileStore(u *url.URL, query url.Values) (renew.Store, func(), error) {
	path, err := filePath(u)
	var opts []renew.FileOption
	switch take(query, "mode") {
	case "", "0600":
	case "0640":
		opts = append(opts, renew.GroupReadable())
	default:
		err = usage("the mode of a key's file is 0600 or 0640")
	}
	return renew.File(path, opts...), func() {}, errors.Join(err, nothingElse(u, query))
}

// rowOf takes the parameters that choose a row of a table.
func rowOf(query url.Values) (opts []sqlstore.Option) {
	if table := take(query, "table"); table != "" {
		opts = append(opts, sqlstore.WithTable(table))
	}
	if name := take(query, "name"); name != "" {
		opts = append(opts, sqlstore.WithName(name))
	}
	return opts
}

// sqlStore returns a store in db. With makeTable it makes the table if that is missing.
func sqlStore(db *sql.DB, d sqlstore.Dialect, opts []sqlstore.Option, makeTable bool) (renew.Store, func(), error) {
	db.SetMaxOpenConns(2) // enough for one key
	closeDB := func() { _ = db.Close() }
	store, err := sqlstore.New(db, d, opts...)
	if err == nil && makeTable {
		// This fails for a user who may only read. If the table is missing, renew.Open says so.
		_, _ = db.ExecContext(context.Background(), sqlstore.Schema(d, opts...))
	}
	if err != nil {
		closeDB()
	}
	return store, closeDB, err
}

func sqliteStore(u *url.URL, query url.Values, readOnly bool, warn func(string)) (renew.Store, func(), error) {
	path, err := filePath(u)
	row := rowOf(query)
	if err := errors.Join(err, nothingElse(u, query)); err != nil {
		return nil, nil, err
	}
	file := keyfile.Database(path)
	err = file.Inspect(context.Background(), readOnly)
	for _, text := range file.Warnings() { // what Inspect has mended is no matter to renew.Open any more
		warn(text)
	}
	if readOnly && errors.Is(err, fs.ErrNotExist) {
		return nil, nil, fmt.Errorf("%w: %s does not exist; `esper-key adopt` makes it", renew.ErrNoKey, path)
	}
	if err != nil {
		return nil, nil, err
	}
	settings := "_pragma=busy_timeout(10000)&_pragma=synchronous(extra)&" // extra: see package sqlstore
	if readOnly {
		settings += "mode=ro"
	} else {
		settings += "_pragma=journal_mode(delete)"
	}
	dsn := url.URL{Scheme: "file", Opaque: (&url.URL{Path: path}).EscapedPath(), RawQuery: settings}
	db, err := sql.Open("sqlite", dsn.String())
	if err != nil {
		return nil, nil, usage("the URL of the SQLite store cannot be used")
	}
	return sqlStore(db, sqlstore.SQLite, row, !readOnly) // nobody else makes the table in a file
}
