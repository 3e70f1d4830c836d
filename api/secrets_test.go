package api_test

import (
	"regexp"
	"strings"
	"testing"

	"github.com/esper-go/esper-go/api"
)

// TestNoKeyInTheSpec: an example that was copied from a real answer would hold a real key. That is a long run of letters
// and digits.
func TestNoKeyInTheSpec(t *testing.T) {
	for _, word := range regexp.MustCompile(`[A-Za-z0-9]{25,}`).FindAllString(string(api.Spec), -1) {
		if strings.ContainsAny(word, "0123456789") {
			t.Errorf("this looks like a key: %s", word)
		}
	}
}
