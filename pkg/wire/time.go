package wire

import (
	"strings"
	"time"
)

// Time is a moment, in UTC, and the text it was read from. It reads RFC 3339 and the forms in
// which Python and Django write a datetime: a space for the T, no offset (taken as UTC), an offset
// without its colon, no seconds, no time of day, an HTTP or mail date, ctime. Anything else, null
// included, gives the zero time, so check IsZero first.
type Time struct {
	time.Time
	// Raw is the text of a string as sent, the JSON of any other value, and empty for null.
	Raw string
}

// UnmarshalJSON takes any JSON value.
func (t *Time) UnmarshalJSON(b []byte) error {
	raw, isText, err := textOrRaw(b)
	*t = Time{Raw: raw}
	if isText {
		t.Time = parseTime(raw)
	}
	return err
}

// MarshalJSON encodes Raw as a string. If Raw is empty, it encodes the time in RFC 3339, or null for
// the zero time.
func (t Time) MarshalJSON() ([]byte, error) {
	if t.Raw == "" && !t.IsZero() {
		return quote(t.Format(time.RFC3339Nano))
	}
	return quote(t.Raw)
}

func parseTime(s string) time.Time {
	if t, err := time.Parse(time.RFC3339, s); err == nil {
		return t.UTC()
	}
	s = strings.ToUpper(strings.TrimSpace(s)) // RFC 3339 allows t and z too; time.Parse ignores the case of names
	for _, suffix := range [...]string{" UTC", " GMT"} {
		s = strings.TrimSuffix(s, suffix)
	}
	// A fraction of a second is read after any seconds, without being in the layout.
	for _, layout := range [...]string{
		"2006-01-02T15:04:05Z07:00", "2006-01-02 15:04:05Z07:00",
		"2006-01-02T15:04:05Z0700", "2006-01-02 15:04:05Z0700",
		"2006-01-02 15:04:05 Z0700", "2006-01-02 15:04:05 Z07:00",
		"2006-01-02T15:04:05", "2006-01-02 15:04:05",
		"2006-01-02T15:04Z07:00", "2006-01-02 15:04Z07:00",
		"2006-01-02T15:04", "2006-01-02 15:04", "2006-01-02",
		"Mon, 2 Jan 2006 15:04:05", "Mon, 2 Jan 2006 15:04:05 -0700", time.ANSIC,
	} {
		if t, err := time.Parse(layout, s); err == nil {
			return t.UTC()
		}
	}
	return time.Time{}
}
