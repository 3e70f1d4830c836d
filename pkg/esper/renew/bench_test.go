package renew

import (
	"testing"
	"time"

	"golang.org/x/oauth2"

	"github.com/esper-go/esper-go/pkg/esper"
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

// BenchmarkToken compares the hot path with oauth2.ReuseTokenSource, which knows nothing of
// renewals: run it with -cpu 1,2.
func BenchmarkToken(b *testing.B) {
	source := opened(b, newStub(90*day), Memory())
	reuse := oauth2.ReuseTokenSource(&oauth2.Token{AccessToken: stubFirst, Expiry: time.Now().Add(90 * day)}, esper.APIKey(stubFirst))
	for _, test := range []struct {
		name   string
		tokens oauth2.TokenSource
	}{{"source", source}, {"reuse", reuse}} {
		tokens := test.tokens
		b.Run(test.name+"/alone", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := tokens.Token(); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(test.name+"/parallel", func(b *testing.B) {
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if _, err := tokens.Token(); err != nil {
						b.Error(err)
					}
				}
			})
		})
	}
}
