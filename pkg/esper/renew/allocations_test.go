package renew

import (
	"testing"

	"github.com/esper-go/esper-go/pkg/esper/renew/internal/policy"
)

func TestHotPathAllocatesNothing(t *testing.T) {
	source := opened(t, newStub(90*day), Memory())
	if n := testing.AllocsPerRun(1000, func() {
		if token, err := source.TokenContext(t.Context()); err != nil || token.AccessToken == "" {
			t.Fatal(token, err)
		}
	}); n != 0 {
		t.Errorf("%v allocations, want 0", n)
	}
}

// A read of the store that finds what the last one found costs little, whatever the key looks like. So a year of Run, of
// some 700,000 reads, takes seconds in a bubble of testing/synctest.
func TestReadsOfTheSameAllocateLittle(t *testing.T) {
	for _, key := range []string{stubFirst, "madeUpKeyMadeUpKeyMadeUpKey0", "made.up-key_with.dots-and_hyphens", canary} {
		store := Memory()
		put(t, store, living(key, 90*day))
		source := opened(t, newStub(90*day), store)
		if n := testing.AllocsPerRun(100, func() { _, _, _ = source.run(t.Context(), policy.Turn{}) }); n > 35 {
			t.Errorf("%s: %v allocations, want 35 at most", key, n)
		}
	}
}
