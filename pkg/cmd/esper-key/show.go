package main

import (
	"errors"

	"github.com/spf13/cobra"

	"github.com/esper-go/esper-go/pkg/esper"
	"github.com/esper-go/esper-go/pkg/esper/renew"
)

const showHelp = `Ask Esper what the stored key is, until when it lives and whose it is. The key
itself is not shown, nothing is written, and nothing is renewed. It says as well
by which ways the key can be renewed, as far as that shows without doing it.`

func (a *app) show() *cobra.Command {
	return a.withOutput(&cobra.Command{
		Use: "show", Short: "Say what the key is, until when, and whose", Long: showHelp,
		Example: "  esper-key show\n  esper-key show -o json",
		RunE: func(c *cobra.Command, _ []string) error {
			source, closeSource, err := a.open(c.Context(), esper.Secret{}, renew.ReadOnly())
			if err != nil {
				return err
			}
			d, err := a.describe(c.Context(), source)
			if err == nil {
				d.Renewable = waysOf(c.Context(), source)
				err = a.print(c, d, d.lines()...)
			}
			return errors.Join(err, closeSource())
		},
	})
}
