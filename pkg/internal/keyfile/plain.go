package keyfile

import (
	"context"
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// Read returns the content of the file at path; nil, and not an empty slice, if there is none. It refuses what is not a
// regular file ([ErrType]), and waits for nobody.
func Read(path string) ([]byte, error) {
	content, err := read(context.Background(), absolute(path))
	return content, explain(absolute(path), reading, err)
}

// Write replaces the file at path by one with this content and mode, so that no reader sees half of it, and returns
// once a crash cannot undo that. Owner and group stay those of the old file; if root makes the first one, it gets those
// of the folder. A link is followed. The folder has to exist. What a killed Write has left, the next one removes.
//
// An error names the path and says what to do. Its cause is [ErrType] if path leads to a folder, a pipe or a device,
// which stays wrong however often it is tried. The warnings are for a person. Two processes may not write one file: the
// call of one of them may fail.
func Write(path string, content []byte, mode fs.FileMode) (warnings []string, err error) {
	return write(path, content, mode, true)
}

// Check returns the error that [Write] would return. It leaves nothing behind.
func Check(path string) (warnings []string, err error) { return write(path, nil, 0o600, false) }

func write(path string, content []byte, mode fs.FileMode, install bool) (warnings []string, err error) {
	s := New(path, false)
	p, err := find(s.path)
	if err == nil && p.folder == nil {
		err = &Error{text: "its folder does not exist", hint: "make the folder", err: fs.ErrNotExist, permanent: true}
	}
	if err == nil {
		warnings, err = p.judge(true)
	}
	if err != nil {
		return nil, explain(s.path, writing, err)
	}
	for _, left := range p.nexts() {
		if info, err := os.Lstat(left); err == nil && p.isOurs(info) {
			_ = os.Remove(left) // it holds an old key; if this fails, the next Write tries again
		}
	}
	fresh := p.target + nextMark + rand.Text()
	warning, err := p.write(fresh, content, mode)
	if warning != "" {
		warnings = append(warnings, warning)
	}
	if err == nil && install {
		err = s.install(context.Background(), fresh, p.target)
	}
	if err != nil || !install {
		_ = os.Remove(fresh)
	}
	s.warn(warnings...)
	return s.Warnings(), explain(s.path, writing, err)
}

// Database prepares the file of a database engine that writes its content itself, and a journal beside it. It makes the
// file, empty and with mode 0600, and its folder, if they are missing, and takes from others the right to read it. With
// readOnly it changes nothing, and a missing file is an error ([fs.ErrNotExist]).
//
// Its errors and warnings are like those of [Write]. It never opens a file that exists: to close that would take the
// locks of this process from it.
func Database(path string, readOnly bool) (warnings []string, err error) {
	s := New(path, false)
	p, err := find(s.path)
	switch {
	case err != nil:
	case readOnly && p.file == nil:
		err = &Error{text: "it does not exist", err: fs.ErrNotExist, permanent: true}
	case readOnly:
		if err = p.judgeFile(); err == nil {
			err = access(p.target, false)
		}
	default:
		if err = s.prepare(p); err == nil {
			p, err = find(s.path)
		}
		if err == nil {
			warnings, err = p.judge(false) // others must not be able to put a journal beside it
			warnings = append(warnings, p.wide()...)
		}
		if err == nil {
			err = p.forEngine()
		}
	}
	doing := writing
	if readOnly {
		doing = reading
	}
	s.warn(warnings...)
	return s.Warnings(), explain(s.path, doing, err)
}

// forEngine makes the file if it is missing, and narrows its mode if it is this user's.
func (p place) forEngine() error {
	if p.file == nil {
		made, err := os.OpenFile(p.target, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
		if errors.Is(err, fs.ErrExist) {
			return nil // another process has just made it
		}
		if err != nil {
			return err
		}
		give(made, p.folder)
		return made.Close()
	}
	if err := access(p.target, true); err != nil {
		return err
	}
	if len(p.wide()) > 0 && isMine(p.file) {
		return os.Chmod(p.target, p.file.Mode().Perm()&ours)
	}
	return access(filepath.Dir(p.target), true)
}
