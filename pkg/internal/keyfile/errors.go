package keyfile

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"regexp"
	"slices"
	"strings"
	"syscall"
)

// Error is a failure of a store. Its text is one line that names the file once and says what to do.
type Error struct {
	path, text string
	err        error
	permanent  bool
}

func (e *Error) Error() string { return e.path + ": " + e.text }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.err }

// Permanent reports whether the error stays until a person changes something.
func (e *Error) Permanent() bool { return e.permanent }

// permanent returns an error of this package that stays until a person acts. explain adds the path.
func permanent(text string) *Error { return &Error{text: text, permanent: true} }

// explain turns an error of the operating system, of one who reads or of one who writes, into one that tells a person
// what to do.
func explain(path string, reading bool, err error) error {
	if own, ok := errors.AsType[*Error](err); ok {
		return &Error{path, own.text, own.err, own.permanent}
	}
	if err == nil || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, ErrConflict) {
		return err
	}
	text := plainText(err)
	hint, permanent := advice(path, reading, err)
	if hint != "" {
		text += "; " + hint
	}
	return &Error{path, text, err, permanent}
}

// advice says what to do about an error of the operating system, and whether the error stays until somebody acts.
func advice(path string, reading bool, err error) (hint string, permanent bool) {
	me := os.Geteuid()
	switch {
	case is(err, syscall.ENOLCK, syscall.ENOSYS, syscall.ENOTSUP, syscall.EOPNOTSUPP):
		return "this file system, perhaps NFS, lacks locks, or something else that a save needs: use a folder on a local disk, or a store for several machines", true
	case is(err, syscall.EROFS):
		return "the file system is mounted read-only: mount it writable, or open the store read-only where nothing is renewed", true
	case is(err, syscall.EBUSY, syscall.EXDEV):
		return "a file that is mounted by itself cannot be replaced: " + mountFolder, true
	case is(err, syscall.ELOOP):
		return "a link on the way leads back to itself: mend it", true
	case is(err, syscall.ENAMETOOLONG):
		return "a save needs up to 39 bytes beside the file's name: use a shorter one", true
	case is(err, syscall.ENOSPC, syscall.EDQUOT):
		return "make room on the disk", false
	case !errors.Is(err, fs.ErrPermission):
		return "", false
	case !hasModes:
		return "this user has to be able to use the file and its folder, and no other program may keep the file open", false
	case restored(path):
		return fmt.Sprintf("it belongs to another user, perhaps since it was restored: give it to this one (chown %d), who owns the folder", me), true
	case reading:
		return fmt.Sprintf("this user (%d) may not read it: keep it with mode 0640 in a folder with mode 0750, and let this user join their group", me), true
	}
	return fmt.Sprintf("this user (%d) has to be able to write in the folder: for a systemd unit set StateDirectory=, for a pod fsGroup, and elsewhere change the folder's owner", me), true
}

func is(err error, causes ...syscall.Errno) bool {
	return slices.ContainsFunc(causes, func(cause syscall.Errno) bool { return errors.Is(err, cause) })
}

// plainText returns the text of an error without paths, in one line.
func plainText(err error) string {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return e.Op + ": " + e.Err.Error()
	}
	if e, ok := errors.AsType[*os.LinkError](err); ok {
		return e.Op + ": " + e.Err.Error()
	}
	return strings.ReplaceAll(err.Error(), "\n", "; ")
}

// CheckArguments refuses a path that was surely meant otherwise, such as one with a variable that no shell expanded.
func (s *Store) CheckArguments() error {
	for _, wrong := range [][2]string{
		{`^$`, "is empty"},
		{`\p{Cc}`, "holds a control character, perhaps the newline at the end of a file or of a command's output; remove it"},
		{`^~`, "begins with ~, which only a shell expands; write it out"},
		{`\$|%[A-Za-z_]\w*%`, "holds a variable that was not expanded; write it out"},
		{`^[A-Za-z][A-Za-z0-9+.-]+:/`, "is a URL; give a path, such as /var/lib/myapp/esper-key.json"},
	} {
		if regexp.MustCompile(wrong[0]).MatchString(s.given) {
			return errors.New("the path of the file " + wrong[1])
		}
	}
	return nil
}
