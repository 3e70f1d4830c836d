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
	"cmp"
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
	given, path      string      // the path as it was given, and an absolute one
	mode, folderMode fs.FileMode // of a new file, and of its folder if that is missing
	engine           bool        // a database engine writes the file, and a journal beside it

	mu    sync.Mutex
	found []string // all warnings so far
	told  int      // how many of them Warnings has returned
}

// New returns a store in the file at path. A relative path starts at the working directory at the time of the call. A
// new file has mode 0600, or with groupReadable 0640.
func New(path string, groupReadable bool) *Store {
	absolute, _ := filepath.Abs(path) // it fails if there is no working directory
	s := &Store{given: path, path: cmp.Or(absolute, path), mode: 0o600, folderMode: 0o700}
	if groupReadable {
		s.mode, s.folderMode = ours, 0o750
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
	p, err := find(s.path)
	switch {
	case err != nil:
	case !readOnly && (s.engine || p.folder != nil): // else the first save makes the folder
		p, err = s.prepare()
	case mounted(p.target) && s.engine:
		err = permanent(mountedAlone)
	case mounted(p.target):
		s.warn(mountedAlone)
	}
	if err == nil && s.engine {
		err = p.forEngine(readOnly)
	}
	return explain(s.path, readOnly, err)
}

// forEngine makes the file of a database, or takes from others the right to read it, as a save does with another file.
// It returns an error if this user may not use the file. It never opens a file that exists: to close that would take
// the locks of this process from it.
func (p place) forEngine(readOnly bool) error {
	if readOnly {
		return access(p.target, false)
	}
	if p.file == nil {
		made, err := p.create(p.target, 0o600, nil)
		if err == nil {
			err = made.Close()
		}
		if !errors.Is(err, fs.ErrExist) { // else another process has just made it
			return err
		}
	}
	err := errors.Join(access(p.target, true), access(filepath.Dir(p.target), true))
	if err == nil && p.wide() && isMine(p.file) {
		err = os.Chmod(p.target, p.file.Mode().Perm()&ours)
	}
	return err
}

// Load returns the content and its version; nil and "" if there is no file. It takes no lock and writes nothing.
//
// It looks until it sees the same twice. Meanwhile a save may have ended, and Load must not return older content than
// it did before; or a link may lead to another file, as the kubelet changes it for a mounted Secret.
func (s *Store) Load(ctx context.Context) (document []byte, version string, err error) {
	for seen := ""; ; {
		p, err := find(s.path)
		if err == nil {
			document, _, err = p.current(ctx)
		}
		if err != nil {
			return nil, "", explain(s.path, true, err)
		}
		version = versionOf(document)
		if now := p.target + "\x00" + version; now != seen {
			seen = now
			continue
		}
		return bytes.TrimPrefix(document, []byte("\ufeff")), version, nil // without the mark that some editors write
	}
}

// Save replaces the content if its version is still version. ErrConflict may also mean that somebody has removed the
// lock meanwhile: to try again is safe.
func (s *Store) Save(ctx context.Context, document []byte, version string) (newVersion string, err error) {
	if err = s.save(ctx, document, version); err != nil {
		return "", explain(s.path, false, err)
	}
	return versionOf(document), nil
}

func (s *Store) save(ctx context.Context, document []byte, version string) error {
	p, err := s.prepare()
	if err != nil {
		return err
	}
	held, err := p.lock(ctx)
	if err != nil {
		return err
	}
	defer held.Close() //nolint:errcheck // the file is empty
	current, err := p.complete(ctx)
	switch {
	case err != nil:
		return err
	case versionOf(current) != version:
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
		err = makeFolder(filepath.Dir(p.target), s.folderMode)
	case p.widened():
		s.warn("its folder let others write, and was narrowed; in a volume with fsGroup that happens at each start")
		err = withFolder(filepath.Dir(p.target), narrow)
	}
	if err == nil {
		p, err = find(s.path) // nobody else can change it any more
	}
	if err == nil {
		err = p.judge(!s.engine, s.warn)
	}
	return p, err
}
