package main

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	typed "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"
	_ "modernc.org/sqlite" // the driver "sqlite"

	"github.com/esper-go/esper-go/pkg/esper/renew"
	"github.com/esper-go/esper-go/pkg/esper/renew/kubestore"
	"github.com/esper-go/esper-go/pkg/esper/renew/sqlstore"
	"github.com/esper-go/esper-go/pkg/internal/keyfile"
)

// openStore opens the store that a URL names. Unless a key is given, nothing is made. No error repeats
// the URL, which may hold a password.
func (a *app) openStore(address string) (renew.Store, error) {
	if address == "" {
		return nil, usage("no store is given: set %s to the URL of a store, such as file:///var/lib/esper-key/key.json, or use --store", storeVariable)
	}
	address = strings.TrimSpace(address) // a variable that was read from a file may end with a line end
	if strings.ContainsAny(address, `"'`) {
		return nil, usage("the URL of the store holds a quote; remove it, or write it as %%22 or %%27 if it belongs to the URL")
	}
	u, err := url.Parse(address)
	if err != nil {
		return nil, usage("the URL of the store cannot be read; a socket is written as ?socket=/run/postgresql, and in a password @, / and %% as %%40, %%2F and %%25")
	}
	query, err := url.ParseQuery(u.RawQuery)
	switch {
	case u.Fragment != "" || strings.HasSuffix(address, "#"):
		return nil, usage("the URL of the store holds a #; write it as %%23")
	case err != nil:
		return nil, usage("the query of the store's URL cannot be read")
	case u.Scheme == "file":
		return fileStore(u, query)
	case u.Scheme == "sqlite":
		return a.sqliteStore(u, query)
	case u.Scheme == "postgres", u.Scheme == "postgresql":
		return a.postgresStore(u, query)
	case u.Scheme == "mysql":
		return a.mysqlStore(u, query)
	case u.Scheme == "kubernetes":
		return secretStore(u, query)
	}
	return nil, usage("the URL of the store has to begin with file:///, postgres://, mysql://, sqlite:/// or kubernetes://; a file is written as file:///var/lib/esper-key/key.json")
}

// take removes a parameter from the query, and returns its value.
func take(query url.Values, name string) string {
	defer query.Del(name)
	return query.Get(name)
}

// nothingElse refuses the parameters that were not taken, except the named ones.
func nothingElse(u *url.URL, query url.Values, except ...string) error {
	for _, name := range slices.Sorted(maps.Keys(query)) {
		if !slices.Contains(except, name) {
			return usage("the store's URL (%s:) has an unknown parameter, %s; `esper-key --help` lists the parameters",
				u.Scheme, plainWord(name, "whose name is no plain word"))
		}
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

func fileStore(u *url.URL, query url.Values) (renew.Store, error) {
	path, err := filePath(u)
	var opts []renew.FileOption
	switch take(query, "mode") {
	case "", "0600":
	case "0640":
		opts = append(opts, renew.GroupReadable())
	default:
		err = usage("the mode of a key's file is 0600 or 0640")
	}
	return renew.File(path, opts...), errors.Join(err, nothingElse(u, query))
}

// rowOf takes the parameters that choose a row of a table.
func rowOf(query url.Values) []sqlstore.Option {
	table, name := cmp.Or(take(query, "table"), "esper_keys"), cmp.Or(take(query, "name"), "default")
	return []sqlstore.Option{sqlstore.WithTable(table), sqlstore.WithName(name)}
}

// sqlStore returns a store in db, which is closed when the command ends.
func (a *app) sqlStore(db *sql.DB, d sqlstore.Dialect, row []sqlstore.Option) (renew.Store, error) {
	a.db = db
	db.SetMaxOpenConns(2) // enough for one key
	return sqlstore.New(db, d, row...)
}

func (a *app) sqliteStore(u *url.URL, query url.Values) (renew.Store, error) {
	path, err := filePath(u)
	row := rowOf(query)
	if err := errors.Join(err, nothingElse(u, query)); err != nil {
		return nil, err
	}
	file := keyfile.Database(path)
	if _, err = os.Stat(path); !a.existing || !errors.Is(err, fs.ErrNotExist) { //nolint:gosec // the operator names it
		err = file.Inspect(context.Background(), a.readOnly)
	}
	for _, text := range file.Warnings() { // what Inspect has mended is no matter to renew.Open any more
		a.warn(text)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: %s does not exist; `esper-key adopt` makes it", renew.ErrNoKey, path)
	}
	if err != nil {
		return nil, err
	}
	a.file = path
	settings := "_pragma=busy_timeout(10000)&_pragma=synchronous(extra)&" // extra: see package sqlstore
	if a.readOnly {
		settings += "mode=ro"
	} else {
		settings += "_pragma=journal_mode(delete)"
	}
	dsn := url.URL{Scheme: "file", Opaque: (&url.URL{Path: path}).EscapedPath(), RawQuery: settings}
	db, err := sql.Open("sqlite", dsn.String())
	if err != nil {
		return nil, usage("the URL of the SQLite store cannot be used")
	}
	store, err := a.sqlStore(db, sqlstore.SQLite, row)
	if err == nil && !a.existing { // nobody else makes the table in a file; if this fails, renew.Open says that the table is missing
		_, _ = db.ExecContext(context.Background(), sqlstore.Schema(sqlstore.SQLite, row...))
	}
	return store, err
}

// ofFile makes an error about a SQLite database name the file, and say what to do.
func ofFile(path string, err error) error {
	switch text := err.Error(); {
	case strings.Contains(text, "no such table"):
		return fmt.Errorf("%w: %s has no table for it; `esper-key adopt` makes it", renew.ErrNoKey, path)
	case strings.Contains(text, "file is not a database"):
		return fmt.Errorf("%s is no SQLite database; the store's URL has to name one, or a file that does not exist yet", path)
	case strings.Contains(text, " the row ") && !strings.Contains(text, path): // else the error is not about the database
		return fmt.Errorf("%s: %w", path, err)
	}
	return err
}

func secretStore(u *url.URL, query url.Values) (renew.Store, error) {
	key, cluster, name := cmp.Or(take(query, "key"), "key.json"), take(query, "context"), strings.TrimPrefix(u.Path, "/")
	if err := nothingElse(u, query); err != nil {
		return nil, err
	}
	if u.Host == "" || name == "" || strings.Contains(name, "/") || u.User != nil {
		return nil, usage("the URL of a Secret is kubernetes://namespace/name")
	}
	klog.SetOutput(io.Discard)
	klog.LogToStderr(false)
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	files := strings.Join(rules.Precedence, ", ")
	config, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, &clientcmd.ConfigOverrides{CurrentContext: cluster}).ClientConfig()
	switch { // the errors may quote the files, in which there are tokens
	case err != nil && cluster != "":
		return nil, fmt.Errorf("there is no access to a Kubernetes cluster: the context %s of the store's URL cannot be used, or is not in %s", cluster, files)
	case err != nil:
		return nil, fmt.Errorf("there is no access to a Kubernetes cluster: neither a pod's service account nor a cluster that can be used in %s", files)
	}
	config.WarningHandler = rest.NoWarnings{}
	clients, err := typed.NewForConfig(config)
	if err != nil {
		return nil, errors.New("the settings for the Kubernetes cluster cannot be used; check the KUBECONFIG")
	}
	return kubestore.New(clients.Secrets(u.Host), name, kubestore.WithDataKey(key)), nil
}
