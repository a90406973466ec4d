package paper

import (
	"errors"
	"math"
	"slices"

	"ampoule/cert"
	"ampoule/internal/messages"
)

// The margins, in millimetres: of the sheet, where many printers leave white, and
// beside the folds.
const (
	edge = 8
	fold = 5
)

// The code of a whole or half sheet, and of a quarter, with their quiet zones.
// Both keep 10 mm from every edge and fold or stand on a cut.
const (
	wideCode   = 76
	narrowCode = 50
)

// The covers: the yellow of the booklet, and a light blue. In one colour both
// print as white or a faint grey under black.
var (
	yellow = [3]float64{1, 0.93, 0.62}
	blue   = [3]float64{0.89, 0.93, 0.97}
)

func (a *artist) cover() [3]float64 {
	if a.Format == cert.FormatICVP {
		return yellow
	}
	return blue
}

// whole is a sheet of four A6 pages: a cover, the code, and across the lower two
// the certificate itself.
func (a *artist) whole() {
	a.coverPage()
	var dates []fact
	if a.Format == cert.FormatICVP {
		dates = a.dates()
	}
	a.codePage(foldX, 0, dates)
	if a.Format == cert.FormatICVP {
		a.model()
	} else {
		a.plain()
	}
}

func (a *artist) coverPage() {
	tint := a.cover()
	a.do(func() { a.sheet.tint(edge-2, edge-2, foldX-edge-fold+4, foldY-edge-fold+4, tint) })
	b := &box{edge + 5, edge + 8, foldX - edge - fold - 10, foldY - fold - 4}
	if by := a.issuedBy(); by != "" {
		a.label(b, "fact.issued-by")
		a.paragraph(b, "P", said{text: by}, titleLetter)
	}
	b.down(a.mm(12))
	one, two := a.title()
	a.paragraph(b, "H1", one, headingLetter)
	b.down(a.mm(2))
	a.paragraph(b, "P", two, secondHeading)
	b.down(a.mm(5))
	if a.Format == cert.FormatICVP {
		one, two = a.both("paper.icvp.regulations")
	} else {
		one, two = a.formatName()
	}
	a.paragraph(b, "P", one, titleLetter)
	a.paragraph(b, "P", two, labelLetter)

	person := &a.Record.Person
	facts := []fact{name("paper.icvp.issued-to", fullName(person.Name))}
	if a.Format == cert.FormatICVP || person.Document.Number != "" {
		facts = append(facts, name("paper.icvp.travel-document", person.Document.Number))
	}
	if a.Format != cert.FormatICVP {
		facts = append(facts, a.dates()...)
	}
	b.y = math.Max(b.y+a.mm(8), 92)
	a.facts(b, facts, 1)
}

// codePage is the page with the code, and facts below it.
func (a *artist) codePage(x, y float64, facts []fact) {
	one, two := a.both("paper.code")
	b := &box{x + fold + 3, y + edge, foldX - fold - edge - 3, y + foldY - fold}
	a.pair(b, "H2", one, two, titleLetter, secondValue)
	b.y = y + edge + 9
	a.qrCode(x+(foldX-wideCode)/2, b.y, wideCode)
	b.down(wideCode + 3)
	a.facts(b, facts, 2)
	a.check(b)
}

// model is the certificate of annex 6: who, against what, and the table, three of
// whose columns stand on either side of the fold.
func (a *artist) model() {
	const top = foldY + fold + 2
	p, v := &a.Record.Person, a.Record.Vaccination
	left := &box{edge, top, foldX - edge - fold, sheetHeight - edge}
	right := &box{foldX + fold, top, foldX - edge - fold, sheetHeight - edge}

	a.field(left, name("paper.icvp.certify", fullName(p.Name)))
	sex := fact{key: "paper.icvp.sex"}
	if p.Sex != "" && a.first.Has("value."+p.Sex) {
		sex = a.word("paper.icvp.sex", "value."+p.Sex)
	}
	a.fields(left, []float64{1, 1}, []fact{a.dayFact("paper.icvp.born", p.BirthDate), sex})
	// The number of a passport stands on the cover.
	number := ""
	if p.Document.Type != "PPN" {
		number = p.Document.Number
	}
	a.fields(left, []float64{2, 3}, []fact{name("paper.icvp.nationality", countryText(p.Nationality)), name("paper.icvp.document", number)})
	if p.Guardian != "" {
		a.field(left, name("fact.guardian", p.Guardian))
	}
	a.label(left, "paper.icvp.signature")
	left.down(a.mm(9))
	a.underline(left)
	left.down(a.mm(2))

	a.field(right, a.diseaseFact("paper.icvp.against", v.Disease))
	one, two := a.both("paper.icvp.accordance")
	a.pair(right, "P", one, two, labelLetter, secondLabel)

	a.table(math.Max(left.y, right.y)+a.mm(3), v)
}

// table draws the six columns of the model, and under them its requirements.
func (a *artist) table(top float64, v *cert.Vaccination) {
	half := foldX - edge - fold
	columns := []struct {
		x, w  float64
		label string
		cell  []fact
	}{
		{edge, half * 0.36, "paper.icvp.vaccine", []fact{name("", v.Product.Display), name("", v.Product.Code)}},
		{edge + half*0.36, half * 0.23, "paper.icvp.date", []fact{a.dayFact("", v.Date)}},
		{edge + half*0.59, half * 0.41, "paper.icvp.clinician", []fact{name("", v.Clinician)}},
		{foldX + fold, half * 0.38, "paper.icvp.manufacturer", []fact{name("", v.Manufacturer.Display), name("", v.Manufacturer.Code), name("", v.Lot)}},
		{foldX + fold + half*0.38, half * 0.3, "paper.icvp.valid-from", nil},
		{foldX + fold + half*0.68, half * 0.32, "paper.icvp.stamp", nil},
	}
	const pad = 1.2
	bottom := sheetHeight - edge
	cell := func(i int, y float64) *box {
		return &box{columns[i].x + pad, y + 0.8, columns[i].w - 2*pad, bottom}
	}
	rowAt := func(y float64, draw func(i int, b *box)) float64 {
		low := y
		a.open("TR", "")
		for i := range columns {
			b := cell(i, y)
			draw(i, b)
			low = math.Max(low, b.y)
		}
		a.close()
		return low + 0.8
	}

	a.open("Table", "")
	head := rowAt(top, func(i int, b *box) {
		a.open("TH", "")
		a.label(b, columns[i].label)
		a.close()
	})
	small := letter{size: 8.2, least: 6.5, bold: true}
	end := rowAt(head, func(i int, b *box) {
		a.open("TD", "")
		switch i {
		case 4:
			from, until := a.from(), a.until()
			a.paragraph(b, "P", from.value, small)
			b.down(a.mm(1))
			a.label(b, "paper.icvp.until")
			a.pair(b, "P", until.value, until.second, small, secondLabel)
		default:
			for _, f := range columns[i].cell {
				a.paragraph(b, "P", f.value, small)
				b.down(a.mm(0.8))
			}
		}
		a.close()
	})
	a.close()
	end = math.Max(end, head+a.mm(26)) // room for a stamp and a signature
	if end > bottom {
		a.fail(errOverflow)
	}
	a.do(func() {
		for _, side := range []int{0, 3} {
			x, w := columns[side].x, half
			a.sheet.frame(x, top, w, end-top, 0.2)
			a.sheet.rule(x, head, x+w, head, 0.12, "")
			for _, i := range []int{side + 1, side + 2} {
				a.sheet.rule(columns[i].x, top, columns[i].x, end, 0.12, "")
			}
		}
	})

	for i, l := range []*box{{edge, end + a.mm(3), half, bottom}, {foldX + fold, end + a.mm(3), half, bottom}} {
		words, look := a.first, noteLetter
		if i == 1 {
			words = a.second
		}
		for _, key := range []string{"paper.icvp.approved", "paper.icvp.signed", "paper.icvp.amendment", "paper.icvp.validity"} {
			a.paragraph(l, "P", said{words.Text(key), words.Tag, true}, look)
			l.down(a.mm(1))
		}
	}
}

// plain is the lower half of the other formats: the person at the left of the
// fold, what happened at its right, and places for a signature and a stamp.
func (a *artist) plain() {
	const top = foldY + fold + 2
	half := foldX - edge - fold
	const seal = 26
	left := &box{edge, top, half, sheetHeight - edge}
	right := &box{foldX + fold, top, half, sheetHeight - edge - seal - 3}
	a.heading(left, "content.person")
	a.facts(left, a.person(), 1)
	a.earlier(left)
	a.heading(right, a.eventKey())
	a.facts(right, a.event(a.Record), 2)
	right.bottom = sheetHeight - edge
	a.signatures(right, seal)
}

func (a *artist) heading(b *box, key string) {
	one, two := a.both(key)
	a.pair(b, "H2", one, two, titleLetter, secondValue)
	b.down(a.mm(1.5))
}

// earlier are the events before that one, where the format carries several.
func (a *artist) earlier(b *box) {
	for _, e := range a.Record.Earlier {
		key := "content.earlier.vaccination"
		if e.Test != nil {
			key = "content.earlier.test"
		}
		b.down(a.mm(2))
		a.heading(b, key)
		a.facts(b, a.event(&cert.Certificate{Vaccination: e.Vaccination, Test: e.Test}), 2)
	}
}

func (a *artist) eventKey() string {
	switch {
	case a.Record.Test != nil:
		return "content.test"
	case a.Record.Recovery != nil:
		return "content.recovery"
	}
	return "content.vaccination"
}

// banner is the head of a part of a sheet: the title on a tint.
func (a *artist) banner(b *box) {
	x, y, w := b.x-2, b.y-2, b.w+4
	// The tint lies under the text, and its height is known after it.
	at := len(a.items)
	a.do(nil)
	one, two := a.title()
	a.paragraph(b, "H1", one, letter{size: 11, least: 8, bold: true})
	a.paragraph(b, "P", two, secondValue)
	if a.Format != cert.FormatICVP {
		one, two = a.formatName()
		a.pair(b, "P", one, two, labelLetter, secondLabel)
	}
	height, tint := b.y-y+1.5, a.cover()
	a.items[at] = func() { a.sheet.tint(x, y, w, height, tint) }
	b.down(a.mm(3.5))
}

// half is half a sheet: what the certificate says, and its code.
func (a *artist) half(y float64) {
	const seal = 18
	b := &box{edge, y + edge + 1, foldX - edge - fold, y + foldY - edge - seal - 2}
	a.banner(b)
	a.facts(b, append(append(a.person(), a.event(a.Record)...), a.issuer()...), 2)
	a.earlier(b)
	b.bottom += seal + 2
	a.signatures(b, seal)
	a.codePage(foldX, y, a.dates())
	if a.Format == cert.FormatICVP {
		one, two := a.both("paper.icvp.extract")
		under := &box{foldX + fold + 3, y + foldY - edge - 8, foldX - fold - edge - 3, y + foldY - edge + 2}
		a.paragraph(under, "P", one, noteLetter)
		a.paragraph(under, "P", two, secondLabel)
	}
}

// quarter is a quarter of a sheet: the code, who it is for beside it, and the
// rest below.
func (a *artist) quarter(x, y float64) {
	const seal = 13
	b := &box{x + edge, y + edge, foldX - 2*edge, y + foldY - edge}
	a.banner(b)
	person, event := a.person(), a.event(a.Record)
	if v := a.Record.Vaccination; v != nil && v.Product != (cert.Code{}) {
		// What follows from the product is left out.
		event = slices.DeleteFunc(event, func(f fact) bool { return f.key == "fact.vaccine" || f.key == "fact.manufacturer" })
	}
	beside := &box{b.x + narrowCode + 4, b.y, b.w - narrowCode - 4, b.y + narrowCode}
	a.qrCode(b.x+2, b.y, narrowCode)
	facts := slices.Concat(person, event, a.dates(), a.issuer())
	for len(facts) > 0 && !facts[0].wide && a.tryField(beside, facts[0]) {
		facts = facts[1:]
	}
	b.y = math.Max(beside.y, b.y+narrowCode) + 1
	b.bottom -= seal + 2
	a.facts(b, facts, 2)
	a.earlier(b)
	a.notes(b)
	b.bottom += seal + 2
	a.signatures(b, seal)
}

// tryField draws a field if the box has room for it.
func (a *artist) tryField(b *box, f fact) bool {
	if a.err != nil {
		return false
	}
	items, y := len(a.items), b.y
	a.field(b, f)
	if errors.Is(a.err, errOverflow) {
		a.items, b.y, a.err = a.items[:items], y, nil
		return false
	}
	return true
}

// notes say how the code is checked, and that a part of a sheet is not the page
// of the Regulations.
func (a *artist) notes(b *box) {
	a.advice(b, letter{size: 5.6, least: 5})
	for _, words := range []*messages.Language{a.first, a.second} {
		text := words.Text("paper.check.short")
		if a.Format == cert.FormatICVP {
			text += " " + words.Text("paper.icvp.extract")
		}
		a.paragraph(b, "P", said{text, words.Tag, true}, letter{size: 5.6, least: 5})
		b.down(a.mm(0.6))
	}
}
