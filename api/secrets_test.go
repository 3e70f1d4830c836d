package api_test

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/esper-go/esper-go/api"
)

// keyLike matches letters and digits in a row. A real key is a long one.
var keyLike = regexp.MustCompile(`[A-Za-z]*[0-9][A-Za-z0-9]*`)

// TestNoKeyInTheSpec: an example that was copied from a real answer would hold a real key.
func TestNoKeyInTheSpec(t *testing.T) {
	if found := keysIn(string(api.Spec)); len(found) > 0 {
		t.Errorf("these look like keys: %q", found)
	}
	for text, want := range map[string]int{
		"example-key, f44373cb-1800-43c6-aab3-c81f8b1f435c, 2019-11-19T15:42:16.637203Z": 0,
		"example: " + strings.Repeat("aB3", 10):                                          1,
		"example: abcdefghijklmnopqrstuvwxyz1":                                           1,
	} {
		if found := keysIn(text); len(found) != want {
			t.Errorf("%s: %q found, want %d", text, found, want)
		}
	}
	if found := secretsIn("", tree(t)); len(found) != 12 {
		t.Errorf("%d examples of secrets, want 12: %q", len(found), found)
	} else {
		for _, example := range found {
			if !strings.HasPrefix(example, "example-") {
				t.Errorf("an example of a secret is %q, want example-…", example)
			}
		}
	}
}

func keysIn(text string) (found []string) {
	for _, word := range keyLike.FindAllString(text, -1) {
		if len(word) >= 25 {
			found = append(found, word)
		}
	}
	return found
}

// secretsIn returns the texts that stand in the spec as examples of secrets.
func secretsIn(name string, v any) (found []string) {
	secret := name == "token" || name == "access_token" || name == "source_refresh_token" || name == "AccessToken"
	switch v := v.(type) {
	case string:
		if secret && !strings.HasPrefix(v, "$response.") { // a link says where the value comes from
			found = append(found, v)
		}
	case map[string]any:
		for key, value := range v {
			if text, ok := value.(string); ok && secret && key == "example" {
				found = append(found, text)
			} else if !secret || key != "description" && key != "name" {
				found = append(found, secretsIn(key, value)...)
			}
		}
	case []any:
		for i, item := range v {
			found = append(found, secretsIn(fmt.Sprint(i), item)...)
		}
	}
	return found
}
