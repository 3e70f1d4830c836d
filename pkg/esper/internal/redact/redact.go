// Package redact finds secrets in texts that come from a server, also in the common encodings, and
// replaces such a text by a note. In doubt it replaces a text that holds no secret.
//
// It compares both in one form. A text is decoded several times. A secret is also searched for in
// base64, in the forms that it can have there. Of both, only letters and digits count, in lower case.
package redact

import (
	"bytes"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/esper-go/esper-go/pkg/wire"
)

// Withheld replaces a text that holds a secret.
const Withheld = "[withheld: the server's text repeats the key and is not shown]"

const (
	// MaxText is how many bytes are shown of a text, MaxDetail how many of each text in a list.
	MaxText, MaxDetail = 1 << 10, 1 << 8
	// overlap is how many bytes beyond the shown part are searched, so that a secret at the cut is found.
	overlap = 1 << 9
	// minLen is how many bytes a secret must have to be searched for, minDigits how many if all are
	// digits: shorter numbers are in every date.
	minLen, minDigits = 4, 8
	// A secret of partial characters or more is recognised by its first or its last pieceLen characters,
	// because servers often cut what they repeat.
	partial, pieceLen = 16, 8
)

// Matcher knows the secrets of one call. It is safe for concurrent use.
type Matcher struct {
	secrets  []wire.Secret
	patterns func(start uint16) []string // what to search for in a folded text; start is what func start returns
	exact    func() []string             // what to search for in a text that is not folded
	starts   [64]uint64                  // a bit for each start that patterns has; small enough for the CPU's cache
	shortest int
}

// plain removes what escaping adds. It is for pieces that cannot be folded: they have too few letters and digits.
//
//nolint:gochecknoglobals // a table
var plain = strings.NewReplacer(`\`, "", "+", " ")

// Usable returns the secrets that can be searched for, each once. It drops empty ones, and those that are
// too short to be told from other texts. It overwrites the slice that it is given.
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

// New returns a Matcher for the secrets that are [Usable].
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
	m.patterns = func(start uint16) []string { return byStart[start] } // a func, so that fmt prints no secret
	m.exact = func() []string { return exact }
	return m
}

// For reports whether m is for exactly these secrets, all of which are usable.
func (m *Matcher) For(secrets []wire.Secret) bool { return slices.Equal(m.secrets, secrets) }

// pieces returns the parts of a secret by which it is recognised. If the secret looks escaped, these include
// the parts of its decoded forms.
func pieces(secret string) (parts []string) {
	const enough = 256 // bytes that hold the first or the last characters, however these are escaped
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

// layers returns text, and what each further round of decoding makes of it.
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

// folded returns the forms that piece can have in a folded text.
func folded(piece string) []string {
	forms := layers(piece)
	variants := escaped(piece) // most are equal if piece has only letters and digits
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

// In reports whether text, or a decoded form of text, holds a secret.
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

// start is a hash of 12 bits over the first three bytes of a folded text.
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

// Text returns a server's text as it may be shown: one line of at most MaxText bytes, or Withheld.
func (m *Matcher) Text(text string) string { return m.text(text, MaxText) }

// Detail is Text for a text in a list, with at most MaxDetail bytes.
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

// cut returns the first n bytes of text, or a few less, so that no character is cut in two.
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
