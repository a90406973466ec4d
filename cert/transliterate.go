package cert

import (
	"slices"
	"strconv"
	"strings"
	"sync"
	"unicode"

	"golang.org/x/text/unicode/norm"
)

// Transliterate writes a name in the alphabet of the machine readable zone of
// travel documents, A to Z and '<', as the EU Digital COVID Certificate asks
// for in nam.fnt and nam.gnt.
//
// The tables are the recommendations of ICAO Doc 9303 part 3, section 6, for
// Latin, Cyrillic and Arabic letters. Where the section leaves a choice the
// first recommendation is taken (Ñ is N, not NXX), and its exceptions by
// language (Ukrainian И as Y, Bulgarian Щ as SHT, Serbian Ж as Z, ...) are not
// applied, because a name does not say its language: a document that spells
// the name in Latin letters is always the better source. The section has no
// table for Greek; there the transcription of ELOT 743 is used, which Greek
// passports follow.
//
// Spaces, hyphens, commas and '<' become '<', runs of them one, none at either
// end. Apostrophes and full stops are left out and their neighbours joined. A
// letter with a mark that no table lists becomes the letter without it. Arabic
// numerals become Roman ones, since the zone has no digits for names.
//
// What has no mapping is left out and returned in unmapped, each character
// once, in order. A caller that issues should refuse a name that comes back
// empty, and ask a person when unmapped is not: Hebrew, Armenian, Georgian,
// Chinese and other scripts without a table end there.
func Transliterate(s string) (mrz string, unmapped []rune) {
	if plain, ok := transliterateLatin(s); ok {
		return plain, nil
	}
	// Apostrophes go first: compatibility forms would turn some of them into a
	// space with a mark, and O´NEIL into two names.
	s = strings.Map(dropApostrophe, s)
	// NFKC, not NFC: it also folds full-width letters, ligatures, the ª of Mª
	// and the presentation forms of Arabic into the letters that they show.
	text := []rune(norm.NFKC.String(s))

	var out strings.Builder
	var filler bool // a '<' is due before the next letter
	write := func(letters string) {
		if letters == "" {
			return
		}
		if filler && out.Len() > 0 {
			out.WriteByte('<')
		}
		filler = false
		out.WriteString(letters)
	}
	miss := func(r rune) {
		if !slices.Contains(unmapped, r) {
			unmapped = append(unmapped, r)
		}
	}

	var last string // what the last letter became, for the shadda
	for i := 0; i < len(text); {
		r := text[i]
		n := 1
		switch {
		case isFiller(r):
			filler = true
			last = ""
		case '0' <= r && r <= '9':
			n = digits(text[i:])
			if roman, ok := roman(string(text[i : i+n])); ok {
				write(roman)
			} else {
				for _, d := range text[i : i+n] {
					miss(d)
				}
			}
		case r == shadda:
			// Doc 9303: the shadda doubles the letter that carries it, so that
			// EBBAS has two B.
			write(last)
		case r == tehMarbuta:
			last = "XTA"
			if endsWord(text, i+1) {
				last = "XAH"
			}
			write(last)
		default:
			if letters, length := greekPair(text, i); length > 0 {
				write(letters)
				n = length
				break
			}
			letters, ok := mrzLetters(r)
			switch {
			case ok:
				last = letters
				write(letters)
			case !isSilent(r):
				miss(r)
			}
		}
		i += n
	}
	return out.String(), unmapped
}

// isFiller reports whether r separates the parts of a name.
func isFiller(r rune) bool {
	switch r {
	case '<', ',', '\u060C': // the last is the Arabic comma
		return true
	}
	return unicode.IsSpace(r) || unicode.Is(unicode.Pd, r)
}

// dropApostrophe is a mapping for strings.Map that removes what people type
// for an apostrophe: the typographic forms, accents standing alone, primes,
// and the modifier letters of Polynesian, Semitic and Slavic romanisations.
func dropApostrophe(r rune) rune {
	if strings.ContainsRune("'’‘‛`´ʹʻʼʽʾʿˈ′‵΄᾽᾿", r) {
		return -1
	}
	return r
}

// isSilent reports whether r is left out without a word: full stops and the
// Catalan middle dot, the Arabic tatweel that only stretches a line, the
// Cyrillic soft sign that Doc 9303 does not encode, marks (vowel points among
// them), and invisible characters that steer the direction of text.
func isSilent(r rune) bool {
	switch r {
	case '.', '·', '‧', tatweel, 'ь', 'Ь':
		return true
	}
	return unicode.In(r, unicode.Mn, unicode.Me, unicode.Cf)
}

// mrzLetters returns what one letter becomes. A letter that is in no table is
// tried again without its last mark: Ǻ as Å, ế as ê as e.
func mrzLetters(r rune) (string, bool) {
	for {
		r = unicode.ToUpper(r)
		if 'A' <= r && r <= 'Z' {
			return string(r), true
		}
		if letters, ok := mrzTable()[r]; ok {
			return letters, true
		}
		parts := []rune(norm.NFD.String(string(r)))
		if len(parts) < 2 {
			return "", false
		}
		fewer := []rune(norm.NFC.String(string(parts[:len(parts)-1])))
		r = fewer[0]
	}
}

// transliterateLatin serves most names: letters from A to Z, spaces and hyphens.
// It leaves everything else to the tables.
func transliterateLatin(s string) (mrz string, ok bool) {
	out := make([]byte, 0, len(s))
	for i := range len(s) {
		switch c := s[i]; {
		case 'A' <= c && c <= 'Z':
			out = append(out, c)
		case 'a' <= c && c <= 'z':
			out = append(out, c-'a'+'A')
		case c == ' ' || c == '-':
			if len(out) > 0 && out[len(out)-1] != '<' {
				out = append(out, '<')
			}
		default:
			return "", false
		}
	}
	return strings.TrimRight(string(out), "<"), true
}

// latinTable lists the letters of Doc 9303 part 3 section 6.A that do not
// simply lose a mark. Both sharp s are there: lower case has no single capital.
const latinTable = `Ä AE Å AA Æ AE Ð D Đ D Ħ H Ŋ N Ø OE Ö OE Œ OE ß SS ẞ SS Þ TH Ŧ T Ü UE Ł L`

// cyrillicTable is section 6.B. Its capital for the sound of Serbian Ћ is
// printed as Һ, which looks the same; both are read.
const cyrillicTable = `А A Б B В V Г G Д D Е E Ё E Ж ZH З Z И I І I Й I К K Л L М M Н N О O П P
	Р R С S Т T У U Ф F Х KH Ц TS Ч CH Ш SH Щ SHCH Ъ IE Ы Y Э E Ю IU Я IA Ѵ Y Ґ G Ў U Ѫ U
	Ѓ G Ђ D Ѕ DZ Ј J Ќ K Љ LJ Њ NJ Ћ C Һ C Џ DZ Є IE Ї I`

// greekTable is ELOT 743 for single letters; greekPair has the pairs.
const greekTable = `Α A Β V Γ G Δ D Ε E Ζ Z Η I Θ TH Ι I Κ K Λ L Μ M Ν N Ξ X Ο O Π P Ρ R Σ S Τ T
	Υ Y Φ F Χ CH Ψ PS Ω O`

// arabicTable is section 6.C, by code point so that the direction of the
// script does not confuse the reader. X begins what has no Latin letter of its
// own, so that the Arabic spelling can be had back. Teh marbuta (0629) depends
// on its place and is not here.
const arabicTable = `0621 XE 0622 XAA 0623 XAE 0624 U 0625 I 0626 XI 0627 A 0628 B 062A T 062B XTH
	062C J 062D XH 062E XKH 062F D 0630 XDH 0631 R 0632 Z 0633 S 0634 XSH 0635 XSS 0636 XDZ 0637 XTT
	0638 XZZ 0639 E 063A G 0641 F 0642 Q 0643 K 0644 L 0645 M 0646 N 0647 H 0648 W 0649 XAY 064A Y
	0671 XXA 0679 XXT 067C XRT 067E P 0681 XKE 0685 XXH 0686 XC 0688 XXD 0689 XDR 0691 XXR 0693 XRR
	0696 XRX 0698 XJ 069A XXS 06A9 XKK 06AB XXK 06AD XNG 06AF XGG 06BA XNN 06BC XXN 06BE XDO 06C0 XYH
	06C1 XXG 06C2 XGE 06C3 XTG 06CC XYA 06CD XXY 06D0 Y 06D2 XYB 06D3 XBE`

const (
	tehMarbuta rune = 0x0629
	tatweel    rune = 0x0640
	shadda     rune = 0x0651
)

// mrzTable is the four tables in one, by capital letter.
var mrzTable = sync.OnceValue(func() map[rune]string {
	table := make(map[rune]string)
	for _, text := range []string{latinTable, cyrillicTable, greekTable} {
		for pair := range slices.Chunk(strings.Fields(text), 2) {
			table[[]rune(pair[0])[0]] = pair[1]
		}
	}
	for pair := range slices.Chunk(strings.Fields(arabicTable), 2) {
		code, err := strconv.ParseUint(pair[0], 16, 32)
		if err != nil {
			panic("cert: arabicTable: " + err.Error())
		}
		table[rune(code)] = pair[1]
	}
	return table
})

// greekPair returns what ELOT 743 makes of two Greek letters that are read as
// one, and how many characters they are; 0 where there is no such pair. An
// accent on the first letter or a diaeresis on the second parts them.
func greekPair(text []rune, i int) (letters string, n int) {
	if i+1 >= len(text) {
		return "", 0
	}
	first := unicode.ToUpper(text[i])
	switch pair := string([]rune{first, greekBase(text[i+1])}); pair {
	case "ΟΥ":
		return "OU", 2
	case "ΑΥ", "ΕΥ", "ΗΥ":
		vowel, _ := mrzLetters(first)
		if i+2 < len(text) && voiced(text[i+2]) {
			return vowel + "V", 2
		}
		return vowel + "F", 2
	case "ΓΓ":
		return "NG", 2
	case "ΓΞ":
		return "NX", 2
	case "ΓΧ":
		return "NCH", 2
	case "ΜΠ":
		if startsWord(text, i) || endsWord(text, i+2) {
			return "B", 2
		}
		return "MP", 2
	}
	return "", 0
}

// greekBase returns the capital without accent or breathing, and 0 where a
// diaeresis says that the letter stands on its own.
func greekBase(r rune) rune {
	parts := []rune(norm.NFD.String(string(r)))
	if slices.Contains(parts, '\u0308') {
		return 0
	}
	return unicode.ToUpper(parts[0])
}

// voiced reports whether a Greek υ before r is said as v rather than f: before
// every vowel and before β γ δ ζ λ μ ν ρ.
func voiced(r rune) bool {
	base := []rune(norm.NFD.String(string(r)))[0]
	return strings.ContainsRune("ΑΕΗΙΟΥΩΒΓΔΖΛΜΝΡ", unicode.ToUpper(base))
}

// startsWord reports whether no letter stands before text[i].
func startsWord(text []rune, i int) bool {
	return i == 0 || !unicode.In(text[i-1], unicode.L, unicode.M)
}

// endsWord reports whether no letter follows from text[i] on; vowel points and
// tatweel do not count as letters.
func endsWord(text []rune, i int) bool {
	for ; i < len(text); i++ {
		if !isSilent(text[i]) {
			return !unicode.IsLetter(text[i])
		}
	}
	return true
}

// digits returns how many ASCII digits text starts with.
func digits(text []rune) int {
	n := slices.IndexFunc(text, func(r rune) bool { return r < '0' || r > '9' })
	if n < 0 {
		return len(text)
	}
	return n
}

// roman writes a decimal number from 1 to 3999 in Roman numerals; Doc 9303 part
// 3 wants them where numbers belong to a name, as in HENRY<VIII.
func roman(decimal string) (string, bool) {
	n, err := strconv.Atoi(decimal)
	if err != nil || n < 1 || n > 3999 {
		return "", false
	}
	var out strings.Builder
	for _, step := range [...]struct {
		value   int
		letters string
	}{
		{1000, "M"}, {900, "CM"}, {500, "D"}, {400, "CD"}, {100, "C"}, {90, "XC"},
		{50, "L"}, {40, "XL"}, {10, "X"}, {9, "IX"}, {5, "V"}, {4, "IV"}, {1, "I"},
	} {
		for n >= step.value {
			out.WriteString(step.letters)
			n -= step.value
		}
	}
	return out.String(), true
}
