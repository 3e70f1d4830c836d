package wire_test

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"testing"
	"text/template"

	"github.com/esper-go/esper-go/pkg/wire"
)

const (
	canary = "canary & 100%; = /+ value"
	shown  = "[secret]"
)

type (
	exported   struct{ Key wire.Secret }
	unexported struct{ key wire.Secret }
	nested     struct {
		Name  string
		Inner *exported
		inner unexported
		keys  []wire.Secret
		byKey map[wire.Secret]wire.Secret
		any   any
	}
)

// printed returns v as each printer of the standard library shows it.
func printed(t *testing.T, v any) map[string]string {
	t.Helper()
	all := map[string]string{"Sprint": fmt.Sprint(v), "Sprintln": fmt.Sprintln(v), "Errorf": fmt.Errorf("failed: %v", v).Error()}
	for verb := range strings.SplitSeq("v,+v,#v,s,q,#q,x,X,# x,d,+d,o,b,t,c,U,e,g,p,T,10v,-40s,.3s,w,!", ",") {
		all["%"+verb] = fmt.Sprintf("%"+verb, v)
	}
	for name, handler := range map[string]func(*bytes.Buffer) slog.Handler{
		"slog text": func(b *bytes.Buffer) slog.Handler { return slog.NewTextHandler(b, nil) },
		"slog JSON": func(b *bytes.Buffer) slog.Handler { return slog.NewJSONHandler(b, nil) },
	} {
		var out bytes.Buffer
		slog.New(handler(&out)).With("with", v).WithGroup("g").Info("m", "v", v, slog.Group("h", "v", v))
		all[name] = out.String()
	}
	asJSON, err := json.Marshal(v)
	var out strings.Builder
	if err != nil || template.Must(template.New("").Parse("{{.}}")).Execute(&out, v) != nil {
		t.Errorf("%T in JSON, or in a template: %v", v, err)
	}
	asXML, _ := xml.Marshal(v) // not for each of the types
	all["JSON"], all["XML"], all["template"] = string(asJSON), string(asXML), out.String()
	return all
}

func TestSecretDoesNotPrint(t *testing.T) {
	s := wire.NewSecret(canary)
	for name, v := range map[string]any{
		"alone": s, "pointer": &s, "pointer to pointer": new(&s),
		"slice": []wire.Secret{s}, "array": [1]wire.Secret{s}, "pointers": []*wire.Secret{&s}, "any": []any{s},
		"map value": map[string]wire.Secret{"k": s}, "map key": map[wire.Secret]int{s: 1},
		"exported": exported{s}, "exported pointer": &exported{s},
		"unexported": unexported{s}, "unexported pointer": &unexported{s},
		"nested": nested{
			Name: "n", Inner: &exported{s}, inner: unexported{s},
			keys: []wire.Secret{s}, byKey: map[wire.Secret]wire.Secret{s: s}, any: s,
		},
		"unexported in slice": []unexported{{s}}, "unexported pointer field": struct{ p *wire.Secret }{&s},
	} {
		for way, text := range printed(t, v) {
			for _, form := range []string{
				canary, url.QueryEscape(canary), url.PathEscape(canary),
				fmt.Sprintf("%x", canary), fmt.Sprintf("%X", canary), fmt.Sprintf("% x", canary),
			} {
				if strings.Contains(text, form) {
					t.Errorf("%s shows %s: %s", way, name, text)
				}
			}
			plain := strings.Contains("%v %+v %#v %s %q Sprint", way) && name != "pointer to pointer" && !strings.Contains(name, "field")
			if (plain || way == "JSON" && !strings.Contains(name, "unexported")) && !strings.Contains(text, shown) {
				t.Errorf("%s shows no placeholder for %s: %s", way, name, text)
			}
		}
	}
}

// For a Secret by itself, each printer shows the placeholder and nothing else, and nothing for the zero Secret.
func TestSecretIsThePlaceholder(t *testing.T) {
	set, zero := printed(t, wire.NewSecret(canary)), printed(t, wire.Secret{})
	for way, want := range map[string]string{
		"%v": shown, "%+v": shown, "%#v": shown, "%s": shown, "%q": shown, "%x": shown, "%d": shown, "%-40s": shown,
		"JSON": `"[secret]"`, "XML": "<Secret>[secret]</Secret>", "template": shown, "Errorf": "failed: [secret]",
	} {
		if blank := strings.Replace(want, shown, "", 1); set[way] != want || zero[way] != blank {
			t.Errorf("%s: %q and %q, want %q and %q", way, set[way], zero[way], want, blank)
		}
	}
	if strings.Count(set["slog text"], shown) != 3 || strings.Count(set["slog JSON"], shown) != 3 {
		t.Errorf("want the placeholder three times: %s, %s", set["slog text"], set["slog JSON"])
	}
	if _, err := fmt.Sscan("x", new(wire.Secret)); err == nil {
		t.Error("fmt scans into a Secret")
	}
}

func TestSecretValue(t *testing.T) {
	a, b := wire.NewSecret(canary), wire.NewSecret(strings.Clone(canary))
	if a != b || a == wire.NewSecret("other") || a == (wire.Secret{}) {
		t.Error("== does not compare the texts")
	}
	if a.Reveal() != canary || a.IsZero() || a.String() != shown {
		t.Errorf("Reveal: %q, IsZero: %t, String: %q", a.Reveal(), a.IsZero(), a.String())
	}
	for _, zero := range []wire.Secret{{}, wire.NewSecret("")} {
		if zero != (wire.Secret{}) || !zero.IsZero() || zero.Reveal() != "" || zero.String() != "" {
			t.Errorf("not zero: %v", zero)
		}
	}
}
