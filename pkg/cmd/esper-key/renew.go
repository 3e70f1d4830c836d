package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/esper-go/esper-go/pkg/esper"
)

const renewHelp = `Renew the key if it is due, and wait for the end: for cron. A 90-day key is
due 18 to 22 days before its end, so once a day is often enough.

--now renews at once, whatever is left of the key: when it has leaked, or before
maintenance. Processes that share the store renew once between them. It takes
two minutes at most; do not kill it before that.`

type renewal struct {
	Renewed   bool      `json:"renewed"`
	ExpiresAt time.Time `json:"expires_at"`
}

func (a *app) renew() *cobra.Command {
	var now bool
	c := a.withOutput(&cobra.Command{
		Use: "renew", Short: "Renew the key if it is due, or now: for cron", Long: renewHelp,
		Example: "  17 4 * * * esper-key renew        # as a line of a crontab\n  esper-key renew --now",
		RunE: func(c *cobra.Command, _ []string) error {
			ctx := c.Context()
			source, closeSource, err := a.open(ctx, esper.Secret{})
			if err != nil {
				return err
			}
			before := source.Status()
			if now {
				err = source.Renew(ctx)
			} else {
				err = source.RenewIfDue(ctx)
			}
			if err = errors.Join(err, closeSource()); err != nil {
				return err
			}
			status := source.Status()
			r := renewal{status.Serial != before.Serial || !status.IssuedAt.Equal(before.IssuedAt), status.ExpiresAt}
			text := fmt.Sprintf("The key is not due; it %s.", ends(r.ExpiresAt))
			if r.Renewed {
				text = fmt.Sprintf("The key was renewed; the new one %s.", ends(r.ExpiresAt))
			}
			return a.print(c, r, text)
		},
	})
	c.Flags().BoolVar(&now, "now", false, "renew whatever is left of the key")
	return c
}
