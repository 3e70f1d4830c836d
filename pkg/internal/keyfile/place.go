package keyfile

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
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
	const most = 40 // links, as of Linux
	top := filepath.VolumeName(path) + string(filepath.Separator)
	p.target = top
	for links, rest := 0, parts(path); len(rest) > 0; {
		if p.file != nil {
			p.way = append(p.way, step{p.target, p.file})
		}
		next := filepath.Join(p.target, rest[0])
		rest = rest[1:]
		if p.file, err = os.Lstat(next); errors.Is(err, fs.ErrNotExist) {
			p.target = filepath.Join(append([]string{next}, rest...)...)
			break
		}
		if err != nil {
			return p, err
		}
		if p.file.Mode()&fs.ModeSymlink == 0 {
			p.target = next
			continue
		}
		p.way, p.file = append(p.way, step{next, p.file}), nil
		to, err := os.Readlink(next)
		if links++; err == nil && links > most {
			err = &fs.PathError{Op: "follow", Path: next, Err: syscall.ELOOP}
		}
		if err != nil {
			return p, err
		}
		if volume := filepath.VolumeName(to); volume != "" {
			top = volume + string(filepath.Separator)
		}
		if filepath.IsAbs(to) || to != "" && os.IsPathSeparator(to[0]) {
			p.target = top
		}
		rest = append(parts(to), rest...)
	}
	if p.folder, err = os.Stat(filepath.Dir(p.target)); errors.Is(err, fs.ErrNotExist) {
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

// regular returns an error for what is not a regular file.
func regular(info fs.FileInfo) error {
	switch {
	case info.IsDir():
		return permanent("it is a folder", "give the path of a file in it")
	case !info.Mode().IsRegular():
		return permanent("it is not a regular file, but a pipe, a device or a socket", "give the path of a file")
	}
	return nil
}

// parts returns the names in a path.
func parts(path string) []string {
	path = filepath.ToSlash(path[len(filepath.VolumeName(path)):])
	return strings.FieldsFunc(path, func(r rune) bool { return r == '/' })
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

// mounted reports whether the file is mounted by itself.
func (p place) mounted() bool { return p.file != nil && mounted(p.target) }

// makeFolder makes a folder, and those above it that are missing. What root makes gets the owner of the folder above.
func makeFolder(folder string, mode fs.FileMode) error {
	above, err := os.Stat(filepath.Dir(folder))
	if errors.Is(err, fs.ErrNotExist) {
		if err = makeFolder(filepath.Dir(folder), 0o700); err == nil {
			above, err = os.Stat(filepath.Dir(folder))
		}
	}
	if err == nil {
		err = os.Mkdir(folder, mode)
	}
	if errors.Is(err, fs.ErrExist) { // another process was quicker; the caller judges what is there
		return nil
	}
	if err != nil {
		return err
	}
	return withFolder(folder, func(made *os.File) error { give(made, above); return nil })
}

// narrow takes the right to write in a folder from others. Whoever exchanges the folder meanwhile gains nothing.
func narrow(folder string) error {
	return withFolder(folder, func(dir *os.File) error {
		info, err := dir.Stat()
		if err == nil {
			err = dir.Chmod(info.Mode() &^ othersWrite)
		}
		return err
	})
}

func withFolder(path string, do func(*os.File) error) error {
	dir, err := os.OpenFile(path, os.O_RDONLY|folderOnly|noFollow, 0)
	if err != nil {
		return err
	}
	return errors.Join(do(dir), dir.Close())
}

// syncFolder makes a rename durable. It ignores the error of a file system that cannot sync a folder, as Windows, which
// keeps a journal of renames.
func syncFolder(folder string) error {
	return withFolder(folder, func(dir *os.File) error {
		err := dir.Sync()
		if runtime.GOOS == "windows" || is(err, syscall.EINVAL, syscall.ENOTSUP, syscall.EOPNOTSUPP, syscall.ENOSYS, syscall.EBADF) {
			return nil
		}
		return err
	})
}
