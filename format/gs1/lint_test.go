package gs1

import (
	"errors"
	"strings"
	"testing"
)

// TestLinters: of each linter what it lets through and what it does not.
func TestLinters(t *testing.T) {
	cases := map[string]struct {
		good, bad []string
		err       error
	}{
		"csum":          {[]string{"09501101530003", "195011000000000153", "96385074"}, []string{"09501101530004", "90501101530003"}, ErrCheckDigit},
		"csumalpha":     {[]string{"1987654Ad4X4bL5ttr2310c2K", "12345_!\"%&'()*+,-./LC"}, []string{"1987654Ad4X4bL5ttr2310cK2", "1987654aD4X4bL5ttr2310c2K"}, ErrCheckDigit},
		"gcppos1":       {[]string{"9501", "9501A"}, []string{"950", "950A", ""}, ErrPrefix},
		"gcppos2":       {[]string{"19501", "A9501"}, []string{"1950", "1950A"}, ErrPrefix},
		"yymmdd":        {[]string{"000229", "280229", "291231"}, []string{"290229", "290001", "290100", "291301"}, ErrDate},
		"yymmd0":        {[]string{"290200", "290228"}, []string{"290229", "290000", "291300"}, ErrDate},
		"yyyymmdd":      {[]string{"19000228", "20280229"}, []string{"19000229", "20280230", "20281301"}, ErrDate},
		"hhmi":          {[]string{"0000", "2359"}, []string{"2400", "2360"}, ErrDate},
		"hh":            {[]string{"00", "23"}, []string{"24"}, ErrDate},
		"mi":            {[]string{"00", "59"}, []string{"60"}, ErrDate},
		"ss":            {[]string{"00", "59"}, []string{"60", "99"}, ErrDate},
		"iso3166":       {[]string{"004", "756", "894"}, []string{"000", "003", "999"}, ErrCode},
		"iso3166999":    {[]string{"756", "999"}, []string{"998"}, ErrCode},
		"iso3166alpha2": {[]string{"CH", "ZW"}, []string{"XX", "ch", "C"}, ErrCode},
		"iso4217":       {[]string{"756", "978"}, []string{"000", "995"}, ErrCode},
		"packagetype":   {[]string{"8", "BX", "201"}, []string{"", "XX", "bx"}, ErrCode},
		"mediatype":     {[]string{"01", "10", "80", "99"}, []string{"00", "11", "79"}, ErrCode},
		"iso5218":       {[]string{"0", "1", "2", "9"}, []string{"3"}, ErrValue},
		"importeridx":   {[]string{"A", "z", "0", "-", "_"}, []string{"=", "!", "/"}, ErrCharacter},
		"zero":          {[]string{"0"}, []string{"1"}, ErrValue},
		"yesno":         {[]string{"0", "1"}, []string{"2"}, ErrValue},
		"winding":       {[]string{"0", "1", "9"}, []string{"2"}, ErrValue},
		"hyphen":        {[]string{"-"}, []string{"+", "0"}, ErrValue},
		"nonzero":       {[]string{"0001"}, []string{"0", "0000"}, ErrValue},
		"nozeroprefix":  {[]string{"0", "10"}, []string{"01", "00"}, ErrValue},
		"hasnondigit":   {[]string{"1A"}, []string{"11"}, ErrValue},
		"pieceoftotal":  {[]string{"0101", "0102", "9999"}, []string{"0001", "0100", "0201"}, ErrValue},
		"posinseqslash": {[]string{"1/1", "1/2"}, []string{"2/1", "0/1", "1/0", "/1", "1/", "1-2", "+/1"}, ErrValue},
		"latitude":      {[]string{"0000000000", "1800000000"}, []string{"1800000001"}, ErrValue},
		"longitude":     {[]string{"3600000000"}, []string{"3600000001"}, ErrValue},
		"pcenc":         {[]string{"A+B", "%C3%a9"}, []string{"%", "%2", "%GG"}, ErrValue},
		"iban":          {[]string{"GB33BUKB20201555555555", "CH9300762011623852957"}, []string{"GB33BUKB20201555555556", "GB33BUKB20201555555955"}, ErrCheckDigit},
	}
	for name, lint := range linters {
		tt, ok := cases[name]
		if strings.HasPrefix(name, "coupon") {
			continue // by their character set and length alone
		}
		if !ok {
			t.Errorf("nothing asks for %s", name)
		}
		for _, s := range tt.good {
			if err := lint(s); err != nil {
				t.Errorf("%s: %q: %v", name, s, err)
			}
		}
		for _, s := range tt.bad {
			if err := lint(s); !errors.Is(err, tt.err) {
				t.Errorf("%s: %q: %v, want %v", name, s, err, tt.err)
			}
		}
	}
}
