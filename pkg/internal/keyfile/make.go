package keyfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
)

// create makes a file that only its owner can read before it has its mode. It gets the owner and the group of the file
// that it replaces. If there is none and root makes it, it gets those of the folder, so that the service can use it.
func (p place) create(path string, mode fs.FileMode, warn func(string)) (*os.File, error) {
	made, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	like := p.file
	if like == nil && os.Geteuid() == 0 && !isUnknown(p.folder) {
		like = p.folder
	}
	if like != nil {
		err = give(made, like)
	}
	switch {
	case err == nil && mode == ours:
		err = made.Chmod(mode)
	case err != nil && !isMine(like) && !isUnknown(like):
		uid, gid := ownerOf(like)
		text := "it belongs to user %d and group %d, who could not read it any more if this user replaced it; " +
			"run this program as that user, or give the file to this one (chown %d)"
		err = &Error{text: fmt.Sprintf(text, uid, gid, os.Geteuid()), err: err, permanent: true}
	case err != nil: // only its group is lost
		if _, gid := ownerOf(like); mode == ours {
			warn(fmt.Sprintf("it could not be given to its group (%d) again (%s), so only its owner can read it now; "+
				"let this user join the group, or let the unit use chown", gid, plainText(err)))
		}
		err = nil
	}
	if err != nil {
		_ = errors.Join(made.Close(), os.Remove(path))
		return nil, err
	}
	return made, nil
}

// give gives what was made to the owner and the group of something else, unless it has them.
func give(made *os.File, like fs.FileInfo) error {
	uid, gid := ownerOf(like)
	info, err := made.Stat()
	if err == nil {
		if u, g := ownerOf(info); u != uid || g != gid {
			err = made.Chown(uid, gid)
		}
	}
	return err
}

// makeFolder makes a folder, and those above it that are missing. What root makes gets the owner of the folder above.
func makeFolder(folder string, mode fs.FileMode) error {
	above := filepath.Dir(folder)
	err := os.Mkdir(folder, mode)
	if errors.Is(err, fs.ErrNotExist) && above != folder { // they are equal for a drive of Windows that is not there
		if err = makeFolder(above, 0o700); err == nil {
			err = os.Mkdir(folder, mode)
		}
	}
	if errors.Is(err, fs.ErrExist) { // another process was quicker; the caller judges what is there
		return nil
	}
	if err != nil || os.Geteuid() != 0 {
		return err
	}
	return withFolder(folder, func(made *os.File) error {
		like, err := os.Stat(above)
		if err == nil && !isUnknown(like) {
			_ = give(made, like) // if this fails, the service's next save says so
		}
		return err
	})
}

func withFolder(path string, do func(*os.File) error) error {
	folder, err := os.OpenFile(path, os.O_RDONLY|folderOnly|noFollow, 0)
	if err != nil {
		return err
	}
	return errors.Join(do(folder), folder.Close())
}

// narrow takes the right to write in a folder from others. Whoever exchanges the folder meanwhile gains nothing.
func narrow(folder *os.File) error {
	info, err := folder.Stat()
	if err == nil {
		err = folder.Chmod(info.Mode() &^ othersWrite)
	}
	return err
}

// syncFolder makes a rename durable. It ignores the error of a file system that cannot sync a folder, as Windows, which
// keeps a journal of renames.
func syncFolder(folder *os.File) error {
	err := folder.Sync()
	if runtime.GOOS == "windows" || is(err, syscall.EINVAL, syscall.ENOTSUP, syscall.EOPNOTSUPP, syscall.ENOSYS, syscall.EBADF) {
		return nil
	}
	return err
}
