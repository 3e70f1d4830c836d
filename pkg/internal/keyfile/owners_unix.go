//go:build !windows

package keyfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

const (
	hasModes = true
	openNow  = syscall.O_NONBLOCK // does not wait for the other end of a pipe
	noFollow = syscall.O_NOFOLLOW
	// unmapped is the user to whom everything seems to belong that a user namespace does not know.
	unmapped = 65534
)

func ownerOf(info fs.FileInfo) (uid, gid int) {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return int(st.Uid), int(st.Gid)
	}
	return 0, 0
}

func ownerName(info fs.FileInfo) string {
	uid, _ := ownerOf(info)
	return fmt.Sprintf("another user (%d)", uid)
}

// inNamespace reports whether this process sees only some of the machine's users.
func inNamespace() bool {
	ids, err := os.ReadFile("/proc/self/uid_map")
	return err == nil && strings.Join(strings.Fields(string(ids)), " ") != "0 0 4294967295"
}

// trusts reports whether root, this user or, if this user is root, the owner of the folder is uid.
func (p place) trusts(uid int) bool {
	me := os.Geteuid()
	if uid == 0 || uid == me {
		return true
	}
	if me != 0 || p.folder == nil {
		return false
	}
	service, _ := ownerOf(p.folder)
	return uid == service
}

// isOurs reports whether what lies beside the file was made by a program that may: it belongs to somebody who is
// trusted, or to the owner of the file or the folder, which is how a reader sees it.
func (p place) isOurs(info fs.FileInfo) bool {
	uid, _ := ownerOf(info)
	if p.trusts(uid) || uid == unmapped && inNamespace() {
		return true
	}
	like := p.file
	if like == nil {
		like = p.folder
	}
	if like == nil {
		return false
	}
	owner, _ := ownerOf(like)
	return uid == owner
}

// judgeOwners is the part of judge about owners and modes. For root the folders above count too: who can rename one
// of them can replace the file, and gets it if root gives the file to the owner of its folder.
func (p place) judgeOwners(sticky bool) (warnings []string, err error) {
	me := os.Geteuid()
	judge := func(what string, info fs.FileInfo, fine bool, harm string) error {
		uid, _ := ownerOf(info)
		if !fine && uid == unmapped && inNamespace() {
			fine, warnings = true, append(warnings, what+" belongs to a user whom this container does not know")
		}
		if fine {
			return nil
		}
		return &Error{
			text: fmt.Sprintf("%s belongs to %s, who could %s", what, ownerName(info), harm),
			hint: "use a folder in which only root and the user of the service can write", permanent: true,
		}
	}
	for _, s := range p.way {
		uid, _ := ownerOf(s.info)
		final := s.path == filepath.Dir(p.target)
		switch {
		case s.info.Mode()&fs.ModeSymlink != 0: // the service may lead root from a folder of its own to another such
			holder, statErr := os.Stat(filepath.Dir(s.path))
			fine := uid == 0 || uid == me || p.trusts(uid) && statErr == nil && sameOwner(holder, s.info)
			err = judge("the link "+s.path, s.info, fine, "lead to another file")
		case me == 0 || final:
			if err = judge("the folder "+s.path, s.info, p.trusts(uid), "replace the file"); err == nil {
				var warning string
				if warning, err = p.judgeMode(s, final, sticky); warning != "" {
					warnings = append(warnings, warning)
				}
			}
		}
		if err != nil {
			return nil, err
		}
	}
	if p.file != nil {
		uid, _ := ownerOf(p.file)
		err = judge("it", p.file, p.trusts(uid), "read and change it")
	}
	return warnings, err
}

// judgeMode judges a folder in which others may write. In a sticky folder nobody else can remove what is root's or this
// user's, but anybody could have made the folder of a service for which root acts.
func (p place) judgeMode(s step, final, sticky bool) (warning string, err error) {
	mode := s.info.Mode()
	owner, _ := ownerOf(p.folder)
	text := fmt.Sprintf("the folder %s has mode %#o", s.path, mode.Perm())
	switch {
	case mode&othersWrite == 0:
	case mode&fs.ModeSticky != 0 && (sticky || !final) && (owner == 0 || owner == os.Geteuid()):
	case final:
		return "", &Error{
			text:      "others could replace the file, since " + text,
			hint:      "use a folder of its own below it, which is made with mode 0700; in a container volume too (fsGroup, emptyDir)",
			permanent: true,
		}
	case mounted(s.path):
		return "others could replace the folders on the way, since the volume lets them write: " + text, nil
	default:
		return "", &Error{
			text: "others could replace the file's folder, since above it " + text,
			hint: "use a folder such as /var/lib/esper-key, above which only root can write", permanent: true,
		}
	}
	return "", nil
}

func sameOwner(a, b fs.FileInfo) bool {
	one, _ := ownerOf(a)
	other, _ := ownerOf(b)
	return one == other
}

// widened reports whether others may write in the file's folder although it is our own: it is this user's, and nothing
// lies in it but the file and what belongs to the file.
func (p place) widened() bool {
	folder := filepath.Dir(p.target)
	owner, _ := ownerOf(p.folder)
	if p.folder.Mode()&othersWrite == 0 || p.folder.Mode()&fs.ModeSticky != 0 || owner != os.Geteuid() || mounted(folder) {
		return false
	}
	entries, err := os.ReadDir(folder)
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), filepath.Base(p.target)) {
			return false
		}
	}
	return err == nil && len(entries) > 0
}

// narrow takes the right to write in a folder from others. Whoever exchanges the folder meanwhile gains nothing.
func narrow(folder string) error {
	dir, err := openFolder(folder)
	if err != nil {
		return err
	}
	info, err := dir.Stat()
	if err == nil {
		err = dir.Chmod(info.Mode() &^ othersWrite)
	}
	return errors.Join(err, dir.Close())
}

// own gives the new file its mode, and the owner and the group of the file that it replaces. If there is no
// such file and root makes the new one, it gets the owner and the group of the folder.
func (p place) own(out *os.File, mode fs.FileMode) (warning string, err error) {
	like := p.file
	if like == nil && os.Geteuid() == 0 {
		like = p.folder
	}
	mine, err := out.Stat()
	if err != nil {
		return "", err
	}
	if like == nil {
		like = mine
	}
	uid, gid := ownerOf(like)
	myUID, myGID := ownerOf(mine)
	if uid != myUID || gid != myGID {
		err = out.Chown(uid, gid)
	}
	switch {
	case err == nil:
	case uid == myUID || uid == unmapped && inNamespace():
		const forOthers = 0o077
		if mode&forOthers != 0 {
			warning = fmt.Sprintf("it could not be given to its group (%d) again (%s), so only its owner can read it now; let this user join the group, or let the unit use chown", gid, plainText(err))
		}
		mode &^= forOthers
	default:
		return "", &Error{
			text: fmt.Sprintf("it belongs to user %d and group %d, who could not read it any more if this user (%d) replaced it", uid, gid, myUID),
			hint: fmt.Sprintf("run this program as that user, or give the file to this one (chown %d)", myUID), err: err, permanent: true,
		}
	}
	return warning, out.Chmod(mode)
}

// give gives what root has just made to the owner and the group of the folder that it is in, so that the service can
// use it.
func give(made *os.File, folder fs.FileInfo) {
	uid, gid := ownerOf(folder)
	if os.Geteuid() == 0 && !(uid == unmapped && inNamespace()) {
		_ = made.Chown(uid, gid) // if this fails, the service's next save says so
	}
}

// openFolder opens a folder, and no link to one.
func openFolder(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_RDONLY|syscall.O_DIRECTORY|noFollow, 0)
}

// access reports, as an error, that this user may not read a file or write it. It does not open the file.
func access(path string, write bool) error {
	const mayRead, mayWrite = 4, 2
	mode := uint32(mayRead)
	if write {
		mode |= mayWrite
	}
	if err := syscall.Access(path, mode); err != nil {
		return &fs.PathError{Op: "access", Path: path, Err: err}
	}
	return nil
}

func isMine(info fs.FileInfo) bool {
	uid, _ := ownerOf(info)
	return uid == os.Geteuid()
}

func lockFile(file *os.File) (locked bool, err error) {
	err = syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) || errors.Is(err, syscall.EINTR) {
		return false, nil
	}
	return err == nil, err
}

func unlockFile(file *os.File) error { return syscall.Flock(int(file.Fd()), syscall.LOCK_UN) }

// syncFolder makes a rename durable. It ignores the error of a file system that cannot sync a folder.
func syncFolder(folder string) error {
	dir, err := os.Open(folder)
	if err != nil {
		return err
	}
	if err = dir.Sync(); is(err, syscall.EINVAL, syscall.ENOTSUP, syscall.EOPNOTSUPP, syscall.ENOSYS, syscall.EBADF) {
		err = nil
	}
	return errors.Join(err, dir.Close())
}

func is(err error, causes ...syscall.Errno) bool {
	for _, cause := range causes {
		if errors.Is(err, cause) {
			return true
		}
	}
	return false
}

// restored reports whether a file belongs to somebody else, in a folder of this user's.
func restored(path string) bool {
	p, err := find(path)
	return err == nil && p.file != nil && !isMine(p.file) && isMine(p.folder)
}

// advice says what to do about an error of the operating system, and whether the error stays until somebody acts.
func advice(path string, doing action, err error) (hint string, permanent bool) {
	me := os.Geteuid()
	switch {
	case doing == locking && is(err, syscall.ENOLCK, syscall.ENOSYS, syscall.ENOTSUP, syscall.EOPNOTSUPP):
		return "this file system, perhaps NFS, has no locks: use a folder on a local disk, or a store for several machines", true
	case is(err, syscall.EROFS):
		return "the file system is mounted read-only: mount it writable, or open the store read-only where nothing is renewed", true
	case is(err, syscall.EACCES, syscall.EPERM) && restored(path):
		return fmt.Sprintf("it belongs to another user, perhaps since it was restored: give it to this one (chown %d), who owns the folder", me), true
	case is(err, syscall.EACCES, syscall.EPERM) && doing == reading:
		return fmt.Sprintf("this user (%d) may not read it: keep it with mode 0640 in a folder with mode 0750, and let this user join their group", me), true
	case is(err, syscall.EACCES, syscall.EPERM):
		return fmt.Sprintf("this user (%d) has to be able to write in the folder: for a systemd unit set StateDirectory=, for a pod fsGroup, and elsewhere change the folder's owner", me), true
	case is(err, syscall.EBUSY, syscall.EXDEV):
		return "a file that is mounted by itself (docker -v file:file, subPath) cannot be replaced: mount its folder", true
	case is(err, syscall.ELOOP):
		return "a link on the way leads back to itself: mend it", true
	case is(err, syscall.ENAMETOOLONG):
		return "a save needs up to 39 bytes beside the file's name: use a shorter one", true
	case is(err, syscall.ENOSPC, syscall.EDQUOT):
		return "make room on the disk", false
	}
	return "", false
}
