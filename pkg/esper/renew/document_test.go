package renew

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/esper-go/esper-go/pkg/esper"
	"github.com/esper-go/esper-go/pkg/wire"
)

func TestLearn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		now := wallClock()
		end := wire.Time{Time: now.Add(90 * day)}
		for name, tc := range map[string]struct {
			info            esper.TokenInfo
			issued, expires time.Time
			ids             string
		}{
			"all": {
				esper.TokenInfo{Enterprise: wire.Ref{ID: "E"}, DeveloperApp: wire.Ref{ID: "A"}, CreatedOn: wire.Time{Time: now.Add(-day)}, ExpiresAt: end},
				now.Add(-day), end.Time, "E A",
			},
			"no app":        {esper.TokenInfo{Enterprise: wire.Ref{ID: "E"}, ExpiresAt: end}, now, end.Time, "e a"},
			"no enterprise": {esper.TokenInfo{DeveloperApp: wire.Ref{ID: "A"}, ExpiresAt: end}, now, end.Time, "e a"},
			"no beginning":  {esper.TokenInfo{ExpiresAt: end}, now, end.Time, "e a"},
			"no end":        {esper.TokenInfo{CreatedOn: wire.Time{Time: now.Add(-day)}}, now, now.Add(assumedLifetime), "e a"},
			"begins late":   {esper.TokenInfo{CreatedOn: end, ExpiresAt: end}, now, end.Time, "e a"},
		} {
			d := document{EnterpriseID: "e", DeveloperAppID: "a"}
			d.learn(&tc.info)
			if ids := d.EnterpriseID + " " + d.DeveloperAppID; ids != tc.ids || !d.IssuedAt.Equal(tc.issued) || !d.ExpiresAt.Equal(tc.expires) {
				t.Errorf("%s: %s from %v to %v, want %s from %v to %v", name, ids, d.IssuedAt, d.ExpiresAt, tc.ids, tc.issued, tc.expires)
			}
		}
	})
}
