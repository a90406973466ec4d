package format

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// Finding is one place where a certificate's content departs from its schema.
// Findings are values, not errors: a verdict lists them all.
type Finding struct {
	Path   string // "v[0].dt", after the names of the specification
	Reason Defect
	// Tolerable findings are what real issuers have been seen to do and what
	// cannot change the meaning. A strict reading refuses them too.
	Tolerable bool
}

// The kinds of finding.
const (
	RequiredMissing     = Defect("required-missing")
	BadType             = Defect("bad-type")
	BadDate             = Defect("bad-date")
	BadCode             = Defect("bad-code")
	BadValue            = Defect("bad-value")
	TooLong             = Defect("too-long")
	SeveralCertificates = Defect("several-certificates")
	SeveralDoses        = Defect("several-doses")
	NullValue           = Defect("null-value")
	NotCarried          = Defect("not-to-be-carried")
	SuspiciousText      = Defect("suspicious-text")
)

// TrimText removes what files, keyboards and scanners put around the text of a
// code: a byte order mark, blanks, line ends. Base45 has the space among its
// digits, and still no text of it ends in one: as the last digit it would be 36
// times 45 or 2025, which is more than the bytes hold.
func TrimText(text string) string {
	const blank = " \t\r\n"
	return strings.Trim(strings.TrimPrefix(strings.TrimLeft(text, blank), "\ufeff"), blank)
}

// Clean returns s in Unicode normalisation form C, and whether it is suspicious:
// [NFC] and [Suspicious] for every text of a certificate, at the price of one
// look where it is printable ASCII.
func Clean(s string) (clean string, odd bool) {
	for i := range len(s) {
		if c := s[i]; c < 0x20 || c >= 0x7f {
			s = NFC(s)
			return s, Suspicious(s)
		}
	}
	return s, false
}

// NFC returns s in Unicode normalisation form C. Strings in certificates SHOULD
// be in it, and readers behave as if they were (HCERT section 3.3.7).
func NFC(s string) string {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return norm.NFC.String(s)
		}
	}
	return s
}

// Suspicious reports whether s holds characters that make it look other than it
// is: control characters, bidirectional overrides and isolates, invisible
// separators. Joiners (U+200C, U+200D) are letters' business in Persian and
// Indic names, and direction marks (U+200E, U+200F) occur in Arabic ones.
func Suspicious(s string) bool { return strings.ContainsFunc(s, suspicious) }

func suspicious(r rune) bool {
	switch {
	case r < utf8.RuneSelf:
		return r < 0x20 || r == 0x7f
	case r < 0x2000:
		return unicode.Is(unicode.Cf, r) || unicode.Is(unicode.Cc, r)
	case r >= 0x202a && r <= 0x202e, r >= 0x2066 && r <= 0x2069:
		return true
	case r == 0x200c || r == 0x200d || r == 0x200e || r == 0x200f:
		return false
	}
	return unicode.Is(unicode.Cf, r) || unicode.Is(unicode.Cc, r) || r == 0x2028 || r == 0x2029
}

// Visible returns s with suspicious characters written as \u escapes, for
// people to read.
func Visible(s string) string {
	if !Suspicious(s) {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		if suspicious(r) {
			b.WriteString(strings.Trim(strconv.QuoteRuneToASCII(r), "'"))
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}

// IsDate reports whether s is a full calendar date, YYYY-MM-DD, that exists
// (RFC 3339 full-date).
func IsDate(s string) bool {
	if len(s) != 10 || s[4] != '-' || s[7] != '-' {
		return false
	}
	y, okY := digits(s[:4])
	m, okM := digits(s[5:7])
	d, okD := digits(s[8:])
	return okY && okM && okD && m >= 1 && m <= 12 && d >= 1 && d <= daysIn(y, m)
}

func digits(s string) (n int, ok bool) {
	for i := range len(s) {
		c := s[i] - '0'
		if c > 9 {
			return 0, false
		}
		n = 10*n + int(c)
	}
	return n, true
}

func daysIn(y, m int) int {
	switch m {
	case 4, 6, 9, 11:
		return 30
	case 2:
		if y%4 == 0 && (y%100 != 0 || y%400 == 0) {
			return 29
		}
		return 28
	}
	return 31
}

// IsPartialDate reports whether s is a date, a year and month, or a year.
func IsPartialDate(s string) bool {
	switch len(s) {
	case 4:
		_, ok := digits(s)
		return ok
	case 7:
		return IsDate(s + "-01")
	}
	return IsDate(s)
}

// IsCapitals reports whether s is n letters from A to Z: the form of the country
// codes of ISO 3166-1. Whether a code is assigned is not judged here: the
// participants of tests use others.
func IsCapitals(s string, n int) bool {
	for i := range len(s) {
		if s[i] < 'A' || s[i] > 'Z' {
			return false
		}
	}
	return len(s) == n
}
