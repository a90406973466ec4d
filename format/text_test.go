package format_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode"

	"ampoule/format"

	"golang.org/x/text/unicode/norm"
)

func TestReason(t *testing.T) {
	const truncated = format.Defect("truncated")
	for _, tt := range []struct {
		name string
		err  error
		want string
	}{
		{"none", nil, "other"},
		{"the defect", truncated, "truncated"},
		{"wrapped", fmt.Errorf("byte 7: %w", truncated), "truncated"},
		{"wrapped twice", fmt.Errorf("COSE: %w", fmt.Errorf("byte 7: %w", truncated)), "truncated"},
		{"joined", errors.Join(errors.New("x"), truncated), "truncated"},
		{"no defect", errors.New("truncated"), "other"},
		{"the first of two", fmt.Errorf("%w, %w", truncated, format.BadDate), "truncated"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := format.Reason(tt.err, "other"); got != tt.want {
				t.Errorf("Reason(%v) = %q, want %q", tt.err, got, tt.want)
			}
		})
	}
	if err := fmt.Errorf("at: %w", truncated); !errors.Is(err, format.Defect("truncated")) || errors.Is(err, format.BadDate) {
		t.Error("defects are not matched by their word")
	}
	if truncated.Error() != "truncated" {
		t.Errorf("text %q", truncated.Error())
	}
}

func TestNFC(t *testing.T) {
	for in, want := range map[string]string{
		"":                                 "",
		"plain":                            "plain",
		"e\u0301":                          "é",
		"é":                                "é",
		"A\u030angstro\u0308m":             "Ångström",
		"\u212b":                           "Å",            // the angstrom sign
		"\u1112\u1161\u11ab":               "한",            // Hangul
		"a\u0323\u0307":                    "\u1ea1\u0307", // marks put in order
		"a\u0307\u0323":                    "\u1ea1\u0307", // the other order
		"\ufb01":                           "\ufb01",       // compatibility forms stay
		"\xff":                             "\xff",         // what is no text stays what it is
		strings.Repeat("x", 9) + "e\u0301": "xxxxxxxxxé",
	} {
		if got := format.NFC(in); got != want {
			t.Errorf("NFC(%+q) = %+q, want %+q", in, got, want)
		}
	}
}

func TestSuspicious(t *testing.T) {
	for _, tt := range []struct {
		name, in, visible string // visible is empty where nothing is suspicious
	}{
		{"nothing", "", ""},
		{"plain", "Žofie O'Brien-Smith", ""},
		{"delete", "a\x7f", `a\x7f`},
		{"NUL", "a\x00b", `a\x00b`},
		{"line feed", "a\nb", `a\nb`},
		{"tab", "a\tb", `a\tb`},
		{"escape", "\x1b[31m", `\x1b[31m`},
		{"C1 control", "a\u0085b", `a\u0085b`},
		{"left-to-right embedding", "\u202aa", `\u202aa`},
		{"right-to-left override", "a\u202eb", `a\u202eb`},
		{"pop", "a\u202c", `a\u202c`},
		{"left-to-right isolate", "\u2066a\u2069", `\u2066a\u2069`},
		{"zero-width space", "a\u200bb", `a\u200bb`},
		{"word joiner", "a\u2060b", `a\u2060b`},
		{"byte order mark", "\ufeffa", `\ufeffa`},
		{"soft hyphen", "a\u00adb", `a\u00adb`},
		{"line separator", "a\u2028b", `a\u2028b`},
		{"paragraph separator", "a\u2029b", `a\u2029b`},
		{"tag letter", "a\U000e0061", `a\U000e0061`},
		{"with letters kept", "ž\u202eл", `ž\u202eл`},
		{"quote and backslash stay", "'\"\\\n", `'"\\n`},
		{"zero-width non-joiner", "می\u200cخواهم", ""},
		{"zero-width joiner", "क्\u200dष", ""},
		{"left-to-right mark", "a\u200e", ""},
		{"right-to-left mark", "ا\u200f", ""},
		{"no-break space", "a\u00a0b", ""},
		{"accents apart", "e\u0301", ""},
		{"beyond 16 bits", "𐅑", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := format.Suspicious(tt.in); got != (tt.visible != "") {
				t.Errorf("Suspicious(%+q) = %v", tt.in, got)
			}
			want := tt.visible
			if want == "" {
				want = tt.in
			}
			if clean, odd := format.Clean(tt.in); clean != format.NFC(tt.in) || odd != (tt.visible != "") {
				t.Errorf("Clean(%+q) = %+q, %v", tt.in, clean, odd)
			}
			if got := format.Visible(tt.in); got != want {
				t.Errorf("Visible(%+q) = %q, want %q", tt.in, got, want)
			}
		})
	}
}

func TestDates(t *testing.T) {
	for _, tt := range []struct {
		in            string
		date, partial bool
	}{
		{"2021-06-11", true, true},
		{"2020-02-29", true, true},
		{"2000-02-29", true, true},
		{"1900-02-29", false, false},
		{"2021-02-29", false, false},
		{"2021-04-31", false, false},
		{"2021-00-01", false, false},
		{"2021-13-01", false, false},
		{"2021-01-00", false, false},
		{"2021-01-32", false, false},
		{"0000-01-01", true, true},
		{"9999-12-31", true, true},
		{"2021-6-11", false, false},
		{"2021-06-1", false, false},
		{"2021/06/11", false, false},
		{"20210611", false, false},
		{"2021-06-11 ", false, false},
		{" 2021-06-11", false, false},
		{"2021-06-11T", false, false},
		{"+021-06-11", false, false},
		{"2021-+6-11", false, false},
		{"2021--6-11", false, false},
		{"２021-06-1", false, false},
		{"2021-06", false, true},
		{"2021-12", false, true},
		{"2021-00", false, false},
		{"2021-13", false, false},
		{"2021/06", false, false},
		{"2021-6", false, false},
		{"202106", false, false},
		{"2021", false, true},
		{"0000", false, true},
		{"202", false, false},
		{"20211", false, false},
		{"202a", false, false},
		{"-021", false, false},
		{"", false, false},
	} {
		t.Run(tt.in, func(t *testing.T) {
			if got := format.IsDate(tt.in); got != tt.date {
				t.Errorf("IsDate = %v", got)
			}
			if got := format.IsPartialDate(tt.in); got != tt.partial {
				t.Errorf("IsPartialDate = %v", got)
			}
		})
	}
}

// TestAllDays compares with the calendar of package time: every day of 221
// years, and every number that is no day of its month.
func TestAllDays(t *testing.T) {
	for year := 1890; year <= 2110; year++ {
		for month := 0; month <= 13; month++ {
			if s := fmt.Sprintf("%04d-%02d", year, month); format.IsPartialDate(s) != (month >= 1 && month <= 12) {
				t.Fatal(s)
			}
			for day := 0; day <= 32; day++ {
				s := fmt.Sprintf("%04d-%02d-%02d", year, month, day)
				if _, err := time.Parse(time.DateOnly, s); format.IsDate(s) != (err == nil) {
					t.Fatalf("%s: IsDate = %v, time.Parse: %v", s, format.IsDate(s), err)
				}
			}
		}
	}
}

func FuzzIsDate(f *testing.F) {
	for _, s := range []string{"2021-06-11", "2020-02-29", "1900-02-29", "2021-6-11", "2021-06", "2021", "", "0000-00-00"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if _, err := time.Parse(time.DateOnly, s); format.IsDate(s) != (err == nil) {
			t.Errorf("%q: IsDate = %v, time.Parse: %v", s, format.IsDate(s), err)
		}
		partial := false
		for _, layout := range []string{"2006", "2006-01", time.DateOnly} {
			_, err := time.Parse(layout, s)
			partial = partial || err == nil
		}
		if format.IsPartialDate(s) != partial {
			t.Errorf("%q: IsPartialDate = %v", s, !partial)
		}
	})
}

// FuzzText: what Visible returns shows everything, and normalisation neither
// changes again nor differs from the library's.
func FuzzText(f *testing.F) {
	for _, s := range []string{"", "plain", "e\u0301", "a\u202eb", "\xff\x00", "می\u200cخواهم", "\u2028", "\U000e0061"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		visible := format.Visible(s)
		if format.Suspicious(visible) {
			t.Errorf("Visible(%+q) = %+q", s, visible)
		}
		if !format.Suspicious(s) && visible != s {
			t.Errorf("%+q became %+q", s, visible)
		}
		if !format.Suspicious(s) && strings.ContainsFunc(s, unicode.IsControl) {
			t.Errorf("%+q holds a control character", s)
		}
		nfc := format.NFC(s)
		if nfc != norm.NFC.String(s) || format.NFC(nfc) != nfc {
			t.Errorf("NFC(%+q) = %+q", s, nfc)
		}
		if clean, odd := format.Clean(s); clean != nfc || odd != format.Suspicious(nfc) {
			t.Errorf("Clean(%+q) = %+q, %v", s, clean, odd)
		}
	})
}

func TestTrimText(t *testing.T) {
	for in, want := range map[string]string{
		"HC1:AB":                   "HC1:AB",
		"\ufeffHC1:AB\r\n":         "HC1:AB",
		" \t\r\n HC1:AB\n\n":       "HC1:AB",
		"HC1:AB ":                  "HC1:AB",
		"HC1:AB \n":                "HC1:AB",
		"HC1:A B":                  "HC1:A B",
		"HC1:A\nB":                 "HC1:A\nB",
		"\ufeff\ufeff\n":           "\ufeff",
		"\u00a0HC1:":               "\u00a0HC1:",
		"HC1:AB\t \t":              "HC1:AB",
		"HC1:AB\ufeff":             "HC1:AB\ufeff",
		strings.Repeat("\n", 9999): "",
	} {
		if got := format.TrimText(in); got != want {
			t.Errorf("TrimText(%.40q) = %q, want %q", in, got, want)
		}
	}
}

func TestIsCapitals(t *testing.T) {
	for s, want := range map[string]bool{"XA": true, "AZ": true, "": false, "X": false, "XXA": false, "xa": false, "X1": false, "@A": false, "A[": false, "É": false} {
		if format.IsCapitals(s, 2) != want {
			t.Errorf("%q: %v", s, !want)
		}
	}
}
