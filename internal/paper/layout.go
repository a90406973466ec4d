package paper

import (
	"errors"
	"math"
	"slices"
	"unicode"

	"golang.org/x/text/unicode/bidi"

	"ampoule/internal/messages"
	"ampoule/internal/qr"
)

// artist lays a certificate out. Nothing is drawn before it is known that all of
// it fits: the drawing is kept in items.
type artist struct {
	*worker
	sheet         *sheet
	first, second *messages.Language
	scale         float64
	Certificate
	code *qr.Symbol

	items []func()
	at    *element // of the structure tree, while the items are drawn
	err   error
}

// errOverflow: the content does not fit at this scale.
var errOverflow = errors.New("overflow")

// box is where text flows: from y down to bottom.
type box struct{ x, y, w, bottom float64 }

func (b *box) down(mm float64) { b.y += mm }

// letter is how a text looks: its size in points at full scale, the least that it
// may shrink to, and how dark it is.
type letter struct {
	size, least float64
	bold        bool
	grey        float64
}

var (
	headingLetter = letter{size: 15, least: 9, bold: true}
	secondHeading = letter{size: 11, least: 7.5}
	titleLetter   = letter{size: 9, least: 7, bold: true}
	labelLetter   = letter{size: 6.6, least: 5}
	secondLabel   = letter{size: 6.6, least: 5, grey: 0.3}
	valueLetter   = letter{size: 10, least: 7, bold: true}
	secondValue   = letter{size: 8.5, least: 6.5}
	noteLetter    = letter{size: 6.4, least: 5}
)

func (a *artist) size(l letter) float64 { return max(l.least, l.size*a.scale) }

// mm is a distance that shrinks with the print.
func (a *artist) mm(v float64) float64 { return v * a.scale }

func (a *artist) do(f func()) { a.items = append(a.items, f) }

// open and close enclose what is drawn between them in an element.
func (a *artist) open(kind, lang string) {
	a.do(func() {
		if a.at.lang == lang {
			lang = ""
		}
		a.at = a.at.child(kind, lang)
	})
}

func (a *artist) close() { a.do(func() { a.at = a.at.parent }) }

// setLines are lines that know where they stand in their box.
type setLines struct {
	actual string // the text, where part of it runs from right to left
	lines  []line
	size   float64
	rows   []float64 // baseline of each, from the top
	height float64
	width  float64 // of the widest
}

// set breaks a text into lines.
func (a *artist) set(of said, l letter, rightToLeft bool, width float64) setLines {
	s := setLines{size: a.size(l)}
	em := s.size / pointsPerMM
	lines, err := a.wrap(of.text, style{l.bold, of.lang, of.fixed}, rightToLeft, width/em)
	if err != nil {
		a.fail(err)
		return s
	}
	s.lines = lines
	for i := range lines {
		if slices.ContainsFunc(lines[i].runs, func(r run) bool { return !r.rightward }) {
			s.actual = of.text
		}
		s.rows = append(s.rows, s.height+max(0.92, lines[i].above+0.1)*em)
		s.height = s.rows[i] + max(0.28, lines[i].below+0.1)*em
		s.width = max(s.width, lines[i].width*em)
	}
	return s
}

// measureInk finds how far the glyphs reach: some scripts stack theirs.
func (l *line) measureInk() {
	for _, r := range l.runs {
		for _, g := range r.glyphs {
			o := r.typeface.outline(g.id)
			l.above = max(l.above, float64(int(o.yMax)+g.dy)/r.typeface.upem)
			l.below = max(l.below, -float64(int(o.yMin)+g.dy)/r.typeface.upem)
		}
	}
}

func (a *artist) fail(err error) {
	if a.err == nil {
		a.err = err
	}
}

// put draws lines in the current element, and moves the box below them.
func (a *artist) put(b *box, s setLines, l letter, right bool) {
	a.draw(s, l, b.x, b.y, b.w, right)
	b.y += s.height
	if b.y > b.bottom+0.01 {
		a.fail(errOverflow)
	}
}

func (a *artist) draw(s setLines, l letter, x, y, w float64, right bool) {
	if len(s.lines) == 0 {
		return
	}
	a.do(func() {
		a.at.actual = s.actual
		a.sheet.mark(a.at)
		for i := range s.lines {
			at := x
			if right {
				at += w - s.lines[i].width*s.size/pointsPerMM - s.lines[i].lead()*s.size/pointsPerMM
			}
			a.sheet.text(&s.lines[i], at, y+s.rows[i], s.size, l.grey)
		}
		a.sheet.end()
	})
}

// lead is the width of the blank at the end of a line that runs from right to
// left, which stands at its left.
func (l *line) lead() float64 {
	total := 0.0
	for _, r := range l.runs {
		for _, g := range r.glyphs {
			total += float64(g.advance) / r.typeface.upem
		}
	}
	return total - l.width
}

// said is a text and its language; names and codes have none.
type said struct {
	text, lang string
	fixed      bool // it is the catalogue's, and says nothing of anybody
}

func (a *artist) rightToLeft(s said) bool {
	if s.lang == "" {
		return beginsRightToLeft(s.text)
	}
	return s.lang == "ar"
}

// beginsRightToLeft reports whether the first letter of a text is of a script
// that runs from right to left (UAX #9, rules P2 and P3).
func beginsRightToLeft(text string) bool {
	for _, r := range text {
		p, _ := bidi.LookupRune(r)
		switch p.Class() {
		case bidi.L:
			return false
		case bidi.R, bidi.AL:
			return true
		}
	}
	return false
}

// paragraph draws one text.
func (a *artist) paragraph(b *box, kind string, s said, l letter) {
	if s.text == "" {
		return
	}
	rtl := a.rightToLeft(s)
	a.open(kind, s.lang)
	a.put(b, a.set(s, l, rtl, b.w), l, rtl && s.lang != "")
	a.close()
}

// pair draws a text in both languages: side by side where they fit, the second
// below the first otherwise. What runs from right to left stands at the right.
func (a *artist) pair(b *box, kind string, one, two said, l1, l2 letter) {
	if two.text == "" || two.text == one.text {
		a.paragraph(b, kind, one, l1)
		return
	}
	a.open(kind, "")
	rtl1, rtl2 := a.rightToLeft(one), a.rightToLeft(two)
	s1, s2 := a.set(one, l1, rtl1, b.w), a.set(two, l2, rtl2, b.w)
	gap := 0.9 * s1.size / pointsPerMM
	beside := len(s1.lines) == 1 && len(s2.lines) == 1 && s1.width+gap+s2.width <= b.w
	a.open("Span", one.lang)
	if beside {
		a.draw(s1, l1, b.x, b.y, b.w, false)
	} else {
		a.put(b, s1, l1, rtl1 && one.lang != "")
	}
	a.close()
	a.open("Span", two.lang)
	switch {
	case !beside:
		a.put(b, s2, l2, rtl2)
	default:
		// On one baseline.
		base := max(s1.rows[0], s2.rows[0])
		s1.rows[0], s2.rows[0] = base, base
		x := b.x + s1.width + gap
		a.draw(s2, l2, x, b.y, b.x+b.w-x, rtl2)
		b.y += max(s1.height, s2.height)
		if b.y > b.bottom+0.01 {
			a.fail(errOverflow)
		}
	}
	a.close()
	a.close()
}

// both is a text of the catalogue in both languages.
func (a *artist) both(key string, pairs ...any) (said, said) {
	return said{a.first.Text(key, pairs...), a.first.Tag, true}, said{a.second.Text(key, pairs...), a.second.Tag, true}
}

func (a *artist) label(b *box, key string) {
	one, two := a.both(key)
	a.pair(b, "P", one, two, labelLetter, secondLabel)
}

// fields draws facts side by side, of the widths that shares say: the labels on
// one height, the values on another, and a line under them all.
func (a *artist) fields(b *box, shares []float64, facts []fact) {
	columns := b.split(a.mm(4), shares)
	level := func() {
		for _, c := range columns {
			b.y = math.Max(b.y, c.y)
		}
		for _, c := range columns {
			c.y = b.y
		}
	}
	// The reading order is label, value, label, value: each column has its element.
	marks := make([]int, len(columns))
	for i, c := range columns {
		a.open("Div", "")
		a.label(c, facts[i].key)
		marks[i] = len(a.items)
		a.close()
	}
	level()
	values := make([][]func(), len(columns))
	for i, c := range columns {
		from := len(a.items)
		a.pair(c, "P", facts[i].value, facts[i].second, valueLetter, secondValue)
		values[i] = slices.Clone(a.items[from:])
		a.items = a.items[:from]
	}
	for i := len(columns) - 1; i >= 0; i-- {
		a.items = slices.Insert(a.items, marks[i], values[i]...)
	}
	b.y += a.mm(4.2) // a blank is to be written in
	level()
	for _, c := range columns {
		a.underline(c)
	}
	b.down(a.mm(1.8))
	if b.y > b.bottom+0.01 {
		a.fail(errOverflow)
	}
}

func (a *artist) field(b *box, f fact) { a.fields(b, []float64{1}, []fact{f}) }

func (a *artist) underline(b *box) {
	x, y, w := b.x, b.y+0.2, b.w
	a.do(func() { a.sheet.rule(x, y, x+w, y, 0.12, "") })
}

// split divides a box into columns with a gap between them.
func (b *box) split(gap float64, shares []float64) []*box {
	total := 0.0
	for _, s := range shares {
		total += s
	}
	room := b.w - gap*float64(len(shares)-1)
	x := b.x
	var columns []*box
	for _, s := range shares {
		w := room * s / total
		columns = append(columns, &box{x, b.y, w, b.bottom})
		x += w + gap
	}
	return columns
}

// facts draws fields in so many columns; a wide one has a row to itself.
func (a *artist) facts(b *box, facts []fact, columns int) {
	for len(facts) > 0 {
		n := min(columns, len(facts))
		for i, f := range facts[:n] {
			if f.wide {
				n = max(1, i)
				break
			}
		}
		a.fields(b, slices.Repeat([]float64{1}, n), facts[:n])
		facts = facts[n:]
	}
}

// qrCode draws the code, with what a screen reader says for it.
func (a *artist) qrCode(x, y, side float64) {
	a.do(func() {
		f := a.at.child("Figure", "")
		f.alt = a.first.Text("paper.code.alt")
		a.sheet.code(f, a.code, x, y, side)
	})
}

// signatures draws the places for signature and stamp at the bottom of a box.
func (a *artist) signatures(b *box, height float64) {
	b.y = math.Max(b.y, b.bottom-height)
	if b.y+height > b.bottom+0.01 {
		a.fail(errOverflow)
		return
	}
	for i, c := range b.split(4, []float64{1, 1}) {
		a.do(func() { a.sheet.frame(c.x, c.y, c.w, height, 0.12) })
		a.label(&box{c.x + 1.5, c.y + 0.8, c.w - 3, c.y + height}, []string{"paper.signature", "paper.stamp"}[i])
	}
	b.y = b.bottom
}

// advice says what the holder should do, in both languages, where something is known
// against the dose or may be.
func (a *artist) advice(b *box, look letter) {
	if !a.Advice.Asks() {
		return
	}
	look.bold = true
	for _, words := range []*messages.Language{a.first, a.second} {
		a.paragraph(b, "P", said{words.Reason(a.Advice.Reason, words.Advice(a.Advice.Value)).Holder, words.Tag, true}, look)
		b.down(a.mm(0.8))
	}
}

// check draws how the code is checked, in both languages.
func (a *artist) check(b *box) {
	a.advice(b, noteLetter)
	one, two := a.both("paper.check")
	a.pair(b, "H2", one, two, titleLetter, secondLabel)
	one, two = a.both("paper.check.text")
	a.paragraph(b, "P", one, noteLetter)
	b.down(a.mm(0.8))
	a.paragraph(b, "P", two, letter{size: noteLetter.size, least: noteLetter.least, grey: secondLabel.grey})
}

// isBlank reports whether a text has nothing to show.
func isBlank(s string) bool {
	for _, r := range s {
		if !unicode.IsSpace(r) {
			return false
		}
	}
	return true
}
