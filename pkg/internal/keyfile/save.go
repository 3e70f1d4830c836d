package keyfile

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

const (
	lockPoll = 10 * time.Millisecond
	// busyTries and busyWait are for Windows, where a file cannot be replaced while somebody reads it.
	busyTries, busyWait = 100, 20 * time.Millisecond
	// maxFile bounds what is read: a document is about 1 KiB, or 1.5 MiB with an answer that could not be read.
	maxFile = 4 << 20
)

// current returns the content of the file. If a save has written the content that is to replace it, but has ended before
// the rename, current returns that content, and the path where it lies.
func (p place) current(ctx context.Context) (content []byte, finished string, err error) {
	if err = ctx.Err(); err == nil {
		content, err = read(ctx, p.target)
	}
	if err != nil {
		return nil, "", err
	}
	for _, path := range p.nexts() {
		if next, err := read(ctx, path); err == nil && next != nil && path == nextName(p.target, content, next) {
			return next, path, nil
		}
	}
	return content, "", nil
}

// complete renames the file of a save that has finished it, removes what other saves have left behind, and returns the
// content. The caller holds the lock, so no other save is under way.
func (p place) complete(ctx context.Context) (content []byte, err error) {
	content, finished, err := p.current(ctx)
	if finished != "" {
		err = install(ctx, finished, p.target)
	}
	if err != nil {
		return nil, err
	}
	for _, path := range p.nexts() {
		_ = os.Remove(path) // the file may hold a key; if this fails, the next Save tries again
	}
	return content, nil
}

func (s *Store) replace(ctx context.Context, p place, held *os.File, current, document []byte) error {
	mode := s.mode
	if p.file != nil && p.file.Mode().Perm() == ours {
		mode = ours
	}
	path := nextName(p.target, current, document)
	out, err := p.create(path, mode, s.warn)
	if err != nil {
		return err
	}
	_, err = out.Write(document)
	if err = errors.Join(err, out.Sync(), out.Close()); err == nil && !isAt(held, p.lockName()) {
		err = ErrConflict // somebody has removed the lock, so another save may be under way
	}
	if err != nil {
		_ = os.Remove(path)
		return err
	}
	return install(ctx, path, p.target)
}

// install renames the finished file at path over target. If that fails, the file stays, and Load reads it. To sync the
// folder makes either durable.
func install(ctx context.Context, path, target string) error {
	err := patiently(ctx, func() error { return os.Rename(path, target) })
	return errors.Join(err, withFolder(filepath.Dir(target), syncFolder))
}

func (p place) lockName() string { return p.target + ".lock" }

// lock waits until it has locked the lock file. The file that it has locked is the one at that path: somebody may have
// removed another one meanwhile. To close the file unlocks it, and not every file system can unlock it otherwise.
func (p place) lock(ctx context.Context) (*os.File, error) {
	for {
		file, err := p.openLock(p.lockName())
		if err == nil {
			var locked bool
			if locked, err = lockFile(file); locked && isAt(file, p.lockName()) {
				return file, nil
			}
			_ = file.Close()
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) { // somebody removes it all the time
			return nil, err
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
	lock, err := p.create(path, 0o600, nil)
	if !errors.Is(err, fs.ErrExist) {
		return lock, err
	}
	info, err := os.Lstat(path)
	name := "its lock, the file " + filepath.Base(path) + " beside it, "
	switch {
	case err != nil:
		return nil, err
	case regular(info) != nil:
		return nil, permanent(name + "is not a regular file; remove the lock")
	case p.trusts(info):
		if lock, err = os.OpenFile(path, os.O_RDWR|openNow|noFollow, 0); !errors.Is(err, fs.ErrPermission) {
			return lock, err
		}
	}
	return nil, permanent(name + "belongs to " + another(info) + "; remove the lock, or give it to this user")
}

// isAt reports whether an open file is the one at path.
func isAt(held *os.File, path string) bool {
	open, heldErr := held.Stat()
	now, err := os.Lstat(path)
	return heldErr == nil && err == nil && os.SameFile(open, now)
}

// patiently calls f. On Windows it repeats a failed call for a while, since another process may have the file open.
func patiently(ctx context.Context, f func() error) error {
	err := f()
	for n := 0; n < busyTries && err != nil && runtime.GOOS == "windows" && !errors.Is(err, fs.ErrNotExist) && ctx.Err() == nil; n++ {
		<-time.After(busyWait)
		err = f()
	}
	return err
}

// read returns the content of a file; nil, and not an empty slice, if there is none. It waits for nobody, even if a
// pipe lies there by now.
func read(ctx context.Context, path string) (content []byte, err error) {
	err = patiently(ctx, func() error {
		in, err := os.OpenFile(path, os.O_RDONLY|openNow, 0)
		if err != nil {
			return err
		}
		defer in.Close() //nolint:errcheck // it was only read
		info, err := in.Stat()
		if err == nil {
			err = regular(info)
		}
		if err == nil {
			content, err = io.ReadAll(io.LimitReader(in, maxFile+1))
		}
		return err
	})
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case len(content) > maxFile:
		return nil, permanent("it is larger than any key document; give the path of the key's file")
	}
	return content, err
}

// versionOf returns the version of a content: a short hash, or "" if there is no file.
func versionOf(content []byte) string {
	if content == nil {
		return ""
	}
	return hash(content)
}

func hash(content []byte) string {
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:8])
}

// nextName returns the name of the file with the content to that is to replace target while that has the content from.
// It always has the same length, so that a name that is too long is noticed at the first save.
func nextName(target string, from, to []byte) string {
	return target + nextMark + hash(from) + "-" + hash(to)
}

const nextMark = ".next-"

// nexts returns the paths of all files that were to replace the target. In a sticky folder other users can make such
// files, which do not count.
func (p place) nexts() (paths []string) {
	folder, prefix := filepath.Dir(p.target), filepath.Base(p.target)+nextMark
	entries, _ := os.ReadDir(folder) // if the folder cannot be listed, no such file is found
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), prefix) {
			continue
		}
		if info, err := e.Info(); err == nil && info.Mode().IsRegular() && p.trusts(info) {
			paths = append(paths, filepath.Join(folder, e.Name()))
		}
	}
	return paths
}
