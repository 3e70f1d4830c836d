package keyfile

import (
	"errors"
	"io/fs"
	"os"

	"golang.org/x/sys/windows"
)

// Windows has no modes and owners as Unix has: a folder inherits its permissions.
const (
	hasModes                      = false
	openNow, noFollow, folderOnly = 0, 0, 0
)

func ownerOf(fs.FileInfo) (uid, gid int) { return os.Geteuid(), os.Getegid() }

func access(path string, _ bool) error {
	_, err := os.Stat(path)
	return err
}

func lockFile(file *os.File) (locked bool, err error) {
	const exclusive = windows.LOCKFILE_EXCLUSIVE_LOCK | windows.LOCKFILE_FAIL_IMMEDIATELY
	err = windows.LockFileEx(windows.Handle(file.Fd()), exclusive, 0, 1, 0, new(windows.Overlapped))
	if errors.Is(err, windows.ERROR_LOCK_VIOLATION) || errors.Is(err, windows.ERROR_IO_PENDING) {
		return false, nil
	}
	return err == nil, err
}
