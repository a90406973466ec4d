package paper

import (
	"encoding/binary"
	"fmt"
	"math"
	"unicode/utf16"

	"github.com/go-text/typesetting/font"
)

// subset is the part of a typeface that a document uses: its glyphs, numbered
// from 1 in the order of their first use. A glyph that stands for two texts
// (the same letter form of two characters) has a number for each, since what a
// number stands for is told to readers once for the document.
type subset struct {
	typeface *typeface
	numbers  map[subsetGlyph]int
	glyphs   []subsetGlyph
	object   int // of the PDF
}

type subsetGlyph struct {
	id   font.GID
	text string // of its cluster; empty where several glyphs stand for it together
}

func newSubset(t *typeface) *subset {
	s := &subset{typeface: t, numbers: map[subsetGlyph]int{}}
	s.number(0, "") // .notdef, which is never shown
	return s
}

func (s *subset) number(id font.GID, text string) int {
	g := subsetGlyph{id, text}
	n, known := s.numbers[g]
	if !known {
		n = len(s.glyphs)
		s.numbers[g] = n
		s.glyphs = append(s.glyphs, g)
	}
	return n
}

// scaled is a length of the font in thousandths of an em, the unit of PDF.
func (s *subset) scaled(v float64) int { return int(math.Round(v * 1000 / s.typeface.upem)) }

// file is the subset as a TrueType font with the tables that a CIDFontType2
// needs (ISO 32000-1 section 9.9).
func (s *subset) file() []byte {
	var glyf, loca, hmtx []byte
	box := outline{}
	maxPoints, maxContours := 0, 0
	var widest uint16
	for _, g := range s.glyphs {
		o := s.typeface.outline(g.id)
		loca = binary.BigEndian.AppendUint32(loca, uint32(len(glyf)))
		glyf = append(glyf, o.data...)
		hmtx = binary.BigEndian.AppendUint16(hmtx, o.advance)
		hmtx = binary.BigEndian.AppendUint16(hmtx, uint16(o.xMin))
		box.xMin, box.yMin, box.xMax, box.yMax = min(box.xMin, o.xMin), min(box.yMin, o.yMin), max(box.xMax, o.xMax), max(box.yMax, o.yMax)
		maxPoints, maxContours, widest = max(maxPoints, o.points), max(maxContours, o.contours), max(widest, o.advance)
	}
	loca = binary.BigEndian.AppendUint32(loca, uint32(len(glyf)))
	if len(glyf) == 0 {
		glyf = make([]byte, 4) // some readers refuse an empty table
	}
	u16 := func(values ...int) (b []byte) {
		for _, v := range values {
			b = binary.BigEndian.AppendUint16(b, uint16(v))
		}
		return b
	}
	ascent, descent := int(s.typeface.ascent*s.typeface.upem), int(s.typeface.descent*s.typeface.upem)
	head := u16(1, 0, 1, 0, 0, 0, 0x5f0f, 0x3cf5, 0x000b, int(s.typeface.upem))
	head = append(head, make([]byte, 16)...) // no dates: the same input gives the same bytes
	head = append(head, u16(int(box.xMin), int(box.yMin), int(box.xMax), int(box.yMax), 0, 8, 2, 1, 0)...)
	hhea := u16(1, 0, ascent, descent, 0, int(widest), 0, 0, int(box.xMax), 1, 0, 0, 0, 0, 0, 0, 0, len(s.glyphs))
	maxp := u16(1, 0, len(s.glyphs), maxPoints, maxContours, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0)

	tables := []struct {
		tag  string
		data []byte
	}{{"glyf", glyf}, {"head", head}, {"hhea", hhea}, {"hmtx", hmtx}, {"loca", loca}, {"maxp", maxp}}
	out := u16(0x0001, 0x0000, len(tables), 64, 2, 16*len(tables)-64)
	offset := len(out) + 16*len(tables)
	headAt := 0
	for _, t := range tables {
		out = append(out, t.tag...)
		out = binary.BigEndian.AppendUint32(out, checksum(t.data))
		out = binary.BigEndian.AppendUint32(out, uint32(offset))
		out = binary.BigEndian.AppendUint32(out, uint32(len(t.data)))
		if t.tag == "head" {
			headAt = offset
		}
		offset += (len(t.data) + 3) &^ 3
	}
	for _, t := range tables {
		out = append(out, t.data...)
		out = append(out, make([]byte, -len(t.data)&3)...)
	}
	binary.BigEndian.PutUint32(out[headAt+8:], 0xb1b0afba-checksum(out))
	return out
}

// checksum is that of OpenType tables: the sum of their 32-bit words.
func checksum(data []byte) (sum uint32) {
	for len(data) >= 4 {
		sum += binary.BigEndian.Uint32(data)
		data = data[4:]
	}
	var rest [4]byte
	copy(rest[:], data)
	return sum + binary.BigEndian.Uint32(rest[:])
}

// toUnicode tells readers which text the glyphs stand for (ISO 32000-1 section
// 9.10.3).
func (s *subset) toUnicode() []byte {
	b := []byte("/CIDInit /ProcSet findresource begin\n12 dict begin\nbegincmap\n" +
		"/CIDSystemInfo << /Registry (Adobe) /Ordering (UCS) /Supplement 0 >> def\n/CMapName /Adobe-Identity-UCS def\n/CMapType 2 def\n" +
		"1 begincodespacerange\n<0000> <FFFF>\nendcodespacerange\n")
	var lines []string
	for n, g := range s.glyphs {
		if g.text != "" {
			lines = append(lines, "<"+hex16(string(rune(n)))+"> <"+hex16(g.text)+">\n")
		}
	}
	for len(lines) > 0 {
		n := min(100, len(lines)) // as many as an operator may take
		b = fmt.Appendf(b, "%d beginbfchar\n", n)
		for _, l := range lines[:n] {
			b = append(b, l...)
		}
		b = append(b, "endbfchar\n"...)
		lines = lines[n:]
	}
	return append(b, "endcmap\nCMapName currentdict /CMap defineresource pop\nend\nend\n"...)
}

// hex16 is a text in UTF-16, big-endian, in hexadecimal.
func hex16(text string) string {
	var b []byte
	for _, u := range utf16.Encode([]rune(text)) {
		b = appendHex(b, u)
	}
	return string(b)
}

func appendHex(b []byte, v uint16) []byte {
	const digits = "0123456789ABCDEF"
	return append(b, digits[v>>12], digits[v>>8&15], digits[v>>4&15], digits[v&15])
}
