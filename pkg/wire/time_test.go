package wire_test

import (
	"testing"
	"time"

	"github.com/esper-go/esper-go/pkg/wire"
)

func equalTime(a, b wire.Time) bool { return a.Raw == b.Raw && a.Equal(b.Time) }

var (
	whole  = time.Date(2019, 11, 19, 15, 42, 16, 0, time.UTC)
	micro  = whole.Add(637203 * time.Microsecond)
	minute = whole.Truncate(time.Minute)
)

// times are texts, and the moment that each is.
var times = map[string]time.Time{
	// RFC 3339, as the server sends it.
	"2019-11-19T15:42:16.637203Z":         micro,
	"2019-11-19T15:42:16Z":                whole,
	"2019-11-19t15:42:16.637203z":         micro,
	"2019-11-19T21:12:16.637203+05:30":    micro,
	"2019-11-19T15:42:16.637203001-00:00": micro.Add(1),
	// Python's isoformat and str.
	"2019-11-19T15:42:16.637203":       micro,
	"2019-11-19T15:42:16.637203+00:00": micro,
	"2019-11-19T15:42:16":              whole,
	"2019-11-19 15:42:16.637203":       micro,
	"2019-11-19 15:42:16.637203+00:00": micro,
	"2019-11-19 10:42:16-05:00":        whole,
	"2019-11-19 15:42:16Z":             whole,
	// An offset without its colon or after a space; UTC by name.
	"2019-11-19T21:12:16.637203+0530":   micro,
	"2019-11-19 15:42:16 +0000":         whole,
	"2019-11-19 15:42:16.637203 +00:00": micro,
	"2019-11-19 15:42:16 UTC":           whole,
	// No seconds, no time of day.
	"2019-11-19T15:42Z": minute,
	"2019-11-19 15:42":  minute,
	"2019-11-19":        whole.Truncate(24 * time.Hour),
	// PostgreSQL; Java, with the name of the zone; ends that are the beginning of what follows.
	"2019-11-19 15:42:16.637203+00":          micro,
	"2019-11-19 10:42:16-05":                 whole,
	"2019-11-19T15:42:16Z[UTC]":              whole,
	"2019-11-19T16:42:16+01:00[Europe/Rome]": whole,
	"2019-11-19T15:42:16 Z":                  whole,
	"2019-11-19T15:42:60Z":                   minute.Add(time.Minute),
	"2019-11-19T24:00:00Z":                   whole.Truncate(24 * time.Hour).Add(24 * time.Hour),
	// Since 1970: seconds, milliseconds, microseconds, nanoseconds.
	"1574178136":          whole,
	"1574178136.637203":   whole,
	"1574178136637":       whole.Add(637 * time.Millisecond),
	"1574178136637203":    micro,
	"1574178136637203000": micro,
	// HTTP, mail and ctime.
	"Tue, 19 Nov 2019 15:42:16 GMT":   whole,
	"Tue, 19 Nov 2019 10:42:16 -0500": whole,
	"Tue, 5 Nov 2019 15:42:16 +0000":  whole.AddDate(0, 0, -14),
	"Tue Nov 19 15:42:16 2019":        whole,
	"Tue Nov  5 15:42:16 2019":        whole.AddDate(0, 0, -14),
	" 2019-11-19T15:42:16Z\n":         whole,
	// Texts that cannot be read.
	"":                     {},
	"soon":                 {},
	"2019-13-19T15:42:16Z": {},
	"2019-11-31T15:42:16Z": {},
	"2019-11-19T25:42:16Z": {},
	"15741781361":          {}, // no unit has so many digits
	"2019-11-19T15:42:61Z": {},
	"2019-11-19T15:42:16+": {},
	"19/11/2019":           {},
}

func TestTime(t *testing.T) {
	for raw, want := range times {
		got := decode(t, encode(t, raw), equalTime)
		if !got.Equal(want) || got.Raw != raw || got.IsZero() != want.IsZero() || got.Location() != time.UTC {
			t.Errorf("%q: %v with Raw %q, want %v", raw, got.Time, got.Raw, want)
		}
	}
	if got := decode(t, `1574178136`, equalTime); got.Unix() != 1574178136 {
		t.Errorf("seconds since 1970, as a number: %v", got.Time)
	}
}
