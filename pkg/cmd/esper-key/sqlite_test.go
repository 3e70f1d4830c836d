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
	if r := o.run("renew").wants(0); runtime.GOOS != "windows" && strings.Count(r.stderr, "was narrowed") != 1 {
		t.Errorf("renew does not say once that it narrowed the folder: %s", r.stderr)
	}
	o.store = at + "?name=other&table=others"
	o.run("token").wants(exitPerson, "there is no key yet")
	o.input(o.server.Token(), "adopt").wants(0, `the row "other" of the table "others"`)
	o.token()
}

// writerEnv makes TestSQLiteWriter save to the store at this URL until it is killed.
const writerEnv = "ESPER_KEY_TEST_WRITER"

// TestSQLiteWriter is the main program of the processes that TestSQLiteKilled kills. It prints the number of each
// document once its save is confirmed.
func TestSQLiteWriter(t *testing.T) {
	at := os.Getenv(writerEnv)
	if at == "" {
		return
	}
	store, _, err := openStore(at, false, ignore)
	must(t, err)
	for {
		n, version, err := loadNumber(store)
		if err == nil {
			_, err = store.Save(context.Background(), fmt.Append(nil, n+1, " ", strings.Repeat("x", rand.N(100_000))), version)
		}
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(n + 1)
	}
}

func loadNumber(store renew.Store) (n int, version string, err error) {
	document, version, err := store.Load(context.Background())
	if number, _, found := strings.Cut(string(document), " "); found {
		n, err = strconv.Atoi(number)
	}
	return n, version, err
}

// TestSQLiteKilled kills programs that save, at any moment, with readers beside them. No confirmed save is lost, no reader
// gets an older document than before, and after the next save nothing lies beside the file. ESPER_TEST_KILLS is the number of kills.
func TestSQLiteKilled(t *testing.T) {
	t.Parallel()
	kills := 20
	if text := os.Getenv("ESPER_TEST_KILLS"); text != "" {
		var err error
		kills, err = strconv.Atoi(text)
		must(t, err)
	}
	path := filepath.Join(t.TempDir(), "store", "keys.db")
	at := (&url.URL{Scheme: "sqlite", Path: filepath.ToSlash(path)}).String()
	first, closeFirst, err := openStore(at, false, ignore)
	must(t, err)
	_, err = first.Save(t.Context(), []byte("1 "), "")
	must(t, err)
	closeFirst()

	var confirmed, reads, refused atomic.Int64
	confirmed.Store(1)
	done := make(chan struct{})
	var reading sync.WaitGroup
	for range 2 {
		reading.Go(func() {
			store, closeStore, err := openStore(at, true, ignore)
			if err != nil {
				t.Error(err)
				return
			}
			defer closeStore()
			for {
				before := confirmed.Load()
				n, _, err := loadNumber(store)
				reads.Add(1)
				switch {
				case err != nil && strings.Contains(err.Error(), "a save was interrupted") && codeOf(err) == exitFailed:
					refused.Add(1)
				case err != nil || int64(n) < before:
					t.Errorf("a reader: %d after %d, %v", n, before, err)
					return
				}
				select {
				case <-done:
					return
				case <-time.After(time.Millisecond):
				}
			}
		})
	}
	hot := 0
	for range kills {
		n := killWriter(t, at, &confirmed)
		if n > confirmed.Load() {
			confirmed.Store(n)
		}
		if exists(path + "-journal") {
			hot++
		}
		store, closeStore, err := openStore(at, false, ignore)
		must(t, err)
		now, version, err := loadNumber(store)
		if err != nil || int64(now) < confirmed.Load() {
			t.Fatalf("%d is stored after %d was confirmed: %v", now, confirmed.Load(), err)
		}
		_, err = store.Save(t.Context(), fmt.Append(nil, now+1, " "), version)
		must(t, err)
		confirmed.Store(int64(now + 1))
		closeStore()
	}
	close(done)
	reading.Wait()
	if entries, err := os.ReadDir(filepath.Dir(path)); err != nil || len(entries) != 1 {
		t.Errorf("beside the file: %v, %v", entries, err)
	}
	t.Logf("%d kills, %d with a journal left; %d saves, %d reads, %d of them refused", kills, hot, confirmed.Load(), reads.Load(), refused.Load())
	if hot == 0 || reads.Load() < int64(kills) {
		t.Error("no program was killed in the middle of a save, or nobody read")
	}
}

// killWriter starts a program that saves, and kills it some time after its first save. It returns the last confirmed one.
func killWriter(t *testing.T, at string, confirmed *atomic.Int64) (last int64) {
	t.Helper()
	program, err := os.Executable()
	must(t, err)
	c := exec.CommandContext(t.Context(), program, "-test.run=^TestSQLiteWriter$")
	c.Env = append(os.Environ(), writerEnv+"="+at)
	out, err := c.StdoutPipe()
	must(t, err)
	must(t, c.Start())
	for in := bufio.NewScanner(out); in.Scan(); {
		n, err := strconv.ParseInt(in.Text(), 10, 64)
		if err != nil {
			t.Errorf("a program that saves: %s", in.Text())
			break
		}
		if last == 0 {
			time.AfterFunc(rand.N(30*time.Millisecond), func() { _ = c.Process.Kill() })
		}
		last = n
		confirmed.Store(n)
	}
	_ = c.Process.Kill()
	_ = c.Wait()
	return last
}
