package renew

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
)

// A body has been read when the answer comes, so a request with one is not sent again.
func TestTransportSendsAgainWithoutABody(t *testing.T) {
	for body, want := range map[io.ReadCloser]int{nil: 200, http.NoBody: 200, &closing{Reader: strings.NewReader("x")}: 401} {
		synctest.Test(t, func(t *testing.T) {
			var told recorder
			server, store := newStub(90*day), Memory()
			source := opened(t, server, store, told.option())
			replaced(t, server, store)
			resp, err := source.Transport(server).RoundTrip(request(t, http.MethodGet, device, body))
			if err != nil || resp.StatusCode != want {
				t.Errorf("%T: %+v, %v, want %d", body, resp, err, want)
			}
			if len(told) != 1 || told[0].LastError != nil {
				t.Errorf("of the other process's key WithOnRenew is told %+v", told)
			}
			server.fault = only("other", fails(401))
			resp, err = source.Transport(server).RoundTrip(request(t, http.MethodGet, device, nil))
			if err != nil || resp.StatusCode != 401 || len(told) != 1 {
				t.Errorf("a refusal of one endpoint: %+v, %v, WithOnRenew was told %d times", resp, err, len(told))
			}
		})
	}
}
