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
)

// File returns a store in the file at path, for all processes of one user on one host. It is one
// JSON document that a person can read, replaced as a whole; beside it lies path + ".lock", whose
// content means nothing and which may stay. The folder is made with mode 0700 if it is missing, the
// file with 0600; wider modes are refused, except on Windows, which has none. If path is a symbolic
// link, the file that it leads to is replaced, and the link stays.
func File(path string) Store { return file{path} }

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
	in, err := os.Open(target)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer in.Close() //nolint:errcheck // it was only read
	info, err := in.Stat()
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
	document, err := io.ReadAll(io.LimitReader(in, maxFile+1))
	if len(document) > maxFile {
		return nil, fmt.Errorf("%s is larger than any key document", target)
	}
	return document, err
}

func (f file) Save(ctx context.Context, document []byte) (err error) {
	if err := ctx.Err(); err != nil {
		return err
	}
	target, err := f.target()
	if err != nil {
		return err
	}
	folder := filepath.Dir(target)
	if err := makeFolder(folder); err != nil {
		return err
	}
	// No library for this: those at hand leave out Windows, or the folder's fsync, without which a
	// power cut can bring the old file back.
	temporary, err := os.CreateTemp(folder, filepath.Base(target)+".tmp-*") // with mode 0600
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(temporary.Name())
		}
	}()
	_, err = temporary.Write(document)
	err = errors.Join(err, temporary.Sync(), temporary.Close())
	if err != nil {
		return err
	}
	if err := os.Rename(temporary.Name(), target); err != nil {
		return err
	}
	return syncFolder(folder)
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
	target, err := filepath.EvalSymlinks(f.path)
	if err == nil {
		return target, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	link, err := os.Readlink(f.path)
	if err != nil {
		return f.path, nil // no link: a file that is still to be made
	}
	if !filepath.IsAbs(link) {
		link = filepath.Join(filepath.Dir(f.path), link)
	}
	return link, nil
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
