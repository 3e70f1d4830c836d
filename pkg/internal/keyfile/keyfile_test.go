package keyfile

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

func must(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

func fresh(t *testing.T) *Store {
	t.Helper()
	return New(filepath.Join(t.TempDir(), "data", "esper", "key.json"), false)
}

// at returns the place of s.
func at(t *testing.T, s *Store) place {
	t.Helper()
	p, err := find(s.path)
	must(t, err)
	return p
}

// save replaces the content of s.
func save(t *testing.T, s *Store, document string) {
	t.Helper()
	_, version, err := s.Load(t.Context())
	if err == nil {
		_, err = s.Save(t.Context(), []byte(document), version)
	}
	must(t, err)
}

func wantLoad(t *testing.T, s *Store, want string) {
	t.Helper()
	if got, _, err := s.Load(t.Context()); err != nil || string(got) != want {
		t.Errorf("Load: %q, %v; want %q", got, err, want)
	}
}

// wantError wants an error in one line that names the file once and holds all parts.
func wantError(t *testing.T, s *Store, err error, permanent bool, parts ...string) {
	t.Helper()
	if err == nil {
		t.Errorf("no error, want %q", parts)
		return
	}
	text := err.Error()
	if strings.Count(text, s.String()) != 1 || strings.Contains(text, "\n") {
		t.Errorf("%q does not name %s once, in one line", text, s)
	}
	for _, part := range parts {
		if !strings.Contains(text, part) {
			t.Errorf("%q does not say %q", text, part)
		}
	}
	if e := (*Error)(nil); !errors.As(err, &e) || e.Permanent() != permanent {
		t.Errorf("%q is not an *Error whose Permanent is %v", text, permanent)
	}
}

// TestCrashes builds what a crash, or an error, leaves behind at each step of a save.
func TestCrashes(t *testing.T) {
	old, next := []byte("old"), []byte("the next one")
	for name, test := range map[string]struct {
		leave func(target string)
		want  string
	}{
		"half was written": {func(target string) { put(nextName(target, old, next), "the ne") }, "old"},
		"it could not be put in place": {func(target string) {
			s := New(target, false)
			p := at(t, s)
			held, _ := p.lock(t.Context())
			_ = errors.Join(os.Remove(target), os.Mkdir(target, 0o700))
			_ = s.replace(t.Context(), p, held, old, next) // no file is renamed over a folder
			_ = errors.Join(held.Close(), os.Remove(target))
			put(target, "old")
		}, "the next one"},
		"one of long ago":  {func(target string) { put(nextName(target, []byte("older"), next), "the next one") }, "old"},
		"the first of all": {func(target string) { _ = os.Remove(target); put(nextName(target, nil, next), "the next one") }, "the next one"},
	} {
		s := fresh(t)
		save(t, s, "old")
		put(s.path+".backup", "a person's")
		test.leave(s.path)
		for range 2 { // Load changes nothing
			wantLoad(t, s, test.want)
		}
		_, version, _ := s.Load(t.Context())
		if _, err := s.Save(t.Context(), []byte("after"), "stale"); !errors.Is(err, ErrConflict) {
			t.Errorf("%s: Save of a stale version: %v, want ErrConflict", name, err)
		}
		wantLoad(t, s, test.want) // also after that Save has renamed the file
		if data, _ := os.ReadFile(s.path); string(data) != test.want {
			t.Errorf("%s: the file holds %q after the next Save", name, data)
		}
		if _, err := s.Save(t.Context(), []byte("after"), version); err != nil {
			t.Errorf("%s: Save: %v", name, err)
		}
		if data, _ := os.ReadFile(s.path); string(data) != "after" {
			t.Errorf("%s: the file holds %q, want the document alone, since other programs read it", name, data)
		}
		if left, _ := filepath.Glob(s.path + "*"); len(left) != 3 { // key.json.backup and key.json.lock too
			t.Errorf("%s: left behind %v", name, left)
		}
	}
}

func put(path, content string) { _ = os.WriteFile(path, []byte(content), 0o600) }

// Of savers that begin a store at once, one makes the folder, and none fails. Meanwhile Load never returns an older
// document than it returned before. Package storetest shows that no save undoes another.
func TestAtOnce(t *testing.T) {
	for range 10 {
		path := fresh(t).path
		var savers, readers sync.WaitGroup
		ctx, done := context.WithCancel(t.Context())
		begin := make(chan struct{})
		for range 4 {
			readers.Go(func() {
				for last := 0; ctx.Err() == nil && !t.Failed(); {
					got, _, err := New(path, false).Load(t.Context())
					if err != nil || len(got) < last {
						t.Errorf("after %d bytes Load returned %q, %v", last, got, err)
					}
					last = len(got)
				}
			})
			savers.Go(func() {
				<-begin
				for range 2 {
					got, version, _ := New(path, false).Load(t.Context())
					if _, err := New(path, false).Save(t.Context(), append(got, 'x'), version); err != nil && !errors.Is(err, ErrConflict) {
						t.Error(err)
					}
				}
			})
		}
		close(begin)
		savers.Wait()
		done()
		readers.Wait()
	}
}

func TestLoadReads(t *testing.T) {
	s := fresh(t)
	save(t, s, "x")
	put(s.path, "\ufeffedited")
	wantLoad(t, s, "edited")
	put(s.path, "")
	if got, version, err := s.Load(t.Context()); got == nil || len(got) > 0 || version == "" || err != nil {
		t.Errorf("an empty file: %v, %q, %v", got, version, err)
	}
	put(s.path, string(bytes.Repeat([]byte("x"), maxFile+1)))
	_, _, err := s.Load(t.Context())
	wantError(t, s, err, true, "larger than any key document")
	below := New(filepath.Join(s.path, "key.json"), false)
	_, err = below.Save(t.Context(), []byte("x"), "")
	if err == nil || strings.Contains(err.Error(), "\n") {
		t.Errorf("the folder of the path is a file: %v, want an error in one line", err)
	}
}

func TestCheckArguments(t *testing.T) {
	for path, part := range map[string]string{
		"": "empty", "~/key.json": "begins with ~", "~user/key.json": "begins with ~", "$HOME/key.json": "not expanded", "/var/${X}/key": "not expanded",
		"%APPDATA%/key.json": "not expanded", "file:///var/lib/key.json": "a URL", "/var/lib/key.json\n": "control character", "postgres://db/x": "a URL",
	} {
		if err := New(path, false).CheckArguments(); err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("%q: %v, want %q", path, err, part)
		}
	}
	for _, path := range []string{"key.json", "/var/lib/myapp/key~.json", "100%/key.json", `C:\esper\key.json`} {
		if err := New(path, false).CheckArguments(); err != nil {
			t.Errorf("%q: %v", path, err)
		}
	}
}

// A link stays a link, and the file that it leads to is replaced. A relative path goes on naming the same file when the
// program changes its working directory.
func TestPaths(t *testing.T) {
	folder, elsewhere := t.TempDir(), t.TempDir()
	real := filepath.Join(folder, "real", "key.json")
	for _, row := range []struct{ path, to string }{
		{real, ""},
		{filepath.Join("real", "key.json"), ""},
		{"link", real},
		{"relative", filepath.Join("real", "key.json")},
		{"chain", filepath.Join(folder, "link")},
		{"around", "missing/../real/key.json"},
	} {
		t.Chdir(folder)
		if row.to != "" {
			if err := os.Symlink(row.to, row.path); err != nil {
				t.Skipf("no symbolic links here: %v", err)
			}
		}
		s := New(row.path, false)
		t.Chdir(elsewhere)
		save(t, s, row.path)
		wantLoad(t, New(real, false), row.path)
		if info, err := os.Lstat(s.path); err != nil || (info.Mode()&os.ModeSymlink != 0) != (row.to != "") {
			t.Errorf("%s is another type of file now: %v, %v", row.path, info, err)
		}
	}
}
