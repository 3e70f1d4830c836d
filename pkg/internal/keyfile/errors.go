package keyfile

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"regexp"
	"strings"
	"unicode"
)

// Error is a failure of a store. Its text is one line that names the file once and says what to do.
type Error struct {
	path, text, hint string
	err              error
	permanent        bool
}

func (e *Error) Error() string {
	text := e.path + ": " + e.text
	if e.hint != "" {
		text += "; " + e.hint
	}
	return text
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.err }

// Permanent reports whether the error stays until a person changes something.
func (e *Error) Permanent() bool { return e.permanent }

// permanent returns an error of this package that stays until a person acts. explain adds the path.
func permanent(text string) error { return &Error{text: text, permanent: true} }

// ErrType is the cause of an error about a path that leads to a folder, a pipe or a device.
var ErrType = errors.New("not a regular file")

// action is what was tried when an error arose.
type action int

const (
	writing action = iota
	reading
	locking
)

// explain turns an error of the operating system into one that tells a person what to do.
func explain(path string, doing action, err error) error {
	if err == nil || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, ErrConflict) {
		return err
	}
	own := (*Error)(nil)
	if errors.As(err, &own) {
		return &Error{path, own.text, own.hint, own.err, own.permanent}
	}
	text := plainText(err)
	if locked := (*lockError)(nil); errors.As(err, &locked) {
		doing = locking
		text = "locking it: " + text
	}
	hint, permanent := advice(path, doing, err)
	return &Error{path, text, hint, err, permanent}
}

// lockError is a failure to lock, for which there is other advice than for other errors.
type lockError struct{ err error }

func (e *lockError) Error() string { return e.err.Error() }
func (e *lockError) Unwrap() error { return e.err }

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
		return errors.New("the path given to File is empty")
	case strings.ContainsFunc(p, unicode.IsControl):
		return errors.New("the path given to File holds a control character, perhaps the newline at the end of a file or of a command's output; remove it")
	case p[0] == '~':
		return errors.New("the path given to File begins with ~, which only a shell expands; use os.UserHomeDir")
	case strings.Contains(p, "$"), percent.MatchString(p):
		return errors.New("the path given to File holds a variable that was not expanded; use os.ExpandEnv, or write the path out")
	case scheme.MatchString(p):
		return errors.New("the path given to File is a URL; give a path, such as /var/lib/myapp/esper-key.json")
	}
	return nil
}
