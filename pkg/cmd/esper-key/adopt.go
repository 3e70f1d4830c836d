package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

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
