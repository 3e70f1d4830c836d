package keyfile

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

const (
	othersWrite = 0o022 // the bits of a mode that let others write
	ours        = 0o640 // those that a file with a key may have
	// unmapped is the user to whom all seems to belong that a user namespace, such as a container, does not know.
	unmapped = 65534

	mountFolder  = "mount its folder instead (docker -v folder:folder, a volume without subPath)"
	mountedAlone = "it is mounted by itself, so it can be neither replaced nor seen when another process replaces it; " +
		mountFolder
	useOwn = "use a folder such as /var/lib/myapp, in which, and for root also above which, only root and " +
		"the user of the service can write; in a container volume (fsGroup, emptyDir), use a folder of its own below it, which is made with mode 0700"
)

// place is where a path leads.
type place struct {
	target string      // the file, which need not exist
	file   fs.FileInfo // of the target; nil if it does not exist
	folder fs.FileInfo // of the target's folder; nil if it does not exist
	way    []step      // the folders and links on the way, from the top
}

type step struct {
	path string
	info fs.FileInfo
}

// find follows a path through all links, as the operating system does. What lies there has to be a regular file.
func find(path string) (p place, err error) {
	if err = p.follow(path); err != nil {
		return p, err
	}
	if p.folder, err = os.Lstat(filepath.Dir(p.target)); errors.Is(err, fs.ErrNotExist) {
		return p, nil
	}
	if p.file == nil {
		p.file, _ = os.Stat(path) // what only the operating system can follow, such as /dev/stdout
	}
	if err == nil && p.file != nil {
		err = regular(p.file)
	}
	return p, err
}

// follow goes from p.target, a folder, to where a path leads from there.
func (p *place) follow(path string) error {
	const most = 1000 // steps; there are more only if a link leads back to itself
	volume := filepath.VolumeName(path)
	names := filepath.ToSlash(path[len(volume):])
	if strings.HasPrefix(names, "/") {
		p.target = cmp.Or(volume, filepath.VolumeName(p.target)) + string(filepath.Separator)
		p.file, _ = os.Lstat(p.target)
	}
	for name := range strings.FieldsFuncSeq(names, func(r rune) bool { return r == '/' }) {
		if p.file != nil {
			p.way = append(p.way, step{p.target, p.file})
		}
		next := filepath.Join(p.target, name)
		info, err := os.Lstat(next)
		switch {
		case errors.Is(err, fs.ErrNotExist), err == nil && info.Mode()&fs.ModeSymlink == 0:
			p.target, p.file, err = next, info, nil
		case err == nil && len(p.way) > most:
			err = &fs.PathError{Op: "follow", Path: next, Err: syscall.ELOOP}
		case err == nil:
			p.way = append(p.way, step{next, info})
			var to string
			if to, err = os.Readlink(next); err == nil {
				err = p.follow(to)
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// regular returns an error for what is not a regular file.
func regular(info fs.FileInfo) error {
	switch {
	case info.IsDir():
		return permanent("it is a folder; give the path of a file in it")
	case !info.Mode().IsRegular():
		return permanent("it is not a regular file, but a pipe, a device or a socket; give the path of a file")
	}
	return nil
}

// mounted reports whether a file or folder is a mount point of its own. Only Linux has such files.
func mounted(path string) bool {
	table, _ := os.ReadFile("/proc/self/mountinfo") // elsewhere there is none
	path = strings.NewReplacer(" ", `\040`, "\t", `\011`, "\n", `\012`, `\`, `\134`).Replace(path)
	for line := range strings.Lines(string(table)) {
		const point = 4
		if fields := strings.Fields(line); len(fields) > point && fields[point] == path {
			return true
		}
	}
	return false
}

func uidOf(info fs.FileInfo) int {
	uid, _ := ownerOf(info)
	return uid
}

func another(info fs.FileInfo) string             { return fmt.Sprintf("another user (%d)", uidOf(info)) }
func isMine(info fs.FileInfo) bool                { return uidOf(info) == os.Geteuid() }
func isOwner(info fs.FileInfo, users ...int) bool { return slices.Contains(users, uidOf(info)) }

func isUnknown(info fs.FileInfo) bool {
	ids, err := os.ReadFile("/proc/self/uid_map")
	return isOwner(info, unmapped) && err == nil && strings.Join(strings.Fields(string(ids)), " ") != "0 0 4294967295"
}

// trusts reports whether something belongs to root, to this user, or to the owner of the folder: a service for which
// root acts, or one whose key this user may read.
func (p place) trusts(info fs.FileInfo) bool {
	service := p.folder != nil && isOwner(info, uidOf(p.folder)) // it is nil while another process is making it
	return service || isOwner(info, 0, os.Geteuid())
}

// judge returns an error for a place where another user could replace or read the file, or lead this program to
// another one, and warns of what is not as it should be. With sticky it accepts a folder in which others can make
// files, but not remove this one.
//
// For root the folders above count too: who can rename one of them can replace the file, and gets it if root gives the
// file to the owner of its folder.
func (p place) judge(sticky bool, warn func(string)) error {
	switch {
	case p.folder == nil: // somebody has just removed it
		return fs.ErrNotExist
	case mounted(p.target):
		return permanent(mountedAlone)
	case !hasModes:
		return nil
	}
	me, steps := os.Geteuid(), p.way
	if p.file != nil {
		steps = append(steps, step{p.target, p.file})
	}
	for _, s := range steps {
		mode, final := s.info.Mode(), s.path == filepath.Dir(p.target)
		trusted := isOwner(s.info, 0, me) || me == 0 && p.trusts(s.info)
		what, harm := "the folder "+s.path, "replace the file"
		switch {
		case s.path == p.target:
			what, harm = "it", "read and change it"
		case mode&fs.ModeSymlink != 0:
			what, harm = "the link "+s.path, "lead to another file"
		case me != 0 && !final:
			continue
		}
		switch {
		case isUnknown(s.info):
			warn(what + " belongs to a user whom this container does not know")
		case !trusted:
			return permanent(what + " belongs to " + another(s.info) + ", who could " + harm + "; " + useOwn)
		}
		text := fmt.Sprintf("others could replace the file, since the folder %s has mode %#o", s.path, mode.Perm())
		switch {
		case !mode.IsDir() || mode&othersWrite == 0:
		case mode&fs.ModeSticky != 0 && (sticky || !final) && isOwner(p.folder, 0, me):
			// Nobody removes what is another's here, but anybody could have made the folder of a service.
		case !final && mode&fs.ModeSticky == 0 && mounted(s.path): // a sticky one is /tmp, or is like it
			warn(text + ", as the volume lets them")
		default:
			return permanent(text + "; " + useOwn)
		}
	}
	if p.wide() {
		warn(fmt.Sprintf("other users can read it: it has mode %#o; chmod 600 it, or 640 for programs of its group",
			p.file.Mode().Perm()))
	}
	return nil
}

// wide reports whether others can read the file, or write it.
func (p place) wide() bool { return p.file != nil && p.file.Mode().Perm()&^ours != 0 }

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
