package keyfile

import (
	"errors"
	"io/fs"
	"os"

	"golang.org/x/sys/windows"
)

// Windows has no modes and owners as Unix has: a folder inherits its permissions.

const (
	hasModes          = false
	openNow, noFollow = 0, 0
)

func ownerName(fs.FileInfo) string { return "another user" }

func (p place) isOurs(fs.FileInfo) bool                               { return true }
func (p place) judgeOwners(bool) (warnings []string, err error)       { return nil, nil }
func (p place) widened() bool                                         { return false }
func (p place) own(*os.File, fs.FileMode) (warning string, err error) { return "", nil }

func access(string, bool) error { return nil }
func isMine(fs.FileInfo) bool   { return true }

func narrow(string) error                      { return nil }
func give(*os.File, fs.FileInfo)               {}
func openFolder(path string) (*os.File, error) { return os.Open(path) }

func lockFile(file *os.File) (locked bool, err error) {
	const exclusive = windows.LOCKFILE_EXCLUSIVE_LOCK | windows.LOCKFILE_FAIL_IMMEDIATELY
	err = windows.LockFileEx(windows.Handle(file.Fd()), exclusive, 0, 1, 0, new(windows.Overlapped))
	if errors.Is(err, windows.ERROR_LOCK_VIOLATION) || errors.Is(err, windows.ERROR_IO_PENDING) {
		return false, nil
	}
	return err == nil, err
}

func unlockFile(file *os.File) error {
	return windows.UnlockFileEx(windows.Handle(file.Fd()), 0, 1, 0, new(windows.Overlapped))
}

// syncFolder has nothing to do: NTFS keeps a journal of renames.
func syncFolder(string) error { return nil }

func advice(_ string, doing action, err error) (hint string, permanent bool) {
	switch {
	case !errors.Is(err, fs.ErrPermission):
		return "", false
	case doing == reading:
		return "this user has to be able to read it", false
	}
	return "this user has to be able to write in the folder, and no other program may keep the file open", false
}
