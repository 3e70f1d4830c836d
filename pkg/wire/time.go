package wire

import (
	"cmp"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Time is a moment, in UTC, and the text it was read from. It reads RFC 3339, and what databases and programming languages
// write in its place: a space for the T, no offset (taken as UTC), an offset of hours alone, without its colon or behind a
// space, the name of a zone behind an offset, no seconds, no time of day, second 60, hour 24; an HTTP or mail date, ctime;
// and seconds, milliseconds, microseconds or nanoseconds since 1970. Anything else, null included, gives the zero time, so
// check IsZero first.
type Time struct {
	time.Time
	// Raw is the text of a string as sent, the JSON of any other value, and empty for null.
	Raw string
}

// UnmarshalJSON takes any JSON value.
func (t *Time) UnmarshalJSON(b []byte) error {
	raw, isText, err := textOrRaw(b)
	*t = Time{Raw: raw}
	if isText || number(b) {
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

var (
	// A date, and a time of day with seconds, a fraction, and an offset, each of which may be missing.
	isoTime = regexp.MustCompile(`^(\d{4}-\d\d-\d\d)(?:[T ](\d\d):(\d\d)(?::(\d\d)([.,]\d+)?)?\s*(Z|UTC|GMT|[+-]\d\d(?::?\d\d)?)?(?:\s*\[[^]]*\])?)?$`)
	// The digits of a time since 1970, in a unit that their number tells: from the year 2001 to 2286.
	epoch = regexp.MustCompile(`^(\d{10})(\d{3}|\d{6}|\d{9})?(?:\.\d+)?$`)
)

func parseTime(s string) time.Time {
	if t, err := time.Parse(time.RFC3339, s); err == nil {
		return t.UTC()
	}
	s = strings.ToUpper(strings.TrimSpace(s)) // RFC 3339 allows t and z too; time.Parse ignores the case of names
	if m := isoTime.FindStringSubmatch(s); m != nil {
		return isoMoment(m[1], m[2], m[3], m[4], m[5], m[6])
	}
	if m := epoch.FindStringSubmatch(s); m != nil {
		seconds, _ := strconv.ParseInt(m[1], 10, 64)
		nanoseconds, _ := strconv.ParseInt((m[2] + "000000000")[:9], 10, 64)
		return time.Unix(seconds, nanoseconds).UTC()
	}
	s = strings.TrimSuffix(s, " GMT")
	for _, layout := range [...]string{"Mon, 2 Jan 2006 15:04:05", "Mon, 2 Jan 2006 15:04:05 -0700", time.ANSIC} {
		if t, err := time.Parse(layout, s); err == nil {
			return t.UTC()
		}
	}
	return time.Time{}
}

// isoMoment puts together what isoTime has found. Second 60 and hour 24 are the beginning of what comes next.
func isoMoment(date, hour, minute, second, fraction, offset string) time.Time {
	more := time.Duration(0)
	if second == "60" {
		second, more = "59", time.Second
	}
	if hour == "24" {
		hour, more = "00", more+24*time.Hour
	}
	switch {
	case offset == "UTC", offset == "GMT":
		offset = "Z"
	case len(offset) == len("+00"):
		offset += ":00"
	case len(offset) == len("+0000"):
		offset = offset[:3] + ":" + offset[3:]
	case len(offset) != len("+00:00"): // Z, or none
		offset = "Z"
	}
	t, err := time.Parse(time.RFC3339, date+"T"+cmp.Or(hour, "00")+":"+cmp.Or(minute, "00")+":"+cmp.Or(second, "00")+fraction+offset)
	if err != nil {
		return time.Time{}
	}
	return t.Add(more).UTC()
}
