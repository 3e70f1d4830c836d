package keyfile

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// Database returns the file of a database engine that writes its content itself, and a journal beside it. Inspect makes
// the file, empty and with mode 0600, and its folder, if they are missing; with readOnly, a missing file is an error
// ([fs.ErrNotExist]). Load and Save are not for it.
func Database(path string) *Store {
	s := New(path, false)
	s.engine = true
	return s
}

// forEngine makes the file of a database, or returns an error if this user may not use the file. It never opens a file
// that exists: to close that would take the locks of this process from it.
func (p place) forEngine(readOnly bool) error {
	switch {
	case p.file == nil && readOnly:
		return &Error{text: "it does not exist", err: fs.ErrNotExist, permanent: true}
	case p.file == nil:
		made, err := p.make(p.target)
		if errors.Is(err, fs.ErrExist) {
			return nil // another process has just made it
		}
		if err == nil {
			err = made.Close()
		}
		return err
	case readOnly:
		return access(p.target, false)
	}
	return errors.Join(access(p.target, true), access(filepath.Dir(p.target), true))
}

// Narrow takes from others the right to read the file, if it is this user's, as a save of a [Store] does.
func (s *Store) Narrow() error {
	p, err := find(s.path)
	if err == nil && p.wide() && isMine(p.file) {
		err = os.Chmod(p.target, p.file.Mode().Perm()&ours)
	}
	return explain(s.path, writing, err)
}
