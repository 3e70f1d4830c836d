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

// othersWrite are the bits of a mode that let others write, and ours are those that a file with a key may have.
const othersWrite, ours = 0o022, 0o640

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

// find follows a path through all links, as the operating system does.
func find(path string) (place, error) {
	const most = 40 // as of Linux
	volume := filepath.VolumeName(path)
	top := volume + string(filepath.Separator)
	at, rest := top, parts(path[len(volume):])
	var p place
	for links := 0; len(rest) > 0; {
		next := filepath.Join(at, rest[0])
		rest = rest[1:]
		info, err := os.Lstat(next)
		if errors.Is(err, fs.ErrNotExist) {
			p.target = filepath.Join(append([]string{next}, rest...)...)
			err = p.statFolder()
			return p, err
		}
		if err != nil {
			return p, err
		}
		p.way = append(p.way, step{next, info})
		if info.Mode()&fs.ModeSymlink == 0 {
			at = next
			continue
		}
		to, err := os.Readlink(next)
		if links++; err == nil && links > most {
			err = &fs.PathError{Op: "follow", Path: next, Err: syscall.ELOOP}
		}
		if err != nil {
			return p, err
		}
		if own := filepath.VolumeName(to); own != "" {
			top, to = own+string(filepath.Separator), to[len(own):]
		}
		if to != "" && os.IsPathSeparator(to[0]) {
			at = top
		}
		rest = append(parts(to), rest...)
	}
	p.target = at
	if len(p.way) > 0 {
		p.file = p.way[len(p.way)-1].info
		p.way = p.way[:len(p.way)-1]
	}
	err := p.statFolder()
	return p, err
}

func (p *place) statFolder() (err error) {
	if p.folder, err = os.Stat(filepath.Dir(p.target)); errors.Is(err, fs.ErrNotExist) {
		p.folder, err = nil, nil
	}
	return err
}

func parts(path string) []string {
	return strings.FieldsFunc(filepath.ToSlash(path), func(r rune) bool { return r == '/' })
}

// judge returns an error for a place where another user could replace or read the file, or lead this program to
// another one, and warnings about what is not as it should be. With sticky it accepts a folder in which others can make
// files, but not remove this one.
func (p place) judge(sticky bool) (warnings []string, err error) {
	if p.folder != nil && !p.folder.IsDir() {
		return nil, permanent(filepath.Dir(p.target) + " is not a folder")
	}
	if err := p.judgeFile(); err != nil {
		return nil, err
	}
	return p.judgeOwners(sticky)
}

// judgeFile is the part of judge about the file alone.
func (p place) judgeFile() error {
	if p.file == nil {
		return nil
	}
	if err := regular(p.file); err != nil {
		return err
	}
	if mounted(p.target) {
		return &Error{text: "it is mounted by itself, so it can be neither replaced nor seen when another process replaces it", hint: mountFolder, permanent: true}
	}
	return nil
}

const mountFolder = "mount its folder instead (docker -v folder:folder, a volume without subPath)"

// wide warns of a file that others can read or write.
func (p place) wide() []string {
	if p.file == nil || !hasModes || p.file.Mode().Perm()&^ours == 0 {
		return nil
	}
	return []string{fmt.Sprintf("other users can read it: it has mode %#o; chmod 600 it, or 640 for programs of its group; the next save does so", p.file.Mode().Perm())}
}

// regular returns an error for what is not a regular file, such as a pipe or a device.
func regular(info fs.FileInfo) error {
	switch {
	case info.IsDir():
		return &Error{text: "it is a folder; give the path of a file in it", err: ErrType, permanent: true}
	case !info.Mode().IsRegular():
		return &Error{text: "it is not a regular file, but " + kind(info.Mode()), hint: "give the path of a file", err: ErrType, permanent: true}
	}
	return nil
}

func kind(mode fs.FileMode) string {
	switch {
	case mode&fs.ModeNamedPipe != 0:
		return "a pipe (FIFO)"
	case mode&fs.ModeDevice != 0:
		return "a device"
	case mode&fs.ModeSocket != 0:
		return "a socket"
	}
	return "something else"
}

// mounted reports whether a file or folder is a mount point of its own. Only Linux has such files.
func mounted(path string) bool {
	table, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return false
	}
	escaped := strings.NewReplacer(" ", `\040`, "\t", `\011`, "\n", `\012`, `\`, `\134`).Replace(path)
	for line := range strings.Lines(string(table)) {
		const point = 4
		if fields := strings.Fields(line); len(fields) > point && fields[point] == escaped {
			return true
		}
	}
	return false
}

// makeFolder makes a folder, and those above it that are missing.
func makeFolder(folder string, mode fs.FileMode) error {
	if _, err := os.Stat(folder); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := makeFolder(filepath.Dir(folder), 0o700); err != nil {
		return err
	}
	if err := os.Mkdir(folder, mode); err != nil {
		if errors.Is(err, fs.ErrExist) {
			return nil
		}
		return err
	}
	above, err := os.Stat(filepath.Dir(folder))
	if err != nil {
		return err
	}
	made, err := openFolder(folder)
	if err != nil {
		return err
	}
	give(made, above)
	return made.Close()
}
