package keyfile

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// Database prepares the file of a database engine that writes its content itself, and a journal beside it. It makes the
// file, empty and with mode 0600, and its folder, if they are missing. With readOnly it changes nothing, and a missing
// file is an error ([fs.ErrNotExist]).
//
// An error names the path and says what to do; the warnings are for a person. Database never opens a file that exists:
// to close that would take the locks of this process from it.
func Database(path string, readOnly bool) (warnings []string, err error) {
	s, doing := New(path, false), writing
	var p place
	if readOnly {
		doing = reading
		if p, err = find(s.path); err == nil {
			err = p.judgeMount()
		}
	} else {
		p, err = s.prepare(false) // others must not be able to put a journal beside it
	}
	switch {
	case err != nil:
	case p.file == nil && readOnly:
		err = &Error{text: "it does not exist", err: fs.ErrNotExist, permanent: true}
	case p.file == nil:
		err = p.makeFile()
	case readOnly:
		err = access(p.target, false)
	default:
		err = errors.Join(access(p.target, true), access(filepath.Dir(p.target), true))
	}
	return s.Warnings(), explain(s.path, doing, err)
}

func (p place) makeFile() error {
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

// Narrow takes from others the right to read a file of this user's, as a save of a [Store] does.
func Narrow(path string) error {
	s := New(path, false)
	p, err := find(s.path)
	if err == nil && p.wide() && isMine(p.file) {
		err = os.Chmod(p.target, p.file.Mode().Perm()&ours)
	}
	return explain(s.path, writing, err)
}
