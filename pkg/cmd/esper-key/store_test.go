package main

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/esper-go/esper-go/pkg/esper/renew"
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
		"postgres://u:secret@h/db#fragment", "file:///secret#x", "file:///secret#", "mysql://u:12?secret/db", "mysql://u@h/db?socket=/s", "postgres://u@h/db?socket=/s",
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

// sqliteIn returns the path of a database file in a folder that does not exist yet, and the URL of its store.
func sqliteIn(folder string) (path, address string) {
	path = filepath.Join(folder, "store", "keys.db")
	return path, (&url.URL{Scheme: "sqlite", Path: filepath.ToSlash(path)}).String()
}

// TestSQLite keeps two keys in a database file, which only the user may read who runs the command.
func TestSQLite(t *testing.T) {
	t.Parallel()
	o := newOperator(t)
	path, at := sqliteIn(o.folder)
	o.store = at
	for _, command := range []string{"check", "show", "token --read-only"} { // they make nothing
		if p := o.run(strings.Fields(command)...); p.code == 0 || !strings.Contains(p.stdout+p.stderr, "does not exist") || exists(filepath.Dir(path)) {
			t.Errorf("%s without a database: %d, %s", command, p.code, p.stdout+p.stderr)
		}
	}
	o.input(o.server.Token(), "adopt").wants(0, `stored in   the row "default"`)
	o.run("check").wants(0)
	o.run("renew", "--now").wants(0)
	o.token()
	if info, err := os.Stat(path); err != nil || info.Mode().Perm()&0o077 != 0 {
		t.Errorf("%v, %v, want a file for its user alone", info.Mode(), err)
	}
	must(t, os.Chmod(filepath.Dir(path), 0o777)) // as the kubelet does at each start, for fsGroup
	must(t, os.Chmod(path, 0o644))
	p := o.run("renew").wants(0)
	for _, text := range []string{"was narrowed", "other users can read it"} {
		if runtime.GOOS != "windows" && strings.Count(p.stderr, text) != 1 {
			t.Errorf("renew does not say %q once: %s", text, p.stderr)
		}
	}
	o.store = at + "?name=other&table=others"
	o.run("token").wants(exitPerson, "there is no key yet")
	o.input(o.server.Token(), "adopt").wants(0, `the row "other" of the table "others"`)
	o.token()
}

// writerEnv has TestSQLiteKilled save to the store at this URL until it is killed.
const writerEnv = "ESPER_KEY_TEST_WRITER"

// TestSQLiteKilled kills programs that save, at any moment, with readers beside them. Each document is longer than the one
// before. No confirmed save is lost, no reader gets an older document than before, and after the next save nothing lies
// beside the file. ESPER_TEST_KILLS is the number of kills.
func TestSQLiteKilled(t *testing.T) {
	longer := func(store renew.Store) (length int, err error) {
		document, version, err := store.Load(t.Context())
		if err == nil {
			document = append(document, make([]byte, 1+rand.N(1000))...)
			_, err = store.Save(t.Context(), document, version)
		}
		return len(document), err
	}
	if at := os.Getenv(writerEnv); at != "" { // the program to kill
		store, _, err := openAt(at, false)
		for length := 0; err == nil; fmt.Println(length) {
			length, err = longer(store)
		}
		t.Fatal(err)
	}
	t.Parallel()
	kills := 20
	if n, err := strconv.Atoi(os.Getenv("ESPER_TEST_KILLS")); err == nil {
		kills = n
	}
	path, at := sqliteIn(t.TempDir())
	store, closeStore, err := openAt(at, false)
	must(t, err)
	defer closeStore()
	_, err = store.Save(t.Context(), make([]byte, 50_000), "")
	must(t, err)
	var confirmed atomic.Int64 // the length of a document
	look := func() (interrupted bool) {
		least := confirmed.Load()
		reader, closeReader, err := openAt(at, true)
		must(t, err)
		defer closeReader()
		document, _, err := reader.Load(t.Context())
		interrupted = err != nil && strings.Contains(err.Error(), "a save was interrupted") && codeOf(err) == exitFailed
		if !interrupted && (err != nil || int64(len(document)) < least) {
			t.Errorf("a reader got %d bytes, %v, after %d were confirmed", len(document), err, least)
		}
		return interrupted
	}
	done, stop := context.WithCancel(t.Context())
	var reading sync.WaitGroup
	for range 2 {
		reading.Go(func() {
			for done.Err() == nil && !t.Failed() {
				look()
				time.Sleep(time.Millisecond) // so that the others come round
			}
		})
	}
	hot, n := 0, 0 // hot is how many were killed in the middle of a save
	for ; n < kills || hot == 0 && n < 10*kills; n++ {
		c := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestSQLiteKilled$")
		kill := func() { _ = c.Process.Kill() }
		c.Env = append(os.Environ(), writerEnv+"="+at)
		out, err := c.StdoutPipe()
		must(t, err)
		must(t, c.Start())
		for in := bufio.NewScanner(out); in.Scan(); time.AfterFunc(rand.N(30*time.Millisecond), kill) {
			length, err := strconv.ParseInt(in.Text(), 10, 64)
			must(t, err, in.Text())
			confirmed.Store(length)
		}
		_ = c.Wait()
		if look() {
			hot++
		}
		if length, err := longer(store); err != nil || int64(length) <= confirmed.Load() {
			t.Errorf("the next save made it %d bytes, %v, after %d were confirmed", length, err, confirmed.Load())
		}
		if entries, err := os.ReadDir(filepath.Dir(path)); err != nil || len(entries) != 1 {
			t.Errorf("beside the file: %v, %v", entries, err)
		}
	}
	stop()
	reading.Wait()
	if t.Logf("%d kills, %d in the middle of a save, which a reader met", n, hot); hot == 0 {
		t.Error("no program was killed in the middle of a save")
	}
}
