package certlogic

import (
	"fmt"
	"time"

	"ampoule/format"
)

// DateTime is a moment in milliseconds since 1970-01-01T00:00:00Z. Only plusTime
// and dccDateOfBirth make one; it is neither truthy nor falsy.
type DateTime int64

// maxSeconds is how far from 1970 a date-time of ECMAScript, after which
// CertLogic's are defined, can be: 100,000,000 days.
const maxSeconds = 8_640_000_000_000

// Time returns d as a time in UTC.
func (d DateTime) Time() time.Time { return time.UnixMilli(int64(d)).UTC() }

// String writes d as ECMAScript does, YYYY-MM-DDThh:mm:ss.sssZ with a sign and
// six digits where the year has not four.
func (d DateTime) String() string {
	t := d.Time()
	if y := t.Year(); y < 0 || y > 9999 {
		return fmt.Sprintf("%+07d%s", y, t.Format("-01-02T15:04:05.000Z"))
	}
	return t.Format("2006-01-02T15:04:05.000Z")
}

// MarshalText writes d like [DateTime.String].
func (d DateTime) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// unit is a time unit of plusTime; -1 is none.
type unit int8

const (
	unitYear unit = iota
	unitMonth
	unitDay
	unitHour
)

var unitNames = [...]string{unitYear: "year", unitMonth: "month", unitDay: "day", unitHour: "hour"}

// plusTime reads a date or date-time and moves it. A month or year that has not
// the day flows over into the next: 2020-02-29 and one year is 2021-03-01
// ("Leap days" in the specification).
func plusTime(s string, amount int64, u unit) (DateTime, error) {
	d, ok := parseDateTime(s)
	if !ok {
		return 0, ErrDateTime
	}
	if amount == 0 {
		return d, nil
	}
	// No way leads back into range from further than this, and it keeps the
	// sums below within their types.
	limit := int64(2 * maxSeconds / 3600)
	if u == unitYear || u == unitMonth {
		limit = 12 * 600_000
	}
	if amount > limit || amount < -limit {
		return 0, ErrDateTimeRange
	}
	switch t := d.Time(); u {
	case unitYear:
		return fromTime(shift(t, int(amount), 0))
	case unitMonth:
		return fromTime(shift(t, 0, int(amount)))
	case unitDay:
		amount *= 24
	}
	const hour = 3_600_000
	if d += DateTime(amount * hour); d > maxSeconds*1000 || d < -maxSeconds*1000 {
		return 0, ErrDateTimeRange
	}
	return d, nil
}

// shift adds to the year and month and lets a day that is too high flow over,
// as ECMAScript's MakeDay and Go's time.Date both do.
func shift(t time.Time, years, months int) time.Time {
	return time.Date(t.Year()+years, t.Month()+time.Month(months), t.Day(), t.Hour(), t.Minute(), t.Second(), t.Nanosecond(), time.UTC)
}

func fromTime(t time.Time) (DateTime, error) {
	if s := t.Unix(); s > maxSeconds || s < -maxSeconds {
		return 0, ErrDateTimeRange
	}
	return DateTime(t.UnixMilli()), nil
}

// parseDateOfBirth reads a date that may be partial as the last day it can be:
// YYYY as 31 December, YYYY-MM as the last day of the month.
func parseDateOfBirth(s string) (DateTime, bool) {
	if !format.IsPartialDate(s) {
		return 0, false
	}
	year := number(s[:4])
	switch len(s) {
	case 4:
		return midnight(year, time.December, 31), true
	case 7:
		return midnight(year, time.Month(number(s[5:7]))+1, 0), true // the day before the next month
	}
	return midnight(year, time.Month(number(s[5:7])), number(s[8:10])), true
}

func midnight(y int, m time.Month, d int) DateTime {
	return DateTime(time.Date(y, m, d, 0, 0, 0, 0, time.UTC).UnixMilli())
}

// parseDateTime reads the formats that plusTime allows: the three of a date of
// birth, and
//
//	YYYY-MM-DDThh:mm:ss[.S...][Z | (+|-)(h | hh | hmm | hhmm | h:mm | hh:mm)]
//
// without an offset it is UTC, and what follows the milliseconds is cut off.
// The specification leaves open what a date that is in no calendar means; here
// it is an error.
func parseDateTime(s string) (DateTime, bool) {
	if len(s) <= 10 {
		return parseDateOfBirth(s)
	}
	const layout = "YYYY-MM-DDThh:mm:ss"
	if len(s) < len(layout) || !format.IsDate(s[:10]) || s[10] != 'T' || s[13] != ':' || s[16] != ':' ||
		!allDigits(s[11:13]) || !allDigits(s[14:16]) || !allDigits(s[17:19]) {
		return 0, false
	}
	hour, minute, second := number(s[11:13]), number(s[14:16]), number(s[17:19])
	if hour > 23 || minute > 59 || second > 59 {
		return 0, false
	}
	rest := s[len(layout):]
	milli := 0
	if rest != "" && rest[0] == '.' {
		n := 1
		for n < len(rest) && rest[n] >= '0' && rest[n] <= '9' {
			n++
		}
		if n == 1 {
			return 0, false
		}
		milli = number((rest[1:n] + "00")[:3])
		rest = rest[n:]
	}
	offset, ok := parseOffset(rest)
	if !ok {
		return 0, false
	}
	t := time.Date(number(s[:4]), time.Month(number(s[5:7])), number(s[8:10]), hour, minute, second, milli*1e6, time.UTC)
	return DateTime(t.Add(-offset).UnixMilli()), true
}

// parseOffset reads what follows the seconds.
func parseOffset(s string) (time.Duration, bool) {
	if s == "" || s == "Z" {
		return 0, true
	}
	sign := time.Duration(1)
	switch s[0] {
	case '-':
		sign = -1
	case '+':
	default:
		return 0, false
	}
	hours, minutes := s[1:], "00"
	switch n := len(hours); {
	case n > 3 && hours[n-3] == ':': // h:mm, hh:mm
		hours, minutes = hours[:n-3], hours[n-2:]
	case n > 2: // hmm, hhmm
		hours, minutes = hours[:n-2], hours[n-2:]
	}
	if len(hours) < 1 || len(hours) > 2 || !allDigits(hours) || !allDigits(minutes) {
		return 0, false
	}
	h, m := number(hours), number(minutes)
	if h > 23 || m > 59 {
		return 0, false
	}
	return sign * (time.Duration(h)*time.Hour + time.Duration(m)*time.Minute), true
}

func allDigits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}

// number reads decimal digits that were checked before.
func number(s string) (n int) {
	for i := range len(s) {
		n = 10*n + int(s[i]-'0')
	}
	return n
}
