package paper

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"math"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/klauspost/compress/zlib"

	"ampoule/internal/qr"
)

// pdf writes a document of PDF 1.7 (ISO 32000-1) that is tagged: everything that
// says something belongs to an element of the structure tree, in reading order,
// and all else is an artifact (section 14.8). Lengths are in millimetres from the
// top left corner of the page.
type pdf struct {
	language string
	title    string
	made     time.Time

	root  *element
	pages []*sheet
	fonts map[*typeface]*subset
	order []*subset // the fonts in the order of their first use
}

// element is one of the structure tree.
type element struct {
	kind   string // the structure type, such as P or TH
	lang   string // of BCP 47, where it differs from the element above
	alt    string // what is said instead of what is shown
	actual string // the text itself, where its glyphs stand in another order
	parent *element
	kids   []kid
	object int
}

// kid is an element, or marked content of a page.
type kid struct {
	element *element
	page    *sheet
	mcid    int
}

func (e *element) child(kind, lang string) *element {
	c := &element{kind: kind, lang: lang, parent: e}
	e.kids = append(e.kids, kid{element: c})
	return c
}

// sheet is a page.
type sheet struct {
	pdf     *pdf
	content bytes.Buffer
	marked  []*element // by MCID
	used    map[*subset]bool
	object  int
}

// A4, in millimetres.
const (
	sheetWidth  = 210.0
	sheetHeight = 297.0
)

const pointsPerMM = 72 / 25.4

func newPDF(title, language string, made time.Time) *pdf {
	d := &pdf{language: language, title: title, made: made, fonts: map[*typeface]*subset{}}
	d.root = &element{kind: "Document"}
	return d
}

func (d *pdf) addPage() *sheet {
	p := &sheet{pdf: d, used: map[*subset]bool{}}
	d.pages = append(d.pages, p)
	return p
}

// num is a length in points.
func num(mm float64) string {
	s := strconv.FormatFloat(math.Round(mm*pointsPerMM*1000)/1000, 'f', -1, 64)
	if s == "-0" {
		return "0"
	}
	return s
}

func (p *sheet) op(format string, args ...any) { fmt.Fprintf(&p.content, format, args...) }

// mark begins content of an element, and artifact what belongs to none; both
// last until end.
func (p *sheet) mark(e *element) {
	p.op("/%s <</MCID %d>> BDC\n", e.kind, len(p.marked))
	e.kids = append(e.kids, kid{page: p, mcid: len(p.marked)})
	p.marked = append(p.marked, e)
}

func (p *sheet) artifact() { p.op("/Artifact BMC\n") }
func (p *sheet) end()      { p.op("EMC\n") }

// tint fills a rectangle, rule draws a line; both are artifacts.
func (p *sheet) tint(x, y, w, h float64, rgb [3]float64) {
	p.artifact()
	p.op("q %.3g %.3g %.3g rg %s %s %s %s re f Q\n", rgb[0], rgb[1], rgb[2], num(x), num(sheetHeight-y-h), num(w), num(h))
	p.end()
}

func (p *sheet) rule(x0, y0, x1, y1, width float64, dashes string) {
	p.artifact()
	p.op("q 0.3 G %s w [%s] 0 d %s %s m %s %s l S Q\n", num(width), dashes, num(x0), num(sheetHeight-y0), num(x1), num(sheetHeight-y1))
	p.end()
}

func (p *sheet) frame(x, y, w, h, width float64) {
	p.artifact()
	p.op("q %s w %s %s %s %s re S Q\n", num(width), num(x), num(sheetHeight-y-h), num(w), num(h))
	p.end()
}

// code draws a QR code with its quiet zone on white, as one path of dark runs.
func (p *sheet) code(e *element, s *qr.Symbol, x, y, side float64) {
	modules := s.Size() + 2*quietZone
	unit := side / float64(modules) * pointsPerMM
	p.mark(e)
	p.op("q 1 g %s %s %s %s re f 0 g %.6f 0 0 %.6f %s %s cm\n", num(x), num(sheetHeight-y-side), num(side), num(side),
		unit, unit, num(x), num(sheetHeight-y-side))
	b := p.content.AvailableBuffer()
	for row := range s.Size() {
		for from := 0; from < s.Size(); from++ {
			to := from
			for to < s.Size() && s.Black(to, row) {
				to++
			}
			if to == from {
				continue
			}
			b = strconv.AppendInt(b, int64(from+quietZone), 10)
			b = append(b, ' ')
			b = strconv.AppendInt(b, int64(modules-quietZone-1-row), 10)
			b = append(b, ' ')
			b = strconv.AppendInt(b, int64(to-from), 10)
			b = append(b, " 1 re\n"...)
			from = to
		}
	}
	p.content.Write(b)
	p.op("f Q\n")
	p.end()
}

// text draws a line with its left edge at x and its baseline at y, inside of
// what mark or artifact began.
func (p *sheet) text(l *line, x, y, size float64, grey float64) {
	ems := size / pointsPerMM // of one em, in millimetres
	p.op("BT %.3g g\n", grey)
	for i := range l.runs {
		r := &l.runs[i]
		s := p.font(r.typeface)
		width := 0.0
		for _, g := range r.glyphs {
			width += float64(g.advance) / r.typeface.upem * ems
		}
		p.op("/F%d %.4g Tf 1 0 0 1 %s %s Tm\n", p.pdf.index(s), size, num(x), num(sheetHeight-y))
		p.glyphs(l, r, s, size)
		x += width
	}
	p.op("ET\n")
}

// glyphs shows the glyphs of a run. A cluster of one glyph is told to readers by
// the font's ToUnicode map; one of several, whose glyphs can stand in another
// order than its characters, by ActualText (ISO 32000-1 section 14.9.4). From
// right to left every glyph stands for one character, with blanks for what a
// ligature has more: readers turn such text around one by one, and differ in
// what becomes of several characters of one glyph or of one ActualText.
func (p *sheet) glyphs(l *line, r *run, s *subset, size float64) {
	b := p.content.AvailableBuffer()
	open := false
	offset := 0 // between where the pen is and where the font's advances have it
	show := func() {
		if open {
			b = append(b, ">] TJ\n"...)
			open = false
		}
	}
	put := func(n, move int) {
		if !open {
			b = append(b, '[')
		}
		switch {
		case move != 0:
			if open {
				b = append(b, "> "...)
			}
			b = append(strconv.AppendInt(b, int64(move), 10), " <"...)
		case !open:
			b = append(b, '<')
		}
		open = true
		b = appendHex(b, uint16(n))
	}
	rise := 0
	place := func(g glyph, text string) {
		if g.dy != rise {
			show()
			rise = g.dy
			b = fmt.Appendf(b, "%.4g Ts\n", float64(rise)/r.typeface.upem*size)
		}
		put(s.number(g.id, text), -s.scaled(float64(offset+g.dx)))
		// The pen moves by what the font says; the rest is made up before the next.
		offset = g.advance - int(r.typeface.outline(g.id).advance) - g.dx
	}
	end := r.end // of the cluster, where they come last first
	for i := 0; i < len(r.glyphs); {
		j := i + 1
		for j < len(r.glyphs) && r.glyphs[j].cluster == r.glyphs[i].cluster {
			j++
		}
		// Clusters ascend with the direction of the run.
		start := r.glyphs[i].cluster
		if r.rightward {
			end = r.end
			if j < len(r.glyphs) {
				end = r.glyphs[j].cluster
			}
		}
		runes := l.text[start:end]
		end = start
		text := string(runes)
		switch {
		case !r.rightward:
			// In visual order: the last character first, on blanks, and the first one on
			// the letter itself. Marks stand above or below the line, where readers would
			// take them for a line of their own: they show, and say nothing.
			for n := len(runes) - 1; n > 0; n-- {
				place(glyph{id: blank}, string(runes[n]))
			}
			letter := i
			for n := i; n < j; n++ {
				if r.glyphs[n].advance > 0 {
					letter = n
				}
			}
			for ; i < j; i++ {
				if i == letter {
					place(r.glyphs[i], string(runes[0]))
					continue
				}
				show()
				b = append(b, "/Span <</ActualText <FEFF>>> BDC\n"...)
				place(r.glyphs[i], "")
				show()
				b = append(b, "EMC\n"...)
			}
			continue
		case j == i+1:
			place(r.glyphs[i], text)
			i = j
			continue
		}
		show()
		b = fmt.Appendf(b, "/Span <</ActualText <FEFF%s>>> BDC\n", hex16(text))
		for ; i < j; i++ {
			place(r.glyphs[i], "")
		}
		show()
		b = append(b, "EMC\n"...)
	}
	show()
	if rise != 0 {
		b = append(b, "0 Ts\n"...)
	}
	p.content.Write(b)
}

func (p *sheet) font(t *typeface) *subset {
	s := p.pdf.fonts[t]
	if s == nil {
		s = newSubset(t)
		p.pdf.fonts[t] = s
		p.pdf.order = append(p.pdf.order, s)
	}
	p.used[s] = true
	return s
}

func (d *pdf) index(s *subset) int {
	for i, o := range d.order {
		if o == s {
			return i
		}
	}
	return -1
}

// file is a file of PDF objects that is being written.
type file struct {
	bytes.Buffer
	offsets []int // by object number, from 1
}

// reserve returns a number for an object that is written later.
func (f *file) reserve() int {
	f.offsets = append(f.offsets, 0)
	return len(f.offsets)
}

func (f *file) object(n int, format string, args ...any) {
	f.offsets[n-1] = f.Len()
	fmt.Fprintf(f, "%d 0 obj\n", n)
	fmt.Fprintf(f, format, args...)
	f.WriteString("\nendobj\n")
}

var compressors = sync.Pool{New: func() any {
	w, err := zlib.NewWriterLevel(nil, zlib.DefaultCompression)
	if err != nil {
		panic(err) // the level is a constant in range
	}
	return w
}}

// stream writes an object of compressed data. extra are further entries of its
// dictionary.
func (f *file) stream(n int, data []byte, extra string) {
	var packed bytes.Buffer
	z := compressors.Get().(*zlib.Writer)
	defer compressors.Put(z)
	z.Reset(&packed)
	_, _ = z.Write(data) // a buffer takes everything
	_ = z.Close()
	f.offsets[n-1] = f.Len()
	fmt.Fprintf(f, "%d 0 obj\n<</Length %d /Filter /FlateDecode%s>>\nstream\n", n, packed.Len(), extra)
	f.Write(packed.Bytes())
	f.WriteString("\nendstream\nendobj\n")
}

// bytes is the finished document. The same document gives the same bytes.
func (d *pdf) bytes() []byte {
	f := new(file)
	f.WriteString("%PDF-1.7\n%\xe2\xe3\xcf\xd3\n")
	catalog, tree, info, structure, parents := f.reserve(), f.reserve(), f.reserve(), f.reserve(), f.reserve()
	for _, p := range d.pages {
		p.object = f.reserve()
	}
	for _, s := range d.order {
		s.object = f.reserve()
	}
	d.root.number(f)

	f.object(catalog, "<</Type /Catalog /Pages %d 0 R /StructTreeRoot %d 0 R /MarkInfo <</Marked true>> /Lang %s /ViewerPreferences <</DisplayDocTitle true /PrintScaling /None>>>>",
		tree, structure, text16(d.language))
	// What the document is about, never whom.
	f.object(info, "<</Title %s /Producer (Ampoule) /CreationDate (D:%s)>>", text16(d.title), d.made.UTC().Format("20060102150405Z00'00'"))
	var kids strings.Builder
	for _, p := range d.pages {
		fmt.Fprintf(&kids, "%d 0 R ", p.object)
	}
	f.object(tree, "<</Type /Pages /Count %d /Kids [%s]>>", len(d.pages), kids.String())
	f.object(structure, "<</Type /StructTreeRoot /K [%d 0 R] /ParentTree %d 0 R /ParentTreeNextKey %d>>", d.root.object, parents, len(d.pages))

	var numbers strings.Builder
	for i, p := range d.pages {
		content := f.reserve()
		var fonts strings.Builder
		for j, s := range d.order {
			if p.used[s] {
				fmt.Fprintf(&fonts, "/F%d %d 0 R ", j, s.object)
			}
		}
		f.object(p.object, "<</Type /Page /Parent %d 0 R /MediaBox [0 0 %s %s] /Resources <</Font <<%s>>>> /Contents %d 0 R /StructParents %d /Tabs /S>>",
			tree, num(sheetWidth), num(sheetHeight), fonts.String(), content, i)
		f.stream(content, p.content.Bytes(), "")
		fmt.Fprintf(&numbers, "%d [", i)
		for _, e := range p.marked {
			fmt.Fprintf(&numbers, "%d 0 R ", e.object)
		}
		numbers.WriteString("] ")
	}
	f.object(parents, "<</Nums [%s]>>", numbers.String())
	d.root.write(f, structure)
	for _, s := range d.order {
		s.write(f)
	}

	id := sha256.Sum256(f.Bytes())
	start := f.Len()
	fmt.Fprintf(f, "xref\n0 %d\n0000000000 65535 f \n", len(f.offsets)+1)
	for _, at := range f.offsets {
		fmt.Fprintf(f, "%010d 00000 n \n", at)
	}
	fmt.Fprintf(f, "trailer\n<</Size %d /Root %d 0 R /Info %d 0 R /ID [<%x> <%x>]>>\nstartxref\n%d\n%%%%EOF\n",
		len(f.offsets)+1, catalog, info, id[:16], id[:16], start)
	return f.Bytes()
}

// text16 is a text string of PDF, in UTF-16 (ISO 32000-1 section 7.9.2.2).
func text16(s string) string { return "<FEFF" + hex16(s) + ">" }

func (e *element) number(f *file) {
	e.object = f.reserve()
	for _, k := range e.kids {
		if k.element != nil {
			k.element.number(f)
		}
	}
}

func (e *element) write(f *file, parent int) {
	var b strings.Builder
	fmt.Fprintf(&b, "<</Type /StructElem /S /%s /P %d 0 R", e.kind, parent)
	if e.lang != "" {
		fmt.Fprintf(&b, " /Lang %s", text16(e.lang))
	}
	if e.alt != "" {
		fmt.Fprintf(&b, " /Alt %s", text16(e.alt))
	}
	if e.actual != "" {
		fmt.Fprintf(&b, " /ActualText %s", text16(e.actual))
	}
	if e.kind == "TH" {
		b.WriteString(" /A <</O /Table /Scope /Column>>")
	}
	b.WriteString(" /K [")
	for _, k := range e.kids {
		if k.element != nil {
			fmt.Fprintf(&b, "%d 0 R ", k.element.object)
		} else {
			fmt.Fprintf(&b, "<</Type /MCR /Pg %d 0 R /MCID %d>> ", k.page.object, k.mcid)
		}
	}
	b.WriteString("]>>")
	f.object(e.object, "%s", b.String())
	for _, k := range e.kids {
		if k.element != nil {
			k.element.write(f, e.object)
		}
	}
}

// write writes the font as a composite one with Identity-H codes (ISO 32000-1
// section 9.7).
func (s *subset) write(f *file) {
	descendant, descriptor, program, unicode := f.reserve(), f.reserve(), f.reserve(), f.reserve()
	// Subsets are told apart by six letters before the name.
	var tag [6]byte
	meaning := s.toUnicode()
	for i, b := range sha256.Sum256(meaning) {
		if i < len(tag) {
			tag[i] = 'A' + b%26
		}
	}
	name := string(tag[:]) + "+" + s.typeface.name
	f.object(s.object, "<</Type /Font /Subtype /Type0 /BaseFont /%s /Encoding /Identity-H /DescendantFonts [%d 0 R] /ToUnicode %d 0 R>>", name, descendant, unicode)
	var widths strings.Builder
	box := outline{}
	for _, g := range s.glyphs {
		o := s.typeface.outline(g.id)
		fmt.Fprintf(&widths, "%d ", s.scaled(float64(o.advance)))
		box.xMin, box.yMin, box.xMax, box.yMax = min(box.xMin, o.xMin), min(box.yMin, o.yMin), max(box.xMax, o.xMax), max(box.yMax, o.yMax)
	}
	f.object(descendant, "<</Type /Font /Subtype /CIDFontType2 /BaseFont /%s /CIDSystemInfo <</Registry (Adobe) /Ordering (Identity) /Supplement 0>> /FontDescriptor %d 0 R /CIDToGIDMap /Identity /DW 0 /W [0 [%s]]>>",
		name, descriptor, widths.String())
	// Flag 3: the font has signs beyond the Latin alphabet.
	f.object(descriptor, "<</Type /FontDescriptor /FontName /%s /Flags 4 /FontBBox [%d %d %d %d] /ItalicAngle 0 /Ascent %d /Descent %d /CapHeight 714 /StemV 80 /FontFile2 %d 0 R>>",
		name, s.scaled(float64(box.xMin)), s.scaled(float64(box.yMin)), s.scaled(float64(box.xMax)), s.scaled(float64(box.yMax)),
		int(s.typeface.ascent*1000), int(s.typeface.descent*1000), program)
	data := s.file()
	f.stream(program, data, fmt.Sprintf(" /Length1 %d", len(data)))
	f.stream(unicode, meaning, "")
}

// quietZone is the light margin of a QR code in modules (ISO/IEC 18004 clause
// 6.3.8).
const quietZone = 4
