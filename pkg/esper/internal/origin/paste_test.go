package origin

import (
	"strings"
	"testing"
)

// A reference that was not resolved, a placeholder and the like are recognised, both as a key and as an environment. A key
// is not, whatever its characters.
func TestPasted(t *testing.T) {
	for text, says := range map[string]string{
		"@Microsoft.KeyVault(SecretUri=https://v.vault.azure.net/secrets/esper/)": "not resolved",
		"ENC[AES256_GCM,data:Zm9v,iv:YmFy,tag:YmF6,type:str]":                     "not resolved",
		"ENC(c2VjcmV0)": "not resolved", "!Ref EsperKey": "not resolved", "!Sub ${EsperKey}": "not resolved", "!secret esper_key": "not resolved",
		"projects/p/secrets/s/versions/latest": "not resolved",
		"***":                                  "hidden the secret", "[MASKED]": "a placeholder", "[REDACTED]": "a placeholder", "<your key>": "a placeholder", "xxxxxxxx": "a placeholder",
		"__ESPER_KEY__": "not expanded", "#{ESPER_KEY}": "not expanded", "{{ esper_key }}": "not expanded", "$ESPER_KEY": "not expanded", "${{ secrets.KEY }}": "not expanded",
		"ESPER_API_KEY=abc": "an assignment", `"quoted"`: "in quotes",
	} {
		for name, advice := range map[string]string{"key": PastedKey(text), "environment": pasted(text, false)} {
			if !strings.Contains(advice, says) {
				t.Errorf("%s as a %s: %q, want %q", text, name, advice, says)
			}
		}
	}
	for _, text := range []string{"op://vault/esper/key", "vault:secret/esper#key", "Bearer abc", "Authorization: Bearer abc", "~/key.txt", `{"token":"x"}`} {
		if PastedKey(text) == "" {
			t.Errorf("%s is taken for a key", text)
		}
	}
	for _, key := range []string{
		"made-up-key", "AbcdefGhijklmnop0123456789qrst", "projects", "x.y!z:1", "__x", "**", "#x", "!x", "ENC", "a=b=c", "xxx-1", "%2541",
	} {
		if advice := PastedKey(key); advice != "" {
			t.Errorf("the key %s %s", key, advice)
		}
	}
}
