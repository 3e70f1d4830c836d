// Package keyfile knows how a file that holds a key is read, written and checked. [Store] keeps a document in a file,
// for the processes of one host. [Database] is the file that a database engine reads and writes.
//
// Other users of the machine are not trusted: the file, its lock, its folder and every link on the way have to belong
// to root or to this user. Root acts for others: it accepts what belongs to the owner of the folder, and gives them
// what it makes, but only where nobody else can replace a folder on the way.
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

	mu    sync.Mutex
	found []string // all warnings so far
	told  int      // how many of them Warnings has returned
}

// New returns a store in the file at path. A relative path starts at the working directory at the time of the call. A
// new file has mode 0600, or with groupReadable 0640.
func New(path string, groupReadable bool) *Store {
	s := &Store{given: path, path: path, group: groupReadable}
	if absolute, err := filepath.Abs(path); err == nil {
		s.path = absolute
	}
	return s
}

// Database returns the file of a database engine that writes its content itself, and a journal beside it. Inspect makes
// the file, empty and with mode 0600, and its folder, if they are missing; with readOnly, a missing file is an error
// ([fs.ErrNotExist]). Load and Save are not for it.
func Database(path string) *Store {
	s := New(path, false)
	s.engine = true
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
	doing := map[bool]action{true: reading}[readOnly]
	p, err := find(s.path)
	if err == nil && !readOnly && (s.engine || p.folder != nil) { // else the first save makes the folder
		p, err = s.prepare()
	}
	switch {
	case err != nil:
	case readOnly && p.mounted() && !s.engine:
		s.warn(alone + "; " + mountFolder)
	case p.mounted():
		err = permanent(alone, mountFolder)
	case s.engine:
		err = p.forEngine(readOnly)
	}
	return explain(s.path, doing, err)
}

// forEngine makes the file of a database, or takes from others the right to read it, as a save does with another file.
// It returns an error if this user may not use the file. It never opens a file that exists: to close that would take
// the locks of this process from it.
func (p place) forEngine(readOnly bool) error {
	switch {
	case p.file == nil && readOnly:
		return &Error{text: "it does not exist", err: fs.ErrNotExist, permanent: true}
	case p.file == nil:
		made, err := p.make(p.target)
		if err == nil {
			return made.Close()
		}
		if errors.Is(err, fs.ErrExist) { // another process has just made it
			return nil
		}
		return err
	case readOnly:
		return access(p.target, false)
	}
	err := errors.Join(access(p.target, true), access(filepath.Dir(p.target), true))
	if err == nil && p.wide() && isMine(p.file) {
		err = os.Chmod(p.target, p.file.Mode().Perm()&ours)
	}
	return err
}

// Load returns the content and its version; nil and "" if there is no file. It takes no lock and writes nothing.
//
// It looks twice, and begins again if something changed meanwhile: a save ended, and Load must not return older content
// than it did before; or a link leads to another file, as the kubelet changes it for a mounted Secret.
func (s *Store) Load(ctx context.Context) (document []byte, version string, err error) {
	for err = ctx.Err(); err == nil; err = ctx.Err() {
		var now place
		var next, again []byte
		p, content, err := s.look(ctx)
		if err == nil {
			next = p.finished(ctx, content)
			now, again, err = s.look(ctx)
		}
		switch {
		case err != nil:
			return nil, "", explain(s.path, reading, err)
		case now.target != p.target || hash(again) != hash(content):
			continue
		case next != nil:
			content = next
		}
		return bytes.TrimPrefix(content, []byte("\ufeff")), hash(content), nil // without the mark that some editors write
	}
	return nil, "", err
}

func (s *Store) look(ctx context.Context) (p place, content []byte, err error) {
	if p, err = find(s.path); err == nil {
		content, err = read(ctx, p.target)
	}
	return p, content, err
}

// Save replaces the content if its version is still version. ErrConflict may also mean that somebody has removed the
// lock meanwhile: to try again is safe.
func (s *Store) Save(ctx context.Context, document []byte, version string) (newVersion string, err error) {
	if err = s.save(ctx, document, version); err != nil {
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
