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

type checkResult struct {
	State     string    `json:"state"`
	Code      int       `json:"code"`
	Message   string    `json:"message"`
	ExpiresAt time.Time `json:"expires_at,omitzero"`
	Seconds   int64     `json:"seconds_to_end"`
}

func (a *app) check() *cobra.Command {
	var warn, critical, timeout string
	c := a.withOutput(&cobra.Command{
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
			return a.result(c, a.examine(c, time.Duration(w), time.Duration(k)), time.Duration(w), time.Duration(k))
		},
	})
	c.Flags().StringVarP(&warn, "warn", "w", "10d", "WARNING if the key ends within this `time`\n")
	c.Flags().StringVarP(&critical, "critical", "c", "3d", "CRITICAL if the key ends within this `time`\n")
	c.Flags().StringVarP(&timeout, "timeout", "t", "10s", "how many `seconds` to wait for the store and for\nEsper; also as a duration\n")
	return c
}

// examine asks the store and Esper about the key, and returns what check prints.
func (a *app) examine(c *cobra.Command, warn, critical time.Duration) checkResult {
	a.readOnly = true
	const most = 100
	warnings := make(chan string, most)
	a.warn = func(text string) { warnings <- text }
	source, closeSource, err := a.open(c, esper.Secret{})
	if err != nil {
		if codeOf(err) == exitPerson {
			return checkResult{Code: stateCritical, Message: oneLine(err)}
		}
		return checkResult{Code: stateUnknown, Message: oneLine(err)}
	}
	err = source.Check(c.Context())
	status := source.Status()
	_ = closeSource() // a read-only source has nothing to save; then all warnings are there
	r := checkResult{ExpiresAt: status.ExpiresAt, Seconds: int64(time.Until(status.ExpiresAt).Seconds()), Message: "the key " + ends(status.ExpiresAt)}
	if err != nil {
		r.Message += ", and cannot be checked: " + oneLine(err)
	}
	if status.InDoubt {
		r.Message += "; a renewal was begun, and its outcome is unknown"
	}
	switch left := time.Until(status.ExpiresAt); {
	case errors.Is(err, renew.ErrKeyLost), errors.Is(err, esper.ErrUnauthorized), errors.Is(err, esper.ErrForbidden):
		r.Code, r.Message = stateCritical, oneLine(err)
	case left <= 0, left < critical:
		r.Code = stateCritical
	case left < warn:
		r.Code = stateWarning
	case err != nil:
		r.Code = stateUnknown
	case status.InDoubt, len(warnings) > 0:
		r.Code = stateWarning
	}
	for len(warnings) > 0 {
		r.Message += "; " + <-warnings
	}
	return r
}

// result prints r. Unless all is well, it returns an error with the exit code of r.
func (a *app) result(c *cobra.Command, r checkResult, warn, critical time.Duration) error {
	r.State = []string{"OK", "WARNING", "CRITICAL", "UNKNOWN"}[r.Code]
	line := fmt.Sprintf("ESPER KEY %s - %s", r.State, strings.ReplaceAll(r.Message, "|", "/"))
	if !r.ExpiresAt.IsZero() {
		line += fmt.Sprintf(" | seconds_to_end=%ds;%d:;%d:", r.Seconds, int(warn.Seconds()), int(critical.Seconds()))
	}
	if err := a.print(c, r, line); err != nil {
		return &failure{stateUnknown, err}
	}
	if r.Code == stateOK {
		return nil
	}
	return &failure{r.Code, nil}
}
