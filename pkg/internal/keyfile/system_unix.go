//go:build !windows

package keyfile

import (
	"errors"
	"io/fs"
	"os"
	"syscall"
)

const (
	hasModes   = true
	openNow    = syscall.O_NONBLOCK // does not wait for the other end of a pipe
	noFollow   = syscall.O_NOFOLLOW
	folderOnly = syscall.O_DIRECTORY
)

func ownerOf(info fs.FileInfo) (uid, gid int) {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return int(st.Uid), int(st.Gid)
	}
	return unmapped, unmapped
}

// access reports, as an error, that this user may not read a file or write it. It does not open the file.
func access(path string, write bool) error {
	mode := uint32(4) // R_OK
	if write {
		mode = 6 // and W_OK
	}
	return os.NewSyscallError("access", syscall.Access(path, mode))
}

func lockFile(file *os.File) (locked bool, err error) {
	err = syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) || errors.Is(err, syscall.EINTR) {
		return false, nil
	}
	return err == nil, err
}
