package origin

import (
	"regexp"
	"strings"
)

const (
	shortKey     = 20 // longer than every word in the patterns
	alphanumeric = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
)

// mistake describes texts that people pass by mistake. Advice says what the text is, and what to pass instead.
type mistake struct{ pattern, advice string }

// PastedKey returns advice if text was passed by mistake in place of a key, and "" otherwise. A server
// may issue any text as a key, so the patterns match only texts that no server would issue.
func PastedKey(text string) (advice string) {
	if advice = pasted(text); advice != "" {
		return advice
	}
	return find(text,
		mistake{`(?i)^(authorization[ :]|(x-[a-z-]+|api-?key|bearer):|[a-z][a-z-]*: |curl )`, "is a header line, or a command with one; pass the key alone"},
		mistake{`(?i)^((bearer|token|api-?key|basic|jwt) |(bearer|basic)$)`, "begins with the name of a scheme, such as Bearer, which is added here; pass the key alone"},
		mistake{`(?i)^([a-z][a-z0-9+.-]*://|(file|arn|vault):)`, "is a URL, or another name of a place; pass the key that is to be found there"},
		mistake{`^@?((~|\.{1,2})/|/(dev|etc|home|media|mnt|opt|private|proc|root|run|secrets|srv|tmp|Users|usr|var)/)|^[A-Za-z]:\\`, "is a path; pass the content of that file"},
		mistake{`^\{\s*"`, "is a JSON document; pass the value of its token alone"},
	)
}

// pasted recognises the mistakes that people make with a key and with an environment.
func pasted(text string) (advice string) {
	return find(text,
		mistake{`^(\$[A-Za-z_{(]|%[A-Za-z_]+%$|\{\{)|^` + "`.*`$", "is the name of a variable, or a command, that was not expanded; pass its value"},
		mistake{`^(export |set )?[A-Z_][A-Z0-9_]*( ?= ?[^= ]|: )|(?i)^(export |set )?esper_[a-z_]+( ?=|: )`, "is an assignment, NAME=value; pass what is behind the equals sign"},
		mistake{"^[\"'`\u2018\u201c\u00ab]|[\"'`\u2019\u201d\u00bb]$", "is in quotes, or has one at an end; pass it without them"},
		mistake{`(?i)^(<.*>|\[.*\]|null|nil|none|undefined|changeme)$`, "is a placeholder; pass the real one"},
	)
}

func find(text string, mistakes ...mistake) (advice string) {
	if len(text) >= shortKey && strings.Trim(text, alphanumeric) == "" {
		return "" // the usual key; no pattern matches it, so none needs to be compiled
	}
	for _, m := range mistakes {
		if regexp.MustCompile(m.pattern).MatchString(text) {
			return m.advice
		}
	}
	return ""
}
