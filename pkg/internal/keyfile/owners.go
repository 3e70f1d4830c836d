package keyfile

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

const (
	othersWrite = 0o022 // the bits of a mode that let others write
	ours        = 0o640 // those that a file with a key may have
	// unmapped is the user to whom everything seems to belong that a user namespace, such as a container, does not know.
	unmapped = 65534

	alone       = "it is mounted by itself, so it can be neither replaced nor seen when another process replaces it"
	mountFolder = "mount its folder instead (docker -v folder:folder, a volume without subPath)"
	useOwn      = "use a folder such as /var/lib/myapp, in which, and for root also above which, only root and the user of the service can write; " +
		"in a container volume (fsGroup, emptyDir), use a folder of its own below it, which is made with mode 0700"
)

func isOwner(info fs.FileInfo, users ...int) bool {
	uid, _ := ownerOf(info)
	return !hasModes || slices.Contains(users, uid)
}

func isMine(info fs.FileInfo) bool { return isOwner(info, os.Geteuid()) }

func isUnknown(info fs.FileInfo) bool {
	ids, err := os.ReadFile("/proc/self/uid_map")
	return isOwner(info, unmapped) && err == nil && strings.Join(strings.Fields(string(ids)), " ") != "0 0 4294967295"
}

func another(info fs.FileInfo) string {
	uid, _ := ownerOf(info)
	return fmt.Sprintf("another user (%d)", uid)
}

// trusts reports whether something belongs to root, to this user, or to the owner of the folder: a service for which
// root acts, or one whose key this user may read.
func (p place) trusts(info fs.FileInfo) bool {
	users := []int{0, os.Geteuid()}
	if p.folder != nil { // nil while another process is making it
		service, _ := ownerOf(p.folder)
		users = append(users, service)
	}
	return isOwner(info, users...)
}

// judge returns an error for a place where another user could replace or read the file, or lead this program to
// another one, and warns of what is not as it should be. With sticky it accepts a folder in which others can make
// files, but not remove this one.
//
// For root the folders above count too: who can rename one of them can replace the file, and gets it if root gives the
// file to the owner of its folder.
func (p place) judge(sticky bool, warn func(string)) (err error) {
	me := os.Geteuid()
	owned := func(what string, info fs.FileInfo, fine bool, harm string) {
		switch text := what + " belongs to "; {
		case isUnknown(info):
			warn(text + "a user whom this container does not know")
		case !fine && err == nil:
			err = permanent(text+another(info)+", who could "+harm, useOwn)
		}
	}
	switch {
	case p.mounted():
		return permanent(alone, mountFolder)
	case !hasModes:
		return nil
	}
	for _, s := range p.way {
		final, mode := s.path == filepath.Dir(p.target), s.info.Mode()
		switch {
		case mode&fs.ModeSymlink != 0: // the service may lead root from one folder of its own to another such
			uid, _ := ownerOf(s.info)
			holder, statErr := os.Stat(filepath.Dir(s.path))
			fine := isOwner(s.info, 0, me) || p.trusts(s.info) && statErr == nil && isOwner(holder, uid)
			owned("the link "+s.path, s.info, fine, "lead to another file")
			continue
		case me != 0 && !final:
			continue
		}
		owned("the folder "+s.path, s.info, isOwner(s.info, 0, me) || me == 0 && p.trusts(s.info), "replace the file")
		text := fmt.Sprintf("others could replace the file, since the folder %s has mode %#o", s.path, mode.Perm())
		switch {
		case err != nil || mode&othersWrite == 0:
		case mode&fs.ModeSticky != 0 && (sticky || !final) && isOwner(p.folder, 0, me):
			// Nobody removes what is another's here, but anybody could have made the folder of a service.
		case !final && mounted(s.path):
			warn(text + ", as the volume lets them")
		default:
			err = permanent(text, useOwn)
		}
	}
	if p.file != nil {
		owned("it", p.file, p.trusts(p.file), "read and change it")
	}
	if p.wide() {
		warn(fmt.Sprintf("other users can read it: it has mode %#o; chmod 600 it, or 640 for programs of its group", p.file.Mode().Perm()))
	}
	return err
}

// wide reports whether others can read the file, or write it.
func (p place) wide() bool { return hasModes && p.file != nil && p.file.Mode().Perm()&^ours != 0 }

// widened reports whether others may write in the file's folder although it is our own: it is this user's, and nothing
// lies in it but the file and what belongs to the file.
func (p place) widened() bool {
	folder, mode := filepath.Dir(p.target), p.folder.Mode()
	if !hasModes || mode&othersWrite == 0 || mode&fs.ModeSticky != 0 || !isMine(p.folder) || mounted(folder) {
		return false
	}
	entries, err := os.ReadDir(folder)
	foreign := func(e fs.DirEntry) bool { return !strings.HasPrefix(e.Name(), filepath.Base(p.target)) }
	return err == nil && len(entries) > 0 && !slices.ContainsFunc(entries, foreign)
}

// restored reports whether a file belongs to somebody else, in a folder of this user's.
func restored(path string) bool {
	p, err := find(path)
	return err == nil && p.file != nil && !isMine(p.file) && isMine(p.folder)
}

// make makes a file that only its owner may read.
func (p place) make(path string) (*os.File, error) {
	made, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err == nil {
		give(made, p.folder)
	}
	return made, err
}

// give gives what root has just made to the owner and the group of the folder that it is in, so that the service can
// use it.
func give(made *os.File, folder fs.FileInfo) {
	if uid, gid := ownerOf(folder); os.Geteuid() == 0 && !isUnknown(folder) {
		_ = made.Chown(uid, gid) // if this fails, the service's next save says so
	}
}

// own gives the new file its mode, and the owner and the group of the file that it replaces. If there is no
// such file and root makes the new one, it gets the owner and the group of the folder.
func (p place) own(out *os.File, mode fs.FileMode, warn func(string)) error {
	mine, err := out.Stat()
	if err != nil || !hasModes {
		return err
	}
	like := mine
	if p.file != nil {
		like = p.file
	} else if os.Geteuid() == 0 {
		like = p.folder
	}
	uid, gid := ownerOf(like)
	if u, g := ownerOf(mine); u != uid || g != gid {
		err = out.Chown(uid, gid)
	}
	switch {
	case err == nil:
	case !isMine(like) && !isUnknown(like):
		text := fmt.Sprintf("it belongs to user %d and group %d, who could not read it any more if this user replaced it; run this program as that user, or give the file to this one (chown %d)", uid, gid, os.Geteuid())
		return &Error{text: text, err: err, permanent: true}
	case mode != 0o600:
		warn(fmt.Sprintf("it could not be given to its group (%d) again (%s), so only its owner can read it now; let this user join the group, or let the unit use chown", gid, plainText(err)))
		mode = 0o600
	}
	return out.Chmod(mode)
}
