package paper

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/go-text/typesetting/font"
	"github.com/go-text/typesetting/segmenter"
)

func shaped(t *testing.T, text string) line {
	t.Helper()
	l, err := newWorker(nil).line(text, style{}, beginsRightToLeft(text))
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return l
}

func ids(l line) (ids []font.GID) {
	for _, r := range l.runs {
		for _, g := range r.glyphs {
			ids = append(ids, g.id)
		}
	}
	return ids
}

// visual is the text in the order in which its runs are drawn.
func visual(l line) string {
	var b strings.Builder
	for _, r := range l.runs {
		part := l.text[r.start:r.end]
		if r.rightward {
			b.WriteString(string(part))
			continue
		}
		for i := len(part) - 1; i >= 0; i-- {
			b.WriteRune(part[i])
		}
	}
	return b.String()
}

// TestScripts: every script that a name may be in, at the font's own forms.
func TestScripts(t *testing.T) {
	for _, text := range []string{
		"Spécimen Ünal-Øst Łódź Trần", "Образец Ђорђе Ґ", "Δείγμα Ὀδυσσεύς", "נמדג׳", "محمد عبد الله", "فارسی پژوه", "اردو ٹیسٹ",
		"हिन्दी क्षत्रिय", "বাংলাদেশ কৌশিক", "தமிழ் கொடு", "తెలుగు క్రి", "ગુજરાતી", "ਪੰਜਾਬੀ", "ಕನ್ನಡ", "മലയാളം", "සිංහල ශ්\u200dරී",
		"አማርኛ", "สวัสดี น้ำ", "ພາສາລາວ", "ខ្មែរ ក្រុម", "မြန်မာ ကျော်", "ქართული", "Հայերեն",
	} {
		l := shaped(t, text)
		if l.width <= 0 || len(l.runs) == 0 {
			t.Errorf("%s: %g ems in %d runs", text, l.width, len(l.runs))
		}
	}
}

// TestArabicJoins: the letters of a word have other forms than alone, and lam
// with alef is one.
func TestArabicJoins(t *testing.T) {
	word := ids(shaped(t, "محمد"))
	for i, letter := range []string{"د", "م", "ح", "م"} { // in visual order
		alone := ids(shaped(t, letter))
		if i > 0 && word[i] == alone[0] {
			t.Errorf("%s stands in the word as it does alone", letter)
		}
	}
	if n := len(ids(shaped(t, "لا"))); n != 1 {
		t.Errorf("lam and alef are %d glyphs", n)
	}
	if joined, apart := ids(shaped(t, "مح")), ids(shaped(t, "م\u200cح")); joined[0] == apart[0] {
		t.Error("a non-joiner does not part the letters")
	}
}

// TestIndicReorders: the sign i stands before its consonant, and ka with ssa is
// one letter.
func TestIndicReorders(t *testing.T) {
	ka, i, kaThenI := ids(shaped(t, "क")), ids(shaped(t, "िक")), ids(shaped(t, "कि"))
	if kaThenI[len(kaThenI)-1] != ka[0] || kaThenI[0] == ka[0] {
		t.Errorf("ki is %v, ka %v, i %v", kaThenI, ka, i)
	}
	if n := len(ids(shaped(t, "क्ष"))); n != 1 {
		t.Errorf("kssa is %d glyphs", n)
	}
}

// TestOrder: names and numbers of both directions keep their places (UAX #9).
func TestOrder(t *testing.T) {
	reversed := func(s string) string {
		r := []rune(s)
		for i, j := 0, len(r)-1; i < j; i, j = i+1, j-1 {
			r[i], r[j] = r[j], r[i]
		}
		return string(r)
	}
	m, k := "محمد", "كريم"
	for _, tt := range []struct {
		text, want  string
		rightToLeft bool
	}{
		{"ABC " + m + " 12 DEF", "ABC 12 " + reversed(m) + " DEF", false},
		{"ABC " + m + " DEF", "ABC " + reversed(m) + " DEF", false},
		{"ABC ١٢ " + m, "ABC " + reversed(m) + " ١٢", false},
		{m + " 12", "12 " + reversed(m), true},
		{m + " ABC 12 " + k, reversed(k) + " ABC 12 " + reversed(m), true},
		{m + " (" + k + ")", ")" + reversed(k) + "( " + reversed(m), true}, // mirrored when drawn
		{"URN:UVCI:01:XA:1#" + m, "URN:UVCI:01:XA:1#" + reversed(m), false},
	} {
		l, err := newWorker(nil).line(tt.text, style{}, tt.rightToLeft)
		if err != nil {
			t.Fatal(err)
		}
		if got := visual(l); got != tt.want {
			t.Errorf("%s: drawn as %q, want %q", tt.text, got, tt.want)
		}
	}
}

// TestEmbolden: bold print takes the bold font where there is one.
func TestEmbolden(t *testing.T) {
	l, err := newWorker(nil).line("Demo محمد हिन्दी", style{bold: true}, false)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, r := range l.runs {
		names = append(names, r.typeface.name)
	}
	if got := strings.Join(names, " "); !strings.Contains(got, "NotoSans-Bold") || !strings.Contains(got, "NotoSansArabic-Bold") || !strings.Contains(got, "NotoSansDevanagari-Regular") {
		t.Error(got)
	}
}

// checkWrapped: the lines are the text, and none is wider than it may be unless
// it is a single letter.
func checkWrapped(t *testing.T, text string, most float64, lines []line) {
	t.Helper()
	var joined strings.Builder
	for _, l := range lines {
		joined.WriteString(string(l.text))
		var letters segmenter.Segmenter
		letters.Init([]rune(strings.TrimSpace(string(l.text))))
		n := 0
		for it := letters.GraphemeIterator(); it.Next(); {
			n++
		}
		// Kerning and joining can change at a break, by little.
		if l.width > most*1.02+0.05 && n > 1 {
			t.Errorf("%q is %g ems wide of %g", string(l.text), l.width, most)
		}
	}
	if joined.String() != text {
		t.Errorf("%q became %q", text, joined.String())
	}
}

func TestWrap(t *testing.T) {
	w := newWorker(nil)
	for _, text := range []string{longName, strings.Repeat("Specimen", 30), "محمد عبد الله الأمين محمد عبد الله الأمين", strings.Repeat("สวัสดี", 12), strings.Repeat("क्षत्रिय", 12), "a b c d e f g h i j k l m n o p q r s t"} {
		for _, most := range []float64{3, 8, 20, 500} {
			lines, err := w.wrap(text, style{}, beginsRightToLeft(text), most)
			if err != nil {
				t.Fatal(err)
			}
			checkWrapped(t, text, most, lines)
			if most == 500 && len(lines) != 1 {
				t.Errorf("%d lines where one is wide enough", len(lines))
			}
		}
	}
}

func FuzzWrap(f *testing.F) {
	f.Add(longName, 8.0)
	f.Add("محمد 12 ABC לא क्षि", 3.0)
	f.Add("a\u0301\u0302 \u200d\u200f\ufe0f", 1.0)
	w := newWorker(nil)
	f.Fuzz(func(t *testing.T, text string, most float64) {
		text = clean(text)
		if !utf8.ValidString(text) || len(text) > 300 || !(most >= 2 && most < 1000) {
			return
		}
		lines, err := w.wrap(text, style{}, beginsRightToLeft(text), most)
		if err != nil {
			return // a character without a glyph
		}
		var joined strings.Builder
		for _, l := range lines {
			joined.WriteString(string(l.text))
			p := newPDF("", "en", made).addPage()
			p.text(&l, 0, 0, 10, 0)
		}
		if joined.String() != text {
			t.Errorf("%q became %q", text, joined.String())
		}
	})
}
