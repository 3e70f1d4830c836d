// Package ways renews keys: through the renew-token endpoint, or through personal access tokens, which is an experiment.
// Package renew does not know which of the two is in use.
package ways

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/esper-go/esper-go/pkg/esper"
	"github.com/esper-go/esper-go/pkg/esper/renew/internal/policy"
	"github.com/esper-go/esper-go/pkg/wire"
)

// ErrNotRenewable is renew.ErrNotRenewable.
var ErrNotRenewable = errors.New("renew: the key cannot be renewed")

// Way is a way to renew keys. Its client sends the key that ctx holds, which is the key in question.
type Way interface {
	// Renew renews d's key within limit. If the error is not an [esper.RenewalError], nothing was changed.
	Renew(ctx context.Context, d policy.Document, limit time.Duration) (*esper.RenewedToken, error)
	// AskInstead asks about the key if the server has no TokenInfo: err is what it answered.
	AskInstead(ctx context.Context, key esper.Secret, err error) (policy.Document, error)
	// Renewable returns ErrNotRenewable if a key with d's ids cannot be renewed in this way.
	Renewable(d policy.Document) error
}

// Endpoint renews through the renew-token endpoint.
type Endpoint struct{ Client *esper.Client }

// Renew calls RenewToken.
func (e Endpoint) Renew(ctx context.Context, d policy.Document, _ time.Duration) (*esper.RenewedToken, error) {
	answer, err := e.Client.RenewToken(ctx, esper.RenewRequest{
		EnterpriseID: d.EnterpriseID, DeveloperAppID: d.DeveloperAppID, AccessToken: d.Key,
	})
	if errors.Is(err, esper.ErrNotFound) {
		err = fmt.Errorf("%w: %w", ErrNotRenewable, retired(err))
	}
	return answer, err
}

// AskInstead returns err, with what to do.
func (Endpoint) AskInstead(_ context.Context, _ esper.Secret, err error) (policy.Document, error) {
	return policy.Document{}, retired(err)
}

// retired adds to an answer of 404 or 410 what to do if Esper has retired the endpoint.
func retired(err error) error {
	return fmt.Errorf("%w; if Esper has retired this endpoint, as announced, use WithPersonalAccessTokens "+
		"(esper-key --via personal-access-token), which is experimental", err)
}

// Renewable asks for a developer app.
func (Endpoint) Renewable(d policy.Document) error {
	if d.EnterpriseID == "" || d.DeveloperAppID == "" {
		return fmt.Errorf("%w: it belongs to no developer app; make one in the Esper Console that does", ErrNotRenewable)
	}
	return nil
}

// Fits returns t in UTC, or the latest time that JSON can hold if t is later. A time before the year 1 becomes zero.
func Fits(t time.Time) time.Time {
	t = t.UTC().Round(0)
	latest := time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)
	switch {
	case t.After(latest):
		return latest
	case t.Year() < 1:
		return time.Time{}
	}
	return t
}

// Moment reads a time that the server sent: in a form that wire.Time knows, or in seconds or milliseconds since
// 1970. It sets unreadable for any other text.
func Moment(t wire.Time) (at time.Time, unreadable bool) {
	if !t.IsZero() {
		return Fits(t.Time), false
	}
	const year2000, year9999 = 946_684_800, 253_402_300_799
	n, err := strconv.ParseFloat(strings.TrimSpace(t.Raw), 64)
	if err == nil && n > year9999 && n/1000 <= year9999 {
		n /= 1000 // milliseconds
	}
	switch {
	case t.Raw == "":
		return time.Time{}, false
	case err == nil && n >= year2000 && n <= year9999:
		return time.Unix(int64(n), 0).UTC(), false
	}
	return time.Time{}, true
}
