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

// TestSQLite keeps two keys in a database file, which only the user may read who runs the command.
func TestSQLite(t *testing.T) {
	t.Parallel()
	o := newOperator(t)
	path := filepath.Join(o.folder, "store", "keys.db")
	at := (&url.URL{Scheme: "sqlite", Path: filepath.ToSlash(path)}).String()
	o.store = at
	for _, args := range [][]string{{"check"}, {"show"}, {"token", "--read-only"}} { // they make nothing
		if r := o.run(args...); r.code == 0 || !strings.Contains(r.stdout+r.stderr, "does not exist") || exists(filepath.Dir(path)) {
			t.Errorf("%q without a database: %d, %s", args, r.code, r.stdout+r.stderr)
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
	r := o.run("renew").wants(0)
	for _, text := range []string{"was narrowed", "other users can read it"} {
		if runtime.GOOS != "windows" && strings.Count(r.stderr, text) != 1 {
			t.Errorf("renew does not say %q once: %s", text, r.stderr)
		}
	}
	o.store = at + "?name=other&table=others"
	o.run("token").wants(exitPerson, "there is no key yet")
	o.input(o.server.Token(), "adopt").wants(0, `the row "other" of the table "others"`)
	o.token()
}

// writerEnv has TestSQLiteKilled save to the store at this URL until it is killed.
const writerEnv = "ESPER_KEY_TEST_WRITER"

// loadNumber returns the number in the document.
func loadNumber(at string, readOnly bool) (n int64, err error) {
	store, closeStore, err := openAt(at, readOnly)
	if err != nil {
		return 0, err
	}
	defer closeStore()
	n, _, err = numberIn(store)
	return n, err
}

func numberIn(store renew.Store) (n int64, version string, err error) {
	document, version, err := store.Load(context.Background())
	if number, _, found := strings.Cut(string(document), " "); found {
		n, err = strconv.ParseInt(number, 10, 64)
	}
	return n, version, err
}

// saveNumber saves the next number, and a text of any length.
func saveNumber(store renew.Store) (n int64, err error) {
	n, version, err := numberIn(store)
	if err == nil {
		_, err = store.Save(context.Background(), fmt.Append(nil, n+1, " ", strings.Repeat("x", rand.N(100_000))), version)
	}
	return n + 1, err
}

// TestSQLiteKilled kills programs that save, at any moment, with readers beside them. No confirmed save is lost, no reader
// gets an older document than before, and after the next save nothing lies beside the file. ESPER_TEST_KILLS is the number of kills.
func TestSQLiteKilled(t *testing.T) {
	if at := os.Getenv(writerEnv); at != "" { // the program to kill
		store, _, err := openAt(at, false)
		for n := int64(0); err == nil; fmt.Println(n) {
			n, err = saveNumber(store)
		}
		t.Fatal(err)
	}
	t.Parallel()
	kills := 20
	if n, err := strconv.Atoi(os.Getenv("ESPER_TEST_KILLS")); err == nil {
		kills = n
	}
	path := filepath.Join(t.TempDir(), "store", "keys.db")
	at := (&url.URL{Scheme: "sqlite", Path: filepath.ToSlash(path)}).String()
	store, closeStore, err := openAt(at, false)
	must(t, err)
	defer closeStore()
	_, err = saveNumber(store)
	must(t, err)

	var confirmed, reads, refused atomic.Int64
	var reading sync.WaitGroup
	done := make(chan struct{})
	for range 2 {
		reading.Go(func() {
			for ended := false; !ended; {
				before := confirmed.Load()
				n, err := loadNumber(at, true)
				reads.Add(1)
				switch {
				case err != nil && strings.Contains(err.Error(), "a save was interrupted") && codeOf(err) == exitFailed:
					refused.Add(1)
				case err != nil || n < before:
					t.Errorf("a reader: %d after %d, %v", n, before, err)
					return
				}
				select {
				case <-done:
					ended = true
				case <-time.After(time.Millisecond):
				}
			}
		})
	}
	hot := 0
	for range kills {
		killWriter(t, at, &confirmed)
		if exists(path + "-journal") {
			hot++
		}
		if n, err := loadNumber(at, false); err != nil || n < confirmed.Load() {
			t.Fatalf("%d is stored after %d was confirmed: %v", n, confirmed.Load(), err)
		}
	}
	close(done)
	reading.Wait()
	_, err = saveNumber(store)
	must(t, err)
	if entries, err := os.ReadDir(filepath.Dir(path)); err != nil || len(entries) != 1 {
		t.Errorf("beside the file: %v, %v", entries, err)
	}
	t.Logf("%d kills, %d with a journal left; %d saves, %d reads, %d of them refused", kills, hot, confirmed.Load(), reads.Load(), refused.Load())
	if hot == 0 || reads.Load() < int64(kills) {
		t.Error("no program was killed in the middle of a save, or nobody read")
	}
}

// killWriter starts a program that saves, notes what it has confirmed, and kills it some time after its first save.
func killWriter(t *testing.T, at string, confirmed *atomic.Int64) {
	t.Helper()
	program, err := os.Executable()
	must(t, err)
	c := exec.CommandContext(t.Context(), program, "-test.run=^TestSQLiteKilled$")
	c.Env = append(os.Environ(), writerEnv+"="+at)
	out, err := c.StdoutPipe()
	must(t, err)
	must(t, c.Start())
	kill := sync.OnceFunc(func() { time.AfterFunc(rand.N(30*time.Millisecond), func() { _ = c.Process.Kill() }) })
	for in := bufio.NewScanner(out); in.Scan(); kill() {
		n, err := strconv.ParseInt(in.Text(), 10, 64)
		must(t, err, in.Text())
		confirmed.Store(n)
	}
	_ = c.Wait()
}
