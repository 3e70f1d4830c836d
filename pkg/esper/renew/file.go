package renew

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/gofrs/flock"
)

const (
	fileMode   = 0o600
	folderMode = 0o700
	lockPoll   = 20 * time.Millisecond
	// maxFile bounds what is read: a document is about 1 KiB, or 2 MiB with an answer that could
	// not be read.
	maxFile = 4 << 20

	temporaryMark = ".tmp-"
	temporaryLife = time.Hour // far longer than any Save

	busyTries, busyWait = 100, 20 * time.Millisecond
)

// File returns a store in the file at path, for all processes of one user on one host. It is one
// JSON document that a person can read, replaced as a whole; beside it lies path + ".lock", whose
// content means nothing and which may stay. The folder is made with mode 0700 if it is missing, the
// file with 0600; wider modes are refused, except on Windows, which has none. If path is a symbolic
// link, the file that it leads to is replaced, and the link stays. A relative path starts at the
// working directory of this moment; an empty one is refused by [Open].
func File(path string) Store {
	if absolute, err := filepath.Abs(path); err == nil && path != "" { // Open refuses an empty path
		path = absolute
	}
	return file{path}
}

type file struct{ path string }

// String names the store in errors.
func (f file) String() string { return f.path }

func (f file) Load(ctx context.Context) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	target, err := f.target()
	if err != nil {
		return nil, err
	}
	info, err := os.Stat(target) // before it is opened: a pipe would wait there for a writer
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	switch {
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%s is not a regular file", target)
	case tooWide(info.Mode(), fileMode):
		return nil, fmt.Errorf("%s has mode %#o, so that others can read the key; set it to 0600", target, info.Mode().Perm())
	}
	if err := checkFolder(filepath.Dir(target)); err != nil {
		return nil, err
	}
	var document []byte
	err = again(ctx, func() (err error) {
		document, err = read(target)
		return err
	})
	if len(document) > maxFile {
		return nil, fmt.Errorf("%s is larger than any key document", target)
	}
	return document, err
}

func read(target string) ([]byte, error) {
	in, err := os.Open(target)
	if err != nil {
		return nil, err
	}
	defer in.Close() //nolint:errcheck // it was only read
	return io.ReadAll(io.LimitReader(in, maxFile+1))
}

func (f file) Save(ctx context.Context, document []byte) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	target, err := f.target()
	if err != nil {
		return err
	}
	if err := makeFolder(filepath.Dir(target)); err != nil {
		return err
	}
	temporary, err := writeTemporary(target, document)
	if err != nil {
		return err
	}
	return replace(ctx, temporary, target)
}

// No library for this: those at hand leave out Windows, or the folder's fsync, without which a
// power cut can bring the old file back.
func writeTemporary(target string, document []byte) (name string, err error) {
	out, err := os.CreateTemp(filepath.Dir(target), filepath.Base(target)+temporaryMark+"*") // with mode 0600
	if err != nil {
		return "", err
	}
	_, err = out.Write(document)
	if err = errors.Join(err, out.Sync(), out.Close()); err != nil {
		_ = os.Remove(out.Name())
	}
	return out.Name(), err
}

func replace(ctx context.Context, temporary, target string) error {
	if err := again(ctx, func() error { return os.Rename(temporary, target) }); err != nil {
		_ = os.Remove(temporary)
		return err
	}
	sweep(target)
	return syncFolder(filepath.Dir(target))
}

// sweep removes the temporary files of processes that died over them: there may be a key in them.
func sweep(target string) {
	eachTemporary(target, func(path string, info os.FileInfo) {
		if time.Since(info.ModTime()) > temporaryLife {
			_ = os.Remove(path) // or the next Save does
		}
	})
}

// again lets Windows try for a while: there a file cannot be replaced while somebody reads it, nor
// be read in the moment in which it is replaced.
func again(ctx context.Context, f func() error) error {
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

func (f file) Lock(ctx context.Context) (unlock func(), err error) {
	target, err := f.target()
	if err != nil {
		return nil, err
	}
	if err := makeFolder(filepath.Dir(target)); err != nil {
		return nil, err
	}
	lock := flock.New(target+".lock", flock.SetPermissions(fileMode))
	if _, err := lock.TryLockContext(ctx, lockPoll); err != nil {
		return nil, fmt.Errorf("locking %s: %w", lock.Path(), err)
	}
	return func() { _ = lock.Close() }, nil
}

// target is the file that path leads to, which need not exist.
func (f file) target() (string, error) {
	path := f.path
	for {
		target, err := filepath.EvalSymlinks(path)
		if err == nil {
			return target, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return "", fmt.Errorf("%s: %w", path, err) // the error may name nothing
		}
		link, err := os.Readlink(path)
		if err != nil {
			return path, nil //nolint:nilerr // no link: a file that is still to be made
		}
		if !filepath.IsAbs(link) {
			folder, err := filepath.EvalSymlinks(filepath.Dir(path))
			if err != nil {
				return "", fmt.Errorf("%s: %w", path, err)
			}
			link = filepath.Join(folder, link)
		}
		path = link
	}
}

func makeFolder(folder string) error {
	if err := os.MkdirAll(folder, folderMode); err != nil {
		return err
	}
	return checkFolder(folder)
}

func checkFolder(folder string) error {
	info, err := os.Stat(folder)
	if err != nil {
		return err
	}
	if tooWide(info.Mode(), folderMode) {
		return fmt.Errorf("the folder %s has mode %#o, so that others can get at the key; set it to 0700", folder, info.Mode().Perm())
	}
	return nil
}

func tooWide(mode fs.FileMode, allowed fs.FileMode) bool {
	return runtime.GOOS != "windows" && mode.Perm()&^allowed != 0
}

// syncFolder makes a rename durable. Windows has no such call; its renames are in a journal.
func syncFolder(folder string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	dir, err := os.Open(folder)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
