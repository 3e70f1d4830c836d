// Package keyfile keeps a document in a file, for the processes of one host. A save names the version that it
// replaces, and fails if the file has another by then.
//
// A save writes the new content, completely and durably, to a new file beside the old one. The name of the new
// file holds short hashes of the old content and of the new. Then the save renames the new file over the old one.
// If the process dies in between, the name shows that the new file is complete and follows the old content. So
// Load returns the content of the new file, and the next Save renames that file.
package keyfile

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// ErrConflict is returned by Save if the file holds another version.
var ErrConflict = errors.New("the stored document was changed by another process")

// maxFile bounds what is read: a document is about 1 KiB, or 1.5 MiB with an answer that could not be read.
const maxFile = 4 << 20

// Store is a file. It is safe for concurrent use.
type Store struct {
	given string // the path as it was given
	path  string // absolute
	group bool   // the file's group may read it

	rename func(from, to string) error // os.Rename, except in tests
	sync   func(folder string) error   // syncFolder, except in tests
}

// New returns a store in the file at path. A relative path starts at the working directory at the time of the call.
// With groupReadable the file has mode 0640, else 0600.
func New(path string, groupReadable bool) *Store {
	s := &Store{given: path, path: path, group: groupReadable, rename: os.Rename, sync: syncFolder}
	if absolute, err := filepath.Abs(path); err == nil {
		s.path = absolute
	}
	return s
}

// String returns the path.
func (s *Store) String() string { return s.path }

// Load returns the content and its version; nil and "" if there is no file. It takes no lock and writes
// nothing.
func (s *Store) Load(ctx context.Context) (document []byte, version string, err error) {
	if err := ctx.Err(); err != nil {
		return nil, "", err
	}
	target, err := s.target()
	if err != nil {
		return nil, "", explain(s.path, err)
	}
	for {
		current, err := read(ctx, target)
		if err != nil {
			return nil, "", explain(s.path, err)
		}
		if next := finished(ctx, target, current); next != nil {
			return withoutMark(next), hash(next), nil
		}
		// A save may have ended between the two reads. Load must not return older content than it did before.
		again, err := read(ctx, target)
		if err != nil {
			return nil, "", explain(s.path, err)
		}
		if bytes.Equal(current, again) && (current == nil) == (again == nil) {
			return withoutMark(current), hash(current), nil
		}
	}
}

// Save replaces the content if its version is still version.
func (s *Store) Save(ctx context.Context, document []byte, version string) (newVersion string, err error) {
	if err := ctx.Err(); err != nil {
		return "", err
	}
	target, err := s.target()
	if err == nil {
		err = s.makeFolder(filepath.Dir(target))
	}
	if err != nil {
		return "", explain(s.path, err)
	}
	unlock, err := lock(ctx, target+".lock")
	if err != nil {
		return "", explain(s.path, err)
	}
	defer unlock()
	current, err := s.complete(ctx, target)
	if err != nil {
		return "", explain(s.path, err)
	}
	if hash(current) != version {
		return "", ErrConflict
	}
	if err := s.replace(ctx, target, current, document); err != nil {
		return "", explain(s.path, err)
	}
	return hash(document), nil
}

// target returns the file that s.path leads to through links. The file need not exist.
func (s *Store) target() (string, error) {
	path := s.path
	for range 40 {
		target, err := filepath.EvalSymlinks(path)
		if err == nil {
			return target, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return "", err
		}
		link, err := os.Readlink(path)
		if err != nil {
			return path, nil //nolint:nilerr // not a link: a file that does not exist yet
		}
		if !filepath.IsAbs(link) {
			folder, err := filepath.EvalSymlinks(filepath.Dir(path))
			if err != nil {
				return "", err
			}
			link = filepath.Join(folder, link)
		}
		path = link
	}
	return "", errors.New("too many symbolic links")
}

// read returns the content of a file; nil, and not an empty slice, if there is none.
func read(ctx context.Context, path string) ([]byte, error) {
	info, err := os.Stat(path) // before os.Open, which would wait for a writer if it is a pipe
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, err
	case info.IsDir():
		return nil, permanent("it is a folder; give the path of a file in it")
	case !info.Mode().IsRegular():
		return nil, permanent("it is not a regular file")
	}
	content := []byte{}
	err = patiently(ctx, func() error {
		in, err := os.Open(path)
		if err != nil {
			return err
		}
		defer in.Close() //nolint:errcheck // it was only read
		content, err = io.ReadAll(io.LimitReader(in, maxFile+1))
		return err
	})
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case len(content) > maxFile:
		return nil, permanent("it is larger than any key document")
	}
	return content, err
}

// hash returns the version of a content: a short hash, or "" if there is no file.
func hash(content []byte) string {
	if content == nil {
		return ""
	}
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:8])
}

// withoutMark drops the byte order mark that some editors write.
func withoutMark(content []byte) []byte { return bytes.TrimPrefix(content, []byte("\ufeff")) }

// nextName returns the name of the file with the content to that is to replace target while that has the content from.
func nextName(target string, from, to []byte) string {
	return fmt.Sprintf("%s.next-%s-%s", target, orNone(hash(from)), hash(to))
}

func orNone(version string) string {
	if version == "" {
		return "none"
	}
	return version
}

// nexts returns the paths of all files that were to replace target.
func nexts(target string) (paths []string) {
	folder, prefix := filepath.Dir(target), filepath.Base(target)+".next-"
	entries, _ := os.ReadDir(folder) // if the folder cannot be listed, no such file is found
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), prefix) && e.Type().IsRegular() {
			paths = append(paths, filepath.Join(folder, e.Name()))
		}
	}
	return paths
}

// finished returns the content of a save that is written but not renamed, and that is to replace current; nil if there
// is none.
func finished(ctx context.Context, target string, current []byte) []byte {
	for _, path := range nexts(target) {
		next, err := read(ctx, path)
		if err == nil && next != nil && path == nextName(target, current, next) {
			return next
		}
	}
	return nil
}
