package keyfile

import (
	"errors"
	"io/fs"
	"os"
)

// Windows has no modes and owners as Unix has: a folder inherits its permissions.

func (s *Store) makeFolder(folder string) error { return os.MkdirAll(folder, 0o700) }

func (s *Store) own(string, *os.File) error { return nil }

func giveToFolder(string) {}

// syncFolder has nothing to do: NTFS keeps a journal of renames.
func syncFolder(string) error { return nil }

func advice(err error, _ bool) (hint string, permanent bool) {
	if errors.Is(err, fs.ErrPermission) {
		return "this user has to be able to write in the folder, and no other program may keep the file open", false
	}
	return "", false
}
