package origin

import (
	"regexp"
	"strings"
	"sync"
	"unicode"
)

const (
	shortKey     = 20 // longer than every word in the patterns
	alphanumeric = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
)

// mistake describes texts that people pass by mistake. Advice says what the text is, and what to pass instead.
type mistake struct {
	pattern *regexp.Regexp
	keyOnly bool // the text may be an environment
	advice  string
}

//nolint:gochecknoglobals // compiled once, when first needed, and never changed
var mistakes = sync.OnceValue(func() (all []mistake) {
	add := func(keyOnly bool, pattern, advice string) {
		all = append(all, mistake{regexp.MustCompile(pattern), keyOnly, advice})
	}
	add(false, `^(\$[A-Za-z_{(]|%[A-Za-z_]+%$|\{\{|#\{)|^`+"`.*`$"+`|^__[A-Za-z0-9_]+__$`,
		"is the name of a variable, or a command, that was not expanded; pass its value")
	add(false, `(?i)^(@microsoft\.keyvault\(|enc[[(]|!(ref|sub|getatt|importvalue|secret|vault) |projects/[^/]+/secrets/)`,
		"is a reference to a secret that was not resolved; pass the secret itself")
	add(false, `^(export |set )?[A-Z_][A-Z0-9_]*( ?= ?[^= ]|: )|(?i)^(export |set )?esper_[a-z_]+( ?=|: )`,
		"is an assignment, NAME=value; pass what is behind the equals sign")
	add(false, "^[\"'`\u2018\u201c\u00ab]|[\"'`\u2019\u201d\u00bb]$",
		"is in quotes, or has one at an end; pass it without them")
	add(false, `(?i)^(<.*>|\[.*\]|\*{3,}|x{4,}|•+|null|nil|none|undefined|redacted|changeme)$`,
		"is a placeholder, or a text in which a log has hidden the secret; pass the real one")
	add(true, `(?i)^(authorization[ :]|(x-[a-z-]+|api-?key|bearer):|[a-z][a-z-]*: |curl )`,
		"is a header line, or a command with one; pass the key alone")
	add(true, `(?i)^((token|api-?key|basic|jwt) |(bearer|basic)$)`,
		"begins with the name of a scheme, such as Bearer, which is added here; pass the key alone")
	add(true, `(?i)^([a-z][a-z0-9+.-]*://|(file|arn|vault):)`,
		"is a URL, or another name of a place; pass the key that is to be found there")
	add(true, `^@?((~|\.{1,2})/|/(dev|etc|home|media|mnt|opt|proc|root|run|secrets|srv|tmp|Users|usr|var)/)|^[A-Za-z]:\\`,
		"is a path; pass the content of that file")
	add(true, `^\{\s*"`, "is a JSON document; pass the value of its token alone")
	return all
})

// BadKey returns advice if key is a text that an Authorization header cannot hold, or that is obviously no key, and ""
// otherwise. It is asked before a key is sent, and before an answer's token is taken for a new key.
func BadKey(key string) (advice string) {
	hidden := func(r rune) bool { return !unicode.IsPrint(r) || r == unicode.ReplacementChar }
	switch {
	case key == "":
		return "is empty"
	case strings.ContainsFunc(key, hidden):
		return "holds a control or invisible character, perhaps the newline at the end of a file or the mark at its beginning"
	case len(key) > 7 && strings.EqualFold(key[:7], "Bearer "):
		return "begins with Bearer, which is added here; pass the key alone"
	case key[0] == ' ' || key[len(key)-1] == ' ':
		return "begins or ends with a space, which would not arrive"
	case strings.Contains(key, "[secret]"):
		return "is the placeholder of a printed Secret; the key itself is lost in that text, use Reveal"
	}
	return ""
}

// Pasted returns advice if text was passed by mistake in place of a key, or else of an environment, and "" otherwise. A
// server may issue any text as a key, so the patterns match only texts that no server would issue.
func Pasted(text string, key bool) (advice string) {
	if len(text) >= shortKey && strings.Trim(text, alphanumeric) == "" {
		return "" // the usual key, which no pattern matches
	}
	for _, m := range mistakes() {
		if (key || !m.keyOnly) && m.pattern.MatchString(text) {
			return m.advice
		}
	}
	return ""
}
