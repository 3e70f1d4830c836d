package renew_test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/esper-go/esper-go/pkg/esper"
	"github.com/esper-go/esper-go/pkg/esper/espertest"
	"github.com/esper-go/esper-go/pkg/esper/renew"
)

// link makes a symbolic link; false where the system has no right to.
func link(t *testing.T, to, at string) bool {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(at), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(to, at); err != nil {
		if runtime.GOOS == "windows" {
			t.Logf("not tested: %v", err)
			return false
		}
		t.Fatal(err)
	}
	return true
}

// TestFileFollowsLinks saves through links of all kinds, to files that are there and not.
func TestFileFollowsLinks(t *testing.T) {
	for name, to := range map[string]func(root string) string{
		"absolute":     func(root string) string { return filepath.Join(root, "real", "key.json") },
		"relative":     func(string) string { return filepath.Join("..", "real", "key.json") },
		"of a link":    func(root string) string { return filepath.Join(root, "chain", "second.json") },
		"linked house": func(string) string { return filepath.Join("..", "..", "real", "key.json") },
	} {
		for _, exists := range []bool{true, false} {
			t.Run(name, func(t *testing.T) {
				root := filepath.Dir(filepath.Dir(freshPath(t)))
				real := filepath.Join(root, "real", "key.json")
				at := filepath.Join(root, "links", "here.json")
				target := to(root)
				switch name {
				case "of a link":
					if !link(t, filepath.Join("..", "real", "key.json"), target) {
						return
					}
				case "linked house": // the link is relative to where its folder really is
					if !link(t, filepath.Join(root, "deep", "links"), filepath.Join(root, "links")) {
						return
					}
					if err := os.MkdirAll(filepath.Join(root, "deep", "links"), 0o700); err != nil {
						t.Fatal(err)
					}
				}
				if !link(t, target, at) {
					return
				}
				s := renew.File(at)
				if exists {
					save(t, renew.File(real), "there")
					wantLoad(t, s, "there")
				} else {
					wantLoad(t, s, "")
				}
				unlock, err := s.Lock(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				save(t, s, "one")
				save(t, s, "two")
				unlock()
				wantLoad(t, s, "two")
				wantLoad(t, renew.File(real), "two")
				if got, err := os.Readlink(at); err != nil || got != target {
					t.Errorf("the link leads to %q, %v, want %q", got, err, target)
				}
				wantFiles(t, filepath.Dir(at), "here.json")
				wantFiles(t, filepath.Dir(real), "key.json", "key.json.lock")
				wantMode(t, real, 0o600)
			})
		}
	}
}

// TestFileLinkLoop has a link to itself.
func TestFileLinkLoop(t *testing.T) {
	path := freshPath(t)
	if !link(t, "key.json", path) {
		return
	}
	s := renew.File(path)
	_, loadErr := s.Load(t.Context())
	for name, err := range map[string]error{"Load": loadErr, "Save": s.Save(t.Context(), []byte("document"))} {
		if err == nil {
			t.Errorf("%s succeeded", name)
		}
	}
}

// TestFileLinksShareLock locks one file by two names.
func TestFileLinksShareLock(t *testing.T) {
	path := freshPath(t)
	at := filepath.Join(filepath.Dir(filepath.Dir(path)), "links", "here.json")
	if !link(t, path, at) {
		return
	}
	unlock, err := renew.File(path).Lock(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if unlock, err := renew.File(at).Lock(ctx); err == nil {
		unlock()
		t.Error("the link has a lock of its own")
	}
}

// TestFileRelativePath starts at the folder that was current when File was called.
func TestFileRelativePath(t *testing.T) {
	path := freshPath(t)
	t.Chdir(filepath.Dir(filepath.Dir(path)))
	s := renew.File(filepath.Join("esper", "key.json"))
	save(t, s, "one")
	t.Chdir(t.TempDir())
	wantLoad(t, s, "one")
	save(t, s, "two")
	wantLoad(t, renew.File(path), "two")
	wantFiles(t, ".")
}

// TestOpenRefusesFile opens files that hold no key of this server: the error names the file, and
// the file is left as it is.
func TestOpenRefusesFile(t *testing.T) {
	server := espertest.NewServer(t)
	good := goodDocument(t, server)
	const secret = "a-secret-of-another-program"
	for name, c := range map[string]struct{ document, says string }{
		"empty":          {"", "empty"},
		"blanks":         {" \n\t\n", "empty"},
		"cut short":      {good[:len(good)/2], "damaged"},
		"zeros":          {strings.Repeat("\x00", 500), "damaged"},
		"two documents":  {good + good, "damaged"},
		"no JSON":        {"key = " + secret, "no key document"},
		"another type":   {`["` + secret + `"]`, "no key document"},
		"null":           {"null", "not a key document"},
		"foreign":        {`{"auths": {"host": {"auth": "` + secret + `"}}}`, "not a key document"},
		"foreign format": {`{"format": "` + secret + `", "version": 1}`, "not a key document"},
		"newer":          {strings.Replace(good, `"version": 1`, `"version": 2`, 1), "version 2"},
		"newer, changed": {`{"format": "esper-go key", "version": 3, "key": {"value": "` + secret + `"}}`, "version 3"},
		"no version":     {strings.Replace(good, `"version": 1`, `"version": 0`, 1), "version 0"},
		"other server":   {strings.Replace(good, server.URL, "https://bar-api.esper.cloud/api", 1), "bar-api.esper.cloud"},
		"no key":         {strings.Replace(good, server.Token(), "", 1), "no key"},
	} {
		t.Run(name, func(t *testing.T) {
			path := freshPath(t)
			save(t, renew.File(path), c.document)
			before := len(server.Requests())
			_, err := renew.Open(t.Context(), server.URL, renew.File(path), renew.WithInitialToken(esper.NewSecret(server.Token())))
			if err == nil {
				t.Fatal("Open succeeded")
			}
			if !names(err, path, c.says) {
				t.Errorf("Open: %v; it should name %s and say %q", err, path, c.says)
			}
			for e := err; e != nil; e = errors.Unwrap(e) {
				if names(e, server.Token()) || names(e, secret) {
					t.Error("an error holds what is in the file")
				}
			}
			if after, err := os.ReadFile(path); err != nil || string(after) != c.document {
				t.Errorf("the file was changed: %v", err)
			}
			wantFiles(t, filepath.Dir(path), "key.json")
			if n := len(server.Requests()); n != before {
				t.Errorf("%d requests were sent", n-before)
			}
		})
	}
}

// goodDocument is what Open stores of server's key.
func goodDocument(t *testing.T, server *espertest.Server) string {
	t.Helper()
	path := freshPath(t)
	if _, err := renew.Open(t.Context(), server.URL, renew.File(path), renew.WithInitialToken(esper.NewSecret(server.Token()))); err != nil {
		t.Fatal(err)
	}
	wantMode(t, path, 0o600)
	wantFiles(t, filepath.Dir(path), "key.json", "key.json.lock")
	document, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(document)
}

// TestFileIsReadable wants a document that a person can read and mend.
func TestFileIsReadable(t *testing.T) {
	const key = `a<b>&"c+d/e=f`
	server := espertest.NewServer(t, espertest.WithToken(key))
	document := goodDocument(t, server)
	for _, line := range []string{`  "format": "esper-go key",`, `  "version": 1,`, `  "server": "` + server.URL + `",`, `  "key": "a<b>&\"c+d/e=f",`} {
		if !strings.Contains(document, "\n"+line+"\n") {
			t.Errorf("no line %s", line)
		}
	}
	if !regexp.MustCompile(`\n  "expires_at": "\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z"`).MatchString(document) {
		t.Error("no readable expires_at")
	}
	if !strings.HasSuffix(document, "\n}\n") || !json.Valid([]byte(document)) || strings.Contains(document, "attempt") {
		t.Error("not a whole, quiet document")
	}
}
