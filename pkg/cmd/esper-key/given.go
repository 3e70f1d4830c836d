package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"
	"golang.org/x/text/encoding/unicode"
	"golang.org/x/text/transform"

	"github.com/esper-go/esper-go/pkg/esper"
)

// givenKey reads the key from the named file, from ESPER_API_KEY, or from standard input, which may be the terminal: the
// first that is given. It says which that was. Standard input is left alone otherwise: in a script it may belong to others.
func givenKey(c *cobra.Command, file string) (key esper.Secret, from string, err error) {
	switch {
	case file != "" && file != "-":
		key, err = unlessStopped(c.Context(), func() (esper.Secret, error) { return keyIn(file) })
		return key, "--key-file", err
	case file == "" && setting(keyVariable) != "":
		return esper.NewSecret(setting(keyVariable)), keyVariable, nil
	case file == "" && term.IsTerminal(int(os.Stdin.Fd())):
		key, err = askForKey(c.Context(), c.ErrOrStderr())
		return key, "the terminal", err
	}
	text, err := unlessStopped(c.Context(), func() (string, error) { return readKey(os.Stdin) })
	switch {
	case err != nil:
		err = fmt.Errorf("standard input: %w", err)
	case text == "":
		err = usage("standard input is empty; pass the key there, in --key-file or in %s", keyVariable)
	}
	return esper.NewSecret(text), "standard input", err
}

// askForKey asks for the key on the terminal, which does not show what is typed. The terminal stops showing it before the
// question is printed: a person, or a program, may answer at once.
func askForKey(ctx context.Context, to io.Writer) (esper.Secret, error) {
	const fd = 0
	before, err := term.MakeRaw(fd)
	if err != nil {
		return esper.Secret{}, errors.New("the terminal cannot hide the key; pass it on standard input")
	}
	terminal := term.NewTerminal(struct {
		io.Reader
		io.Writer
	}{os.Stdin, to}, "")
	text, err := unlessStopped(ctx, func() (string, error) {
		// Ctrl-C and Ctrl-D end the question without an answer. Any other error comes with what was typed, if anything.
		text, _ := terminal.ReadPassword("API key (nothing is shown): ")
		return text, nil
	})
	_ = term.Restore(fd, before)
	_, _ = fmt.Fprintln(to)
	switch text = tidy(text); {
	case err != nil:
		return esper.Secret{}, err
	case text == "":
		return esper.Secret{}, usage("no key was typed")
	}
	return esper.NewSecret(text), nil
}

// unlessStopped returns what read returns, or the error of ctx if that ends first: a terminal or a pipe may never
// answer. The process ends then, and read with it.
func unlessStopped[T any](ctx context.Context, read func() (T, error)) (T, error) {
	type result struct {
		value T
		err   error
	}
	done := make(chan result, 1)
	go func() { value, err := read(); done <- result{value, err} }()
	select {
	case <-ctx.Done():
		var none T
		return none, ctx.Err()
	case r := <-done:
		return r.value, r.err
	}
}

var errEmptyFile = errors.New("the file of --key-file is empty")

// keyIn reads the key in a file.
func keyIn(path string) (esper.Secret, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) && withoutKeys(path) == "…" && !strings.ContainsAny(path, "/.~") {
		return esper.Secret{}, usage("the file of --key-file does not exist, and its name looks like a key; if it is one, make a new key")
	}
	if err != nil {
		return esper.Secret{}, fmt.Errorf("the file of --key-file: %w", err)
	}
	defer func() { _ = f.Close() }()
	key, err := readKey(f)
	switch {
	case err != nil:
		return esper.Secret{}, fmt.Errorf("the file of --key-file: %w", err)
	case key == "":
		return esper.Secret{}, &failure{exitUsage, errEmptyFile}
	}
	return esper.NewSecret(key), nil
}

// readKey reads a key as editors and shells write it, in UTF-16 too.
func readKey(from io.Reader) (string, error) {
	const most = 64 << 10
	data, err := io.ReadAll(io.LimitReader(transform.NewReader(from, unicode.BOMOverride(unicode.UTF8.NewDecoder())), most+1))
	switch {
	case err != nil:
		return "", err
	case len(data) > most:
		return "", errors.New("it is too long to be a key")
	}
	return tidy(string(data)), nil
}
