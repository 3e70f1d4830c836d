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

// FuzzFindToken looks for the token of a key in any list. A token that is found has the id, the text or the beginning
// of the key. If a unit of its expiry_at is found, expiry_at agrees with the end of the key in that unit.
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
			list[i].Name = "" // the client removes keys from names, so they do not matter here
		}
		found, err := tokenOfKey(list, esper.NewSecret(canary), id)
		if err != nil {
			if !errors.Is(err, ErrNotRenewable) || strings.Contains(err.Error(), canary) {
				t.Errorf("the error is not ErrNotRenewable, or shows the key: %v", err)
			}
			return
		}
		prefix := found.Prefix.Reveal()
		if !(id != "" && string(found.LegacyTokenID) == id) && found.Token.Reveal() != canary && (len(prefix) < 4 || !strings.HasPrefix(canary, prefix)) {
			t.Errorf("the token has neither the id, nor the text, nor the beginning of the key: %v", found)
		}
		for _, other := range list {
			if other.Token.Reveal() == canary && found.Token.Reveal() != canary {
				t.Errorf("another token has the key: %v", other)
			}
		}
		now := time.Unix(1800000000, 0)
		u, err := unitOf(string(found.ExpiryAt), time.Unix(max(ends, 1), 0), now)
		if at, ok := u.moment(string(found.ExpiryAt)); err == nil && u != 0 && (!ok || at.Sub(time.Unix(max(ends, 1), 0)).Abs() > policy.Skew) {
			t.Errorf("in the unit %v, %[3]q is %[2]v, which is not the end of the key", u, at, found.ExpiryAt)
		}
	})
}
