package conformance

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
)

// TestReadmes: the command for a client in Python in the two READMEs is the one that is tried here.
func TestReadmes(t *testing.T) {
	data, err := os.ReadFile("openapi-python-client/client.json")
	if err != nil {
		t.Fatal(err)
	}
	var c struct{ Generate string }
	if err := json.Unmarshal(data, &c); err != nil || c.Generate == "" {
		t.Fatal(c, err)
	}
	for path, description := range map[string]string{"../README.md": "openapi.yaml", "../../README.md": "api/openapi.yaml"} {
		text, err := os.ReadFile(path)
		if want := strings.Replace(c.Generate, "openapi.yaml", description, 1); err != nil || !strings.Contains(string(text), "\n"+want+"\n") {
			t.Errorf("%s does not have %q: %v", path, want, err)
		}
	}
}
