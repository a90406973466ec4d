package gs1

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"ampoule/format"
)

// check returns what is wrong with a value, as the AI's components have it.
func (ai *AI) check(value string) error {
	bad := func(at int, err error) error {
		return fmt.Errorf("(%s) %s, character %d: %w", ai.Code, ai.Title, at+1, err)
	}
	if value == "" {
		return bad(0, ErrLength)
	}
	at := 0
	for _, p := range ai.parts {
		rest := value[at:]
		if rest == "" && p.optional {
			break
		}
		n := min(len(rest), p.max)
		for i := range n {
			if !in(p.set, rest[i]) {
				return bad(at+i, ErrCharacter)
			}
		}
		if n < p.min {
			return bad(at+n, ErrLength)
		}
		for _, name := range p.linters {
			if err := linters[name](rest[:n]); err != nil {
				return fmt.Errorf("(%s) %s, from character %d: %w", ai.Code, ai.Title, at+1, err)
			}
		}
		at += n
	}
	if at < len(value) {
		return bad(at, ErrLength)
	}
	return nil
}

// The character sets: digits, and sets 82, 39 and 64 of General Specifications section
// 7.11.
const (
	setDigits = 1 << iota
	set82
	set39
	set64
)

var sets = func() (by [256]uint8) {
	put := func(bit uint8, characters string) {
		for i := range len(characters) {
			by[characters[i]] |= bit
		}
	}
	const digits, capitals, small = "0123456789", "ABCDEFGHIJKLMNOPQRSTUVWXYZ", "abcdefghijklmnopqrstuvwxyz"
	put(setDigits, digits)
	put(set82, digits+capitals+small+"!\"%&'()*+,-./:;<=>?_")
	put(set39, digits+capitals+"#-/")
	put(set64, digits+capitals+small+"-_=")
	return by
}()

func in(set, c byte) bool {
	bit := uint8(setDigits)
	switch set {
	case 'X':
		bit = set82
	case 'Y':
		bit = set39
	case 'Z':
		bit = set64
	}
	return sets[c]&bit != 0
}

func allDigits(s string) bool {
	for i := range len(s) {
		if sets[s[i]]&setDigits == 0 {
			return false
		}
	}
	return true
}

// linters are what components must be besides their format, by the words of the table.
// Coupons of North America (8110, 8112) are held against character set and length
// alone.
var linters = map[string]func(string) error{
	"csum": func(s string) error { // General Specifications 7.9.1
		if checkDigit(s[:len(s)-1]) != s[len(s)-1] {
			return ErrCheckDigit
		}
		return nil
	},
	"csumalpha": checkPair,
	"gcppos1":   func(s string) error { return startsWithPrefix(s) },
	"gcppos2":   func(s string) error { return startsWithPrefix(s[1:]) },

	"yymmdd":   func(s string) error { return date("20"+s, false) },
	"yymmd0":   func(s string) error { return date("20"+s, true) },
	"yyyymmdd": func(s string) error { return date(s, false) },
	"hhmi": func(s string) error {
		if s[:2] > "23" || s[2:] > "59" {
			return ErrDate
		}
		return nil
	},
	"hh": below("24", ErrDate),
	"mi": below("60", ErrDate),
	"ss": below("60", ErrDate),

	"iso3166":       listed(countryNumbers),
	"iso3166999":    func(s string) error { return listed(countryNumbers + " 999")(s) },
	"iso3166alpha2": listed(countryLetters),
	"iso4217":       listed(currencies),
	"packagetype":   listed(packageTypes),
	"iso5218":       oneOf("0129"),
	"mediatype": func(s string) error { // 01 to 10 and 80 to 99 are assigned
		if s == "00" || s > "10" && s < "80" {
			return ErrCode
		}
		return nil
	},
	"importeridx": func(s string) error {
		if !in('Z', s[0]) || s == "=" {
			return ErrCharacter
		}
		return nil
	},

	"zero":    oneOf("0"),
	"yesno":   oneOf("01"),
	"winding": oneOf("019"),
	"hyphen":  oneOf("-"),
	"nonzero": func(s string) error { return unless(strings.Trim(s, "0") == "") },
	"nozeroprefix": func(s string) error {
		return unless(len(s) > 1 && s[0] == '0')
	},
	"hasnondigit": func(s string) error { return unless(allDigits(s)) },
	"pieceoftotal": func(s string) error {
		piece, total := s[:len(s)/2], s[len(s)/2:]
		return unless(strings.Trim(piece, "0") == "" || piece > total)
	},
	"posinseqslash": func(s string) error {
		position, end, ok := strings.Cut(s, "/")
		p, err := strconv.Atoi(position)
		e, err2 := strconv.Atoi(end)
		return unless(!ok || err != nil || err2 != nil || !allDigits(position+end) || position[0] == '0' || end[0] == '0' || p > e)
	},
	"latitude":  func(s string) error { return unless(s > "1800000000") },
	"longitude": func(s string) error { return unless(s > "3600000000") },
	"pcenc": func(s string) error { // every percent sign begins an escape
		for i := range len(s) {
			if s[i] == '%' {
				if _, ok := unhex(s[i:]); !ok {
					return ErrValue
				}
			}
		}
		return nil
	},
	"iban":           iban,
	"couponcode":     func(string) error { return nil },
	"couponposoffer": func(string) error { return nil },
}

func unless(wrong bool) error {
	if wrong {
		return ErrValue
	}
	return nil
}

func oneOf(characters string) func(string) error {
	return func(s string) error { return unless(len(s) != 1 || !strings.Contains(characters, s)) }
}

func below(limit string, err error) func(string) error {
	return func(s string) error {
		if s >= limit {
			return err
		}
		return nil
	}
}

func listed(codes string) func(string) error {
	all := strings.Fields(codes)
	slices.Sort(all)
	return func(s string) error {
		if _, ok := slices.BinarySearch(all, s); !ok {
			return ErrCode
		}
		return nil
	}
}

// startsWithPrefix: a company prefix is of four digits at least.
func startsWithPrefix(s string) error {
	if len(s) < 4 || !allDigits(s[:4]) {
		return ErrPrefix
	}
	return nil
}

// checkDigit is the check digit after s, all digits: weights of 3 and 1 from the
// right, and what is missing to a multiple of ten (General Specifications 7.9.1).
func checkDigit(s string) byte {
	sum := 0
	for i := range len(s) {
		d := int(s[len(s)-1-i] - '0')
		if i%2 == 0 {
			d *= 3
		}
		sum += d
	}
	return '0' + byte((10-sum%10)%10)
}

// checkPair holds the two check characters at the end against those before: positions in
// set 82, weighted with the primes from the right, modulo 1021, as two digits of base 32
// (General Specifications 7.9, for alphanumeric keys).
func checkPair(s string) error {
	const order82 = "!\"%&'()*+,-./0123456789:;<=>?ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz"
	const order32 = "23456789ABCDEFGHJKLMNPQRSTUVWXYZ"
	if len(s) < 3 {
		return ErrLength
	}
	data, pair := s[:len(s)-2], s[len(s)-2:]
	sum, prime := 0, 1
	for i := len(data) - 1; i >= 0; i-- {
		prime = nextPrime(prime)
		sum += strings.IndexByte(order82, data[i]) * prime
	}
	sum %= 1021
	if pair != string([]byte{order32[sum>>5], order32[sum&31]}) {
		return ErrCheckDigit
	}
	return nil
}

func nextPrime(p int) int {
next:
	for p++; ; p++ {
		for d := 2; d*d <= p; d++ {
			if p%d == 0 {
				continue next
			}
		}
		return p
	}
}

// date checks YYYYMMDD. Where day zero is let through it is the last of the month. Of
// the two digits of a year only a 29 February cares for the century, and 00 was one of
// those with it.
func date(s string, zero bool) error {
	if zero && s[6:] == "00" {
		s = s[:6] + "01"
	}
	if !format.IsDate(s[:4] + "-" + s[4:6] + "-" + s[6:]) {
		return ErrDate
	}
	return nil
}

// iban checks an international bank account number by its remainder (ISO 13616).
func iban(s string) error {
	if len(s) < 5 || !format.IsCapitals(s[:2], 2) || !allDigits(s[2:4]) {
		return ErrValue
	}
	rest := 0
	turned := s[4:] + s[:4]
	for i := range len(turned) {
		switch c := turned[i]; {
		case c >= '0' && c <= '9':
			rest = (10*rest + int(c-'0')) % 97
		case c >= 'A' && c <= 'Z':
			rest = (100*rest + int(c-'A') + 10) % 97
		default:
			return ErrValue
		}
	}
	if rest != 1 {
		return ErrCheckDigit
	}
	return nil
}
