package cert

import (
	_ "embed"
	"iter"
	"strings"
	"sync"
)

// countries.txt holds one country a line: alpha-2, alpha-3 and the short name
// in English, without separators because both codes have a fixed length.
//
// Codes are those of ISO 3166-1 (249), plus XK and XKX for Kosovo, which the
// standard leaves to its users and which certificates really carry. Names are
// everyday English, not the standard's official wording. Codes of the trust
// network's test participants (XXA, XCL and the like) are no countries.
//
//go:embed countries.txt
var countriesText string

// countryTables indexes countries.txt by either code.
type countryTables struct {
	alpha2 []string          // sorted
	alpha3 map[string]string // alpha-2 to alpha-3
	back   map[string]string // alpha-3 to alpha-2
	name   map[string]string // alpha-2 to English name
}

var countries = sync.OnceValue(func() countryTables {
	t := countryTables{
		alpha3: make(map[string]string),
		back:   make(map[string]string),
		name:   make(map[string]string),
	}
	for line := range strings.Lines(countriesText) {
		line = strings.TrimSuffix(line, "\n")
		a2, a3, name := line[:2], line[2:5], line[5:]
		t.alpha2 = append(t.alpha2, a2)
		t.alpha3[a2], t.back[a3], t.name[a2] = a3, a2, name
	}
	return t
})

// Alpha3 returns the three-letter code of a country given by its two-letter
// code ("DE" gives "DEU"). Codes are upper case; anything else is unknown.
func Alpha3(alpha2 string) (string, bool) {
	code, ok := countries().alpha3[alpha2]
	return code, ok
}

// Alpha2 returns the two-letter code of a country given by its three-letter
// code ("DEU" gives "DE"). Codes are upper case; anything else is unknown, so
// the one-letter D that German passports carry is too.
func Alpha2(alpha3 string) (string, bool) {
	code, ok := countries().back[alpha3]
	return code, ok
}

// CountryName returns the short English name of a country given by its
// two-letter or three-letter code.
func CountryName(code string) (string, bool) {
	if a2, ok := Alpha2(code); ok {
		code = a2
	}
	name, ok := countries().name[code]
	return name, ok
}

// Countries yields the two-letter codes of all countries, sorted.
func Countries() iter.Seq[string] {
	return func(yield func(string) bool) {
		for _, code := range countries().alpha2 {
			if !yield(code) {
				return
			}
		}
	}
}
