package esper

import (
	"context"
	"errors"
	"slices"
	"strings"
	"unicode"
)

const (
	// echoLen is how much of a key's beginning counts as the key: servers like to cut what they echo.
	echoLen = 8
	// minKeyLen is the shortest text that is taken for a key at all: to cut every "1" out of an
	// answer would only spoil it.
	minKeyLen = 4
)

// maxText bounds one text that is taken from a server.
const maxText = 1 << 10

// secrets are the texts that a server may echo in one call.
type secrets [2]Secret

// redact replaces every secret in text: as it is, percent-encoded, with JSON or HTML escapes, in
// any mixture of them, and cut short.
func (s secrets) redact(text string) string {
	for i, secret := range s {
		if key := secret.Reveal(); len(key) >= minKeyLen && (i == 0 || secret != s[0]) {
			text = redactOne(text, key)
		}
	}
	return text
}

// redactHeader redacts every value in place.
func (s secrets) redactHeader(header map[string][]string) {
	for _, values := range header {
		for i, v := range values {
			values[i] = s.redact(v)
		}
	}
}

// redactFields takes secrets out of the fields of an answer that are none: a value of another kind
// than the field's, kept as raw JSON, may hold one, and a server may repeat one anywhere. Of a plain
// text only a whole secret counts, since a short or partial one may be part of any date or name.
func redactFields(keys []Secret, list []string, fields ...*string) {
	for i, secret := range keys {
		key := secret.Reveal()
		if len(key) < echoLen || slices.Contains(keys[:i], secret) {
			continue
		}
		for _, field := range fields {
			*field = redactField(*field, key)
		}
		for i := range list {
			list[i] = redactField(list[i], key)
		}
	}
}

func redactField(text, key string) string {
	if strings.HasPrefix(text, "{") || strings.HasPrefix(text, "[") || strings.Contains(text, key) {
		return redactOne(text, key)
	}
	return text
}

func redactOne(text, key string) string {
	var out strings.Builder
	rest := text
	for i := 0; i < len(rest); {
		n := 0
		switch c := rest[i]; c {
		case key[0], '%', '&', '+', '\\': // nothing else begins a key, as it is or escaped
			n = echoAt(rest[i:], key)
		}
		if n == 0 {
			i++
			continue
		}
		out.WriteString(rest[:i])
		out.WriteString(NewSecret(key).String())
		rest, i = rest[i+n:], 0
	}
	if out.Len() == 0 {
		return text
	}
	out.WriteString(rest)
	return out.String()
}

// echoAt returns how many bytes at the beginning of text are key, or at least echoLen bytes of
// key's beginning; 0 if neither. A byte such as % may stand for itself or begin the escape of
// another %, so it follows every reading.
func echoAt(text, key string) int {
	var a, b [4]int
	ends, next := a[:1], b[:0] // where the part of key up to k may end in text
	for k := range len(key) {
		next = next[:0]
		for _, end := range ends {
			rest := text[end:]
			if rest != "" && rest[0] == key[k] && !slices.Contains(next, end+1) {
				next = append(next, end+1)
			}
			if n := escapedAt(rest, key[k]); n > 0 && !slices.Contains(next, end+n) {
				next = append(next, end+n)
			}
		}
		if len(next) == 0 {
			if k >= echoLen {
				return slices.Max(ends)
			}
			return 0
		}
		ends, next = next, ends
	}
	return slices.Max(ends)
}

// escapedAt returns how many bytes at the beginning of text are an escape of c; 0 if none are.
func escapedAt(text string, c byte) int {
	switch {
	case text == "":
		return 0
	case text[0] == '+' && c == ' ':
		return 1
	case text[0] == '%':
		return hexAt(text, "%", 2, c)
	case text[0] == '&':
		return entityAt(text, c)
	case text[0] != '\\' || len(text) < 2:
		return 0
	}
	for skip := range min(4, len(text)-1) { // backslashes escaped once more, as net/http does in its errors
		rest := text[skip:]
		if rest[0] != '\\' {
			return 0
		}
		if n := max(hexAt(rest, `\u00`, 2, c), hexAt(rest, `\x`, 2, c)); n > 0 {
			return skip + n
		}
		if rest[1] == c {
			return skip + 2
		}
	}
	return 0
}

func hexAt(text, prefix string, digits int, c byte) int {
	end := len(prefix) + digits
	if len(text) < end || !strings.EqualFold(text[:len(prefix)], prefix) {
		return 0
	}
	const lower = "0123456789abcdef"
	if !strings.EqualFold(text[len(prefix):end], string([]byte{lower[c>>4], lower[c&15]})) {
		return 0
	}
	return end
}

func entityAt(text string, c byte) int {
	for _, e := range [...]struct {
		char byte
		text string
	}{{'&', "&amp;"}, {'<', "&lt;"}, {'>', "&gt;"}, {'"', "&quot;"}, {'"', "&#34;"}, {'\'', "&#39;"}, {'\'', "&#x27;"}, {'\'', "&apos;"}} {
		if e.char == c && strings.HasPrefix(text, e.text) {
			return len(e.text)
		}
	}
	return 0
}

// clean makes a text of the server safe to log: no secret, one line, bounded.
func (s secrets) clean(text string) string {
	text = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == '\u2028' || r == '\u2029' {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s.redact(text), "\uFFFD"))
	if len(text) > maxText {
		text = strings.ToValidUTF8(text[:maxText], "") + "…"
	}
	return text
}

// redactError returns err, or where its text holds a secret (net/http quotes what it cannot parse
// of an answer) an error with the secret cut out, which keeps nothing of the original's chain but
// what callers ask for.
func (s secrets) redactError(err error) error {
	text := err.Error()
	if clean := s.redact(text); clean != text {
		return &redactedError{text: clean, canceled: errors.Is(err, context.Canceled), deadline: errors.Is(err, context.DeadlineExceeded), timeout: timeout(err)}
	}
	return err
}

type redactedError struct {
	text                        string
	canceled, deadline, timeout bool
}

func (e *redactedError) Error() string { return e.text }
func (e *redactedError) Timeout() bool { return e.timeout }

func (e *redactedError) Is(target error) bool {
	return target == context.Canceled && e.canceled || target == context.DeadlineExceeded && e.deadline
}
