package main

import (
	"errors"

	"github.com/spf13/cobra"

	"github.com/esper-go/esper-go/pkg/esper"
)

const renewHelp = `Renew the key if it is due, and wait for the new key: for cron. A 90-day key is
due 18 to 22.5 days before its end, so once a day is often enough.

--now renews the key even if it is not due: because it leaked, or before
maintenance. If several processes with one store renew at the same time, the
key is renewed once. If Esper refuses the key, the command asks once more after
a minute, and says so if the key is lost.

The command takes two minutes at most; do not kill it before that.`

func (a *app) renew() *cobra.Command {
	var now bool
	c := &cobra.Command{
		Use: "renew", Short: "Renew the key if it is due, or now: for cron", Long: renewHelp,
		Example: "  17 4 * * * esper-key renew        # as a line of a crontab\n  esper-key renew --now",
		RunE: func(c *cobra.Command, _ []string) error {
			ctx := c.Context()
			source, closeSource, err := a.open(c, esper.Secret{})
			if err != nil {
				return err
			}
			before := source.Status()
			defer during(c, "renewing the key", renewTime)()
			if now {
				err = source.Renew(ctx)
			} else {
				err = source.RenewIfDue(ctx)
			}
			if err = errors.Join(err, closeSource()); err != nil {
				return err
			}
			status, text := source.Status(), "The key is not due; it "
			if nameOf(status) != nameOf(before) {
				text = "The key was renewed; the new one "
			}
			return show(c, text+ends(status.ExpiresAt)+".")
		},
	}
	c.Flags().BoolVar(&now, "now", false, "renew even if the key is not due")
	return c
}
