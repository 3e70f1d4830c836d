package main

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
)

// TestStoreURLs opens a store for each kind of URL in the help, without a connection.
func TestStoreURLs(t *testing.T) {
	t.Setenv("KUBECONFIG", kubeconfig(t, "http://127.0.0.1:1"))
	t.Setenv("MYSQL_PWD", "secret-password")
	t.Setenv("PGPASSWORD", "secret-password")
	folder := filepath.ToSlash(t.TempDir())
	for address, want := range map[string]string{
		"file://" + root(folder) + "/key.json":           "key.json",
		"file://" + root(folder) + "/key.json?mode=0640": "key.json",
		"file://" + root(folder) + "/a%20b.json":         "a b.json",
		"sqlite://" + root(folder) + "/keys.db":          `the row "default" of the table "esper_keys"`,
		"sqlite://" + root(folder) + "/a%3Fb.db?name=x":  `the row "x"`,
		"postgres://u@127.0.0.1:1/db?sslmode=disable":    `the row "default"`,
		"postgresql://u:secret-password@h/db?table=keys": `the table "keys"`,
		"mysql://u:secret-password@h/db?name=fleet":      `the row "fleet"`,
		"mysql://u@h:3307/db?tls=true":                   `on h:3307`,
		"mysql://u@h/db?useSSL=true&parseTime=true":      `on h:3306`,
		"mysql://u@[::1]/db":                             `on [::1]:3306`,
		"mysql://u@/db?socket=/run/s":                    `on /run/s`,
		"postgres://a:1,b:2/db?target_session_attrs=any": `on a:1,b:2`,
		"postgres://u@/db?socket=/run/pg&name=x":         `the row "x" of the table "esper_keys" on /run/pg/.s.PGSQL.5432`,
		"postgres:///db?socket=/run/pg/.s.PGSQL.5433":    `on /run/pg/.s.PGSQL.5433`,
		"kubernetes://fleet/esper-key":                   `the Secret "esper-key"`,
		"kubernetes://fleet/esper-key?key=k&context=a":   `the Secret "esper-key"`,
	} {
		store, closeStore, err := openAt(address, false)
		if err != nil {
			t.Errorf("%s: %v", address, err)
			continue
		}
		if name := fmt.Sprint(store); !strings.Contains(name, want) {
			t.Errorf("%s is called %s, want %s in it", address, name, want)
		}
		closeStore()
	}
}

func root(path string) string { return "/" + strings.TrimPrefix(path, "/") }

// TestBadStoreURLs: each bad URL is an error that does not repeat the URL, but the name of an unknown parameter.
func TestBadStoreURLs(t *testing.T) {
	t.Setenv("KUBECONFIG", filepath.Join(t.TempDir(), "none"))
	t.Setenv("KUBERNETES_SERVICE_HOST", "")
	for _, address := range []string{"mysql://u@h/db?ssl-certs=x", "file:///k?ssl-certs=0640", "kubernetes://n/s?ssl-certs=x"} {
		if _, _, err := openAt(address, false); err == nil || !strings.Contains(err.Error(), "unknown parameter, ssl-certs") || codeOf(err) != exitUsage {
			t.Errorf("%s: %v", address, err)
		}
	}
	if _, _, err := openAt("postgres://u@%2Frun%2Fpg/db", false); err == nil || !strings.Contains(err.Error(), "?socket=") {
		t.Errorf("a socket in place of the host: %v", err)
	}
	for _, address := range []string{
		"", "/secret/key.json", "secret.json", "file:secret.json", "file://host/secret.json", "file:///secret?mode=0644", "file:///secret?moed=0640", "file:///%zz",
		"redis://secret", "postgres://u:sec%ret@h/db", "postgres://u:secret@h:port/db", "postgres://u:secret@h/db?sslmode=secret", "postgres://u:secret@h/db?connect_timeout=secret",
		"mysql://u:secret@h", "mysql://u:secret@/db", "mysql://u:secret@h/db?parseTime=secret", "sqlite://host/secret.db", "sqlite:secret.db", "sqlite:///secret.db?_pragma=x",
		"kubernetes://fleet", "kubernetes:///secret", "kubernetes://fleet/secret/more", "kubernetes://fleet/secret", "kubernetes://fleet/secret?namespace=x",
		"postgres://u:secret@h/db#fragment", "file:///secret#x", "mysql://u:12?secret/db", "mysql://u@h/db?socket=/s", "postgres://u@h/db?socket=/s",
		"mysql://u@h/db?tls=secret", "postgres://u@h/db?useSSL=secret", "mysql://u@h/db?interpolateParams=true", "mysql://u@h/db?tls=true&useSSL=false",
	} {
		_, _, err := openAt(address, false)
		switch {
		case err == nil:
			t.Errorf("%s is accepted", address)
		case strings.Contains(err.Error(), "secret"), strings.Contains(err.Error(), "\n"):
			t.Errorf("%s: the error repeats the URL, or has two lines: %v", address, err)
		}
	}
}

// TestUnreachableStore: the error about a store that cannot be reached has no password.
func TestUnreachableStore(t *testing.T) {
	t.Parallel()
	o := newOperator(t)
	for _, at := range []string{"postgres://u:secret-password@127.0.0.1:1/db?sslmode=disable", "mysql://u:secret-password@127.0.0.1:1/db"} {
		o.store = at
		o.run("token").wants(exitFailed, "refused").prints("").lacks("secret-password")
	}
}
