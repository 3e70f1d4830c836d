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
	"unicode"
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
func permanent(text, hint string) *Error { return &Error{text: text + "; " + hint, permanent: true} }

// action is what was tried when an error arose.
type action int

const (
	writing action = iota
	reading
	locking
)

// explain turns an error of the operating system into one that tells a person what to do.
func explain(path string, doing action, err error) error {
	own := (*Error)(nil)
	switch {
	case err == nil, errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded), errors.Is(err, ErrConflict):
		return err
	case errors.As(err, &own):
		return &Error{path, own.text, own.err, own.permanent}
	}
	text := plainText(err)
	if doing == locking {
		text = "locking it: " + text
	}
	hint, permanent := advice(path, doing, err)
	if hint != "" {
		text += "; " + hint
	}
	return &Error{path, text, err, permanent}
}

// advice says what to do about an error of the operating system, and whether the error stays until somebody acts.
func advice(path string, doing action, err error) (hint string, permanent bool) {
	me := os.Geteuid()
	switch {
	case doing == locking && is(err, syscall.ENOLCK, syscall.ENOSYS, syscall.ENOTSUP, syscall.EOPNOTSUPP):
		return "this file system, perhaps NFS, has no locks: use a folder on a local disk, or a store for several machines", true
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
	case doing == reading:
		return fmt.Sprintf("this user (%d) may not read it: keep it with mode 0640 in a folder with mode 0750, and let this user join their group", me), true
	}
	return fmt.Sprintf("this user (%d) has to be able to write in the folder: for a systemd unit set StateDirectory=, for a pod fsGroup, and elsewhere change the folder's owner", me), true
}

func is(err error, causes ...syscall.Errno) bool {
	return slices.ContainsFunc(causes, func(cause syscall.Errno) bool { return errors.Is(err, cause) })
}

// plainText returns the text of an error without paths, in one line.
func plainText(err error) string {
	var (
		inPath *fs.PathError
		inLink *os.LinkError
	)
	switch {
	case errors.As(err, &inPath):
		return inPath.Op + ": " + inPath.Err.Error()
	case errors.As(err, &inLink):
		return inLink.Op + ": " + inLink.Err.Error()
	}
	return strings.ReplaceAll(err.Error(), "\n", "; ")
}

var (
	percent = regexp.MustCompile(`%[A-Za-z_][A-Za-z0-9_]*%`)
	scheme  = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9+.-]+:/`)
)

// CheckArguments refuses a path that was surely meant otherwise, such as one with a variable that no shell expanded.
func (s *Store) CheckArguments() error {
	p := s.given
	switch {
	case p == "":
		return errors.New("the path of the file is empty")
	case strings.ContainsFunc(p, unicode.IsControl):
		return errors.New("the path of the file holds a control character, perhaps the newline at the end of a file or of a command's output; remove it")
	case p[0] == '~':
		return errors.New("the path of the file begins with ~, which only a shell expands; write it out")
	case strings.Contains(p, "$"), percent.MatchString(p):
		return errors.New("the path of the file holds a variable that was not expanded; write it out")
	case scheme.MatchString(p):
		return errors.New("the path of the file is a URL; give a path, such as /var/lib/myapp/esper-key.json")
	}
	return nil
}
