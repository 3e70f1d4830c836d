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

// Error is a failure of a store, in one line with what to do. It names the file once.
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

// permanent is an error of this package's, for explain.
func permanent(text string) error { return &Error{text: text, permanent: true} }

// explain makes an error of the system's one that a person can act on.
func explain(path string, err error) error {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, ErrConflict) {
		return err
	}
	own := (*Error)(nil)
	if errors.As(err, &own) {
		return &Error{path, own.text, own.hint, own.err, own.permanent}
	}
	locking := (*lockError)(nil)
	isLock := errors.As(err, &locking)
	hint, permanent := advice(err, isLock)
	text := plainText(err)
	if isLock {
		text = "locking it: " + text
	}
	return &Error{path, text, hint, err, permanent}
}

// plainText is the text of an error without paths, and of several the first.
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

// CheckArguments refuses a path that was not meant as it is written, before anything is done with it.
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
