package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"
	"golang.org/x/text/encoding/unicode"
	"golang.org/x/text/transform"

	"github.com/esper-go/esper-go/pkg/esper"
	"github.com/esper-go/esper-go/pkg/esper/renew"
)

const adoptHelp = `Store a key that you made in the Esper Console, once Esper has accepted it.

The key comes from --key-file, from standard input or from ESPER_API_KEY. On a
terminal, adopt asks for the key, and does not show what you type. The key is
never an argument, because every user of the machine can see the arguments.

If the key is stored already, or if a renewal has replaced it since, nothing
changes: a deployment may adopt the same key each time. Any other key replaces
the stored one, and running processes use it within a minute.`

func (a *app) adopt() *cobra.Command {
	var file string
	c := a.withOutput(&cobra.Command{
		Use: "adopt", Short: "Store a key, once Esper has accepted it", Long: adoptHelp,
		Example: "  esper-key adopt\n  esper-key adopt --key-file /run/secrets/esper-api-key\n  pass show esper/api-key | esper-key adopt",
		RunE: func(c *cobra.Command, _ []string) error {
			key, err := givenKey(c, file)
			if err != nil {
				return err
			}
			return a.adoptKey(c, key)
		},
	})
	c.Flags().StringVar(&file, "key-file", "", "the `file` that holds the key; - is standard input")
	return c
}

func (a *app) adoptKey(c *cobra.Command, key esper.Secret) error {
	// esper.New refuses what people paste by mistake in place of a key.
	if _, err := esper.New(a.environment, esper.APIKey(key.Reveal()), a.client()...); a.environment != "" && err != nil {
		return err
	}
	source, closeSource, err := a.open(c.Context(), key)
	if err == nil {
		if err = source.Adopt(c.Context(), key); err == nil {
			return errors.Join(a.tellAdopted(c, source, key), closeSource())
		}
		err = errors.Join(err, closeSource())
	}
	if errors.Is(err, esper.ErrUnauthorized) && !errors.Is(err, renew.ErrKeyLost) {
		return fmt.Errorf("the key was not adopted, and nothing was changed: %w", err)
	}
	return err
}

// tellAdopted prints what is known of a key that has just been stored.
func (a *app) tellAdopted(c *cobra.Command, source *renew.Source, key esper.Secret) error {
	d, err := a.describe(c.Context(), source)
	switch {
	case err != nil && !d.key.IsZero() && d.key != key:
		return fmt.Errorf("the key was replaced by a renewal; its successor is stored, but asking Esper about that failed: %w", err)
	case err != nil:
		return fmt.Errorf("the key is stored, but asking Esper about it failed: %w", err)
	}
	first := "The key is stored and in use:"
	if d.key != key {
		first = "The key was replaced by a renewal; its successor is stored and stays in use:"
	}
	return a.print(c, d, append([]string{first}, d.lines()...)...)
}

// givenKey reads the key from the named file, from standard input, from ESPER_API_KEY or from the terminal.
func givenKey(c *cobra.Command, file string) (esper.Secret, error) {
	fromEnvironment := tidy(os.Getenv(keyVariable))
	switch {
	case file != "" && file != "-":
		return unlessStopped(c.Context(), func() (esper.Secret, error) { return keyIn(file) })
	case file == "" && term.IsTerminal(int(os.Stdin.Fd())):
		if fromEnvironment != "" {
			return esper.NewSecret(fromEnvironment), nil
		}
		return askForKey(c.Context(), c.ErrOrStderr())
	}
	data, err := unlessStopped(c.Context(), func() (string, error) { return readKey(os.Stdin) })
	switch {
	case err != nil:
		return esper.Secret{}, fmt.Errorf("standard input: %w", err)
	case data == "" && file == "-", data == "" && fromEnvironment == "":
		return esper.Secret{}, usage("standard input is empty; pass the key there, in --key-file or in %s", keyVariable)
	case data == "":
		return esper.NewSecret(fromEnvironment), nil
	case fromEnvironment != "" && data != fromEnvironment && file != "-":
		return esper.Secret{}, usage("standard input and %s hold different keys; unset the variable, or give --key-file - for standard input", keyVariable)
	}
	return esper.NewSecret(data), nil
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
		return esper.Secret{}, &usageError{errEmptyFile}
	}
	return esper.NewSecret(key), nil
}

// readKey reads a key as editors and shells write it: it decodes UTF-16, and removes a byte order mark, blanks and line
// ends.
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

func tidy(key string) string { return strings.TrimSpace(key) }

// keyDescription is what show and adopt print about a key.
type keyDescription struct {
	Server       string    `json:"server"`
	Store        string    `json:"store"`
	ID           string    `json:"id"`
	User         string    `json:"user"`
	Enterprise   string    `json:"enterprise_id"`
	DeveloperApp string    `json:"developer_app_id"`
	Scopes       []string  `json:"scopes"`
	IssuedAt     time.Time `json:"issued_at,omitzero"`
	ExpiresAt    time.Time `json:"expires_at"`
	RenewedAt    time.Time `json:"renewed_at,omitzero"`
	Serial       int       `json:"serial"`

	// Renewable says for each way to renew the key "yes", "no: " and the reason, or "unknown: " and the reason. Only show
	// fills it in.
	Renewable map[string]string `json:"renewable,omitempty"`

	key     esper.Secret
	retired bool // Esper has no TokenInfo any more
}

// describe asks Esper about the key in use.
func (a *app) describe(ctx context.Context, source *renew.Source) (keyDescription, error) {
	status := source.Status()
	d := keyDescription{
		Server: source.Server().String(), Store: a.storeName, IssuedAt: status.IssuedAt, ExpiresAt: status.ExpiresAt,
		RenewedAt: status.RenewedAt, Serial: status.Serial,
	}
	token, err := source.TokenContext(ctx)
	if err != nil {
		return d, err
	}
	d.key = esper.NewSecret(token.AccessToken)
	info, err := source.Client().TokenInfo(ctx)
	if d.retired = a.via == viaToken && errors.Is(err, esper.ErrNotFound); d.retired { // it is announced
		return d, nil
	}
	if err != nil {
		return d, err
	}
	d.ID, d.User, d.Scopes = string(info.ID), string(info.User), info.Scope
	d.Enterprise, d.DeveloperApp = info.Enterprise.ID, info.DeveloperApp.ID
	return d, nil
}

// ways returns what Renewable has.
func (d keyDescription) ways(ctx context.Context, source *renew.Source) map[string]string {
	say := func(err error) string {
		if err == nil {
			return "yes"
		}
		return "no: " + strings.TrimPrefix(err.Error(), "renew: ")
	}
	ways := source.Ways(ctx)
	if d.retired && ways.RenewToken == nil {
		return map[string]string{viaRenewToken: "unknown: Esper has no TokenInfo any more, and perhaps no renew-token", viaToken: say(ways.PersonalAccessToken)}
	}
	return map[string]string{viaRenewToken: say(ways.RenewToken), viaToken: say(ways.PersonalAccessToken)}
}

func (d keyDescription) lines() []string {
	lines := []string{
		"key id      " + d.ID,
		"user        " + d.User,
		"server      " + d.Server,
		"enterprise  " + d.Enterprise,
		"app         " + d.DeveloperApp,
		"scopes      " + strings.Join(d.Scopes, " "),
		"end         " + ends(d.ExpiresAt),
		"stored in   " + d.Store,
	}
	if d.retired { // then only the store tells something
		lines = slices.DeleteFunc(lines, func(line string) bool { return strings.HasSuffix(line, "  ") })
	}
	if !d.RenewedAt.IsZero() {
		lines = append(lines, "renewed     "+stamp(d.RenewedAt))
	}
	for _, way := range slices.Sorted(maps.Keys(d.Renewable)) {
		lines = append(lines, "renewable   via "+way+": "+d.Renewable[way])
	}
	return lines
}
