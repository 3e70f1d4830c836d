package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/signal"
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

The key comes from --key-file, else from ESPER_API_KEY, else from standard
input. On a terminal, adopt asks for the key, and does not show what you type.
The key is never an argument, because every user of the machine can see the
arguments.

If the key is stored already, or if a renewal has replaced it since, nothing
changes: a deployment may adopt the same key each time. Any other key replaces
the stored one, and running processes use it within a minute.`

func (a *app) adopt() *cobra.Command {
	var file string
	c := &cobra.Command{
		Use: "adopt", Short: "Store a key, once Esper has accepted it", Long: adoptHelp,
		Example: "  esper-key adopt\n  esper-key adopt --key-file /run/secrets/esper-api-key\n  pass show esper/api-key | esper-key adopt",
		RunE:    func(c *cobra.Command, _ []string) error { return a.adoptKey(c, file) },
	}
	c.Flags().StringVar(&file, "key-file", "", "the `file` that holds the key; - is standard input")
	return c
}

func (a *app) adoptKey(c *cobra.Command, file string) error {
	key, from, err := givenKey(c, file)
	if err != nil {
		return err
	}
	a.warn = func(text string) {
		if !strings.Contains(text, "is not the stored one") { // adopt is there to replace another key
			a.tell("warning: " + text)
		}
	}
	source, err := a.open(c, key)
	if err == nil {
		defer during(c, "asking Esper about the key, and storing it", renewTime)()
		if err = source.Adopt(c.Context(), key); err == nil {
			return errors.Join(a.tellAdopted(c, source, key, from), source.Close())
		}
		err = errors.Join(err, source.Close())
	}
	if codeOf(err) == exitUsage {
		return err
	}
	unchanged := ", and the store was not changed"
	if strings.Contains(err.Error(), "writing ") { // the store may have done, or may yet do, what it did not confirm
		unchanged = ""
	}
	return fmt.Errorf("the key from %s was not adopted%s: %w", from, unchanged, err)
}

// tellAdopted prints what is known of a key that has just been stored.
func (a *app) tellAdopted(c *cobra.Command, source *renew.Source, key esper.Secret, from string) error {
	d, err := a.describe(c.Context(), source)
	switch {
	case err != nil && !d.key.IsZero() && d.key != key:
		return fmt.Errorf("the key was replaced by a renewal; its successor is stored, but asking Esper about that failed: %w", err)
	case err != nil:
		return fmt.Errorf("the key is stored, but asking Esper about it failed: %w", err)
	}
	first := "The key is stored and in use; it came from " + from + ":"
	if d.key != key {
		first = "The key was replaced by a renewal; its successor is stored and stays in use:"
	}
	return show(c, append([]string{first}, d.lines()...)...)
}

// keyDescription is what show and adopt print about a key, show as JSON too.
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
	switch {
	case errors.Is(err, esper.ErrNotFound) && a.via == viaToken: // it is announced
		d.retired = true
		return d, nil
	case errors.Is(err, esper.ErrNotFound):
		return d, fmt.Errorf("%w; if Esper has retired this endpoint, as announced, use --via %s", err, viaToken)
	case err != nil:
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
	renewToken, personal := source.Ways(ctx)
	texts := map[string]string{viaRenewToken: say(renewToken), viaToken: say(personal)}
	if d.retired && renewToken == nil {
		texts[viaRenewToken] = "unknown: Esper tells nothing about keys any more, and perhaps does not renew them so"
	}
	return texts
}

func (d keyDescription) lines() []string {
	lines := []string{
		"key id      " + d.ID,
		"user        " + d.User,
		"server      " + d.Server,
		"enterprise  " + d.Enterprise,
		"app         " + d.DeveloperApp,
		"scopes      " + strings.Join(d.Scopes, " "),
		strings.Replace(ends(d.ExpiresAt), " ", "        ", 1),
		"stored in   " + d.Store,
	}
	lines = slices.DeleteFunc(lines, func(line string) bool { return strings.HasSuffix(line, "  ") }) // of what nobody told
	if !d.RenewedAt.IsZero() {
		lines = append(lines, "renewed     "+stamp(d.RenewedAt))
	}
	for _, way := range slices.Sorted(maps.Keys(d.Renewable)) {
		lines = append(lines, "renewable   via "+way+": "+d.Renewable[way])
	}
	return lines
}

const showHelp = `Ask Esper whose key is stored, when it ends, and in which ways it can be
renewed, as far as Esper tells that without a renewal. The key itself is not
shown. Nothing is written or renewed.`

func (a *app) show() *cobra.Command {
	var form string
	c := &cobra.Command{
		Use: "show", Short: "Say whose key is stored, and when it ends", Long: showHelp,
		Example: "  esper-key show\n  esper-key show -o json",
		RunE: func(c *cobra.Command, _ []string) error {
			a.readOnly = true
			source, err := a.open(c, esper.Secret{})
			if err != nil {
				return err
			}
			defer func() { _ = source.Close() }() // a read-only source has nothing to save
			defer during(c, "asking Esper about the key", askTime)()
			d, err := a.describe(c.Context(), source)
			if err != nil {
				return err
			}
			d.Renewable = d.ways(c.Context(), source)
			if form == "json" {
				out := json.NewEncoder(c.OutOrStdout())
				out.SetIndent("", "  ")
				return out.Encode(d)
			}
			return show(c, d.lines()...)
		},
	}
	oneOf(c, &form, "output", "o", "`form` of the output: text or json", "text", "json")
	return c
}

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
