package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"github.com/spf13/cobra"

	"github.com/esper-go/esper-go/pkg/esper"
	"github.com/esper-go/esper-go/pkg/esper/renew"
)

// The states that monitoring plugins report, each with its exit code.
const (
	stateOK = iota
	stateWarning
	stateCritical
	stateUnknown
)

const checkHelp = `Ask the store and Esper whether all is well with the key, as a monitoring
plugin for Nagios or Icinga. The output is one line with performance data, and
the exit code is 0 OK, 1 WARNING, 2 CRITICAL or 3 UNKNOWN. Nothing is written or
renewed.

CRITICAL  the key is lost, refused or missing, has ended, or ends within
          --critical
WARNING   the key ends within --warn, the outcome of a renewal is unknown, or
          the store is not as it should be: a Secret that can keep no new key
UNKNOWN   the store or Esper cannot be asked, or the command line is wrong

A 90-day key is renewed 18 to 22.5 days before its end. Durations are written as
10d, 36h, 90m or 1d12h.`

func (a *app) check() *cobra.Command {
	var warn, critical, limit time.Duration
	c := &cobra.Command{
		Use: "check", Short: "Say whether all is well, as a monitoring plugin", Long: checkHelp,
		Example: "  esper-key check\n  esper-key check --warn 15d --critical 5d",
		RunE: func(c *cobra.Command, _ []string) error {
			switch {
			case warn < critical:
				return &failure{stateUnknown, errors.New("--warn is shorter than --critical, which is 3d unless it is given")}
			case limit == 0:
				return &failure{stateUnknown, errors.New("--timeout has to be more than 0")}
			}
			ctx, cancel := context.WithTimeout(c.Context(), limit)
			defer cancel()
			c.SetContext(ctx)
			code, message, end := a.examine(c, warn, critical)
			data := ""
			if !end.IsZero() {
				data = fmt.Sprintf(" | seconds_to_end=%ds;%d:;%d:", time.Until(end)/time.Second, warn/time.Second, critical/time.Second)
			}
			if err := showState(c, code, message, data); err != nil {
				return &failure{stateUnknown, err}
			}
			return &failure{code, nil}
		},
	}
	duration(c, &warn, "warn", "10d", "", "WARNING if the key ends within this `time`")
	duration(c, &critical, "critical", "3d", "", "CRITICAL if the key ends within this `time`")
	duration(c, &limit, "timeout", "10s", "s", "how many `seconds` to wait for the store and for\nEsper; also as a duration")
	return c
}

// duration adds a flag that is a duration. Unit is that of a plain number, as plugins take it; without one, none is taken.
func duration(c *cobra.Command, to *time.Duration, name, standard, unit, usage string) {
	set := func(value string) error {
		d, err := model.ParseDuration(value)
		if err != nil {
			d, err = model.ParseDuration(value + unit)
		}
		if *to = time.Duration(d); err != nil {
			return errors.New("it has to be a duration such as 10d, 36h or 1d12h")
		}
		return nil
	}
	_ = set(standard)
	c.Flags().FuncP(name, name[:1], fmt.Sprintf("%s\n(default %q)", usage, standard), set)
}

// showState prints the one line of a monitoring plugin, with performance data.
func showState(c *cobra.Command, state int, text, data string) error {
	return show(c, "ESPER KEY "+[]string{"OK", "WARNING", "CRITICAL", "UNKNOWN"}[state]+" - "+strings.ReplaceAll(text, "|", "/")+data)
}

// examine asks the store and Esper about the key, and returns the state, the text, and the key's end if there is a key.
func (a *app) examine(c *cobra.Command, warn, critical time.Duration) (code int, text string, end time.Time) {
	a.readOnly = true
	const most = 100
	warnings := make(chan string, most)
	a.warn = func(text string) { warnings <- text }
	source, err := a.open(c, esper.Secret{})
	if err != nil {
		if codeOf(err) == exitPerson {
			return stateCritical, oneLine(err), end
		}
		return stateUnknown, oneLine(err), end
	}
	err = source.Check(c.Context())
	status := source.Status()
	_ = source.Close() // a read-only source has nothing to save; then all warnings are there
	text = "the key " + ends(status.ExpiresAt)
	if err != nil {
		text += ", and cannot be checked: " + oneLine(err)
	}
	if status.InDoubt {
		text += "; a renewal was begun, and its outcome is unknown"
	}
	switch left := time.Until(status.ExpiresAt); {
	case errors.Is(err, renew.ErrKeyLost), errors.Is(err, esper.ErrUnauthorized), errors.Is(err, esper.ErrForbidden):
		code, text = stateCritical, oneLine(err)
	case left <= 0, left < critical:
		code = stateCritical
	case left < warn:
		code = stateWarning
	case err != nil:
		code = stateUnknown
	case status.InDoubt, len(warnings) > 0:
		code = stateWarning
	}
	for len(warnings) > 0 {
		text += "; " + <-warnings
	}
	return code, text, status.ExpiresAt
}
