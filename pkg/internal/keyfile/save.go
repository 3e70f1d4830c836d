package keyfile

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"time"
)

const (
	lockPoll = 10 * time.Millisecond
	// busyTries and busyWait are for Windows, where a file cannot be replaced while somebody reads it.
	busyTries, busyWait = 100, 20 * time.Millisecond
)

// complete renames the file of a save that ended after it had written the file, removes what other saves have
// left behind, and returns the content. The caller holds the lock, so no other save is under way.
func (s *Store) complete(ctx context.Context, p place) (current []byte, err error) {
	if current, err = read(ctx, p.target); err != nil {
		return nil, err
	}
	if next := p.finished(ctx, current); next != nil {
		if err := s.install(ctx, nextName(p.target, current, next), p.target); err != nil {
			return nil, err
		}
		current = next
	}
	for _, path := range p.nexts() {
		_ = os.Remove(path) // the file may hold a key; if this fails, the next Save tries again
	}
	return current, nil
}

func (s *Store) replace(ctx context.Context, p place, held *os.File, current, document []byte) error {
	mode := fs.FileMode(0o600)
	if s.group || p.file != nil && p.file.Mode().Perm() == ours {
		mode = ours
	}
	path := nextName(p.target, current, document)
	err := p.write(path, document, mode, s.warn)
	if err == nil && !isAt(held, lockName(p)) {
		err = errLockLost
	}
	if err != nil {
		_ = os.Remove(path)
		return err
	}
	return s.install(ctx, path, p.target)
}

// write makes the file at path, with the owner and the group of the target, and returns once its content would
// survive a crash.
func (p place) write(path string, content []byte, mode fs.FileMode, warn func(string)) error {
	out, err := p.make(path)
	if err != nil {
		return err
	}
	if err = p.own(out, mode, warn); err == nil {
		_, err = out.Write(content)
	}
	return errors.Join(err, out.Sync(), out.Close())
}

// install renames the finished file at path over target. If that fails, the file stays, and Load reads it.
func (s *Store) install(ctx context.Context, path, target string) error {
	folder := filepath.Dir(target)
	if err := s.sync(folder); err != nil {
		return err
	}
	if err := patiently(ctx, func() error { return s.rename(path, target) }); err != nil {
		return err
	}
	return s.sync(folder)
}

// errLockLost says that somebody removed the lock file while it was locked.
var errLockLost = errors.New("the lock file was removed while it was locked")

func lockName(p place) string { return p.target + ".lock" }

// lock waits until it has locked the lock file. The file that it has locked is the one at that path: somebody may have
// removed another one meanwhile. To close the file unlocks it, and not every file system can unlock it otherwise.
func (s *Store) lock(ctx context.Context, p place) (*os.File, error) {
	for {
		file, err := p.openLock(lockName(p))
		if err == nil {
			var locked bool
			if locked, err = lockFile(file); locked && isAt(file, lockName(p)) {
				return file, nil
			}
			_ = file.Close()
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) { // somebody removes it all the time
			return nil, explain(s.path, locking, err)
		}
		select {
		case <-time.After(lockPoll):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// openLock opens the lock file, or makes it. It does not wait, whatever lies there.
func (p place) openLock(path string) (*os.File, error) {
	made, err := p.make(path)
	if err == nil {
		return made, nil
	}
	info, statErr := os.Lstat(path)
	name := "its lock, the file " + filepath.Base(path) + " beside it, "
	switch {
	case statErr != nil:
		return nil, err
	case regular(info) != nil:
		return nil, permanent(name+"is not a regular file", "remove the lock")
	case p.trusts(info):
		if made, err = os.OpenFile(path, os.O_RDWR|openNow|noFollow, 0); !errors.Is(err, fs.ErrPermission) {
			return made, err
		}
	}
	return nil, permanent(name+"belongs to "+another(info), "remove the lock, or give it to this user")
}

// isAt reports whether an open file is the one at path.
func isAt(held *os.File, path string) bool {
	open, heldErr := held.Stat()
	now, err := os.Lstat(path)
	return heldErr == nil && err == nil && os.SameFile(open, now)
}

// patiently calls f. On Windows it repeats a failed call for a while, since another process may have the file open.
func patiently(ctx context.Context, f func() error) error {
	for n := 0; ; n++ {
		err := f()
		if err == nil || runtime.GOOS != "windows" || errors.Is(err, fs.ErrNotExist) || n == busyTries {
			return err
		}
		select {
		case <-time.After(busyWait):
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		}
	}
}
