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

// noLeak fails if the canary is in out, as it is or escaped.
func noLeak(t *testing.T, what, out string) {
	t.Helper()
	for _, form := range []string{
		canary, url.QueryEscape(canary), url.PathEscape(canary),
		fmt.Sprintf("%x", canary), fmt.Sprintf("%X", canary), fmt.Sprintf("% x", canary),
	} {
		if strings.Contains(out, form) {
			t.Errorf("%s shows the secret: %s", what, out)
		}
	}
}

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

func holders() map[string]any {
	s := wire.NewSecret(canary)
	return map[string]any{
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
	}
}

func TestSecretInFmt(t *testing.T) {
	verbs := strings.Split("v,+v,#v,s,q,#q,x,X,# x,d,+d,o,b,t,c,U,e,g,p,T,10v,-40s,.3s,w,!", ",")
	plain := map[string]bool{"v": true, "+v": true, "#v": true, "s": true, "q": true}
	addressOnly := map[string]bool{"pointer to pointer": true, "unexported pointer field": true}
	for name, v := range holders() {
		for _, verb := range verbs {
			out := fmt.Sprintf("%"+verb, v)
			noLeak(t, name+" with %"+verb, out)
			if plain[verb] && !addressOnly[name] && name != "nested" && !strings.Contains(out, shown) {
				t.Errorf("%s with %%%s does not show the placeholder: %s", name, verb, out)
			}
		}
		noLeak(t, name+" printed", fmt.Sprint(v)+fmt.Sprintln(v))
		noLeak(t, name+" in an error", fmt.Errorf("failed: %v", v).Error())
	}
	if out := fmt.Sprintf("%+v", holders()["nested"]); strings.Count(out, shown) != 5 {
		t.Errorf("nested: want the placeholder five times, the pointer as an address: %s", out)
	}
	if _, err := fmt.Sscan("x", new(wire.Secret)); err == nil {
		t.Error("fmt scans into a Secret")
	}
}

func TestSecretIsExactlyThePlaceholder(t *testing.T) {
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d", "%40s"} {
		if got := fmt.Sprintf(verb, wire.NewSecret(canary)); got != shown {
			t.Errorf("%s: %q, want %q", verb, got, shown)
		}
		if got := fmt.Sprintf(verb, wire.Secret{}); got != "" {
			t.Errorf("zero with %s: %q, want nothing", verb, got)
		}
	}
}

func TestSecretInSlog(t *testing.T) {
	for name, v := range holders() {
		for _, handler := range []string{"text", "json"} {
			var out bytes.Buffer
			var h slog.Handler = slog.NewTextHandler(&out, nil)
			if handler == "json" {
				h = slog.NewJSONHandler(&out, nil)
			}
			slog.New(h).With("with", v).WithGroup("g").Info("m", "v", v, slog.Group("h", "v", v))
			noLeak(t, name+" in slog "+handler, out.String())
			if name == "alone" && strings.Count(out.String(), shown) != 3 {
				t.Errorf("%s: want the placeholder three times: %s", handler, &out)
			}
		}
	}
}

func TestSecretInEncoders(t *testing.T) {
	for name, v := range holders() {
		if out, err := json.Marshal(v); err == nil {
			noLeak(t, name+" in JSON", string(out))
			if !strings.Contains(name, "unexported") && !strings.Contains(string(out), shown) {
				t.Errorf("%s in JSON does not show the placeholder: %s", name, out)
			}
		} else {
			t.Errorf("%s in JSON: %v", name, err)
		}
		if out, err := xml.Marshal(v); err == nil {
			noLeak(t, name+" in XML", string(out))
		}
		var out strings.Builder
		if err := template.Must(template.New("").Parse("{{.}}")).Execute(&out, v); err != nil {
			t.Errorf("%s in a template: %v", name, err)
		}
		noLeak(t, name+" in a template", out.String())
	}
	s := wire.NewSecret(canary)
	if got := encode(t, exported{s}); got != `{"Key":"[secret]"}` {
		t.Errorf("JSON: %s", got)
	}
	if got := encode(t, exported{}); got != `{"Key":""}` {
		t.Errorf("zero in JSON: %s", got)
	}
	if got, err := xml.Marshal(exported{s}); err != nil || string(got) != `<exported><Key>[secret]</Key></exported>` {
		t.Errorf("XML: %s, %v", got, err)
	}
	if got, err := s.MarshalText(); err != nil || string(got) != shown || s.String() != shown {
		t.Errorf("text: %s, %v", got, err)
	}
}

func TestSecretValue(t *testing.T) {
	a, b := wire.NewSecret(canary), wire.NewSecret(strings.Clone(canary))
	if a != b || a == wire.NewSecret("other") || a == (wire.Secret{}) {
		t.Error("== does not compare the texts")
	}
	if a.Reveal() != canary || a.IsZero() {
		t.Errorf("Reveal: %q, IsZero: %t", a.Reveal(), a.IsZero())
	}
	for _, zero := range []wire.Secret{{}, wire.NewSecret("")} {
		if zero != (wire.Secret{}) || !zero.IsZero() || zero.Reveal() != "" || zero.String() != "" {
			t.Errorf("not zero: %v", zero)
		}
	}
	if got := encode(t, struct {
		Key wire.Secret `json:",omitzero"`
	}{}); got != `{}` {
		t.Errorf("omitzero: %s", got)
	}
}

func TestSecretDecodes(t *testing.T) {
	for text, want := range map[string]string{
		`"key"`: "key", `"a\u0026b\n"`: "a&b\n", `12`: "12", `-1.5e3`: "-1.5e3", `""`: "",
		`null`: "", `true`: "", `{"a": "b"}`: "", `["a"]`: "",
	} {
		if got := decode(t, text, same[wire.Secret]); got != wire.NewSecret(want) {
			t.Errorf("%s: %q, want %q", text, got.Reveal(), want)
		}
	}
	again := decode(t, encode(t, wire.NewSecret(canary)), same[wire.Secret])
	if again.Reveal() != shown {
		t.Errorf("encoded and decoded: %q, want the placeholder", again.Reveal())
	}
	old := wire.NewSecret("old")
	if err := json.Unmarshal([]byte(`null`), &old); err != nil || !old.IsZero() {
		t.Errorf("null over a value: %q, %v", old.Reveal(), err)
	}
}
