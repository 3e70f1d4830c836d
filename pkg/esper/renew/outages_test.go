package renew

import (
	"errors"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/esper-go/esper-go/pkg/esper"
)

// For a while, every request gets 401, although the key works. Five minutes after that at most, every process uses the
// key again. Nothing tells people to make a new key before the server has refused theirs twice, a minute apart; and
// nothing does if it was a gateway that answered in Esper's place, since that says nothing of the key.
func TestOutage(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, body string
		lasts      time.Duration
	}{
		{"Esper", "", 3 * time.Minute},
		{"Esper", "", 20 * time.Minute},
		{"Esper", "", 2 * time.Hour},
		{"a gateway", "<html>sign in</html>", 30 * time.Minute},
		{"a gateway", "<html>sign in</html>", 2 * time.Hour},
	} {
		for _, age := range []time.Duration{day, 80 * day} { // in the second case the key is due
			synctest.Test(t, func(t *testing.T) {
				var log records
				server, store := newStub(90*day), Memory()
				daemon, calls := opened(t, server, store, logTo(&log)), opened(t, server, store, logTo(&log))
				var down atomic.Bool
				server.fault = func(_ *http.Request, _ string, act func() *http.Response) (*http.Response, error) {
					if down.Load() {
						return reply(401, test.body), nil
					}
					return act(), nil
				}
				time.Sleep(age)
				down.Store(true)
				go func() { _ = daemon.Run(t.Context()) }()
				defer daemon.Close() //nolint:errcheck // the sources are judged before
				sources := []*Source{daemon, calls}
				begun, lost := time.Now(), false
				for n := 0; time.Since(begun) < test.lasts; n++ {
					if time.Since(begun) == test.lasts/2 { // another process starts
						sources = append(sources, opened(t, server, store, logTo(&log)))
					}
					for _, s := range sources {
						_, tokenErr := s.Token()
						errs := []error{tokenErr, s.Status().LastError}
						if s != daemon {
							_, err := get(t, s, server, http.MethodGet)
							errs = append(errs, err)
							if n%6 == 0 {
								_, infoErr := s.Client().TokenInfo(t.Context())
								err := s.Check(t.Context())
								if errs = append(errs, infoErr, err); !errors.Is(err, esper.ErrUnauthorized) && !errors.Is(err, esper.ErrGateway) {
									t.Errorf("%s, Check: %v", test.name, err)
								}
							}
						}
						synctest.Wait()
						lost = lost || s.Status().Lost
						for _, err := range append(errs, errors.New(log.String())) {
							if err != nil && strings.Contains(err.Error(), "in the Esper Console") && !lost {
								t.Fatalf("%s, after %v: %v", test.name, time.Since(begun), err)
							}
						}
					}
					if lost && (test.body != "" || time.Since(begun) < time.Minute) {
						t.Fatalf("%s: the key is lost after %v", test.name, time.Since(begun))
					}
					time.Sleep(10 * time.Second)
				}
				if !lost && test.body == "" {
					t.Errorf("%s, %v: the key is not lost, so this test shows nothing", test.name, test.lasts)
				}
				down.Store(false)
				time.Sleep(5*time.Minute + time.Second)
				if status := daemon.Status(); status.Lost {
					t.Errorf("%s, %v: five minutes later, without a call: %+v", test.name, test.lasts, status)
				}
				for i, s := range sources {
					token, err := s.Token()
					status, sendErr := get(t, s, server, http.MethodGet)
					if err != nil || !server.valid(token.AccessToken) || sendErr != nil || status != 200 {
						t.Errorf("%s, %v: five minutes later, process %d: %v, %d, %v", test.name, test.lasts, i, err, status, sendErr)
					}
					if status := s.Status(); status.Lost || status.Refused || age == day && status.LastError != nil {
						t.Errorf("%s, %v: the outage has left traces in process %d: %+v", test.name, test.lasts, i, status)
					}
				}
				if n := server.counted("renewed"); n > 1 || age < 80*day && n > 0 {
					t.Errorf("%s: %d renewals", test.name, n)
				}
			})
		}
	}
}

// records are texts that several sources write.
type records struct {
	mu   sync.Mutex
	text strings.Builder
}

func (r *records) Write(text []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.text.Write(text)
}

func (r *records) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.text.String()
}
