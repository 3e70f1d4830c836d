package redact

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html"
	"net/url"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// decodeRounds is how many layers of encoding are undone.
const decodeRounds = 6

// decode undoes one layer of percent encoding, of the escapes of JSON and Go strings, and of HTML
// entities.
func decode(text string) string {
	if !strings.ContainsAny(text, `%\&`) {
		return text
	}
	return html.UnescapeString(unescape(text))
}

// unescape decodes a percent sign or \x with two hexadecimal digits behind it, and %u or \u with four.
// Any number of backslashes counts as one.
func unescape(text string) string {
	var out strings.Builder
	last := 0
	for i := 0; i < len(text); i++ {
		if text[i] != '%' && text[i] != '\\' {
			continue
		}
		start := i
		for text[i] == '\\' && i+1 < len(text) && text[i+1] == '\\' {
			i++
		}
		digits, n := text[i+1:], 2
		if digits != "" && (digits[0] == 'u' || digits[0] == 'U') {
			digits, n = digits[1:], 4
		} else if digits != "" && text[i] == '\\' {
			if digits[0] != 'x' && digits[0] != 'X' {
				continue
			}
			digits = digits[1:]
		}
		value, ok := hexValue(digits, n)
		if !ok {
			continue
		}
		out.WriteString(text[last:start])
		if n == 2 {
			out.WriteByte(byte(value & 0xff))
		} else {
			out.WriteRune(value)
		}
		last = len(text) - len(digits) + n
		i = last - 1
	}
	if last == 0 {
		return text
	}
	out.WriteString(text[last:])
	return out.String()
}

// hexValue reads n hexadecimal digits at the beginning of text.
func hexValue(text string, n int) (value rune, ok bool) {
	if len(text) < n {
		return 0, false
	}
	for _, c := range []byte(text[:n]) {
		switch {
		case '0' <= c && c <= '9':
			c -= '0'
		case 'a' <= c|0x20 && c|0x20 <= 'f':
			c = c | 0x20 - 'a' + 10
		default:
			return 0, false
		}
		value = value<<4 | rune(c)
	}
	return value, true
}

// fold appends to dst the letters and digits of text, in lower case. It drops spaces and punctuation,
// because encodings change them (a space becomes a plus, a slash gets a backslash in front). It reports
// whether text may hold escapes.
func fold(dst []byte, text string) (folded []byte, escapes bool) {
	for i := 0; i < len(text); i++ {
		switch c := foldedBytes[text[i]]; c {
		case dropped:
		case escape:
			escapes = true
		case wide:
			r, size := utf8.DecodeRuneInString(text[i:])
			dst = utf8.AppendRune(dst, unicode.ToLower(r))
			i += size - 1
		default:
			dst = append(dst, c)
		}
	}
	return dst, escapes
}

const (
	dropped byte = iota
	escape       // may begin an escape
	wide         // begins a character of several bytes
)

// foldedBytes says what fold makes of each byte.
//
//nolint:gochecknoglobals // a table
var foldedBytes = func() (folded [256]byte) {
	for c := range folded {
		switch {
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9':
			folded[c] = byte(c)
		case 'A' <= c && c <= 'Z':
			folded[c] = byte(c | 0x20)
		case c == '%', c == '\\', c == '&':
			folded[c] = escape
		case c >= utf8.RuneSelf:
			folded[c] = wide
		}
	}
	return folded
}()

func foldString(text string) string {
	folded, _ := fold(make([]byte, 0, len(text)), text)
	return string(folded)
}

// inBase64 returns what becomes of piece when a longer text that holds it is encoded in base64. There is
// one form for each of the three offsets at which piece can begin in a group of three bytes. The forms
// lack the characters at the ends that depend on the bytes beside piece.
func inBase64(piece string) [3]string {
	var forms [3]string
	if len(piece) < minLen {
		return forms
	}
	for before := range forms {
		encoded := base64.StdEncoding.EncodeToString(append(make([]byte, before), piece...))
		first := (before*8 + 5) / 6
		forms[before] = encoded[first : (before+len(piece))*8/6]
	}
	return forms
}

// escaped returns the forms in which programs write piece into a document that they then encode in base64.
func escaped(piece string) []string {
	quoted, _ := json.Marshal(piece) // cannot fail: it is a string
	inner := func(quoted string) string { return quoted[1 : len(quoted)-1] }
	var forms []string
	each := func(format string, chars []rune) { // writes every character of piece in format
		var all strings.Builder
		for _, c := range chars {
			fmt.Fprintf(&all, format, c)
		}
		forms = append(forms, all.String())
	}
	for _, format := range []string{`\u%04x`, "&#%d;", "&#x%x;", "&#x%X;"} {
		each(format, []rune(piece))
	}
	octets := make([]rune, len(piece))
	for i := range octets {
		octets[i] = rune(piece[i])
	}
	each("%%%02X", octets)
	each("%%%02x", octets)
	return append(forms,
		piece, strings.ToLower(piece), strings.ToUpper(piece), url.QueryEscape(piece), url.PathEscape(piece),
		html.EscapeString(piece), inner(string(quoted)), inner(strconv.Quote(piece)), strings.ReplaceAll(piece, "/", `\/`),
		strings.NewReplacer("&#34;", "&quot;", "&#39;", "&#x27;").Replace(html.EscapeString(piece)), // as Django does
	)
}
