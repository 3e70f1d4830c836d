package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
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
		from = "the file of --key-file"
		key, err = keyIn(file)
	case file == "" && setting(keyVariable) != "":
		return esper.NewSecret(setting(keyVariable)), keyVariable, nil
	case file == "" && term.IsTerminal(int(os.Stdin.Fd())):
		from = "the terminal"
		key, err = askForKey(c.ErrOrStderr())
	default:
		from = "standard input"
		if key, err = readKey(os.Stdin); err != nil {
			err = fmt.Errorf("standard input: %w", err)
		}
	}
	if err == nil && key.IsZero() {
		err = usage("%s is empty; pass the key on standard input, in --key-file or in %s", from, keyVariable)
	}
	return key, from, err
}

// askForKey asks for the key on the terminal, which does not show what is typed. The terminal stops showing it before the
// question is printed: a person, or a program, may answer at once.
func askForKey(to io.Writer) (esper.Secret, error) {
	const fd = 0
	before, err := term.MakeRaw(fd)
	if err != nil {
		return esper.Secret{}, errors.New("the terminal cannot hide the key; pass it on standard input")
	}
	came := make(chan os.Signal, 1)
	signal.Notify(came, endSignals()...)
	defer func() { signal.Stop(came); close(came) }()
	go func() {
		if s, ok := <-came; ok {
			_ = term.Restore(fd, before)
			_, _ = fmt.Fprintln(to, "\nesper-key: no key was stored")
			os.Exit(codeOfSignal(s))
		}
	}()
	var stopped ctrlC
	terminal := term.NewTerminal(struct {
		io.Reader
		io.Writer
	}{io.TeeReader(os.Stdin, &stopped), to}, "")
	// Ctrl-C and Ctrl-D end the question without an answer. Any other error comes with what was typed, if anything.
	text, _ := terminal.ReadPassword("API key (nothing is shown): ")
	_ = term.Restore(fd, before)
	_, _ = fmt.Fprintln(to)
	if text = tidy(text); text == "" {
		code := exitUsage
		if stopped {
			code = codeOfSignal(os.Interrupt)
		}
		return esper.Secret{}, &failure{code, errors.New("no key was typed, and none was stored")}
	}
	return esper.NewSecret(text), nil
}

// ctrlC finds out whether Ctrl-C is typed, which a terminal in raw mode hands on as a character.
type ctrlC bool

func (c *ctrlC) Write(typed []byte) (int, error) {
	*c = *c || ctrlC(bytes.ContainsRune(typed, '\x03'))
	return len(typed), nil
}

// keyIn reads the key in a file; none from an empty one.
func keyIn(path string) (key esper.Secret, err error) {
	f, err := os.Open(path)
	if err == nil {
		defer func() { _ = f.Close() }()
		key, err = readKey(f)
	}
	switch {
	case errors.Is(err, fs.ErrNotExist) && withoutKeys(path) == "…" && !strings.ContainsAny(path, "/.~"):
		err = usage("the file of --key-file does not exist, and its name looks like a key; if it is one, make a new key")
	case err != nil:
		err = fmt.Errorf("the file of --key-file: %w", err)
	}
	return key, err
}

// readKey reads a key as editors and shells write it, in UTF-16 too.
func readKey(from io.Reader) (esper.Secret, error) {
	const most = 64 << 10
	data, err := io.ReadAll(io.LimitReader(transform.NewReader(from, unicode.BOMOverride(unicode.UTF8.NewDecoder())), most+1))
	if err == nil && len(data) > most {
		err = errors.New("it is too long to be a key")
	}
	if err != nil {
		return esper.Secret{}, err
	}
	return esper.NewSecret(tidy(string(data))), nil
}
