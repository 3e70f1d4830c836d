package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
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
	var warn, critical, timeout string
	c := &cobra.Command{
		Use: "check", Short: "Say whether all is well, as a monitoring plugin", Long: checkHelp,
		Example: "  esper-key check\n  esper-key check --warn 15d --critical 5d",
		RunE: func(c *cobra.Command, _ []string) error {
			w, err := model.ParseDuration(warn)
			k, criticalErr := model.ParseDuration(critical)
			if _, notSeconds := strconv.ParseUint(timeout, 10, 31); notSeconds == nil {
				timeout += "s" // as plugins take it
			}
			limit, limitErr := model.ParseDuration(timeout)
			if errors.Join(err, criticalErr, limitErr) != nil || w < k || limit <= 0 {
				return &failure{stateUnknown, errors.New("--warn and --critical have to be durations such as 10d or 36h, --warn at least as long as --critical, and --timeout seconds or a duration, more than 0")}
			}
			ctx, cancel := context.WithTimeout(c.Context(), time.Duration(limit))
			defer cancel()
			c.SetContext(ctx)
			code, message, end := a.examine(c, time.Duration(w), time.Duration(k))
			line := "ESPER KEY " + []string{"OK", "WARNING", "CRITICAL", "UNKNOWN"}[code] + " - " + strings.ReplaceAll(message, "|", "/")
			if !end.IsZero() {
				line += fmt.Sprintf(" | seconds_to_end=%ds;%d:;%d:", time.Until(end)/time.Second, time.Duration(w)/time.Second, time.Duration(k)/time.Second)
			}
			if err := show(c, line); err != nil {
				return &failure{stateUnknown, err}
			}
			if code != stateOK {
				return &failure{code, nil}
			}
			return nil
		},
	}
	c.Flags().StringVarP(&warn, "warn", "w", "10d", "WARNING if the key ends within this `time`\n")
	c.Flags().StringVarP(&critical, "critical", "c", "3d", "CRITICAL if the key ends within this `time`\n")
	c.Flags().StringVarP(&timeout, "timeout", "t", "10s", "how many `seconds` to wait for the store and for\nEsper; also as a duration\n")
	return c
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
