package main

import (
	"errors"

	"github.com/spf13/cobra"

	"github.com/esper-go/esper-go/pkg/esper"
)

const showHelp = `Ask Esper whose key is stored, when it ends, and in which ways it can be
renewed, as far as Esper tells that without a renewal. The key itself is not
shown. Nothing is written or renewed.`

func (a *app) show() *cobra.Command {
	return a.withOutput(&cobra.Command{
		Use: "show", Short: "Say whose key is stored, and when it ends", Long: showHelp,
		Example: "  esper-key show\n  esper-key show -o json",
		RunE: func(c *cobra.Command, _ []string) error {
			a.readOnly = true
			source, closeSource, err := a.open(c, esper.Secret{})
			if err != nil {
				return err
			}
			defer during(c, "asking Esper about the key", askTime)()
			d, err := a.describe(c.Context(), source)
			if err == nil {
				d.Renewable = d.ways(c.Context(), source)
				err = a.print(c, d, d.lines()...)
			}
			return errors.Join(err, closeSource())
		},
	})
}
