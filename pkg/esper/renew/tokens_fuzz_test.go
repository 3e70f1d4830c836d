package renew

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/esper-go/esper-go/pkg/esper"
	"github.com/esper-go/esper-go/pkg/esper/renew/internal/policy"
)

// FuzzFindToken looks for a key's token in any list. One that is found has something of the key, and an end is read
// only as one that a key may have.
func FuzzFindToken(f *testing.F) {
	const canary = "canary-key-0123456789"
	for _, list := range []string{
		`[]`, `null`, `[null]`, `[{"legacy_token_id": 570, "expiry_at": 1888272000}]`, `[{"token": "canary-key-0123456789", "expiry_at": -1}]`,
		`[{"legacy_token_id": "570", "name": "canary-key-0123456789"}, {"token": "canary-key-0123456789"}]`, `[{"prefix": "canary", "expiry_at": 1888272000000}]`,
		`[{"prefix": "canary"}, {"prefix": "cana"}]`, `[{"prefix": "canary", "token": "canary-key-0123456780"}]`, `[{"prefix": "can"}, {"prefix": ""}]`,
	} {
		f.Add(list, "570", int64(1888272000))
		f.Add(list, "", int64(0))
	}
	f.Fuzz(func(t *testing.T, text, id string, ends int64) {
		var list []esper.PersonalAccessToken
		_ = json.Unmarshal([]byte(text), &list)
		for i := range list {
			list[i].Name = "" // the client has cleaned it
		}
		found, err := tokenOfKey(list, esper.NewSecret(canary), id)
		if err != nil {
			if !errors.Is(err, ErrNotRenewable) || strings.Contains(err.Error(), canary) {
				t.Errorf("%v", err)
			}
			return
		}
		prefix := found.Prefix.Reveal()
		if !(id != "" && string(found.LegacyTokenID) == id) && found.Token.Reveal() != canary && (len(prefix) < 4 || !strings.HasPrefix(canary, prefix)) {
			t.Errorf("the token has nothing of the key: %v", found)
		}
		for _, other := range list {
			if other.Token.Reveal() == canary && found.Token.Reveal() != canary {
				t.Errorf("another token has the key: %v", other)
			}
		}
		now := time.Unix(1800000000, 0)
		u, err := unitOf(string(found.ExpiryAt), time.Unix(max(ends, 1), 0), now)
		if at, ok := u.moment(string(found.ExpiryAt)); err == nil && u != 0 && (!ok || at.Sub(time.Unix(max(ends, 1), 0)).Abs() > policy.Skew) {
			t.Errorf("unit %v makes %v of %q", u, at, found.ExpiryAt)
		}
	})
}
