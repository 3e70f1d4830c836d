// Package keyfile knows how a file that holds a key is read, written and checked. [Store] keeps a document in a file,
// for the processes of one host. [Database] is the file that a database engine reads and writes.
//
// Other users of the machine are not trusted: the file, its lock, its folder and every link on the way have to belong to
// root or to this user. Root acts for others: it accepts what belongs to the owner of the folder, and gives them what
// it makes, but only where nobody else can replace a folder on the way.
//
// A save of a [Store] names the version that it replaces, and fails if the file has another by then. It writes the new
// content, completely and durably, to a new file beside the old one. The name of the new file holds short hashes of the
// old content and of the new. Then the save renames the new file over the old one. If the process dies in between, the
// name shows that the new file is complete and follows the old content. So Load returns the content of the new file,
// and the next Save renames that file.
package keyfile

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
)

// ErrConflict is returned by Save if the file holds another version.
var ErrConflict = errors.New("the stored document was changed by another process")

// Store is a file. It is safe for concurrent use.
type Store struct {
	given  string // the path as it was given
	path   string // absolute
	group  bool   // the file's group may read it
	engine bool   // a database engine writes the file, and a journal beside it

	rename func(from, to string) error // os.Rename, except in tests
	sync   func(folder string) error   // syncFolder, except in tests

	mu    sync.Mutex
	found []string // all warnings so far
	told  int      // how many of them Warnings has returned
}

// New returns a store in the file at path. A relative path starts at the working directory at the time of the call.
// A new file has mode 0600, or with groupReadable 0640.
func New(path string, groupReadable bool) *Store {
	s := &Store{given: path, path: path, group: groupReadable, rename: os.Rename, sync: syncFolder}
	if absolute, err := filepath.Abs(path); err == nil {
		s.path = absolute
	}
	return s
}

// String returns the path.
func (s *Store) String() string { return s.path }

// Warnings returns what a person should know about the file, and what was not returned before.
func (s *Store) Warnings() (fresh []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fresh, s.told = s.found[s.told:], len(s.found)
	return fresh
}

func (s *Store) warn(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if text = s.path + ": " + text; !slices.Contains(s.found, text) {
		s.found = append(s.found, text)
	}
}

// Inspect looks at the file, its folder and the way there. Its error is the one that Save would return. It narrows the
// folder as Save does, and makes nothing, except for a [Database]. With readOnly it changes nothing, and judges nobody.
func (s *Store) Inspect(_ context.Context, readOnly bool) error {
	doing := writing
	if readOnly {
		doing = reading
	}
	p, err := find(s.path)
	switch {
	case err != nil:
	case !readOnly && (s.engine || p.folder != nil): // else the first save makes the folder
		p, err = s.prepare()
	case readOnly && p.mounted() && s.engine:
		err = permanent(alone, mountFolder)
	case readOnly && p.mounted():
		s.warn(alone + "; " + mountFolder)
	}
	if err == nil && s.engine {
		err = p.forEngine(readOnly)
	}
	return explain(s.path, doing, err)
}

// Load returns the content and its version; nil and "" if there is no file. It takes no lock and writes
// nothing.
func (s *Store) Load(ctx context.Context) (document []byte, version string, err error) {
	for err = ctx.Err(); err == nil; err = ctx.Err() {
		content, settled, err := s.look(ctx)
		if err != nil {
			return nil, "", explain(s.path, reading, err)
		}
		if settled {
			return withoutMark(content), hash(content), nil
		}
	}
	return nil, "", err
}

// look reads the file once. If the result is not settled, something changed meanwhile: a save ended, and Load must not
// return older content than it did before; or a link leads to another file, as the kubelet changes it for a mounted
// Secret, and the file here is gone.
func (s *Store) look(ctx context.Context) (content []byte, settled bool, err error) {
	p, err := find(s.path)
	if err == nil {
		content, err = read(ctx, p.target)
	}
	if err != nil {
		return nil, false, err
	}
	if next := p.finished(ctx, content); next != nil {
		return next, true, nil
	}
	again, err := read(ctx, p.target)
	settled = bytes.Equal(content, again) && (content == nil) == (again == nil)
	if err == nil && settled && content == nil {
		now, findErr := find(s.path)
		settled = findErr == nil && now.target == p.target
	}
	return content, settled, err
}

// Save replaces the content if its version is still version.
func (s *Store) Save(ctx context.Context, document []byte, version string) (newVersion string, err error) {
	for err = errLockLost; errors.Is(err, errLockLost); {
		err = s.save(ctx, document, version)
	}
	if err != nil {
		return "", explain(s.path, writing, err)
	}
	return hash(document), nil
}

func (s *Store) save(ctx context.Context, document []byte, version string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	p, err := s.prepare()
	if err != nil {
		return err
	}
	held, err := s.lock(ctx, p)
	if err != nil {
		return err
	}
	defer held.Close() //nolint:errcheck // the file is empty
	current, err := s.complete(ctx, p)
	switch {
	case err != nil:
		return err
	case hash(current) != version:
		return ErrConflict
	}
	return s.replace(ctx, p, held, current, document)
}

// prepare makes the folder if it is missing, and narrows it if it is our own and was widened: at each start of a pod
// with fsGroup, the kubelet lets that group write in each folder of the volume. Then it judges the place.
func (s *Store) prepare() (place, error) {
	p, err := find(s.path)
	switch {
	case err != nil:
		return p, err
	case p.folder == nil:
		mode := fs.FileMode(0o700)
		if s.group {
			mode = 0o750
		}
		err = makeFolder(filepath.Dir(p.target), mode)
	case p.widened():
		s.warn("its folder let others write, and was narrowed; in a volume with fsGroup that happens at each start")
		err = narrow(filepath.Dir(p.target))
	}
	if err == nil {
		p, err = find(s.path) // nobody else can change it any more
	}
	if err == nil {
		err = p.judge(!s.engine, s.warn)
	}
	return p, err
}
