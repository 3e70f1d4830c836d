package keyfile

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/gofrs/flock"
)

const (
	lockPoll = 10 * time.Millisecond
	// busyTries and busyWait are for Windows, where a file cannot be replaced while somebody reads it.
	busyTries, busyWait = 100, 20 * time.Millisecond
)

// complete renames the file of a save that ended after it had written the file, removes what other saves have
// left behind, and returns the content. The caller holds the lock, so no other save is under way.
func (s *Store) complete(ctx context.Context, target string) (current []byte, err error) {
	if current, err = read(ctx, target); err != nil {
		return nil, err
	}
	if next := finished(ctx, target, current); next != nil {
		if err := s.install(ctx, nextName(target, current, next), target); err != nil {
			return nil, err
		}
		current = next
	}
	for _, path := range nexts(target) {
		_ = os.Remove(path) // the file may hold a key; if this fails, the next Save tries again
	}
	return current, nil
}

func (s *Store) replace(ctx context.Context, target string, current, document []byte) error {
	path := nextName(target, current, document)
	if err := s.write(target, path, document); err != nil {
		_ = os.Remove(path)
		return err
	}
	return s.install(ctx, path, target)
}

// write makes the file at path, with the owner and the group of target, and returns once its content would
// survive a crash.
func (s *Store) write(target, path string, document []byte) error {
	out, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	err = s.own(target, out)
	if err == nil {
		_, err = out.Write(document)
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

// lock waits until it has locked the file at path. It makes sure that the locked file is still at path, since
// somebody may have removed it meanwhile.
func lock(ctx context.Context, path string) (unlock func(), err error) {
	for {
		lock := flock.New(path, flock.SetPermissions(0o600))
		if _, err := lock.TryLockContext(ctx, lockPoll); err != nil {
			_ = lock.Close()
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			return nil, &lockError{err}
		}
		if same(lock, path) {
			giveToFolder(path)
			return func() { _ = lock.Close() }, nil
		}
		_ = lock.Close()
	}
}

// lockError is a failure to lock, for which there is other advice than for other errors.
type lockError struct{ err error }

func (e *lockError) Error() string { return "locking it: " + e.err.Error() }
func (e *lockError) Unwrap() error { return e.err }

func same(lock *flock.Flock, path string) bool {
	held, heldErr := lock.Stat()
	now, err := os.Stat(path)
	return heldErr == nil && err == nil && os.SameFile(held, now)
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
