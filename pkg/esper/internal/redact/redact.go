// Package redact finds secrets in texts that come from a server, whatever encoding they are in, and
// puts a note in the text's place. It may take a text for one that holds a secret although it does
// not; the other mistake is the one to avoid.
//
// Both sides are brought into one form and compared: a text is decoded as often as it can be, a
// secret is encoded in base64 as it may stand in one, and of both only letters and digits count, in
// lower case.
package redact

import (
	"bytes"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/esper-go/esper-go/pkg/wire"
)

// Withheld stands in the place of a text that holds a secret.
const Withheld = "[withheld: the server's text repeats the key and is not shown]"

const (
	// MaxText and MaxDetail are how many bytes are shown of a text, and of one of many.
	MaxText, MaxDetail = 1 << 10, 1 << 8
	// overlap is how much further a text is searched than it is shown, so that a secret at the cut
	// is found.
	overlap = 1 << 9
	// minLen is the shortest text that is taken for a secret, and minDigits for one of digits alone:
	// a short number stands in every date.
	minLen, minDigits = 4, 8
	// A secret of partial characters or more is recognised by its first and by its last pieceLen:
	// servers like to cut what they echo.
	partial, pieceLen = 16, 8
)

// Matcher knows the secrets of one call. It is safe for concurrent use.
type Matcher struct {
	secrets  []wire.Secret
	patterns func(start uint16) []string // what to look for in a folded text, by how it starts
	exact    func() []string             // what to look for in a text that is not folded
	starts   [64]uint64                  // a bit for each start that patterns has; small, so that it stays at hand
	shortest int
}

// plain drops what escaping adds, for pieces with hardly a letter or digit in them.
//
//nolint:gochecknoglobals // a table
var plain = strings.NewReplacer(`\`, "", "+", " ")

// Usable returns those of secrets that can be looked for, in place and each once: neither empty ones
// nor those that are too short to be told from other texts.
func Usable(secrets []wire.Secret) []wire.Secret {
	kept := secrets[:0]
	for _, secret := range secrets {
		if usable(secret) && !slices.Contains(kept, secret) {
			kept = append(kept, secret)
		}
	}
	return kept
}

func usable(secret wire.Secret) bool {
	text := secret.Reveal()
	return len(text) >= minDigits || len(text) >= minLen && strings.Trim(text, "0123456789") != ""
}

// New returns a Matcher for those of secrets that are [Usable].
func New(secrets ...wire.Secret) *Matcher {
	m := &Matcher{secrets: Usable(slices.Clone(secrets)), shortest: 1 << 30}
	var patterns, exact []string
	for _, secret := range m.secrets {
		for _, piece := range pieces(secret.Reveal()) {
			if text := plain.Replace(strings.ToLower(piece)); len(foldString(piece)) < minLen && len(text) >= minLen {
				exact = append(exact, text)
				m.shortest = min(m.shortest, len(text))
			}
			patterns = append(patterns, folded(piece)...)
		}
	}
	slices.Sort(patterns)
	byStart := make(map[uint16][]string)
	for _, p := range slices.Compact(patterns) {
		m.shortest = min(m.shortest, len(p))
		n := start(p)
		m.starts[n>>6] |= 1 << (n & 63)
		byStart[n] = append(byStart[n], p)
	}
	m.patterns = func(start uint16) []string { return byStart[start] } // a func shows nothing to fmt
	m.exact = func() []string { return exact }
	return m
}

// For reports whether m is for exactly these secrets, all of which are usable.
func (m *Matcher) For(secrets []wire.Secret) bool { return slices.Equal(m.secrets, secrets) }

// pieces returns the parts of a secret by which it is recognised, and if it looks escaped itself those of
// what it decodes to.
func pieces(secret string) (parts []string) {
	const enough = 256 // to find the first and the last characters in, however they are escaped
	if utf8.RuneCountInString(cut(secret, 4*partial)) < partial {
		return layers(secret)
	}
	for _, text := range layers(cut(secret, enough)) {
		chars := []rune(text)
		parts = append(parts, string(chars[:min(len(chars), pieceLen)]))
	}
	for _, text := range layers(secret[max(0, len(secret)-enough):]) {
		chars := []rune(text)
		parts = append(parts, string(chars[max(0, len(chars)-pieceLen):]))
	}
	slices.Sort(parts)
	return slices.Compact(parts)
}

// layers returns text and what it becomes when it is decoded, layer by layer.
func layers(text string) []string {
	texts := []string{text}
	for range decodeRounds {
		next := decode(text)
		if next == text || len(next) < minLen {
			break
		}
		text = next
		texts = append(texts, text)
	}
	return texts
}

// folded returns the forms of piece in a folded text.
func folded(piece string) []string {
	forms := layers(piece)
	variants := escaped(piece) // most of them alike, if the piece has letters and digits alone
	slices.Sort(variants)
	for _, text := range slices.Compact(variants) {
		once := inBase64(text)
		forms = append(forms, once[:]...)
		if text == piece {
			for _, inner := range once {
				twice, twiceURL := inBase64(inner), inBase64(strings.ReplaceAll(strings.ReplaceAll(inner, "+", "-"), "/", "_"))
				forms = append(append(forms, twice[:]...), twiceURL[:]...)
			}
		}
	}
	for i, form := range forms {
		forms[i] = foldString(form)
	}
	return slices.DeleteFunc(forms, func(form string) bool { return len(form) < minLen })
}

// In reports whether text, or what it becomes when it is decoded, holds a secret.
func (m *Matcher) In(text string) bool {
	var buf [256]byte
	for round := 0; len(text) >= m.shortest; round++ {
		folded, escapes := fold(buf[:0], text)
		if m.found(folded) || m.foundExactly(text) {
			return true
		}
		if !escapes || round == decodeRounds {
			return false
		}
		next := decode(text)
		if next == text {
			next = decode(strings.ToLower(text)) // entities have names in lower case
		}
		if next == text {
			return false
		}
		text = next
	}
	return false
}

func (m *Matcher) foundExactly(text string) bool {
	exact := m.exact()
	if len(exact) == 0 {
		return false
	}
	text = plain.Replace(strings.ToLower(text))
	return slices.ContainsFunc(exact, func(piece string) bool { return strings.Contains(text, piece) })
}

// start makes a number of 12 bits of the first three bytes of a folded text.
func start[T string | []byte](text T) uint16 {
	return (uint16(text[0])<<7 ^ uint16(text[1])<<3 ^ uint16(text[2])) & (1<<12 - 1)
}

func (m *Matcher) found(text []byte) bool {
	for i := 0; i+m.shortest <= len(text); i++ {
		n := start(text[i:])
		if m.starts[n>>6]&(1<<(n&63)) == 0 {
			continue
		}
		for _, p := range m.patterns(n) {
			if bytes.HasPrefix(text[i:], []byte(p)) {
				return true
			}
		}
	}
	return false
}

// Text makes a text of a server fit to show: one line of at most MaxText bytes, or Withheld.
func (m *Matcher) Text(text string) string { return m.text(text, MaxText) }

// Detail is Text for one of many texts, with at most MaxDetail bytes.
func (m *Matcher) Detail(text string) string { return m.text(text, MaxDetail) }

func (m *Matcher) text(text string, most int) string {
	searched := cut(text, most+overlap)
	if m.In(searched) {
		return Withheld
	}
	shown := strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || r == '\u2028' || r == '\u2029' {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(cut(searched, most), "\uFFFD"))
	if len(text) > most {
		shown += "…"
	}
	return shown
}

// cut returns the first n bytes of text, without a character that would be cut in two.
func cut(text string, n int) string {
	if len(text) <= n {
		return text
	}
	for end := n; end > n-utf8.UTFMax; end-- {
		if utf8.RuneStart(text[end]) {
			return text[:end]
		}
	}
	return text[:n]
}
