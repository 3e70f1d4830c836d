// Package redact makes a text of a server or a store fit to be shown. It hides by shape: a long run of characters that
// could be a key in any encoding becomes "…". So it also hides keys that nobody here knows. A text that repeats a known
// key, or eight characters in a row of one, is withheld as a whole.
package redact

import (
	"regexp"
	"slices"
	"strings"
	"unicode"
)

// Withheld replaces a text that repeats a known key.
const Withheld = "[withheld: the text repeats the key and is not shown]"

const (
	// MaxText is how many bytes are shown of a text, MaxDetail how many of each text in a list.
	MaxText, MaxDetail = 1 << 10, 1 << 8
	// maxKey is how many bytes of a key are searched for. Longer ones fit into no header.
	maxKey = 8 << 10
	piece  = 8  // so many characters in a row of a known key withhold a text
	short  = 4  // a known key of fewer characters is not searched for
	long   = 20 // so many characters in a row may be a key that nobody here knows
)

var (
	// run is all that a key, or an encoding of one, may consist of.
	run = regexp.MustCompile(`[A-Za-z0-9_+/%=\\&#;~.!:-]{20,}`)
	// known are parts of a run that are no key: a UUID, and a date with its time.
	known = regexp.MustCompile(`\b[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\b|` +
		`\b\d{4}-\d\d-\d\d([Tt]\d\d:\d\d(:\d\d(\.\d{1,9})?)?([Zz]|[+-]\d\d:?\d\d)?)?\b`)
	// part is a part of a run that does not mix digits and both cases, name a part that consists of words, also AsInGo.
	part      = regexp.MustCompile(`[^.!:]+`)
	name      = regexp.MustCompile(`^([A-Z][a-z]+|[a-z]{2,}|[A-Z]{2,}|[_/-])+$`)
	hexOrUUID = regexp.MustCompile(`^[0-9a-fA-F-]{1,64}$`)
)

// Text returns a text as it may be shown: one line of at most MaxText bytes, without what may be a key. Keys are those
// that the text could repeat.
func Text(text string, keys ...string) string { return Shortened(MaxText, text, keys...) }

// ID is Text for the identifier of a request or a trace: it may be one long run of hexadecimal digits.
func ID(text string, keys ...string) string {
	if hexOrUUID.MatchString(text) && !Repeats(text, keys...) {
		return text
	}
	return Text(text, keys...)
}

// Shortened is Text with at most so many bytes.
func Shortened(most int, text string, keys ...string) string {
	searched := text[:min(len(text), most+maxKey)] // what stands at the cut is searched and hidden as a whole
	if Repeats(searched, keys...) {
		return Withheld
	}
	searched = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) || r == unicode.ReplacementChar {
			return ' '
		}
		return r
	}, searched)
	searched = strings.TrimSpace(searched)
	for word := range strings.FieldsSeq(searched) {
		if len(word) >= long { // most texts have no such word, and are not matched
			searched = run.ReplaceAllStringFunc(searched, hideIn)
			break
		}
	}
	if len(searched) > most || len(text) > most+maxKey {
		return strings.ToValidUTF8(searched[:min(len(searched), most)], "") + "…"
	}
	return searched
}

// hideIn replaces in a run what may be a key, and leaves the known parts.
func hideIn(run string) string {
	out, begin := "", 0
	for _, found := range append(known.FindAllStringIndex(run, -1), []int{len(run), len(run)}) {
		out += hide(run[begin:found[0]]) + run[found[0]:found[1]]
		begin = found[1]
	}
	return out
}

func hide(run string) string {
	switch {
	case len(run) < long:
		return run
	case hasDigit(run) && bothCases(run), // as keys mix characters
		strings.ContainsAny(strings.TrimSuffix(run, ";"), `%\&#;`): // an encoding; at the end it ends a part of the sentence
		return "…"
	}
	return part.ReplaceAllStringFunc(run, func(part string) string {
		if len(part) < long || name.MatchString(part) || oneCase(part) {
			return part
		}
		return "…"
	})
}

// oneCase reports whether s is in one case, and either without digits or of short words, as a host's name.
func oneCase(s string) bool {
	tooLong := func(word string) bool { return len(word) >= long }
	words := strings.FieldsFunc(s, func(r rune) bool { return strings.ContainsRune("-_/", r) })
	return !bothCases(s) && !(hasDigit(s) && slices.ContainsFunc(words, tooLong))
}

func bothCases(s string) bool { return strings.ToLower(s) != s && strings.ToUpper(s) != s }

func hasDigit(s string) bool { return strings.ContainsAny(s, "0123456789") }

// Repeats reports whether a text has eight characters in a row of one of the keys, or a whole shorter key, in upper or
// lower case.
func Repeats(text string, keys ...string) bool {
	text = strings.ToLower(text)
	for _, key := range keys {
		key = strings.ToLower(key[:min(len(key), maxKey)])
		n := max(short, min(len(key), piece))
		for i := 0; i+n <= len(key); i++ {
			if strings.Contains(text, key[i:i+n]) {
				return true
			}
		}
	}
	return false
}
