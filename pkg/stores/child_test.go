//go:build linux

package stores

import (
	"net/http"
	"testing"

	"github.com/esper-go/esper-go/pkg/esper/espertest"
	"github.com/esper-go/esper-go/pkg/internal/processes"
)

// TestChild is the main program of the processes that tests start.
func TestChild(*testing.T) { processes.Main(open) }

// newServer starts a fake Esper server that also answers the calls to processes.Devices.
func newServer(t *testing.T, opts ...espertest.Option) *espertest.Server {
	t.Helper()
	fine := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
	return espertest.NewServer(t, append(opts, espertest.WithHandler("GET "+processes.Devices, fine))...)
}
