//go:build !windows

package keyfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// makeFolder makes the folder if it is missing, and refuses a folder in which another user could replace the
// file. It does not check the parents of the folder: a volume that a group may write to (fsGroup in
// Kubernetes) is fine if the file has a folder of its own there.
func (s *Store) makeFolder(folder string) error {
	info, err := os.Stat(folder)
	if errors.Is(err, fs.ErrNotExist) {
		parent := filepath.Dir(folder)
		if parent != folder {
			if err := s.makeParents(parent); err != nil {
				return err
			}
		}
		mode := fs.FileMode(0o700)
		if s.group {
			mode = 0o750
		}
		if err := os.Mkdir(folder, mode); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		giveToFolder(folder)
		info, err = os.Stat(folder)
	}
	if err != nil {
		return err
	}
	return checkFolder(folder, info)
}

// makeParents makes parent, and the folders above it that are missing.
func (s *Store) makeParents(parent string) error {
	if _, err := os.Stat(parent); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := s.makeParents(filepath.Dir(parent)); err != nil {
		return err
	}
	if err := os.Mkdir(parent, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	giveToFolder(parent)
	return nil
}

func checkFolder(folder string, info fs.FileInfo) error {
	const othersWrite = 0o022
	if !info.IsDir() {
		return &Error{text: folder + " is not a folder", permanent: true}
	}
	sticky := info.Mode()&fs.ModeSticky != 0
	owner, _, ok := ownerOf(info)
	me := os.Geteuid()
	switch {
	case sticky:
	case info.Mode().Perm()&othersWrite != 0:
		return &Error{
			text:      fmt.Sprintf("others could replace the file, since its folder %s has mode %#o", folder, info.Mode().Perm()),
			hint:      "use a folder of its own below it, which is made with mode 0700; in a container volume too (fsGroup, emptyDir)",
			permanent: true,
		}
	case ok && owner != me && owner != 0 && me != 0:
		return &Error{
			text: fmt.Sprintf("its folder %s belongs to another user (%d), who could replace the file", folder, owner),
			hint: "use a folder of this user's", permanent: true,
		}
	}
	return nil
}

func ownerOf(info fs.FileInfo) (uid, gid int, ok bool) {
	if st, is := info.Sys().(*syscall.Stat_t); is {
		return int(st.Uid), int(st.Gid), true
	}
	return 0, 0, false
}

// own gives the new file its mode, and the owner and the group of the file that it replaces. If there is no
// such file and root makes the new one, it gets the owner and the group of the folder.
func (s *Store) own(target string, out *os.File) error {
	mode := fs.FileMode(0o600)
	if s.group {
		mode = 0o640
	}
	if err := out.Chmod(mode); err != nil {
		return err
	}
	like, err := os.Stat(target)
	switch {
	case errors.Is(err, fs.ErrNotExist) && os.Geteuid() != 0:
		return nil
	case errors.Is(err, fs.ErrNotExist):
		like, err = os.Stat(filepath.Dir(target))
	}
	if err != nil {
		return err
	}
	mine, err := out.Stat()
	if err != nil {
		return err
	}
	uid, gid, _ := ownerOf(like)
	myUID, myGID, ok := ownerOf(mine)
	if !ok || uid == myUID && gid == myGID {
		return nil
	}
	err = out.Chown(uid, gid)
	if err != nil && uid == myUID && !s.group {
		return nil // the group of the file does not matter: its mode gives the group nothing
	}
	if err != nil {
		return &Error{
			text: fmt.Sprintf("it belongs to user %d and group %d, who could not read it any more if this user (%d) replaced it", uid, gid, myUID),
			hint: "run this program as that user, or give the file to this one", err: err, permanent: true,
		}
	}
	return nil
}

// giveToFolder gives what root has made to the owner and group of the folder that it is in, so that the service can
// use it.
func giveToFolder(path string) {
	if os.Geteuid() != 0 {
		return
	}
	folder, err := os.Stat(filepath.Dir(path))
	info, infoErr := os.Lstat(path)
	if err != nil || infoErr != nil {
		return
	}
	uid, gid, _ := ownerOf(folder)
	if has, hasGroup, _ := ownerOf(info); (has != uid || hasGroup != gid) && has == 0 {
		_ = os.Lchown(path, uid, gid) // if this fails, the next save says so
	}
}

// syncFolder makes a rename durable. It ignores the error of a file system that cannot sync a folder.
func syncFolder(folder string) error {
	dir, err := os.Open(folder)
	if err != nil {
		return err
	}
	err = dir.Sync()
	for _, cannot := range []error{syscall.EINVAL, syscall.ENOTSUP, syscall.EOPNOTSUPP, syscall.ENOSYS, syscall.EBADF} {
		if errors.Is(err, cannot) {
			err = nil
		}
	}
	return errors.Join(err, dir.Close())
}

// advice says what to do about an error of the operating system, and whether the error stays until somebody acts.
// locking says that the error came from locking the file.
func advice(err error, locking bool) (hint string, permanent bool) {
	is := func(causes ...syscall.Errno) bool {
		for _, cause := range causes {
			if errors.Is(err, cause) {
				return true
			}
		}
		return false
	}
	switch {
	case locking && is(syscall.ENOLCK, syscall.ENOSYS, syscall.ENOTSUP, syscall.EOPNOTSUPP):
		return "this file system, perhaps NFS, has no locks: use a folder on a local disk, or a store for several machines", true
	case is(syscall.EROFS):
		return "the file system is mounted read-only: mount it writable, or open the store with ReadOnly where nothing is renewed", true
	case is(syscall.EACCES, syscall.EPERM):
		return fmt.Sprintf("this user (%d) has to be able to write in the folder: for a systemd unit set StateDirectory=, for a pod fsGroup, and elsewhere change the folder's owner", os.Geteuid()), true
	case is(syscall.EBUSY, syscall.EXDEV):
		return "a file that is mounted by itself (docker -v file:file, subPath) cannot be replaced: mount its folder", true
	case is(syscall.ENOSPC, syscall.EDQUOT):
		return "make room on the disk", false
	}
	return "", false
}
