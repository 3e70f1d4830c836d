package esper

import (
	"context"

	"github.com/esper-go/esper-go/pkg/esper/internal/network"
)

// redactTrace replaces the caller's httptrace in ctx, if there is one, by a trace that passes events on to the caller's
// without the attempt's secrets.
func (a *attempt) redactTrace(ctx context.Context) context.Context {
	return network.RedactTrace(ctx, a.credential.key.String(), a.request.URL.RequestURI(), a.renewal)
}
