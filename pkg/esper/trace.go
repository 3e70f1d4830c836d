package esper

import (
	"context"

	"github.com/esper-go/esper-go/pkg/esper/internal/network"
)

// redactTrace returns ctx with a trace in place of the caller's httptrace, if there is one. It passes events on without
// the attempt's secrets.
func (a *attempt) redactTrace(ctx context.Context) context.Context {
	return network.RedactTrace(ctx, a.credential.key.String(), a.request.URL.RequestURI(), a.renewal)
}
