package paper

import (
	"bytes"
	"embed"
	"fmt"
	"io"
	"math"
	"path"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/go-text/typesetting/font"
	"github.com/go-text/typesetting/font/opentype"
	"github.com/go-text/typesetting/language"
	"github.com/klauspost/compress/gzip"

	"ampoule/format"
)

// Defects of fonts and of what is to be printed with them.
const (
	// ErrGlyph: no font has the character. It is named, and nothing is printed: an
	// empty box in a name is worse than no paper.
	ErrGlyph format.Defect = "character-without-glyph"
	ErrFont  format.Defect = "bad-font"
)

// MaxFontFile is the most bytes that a font file may have. The largest collection
// of Noto, with all of Han, has 27 million.
const MaxFontFile = 64 << 20

// The built-in fonts are subsets of Noto; fonts/make.sh makes them.
//
//go:embed fonts/*.ttf.gz
var fontFiles embed.FS

// builtIn are the scripts of the built-in fonts. Those without a bold one print
// bold text in the regular one.
var builtIn = map[language.Script]*typeface{
	language.Arabic: face("Arabic"), language.Armenian: face("Armenian"), language.Bengali: face("Bengali"),
	language.Devanagari: face("Devanagari"), language.Ethiopic: face("Ethiopic"), language.Georgian: face("Georgian"),
	language.Gujarati: face("Gujarati"), language.Gurmukhi: face("Gurmukhi"), language.Hebrew: face("Hebrew"),
	language.Kannada: face("Kannada"), language.Khmer: face("Khmer"), language.Lao: face("Lao"),
	language.Malayalam: face("Malayalam"), language.Myanmar: face("Myanmar"), language.Sinhala: face("Sinhala"),
	language.Tamil: face("Tamil"), language.Telugu: face("Telugu"), language.Thai: face("Thai"),
	language.Latin: latin, language.Greek: latin, language.Cyrillic: latin,
}

var (
	latin     = face("")
	latinBold = &typeface{name: "NotoSans-Bold"}
	bold      = map[*typeface]*typeface{latin: latinBold, builtIn[language.Arabic]: {name: "NotoSansArabic-Bold"}}
)

func face(script string) *typeface { return &typeface{name: "NotoSans" + script + "-Regular"} }

// typeface is one font, read when it is first needed.
type typeface struct {
	name string // of PostScript
	data []byte // of a font that an operator added

	once            sync.Once
	err             error
	font            *font.Font
	upem            float64
	ascent, descent float64 // in ems, the descent negative

	outlines [256]atomic.Pointer[outlines] // by the upper half of the glyph, once drawn
}

type outlines [256]atomic.Pointer[outline]

// open reads the font.
func (t *typeface) open() error {
	t.once.Do(func() {
		data := t.data
		if data == nil {
			if data, t.err = builtInFile(t.name); t.err != nil {
				return
			}
		}
		// A collection has the same characters in the manners of several regions: the
		// first is taken.
		faces, err := font.ParseTTC(bytes.NewReader(data))
		if err != nil || len(faces) == 0 {
			t.err = fmt.Errorf("paper: font: %v: %w", err, ErrFont)
			return
		}
		t.font, t.upem = faces[0].Font, float64(faces[0].Upem())
		extents, ok := faces[0].FontHExtents()
		if !ok || t.upem < 16 {
			t.err = fmt.Errorf("paper: font: no metrics: %w", ErrFont)
			return
		}
		t.ascent, t.descent = float64(extents.Ascender)/t.upem, float64(extents.Descender)/t.upem
	})
	return t.err
}

func builtInFile(name string) ([]byte, error) {
	packed, err := fontFiles.ReadFile(path.Join("fonts", name+".ttf.gz"))
	if err != nil {
		return nil, err
	}
	r, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(r)
}

// Font is a font that an operator adds for scripts that none is built in for.
type Font struct{ typeface *typeface }

// ReadFont reads a TrueType or OpenType font, or the first of a collection.
func ReadFont(data []byte) (*Font, error) {
	if len(data) > MaxFontFile {
		return nil, fmt.Errorf("paper: font: %d bytes: %w", len(data), ErrFont)
	}
	t := &typeface{data: data}
	if err := t.open(); err != nil {
		return nil, err
	}
	// The name is for a PDF name object, which takes few characters as they are.
	t.name = strings.Map(func(r rune) rune {
		if r < 0x80 && (r >= '0' && r <= '9' || r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z' || r == '-') {
			return r
		}
		return -1
	}, t.font.Describe().Family)
	if t.name == "" {
		t.name = "Added"
	}
	return &Font{t}, nil
}

// has reports whether the font has a glyph for a character.
func (t *typeface) has(r rune) bool {
	if t.open() != nil {
		return false
	}
	_, ok := t.font.NominalGlyph(r)
	return ok
}

// outline is a glyph as a glyf table carries it, without hints.
type outline struct {
	data                   []byte
	xMin, yMin, xMax, yMax int16
	advance                uint16
	points, contours       int
}

// blank is a glyph that every subset can have: it shows nothing and has no width.
const blank font.GID = math.MaxUint32

// outline returns the outline of a glyph. Outlines of cubic curves (CFF) become
// quadratic ones, so that one kind of font goes into a PDF.
func (t *typeface) outline(id font.GID) *outline {
	if id == blank {
		return new(outline)
	}
	some := t.outlines[uint8(id>>8)].Load()
	if some == nil {
		t.outlines[uint8(id>>8)].CompareAndSwap(nil, new(outlines))
		some = t.outlines[uint8(id>>8)].Load()
	}
	kept := &some[uint8(id)]
	if o := kept.Load(); o != nil {
		return o
	}
	o := new(outline)
	f := font.NewFace(t.font)
	if drawn, ok := f.GlyphDataOutline(id); ok {
		o = drawOutline(drawn.Segments)
	}
	o.advance = uint16(min(math.MaxUint16, max(0, math.Round(float64(f.HorizontalAdvance(id))))))
	kept.Store(o)
	return o
}

// point is one of a TrueType contour.
type point struct {
	x, y float64
	on   bool
}

// drawOutline makes a simple glyph (OpenType, table glyf).
func drawOutline(segments []opentype.Segment) *outline {
	var contours [][]point
	var contour []point
	closeContour := func() {
		// The way back to the start is implied.
		if n := len(contour); n > 1 && contour[n-1] == contour[0] {
			contour = contour[:n-1]
		}
		if len(contour) > 1 {
			contours = append(contours, withoutImplied(contour))
		}
		contour = nil
	}
	at := func(p opentype.SegmentPoint, on bool) point { return point{float64(p.X), float64(p.Y), on} }
	for _, s := range segments {
		switch s.Op {
		case opentype.SegmentOpMoveTo:
			closeContour()
			contour = append(contour, at(s.Args[0], true))
		case opentype.SegmentOpLineTo:
			contour = append(contour, at(s.Args[0], true))
		case opentype.SegmentOpQuadTo:
			contour = append(contour, at(s.Args[0], false), at(s.Args[1], true))
		case opentype.SegmentOpCubeTo:
			from := contour[len(contour)-1]
			contour = appendCubic(contour, from, at(s.Args[0], false), at(s.Args[1], false), at(s.Args[2], true))
		}
	}
	closeContour()
	return encodeOutline(contours)
}

// appendCubic appends a cubic curve as quadratic ones that stay within half a
// unit of it.
func appendCubic(to []point, a, b, c, d point) []point {
	// The distance of a cubic from the quadratic that touches its ends is at most
	// √3/36 of its third difference, and falls with the cube of the number of parts.
	third := math.Hypot(d.x-3*c.x+3*b.x-a.x, d.y-3*c.y+3*b.y-a.y)
	parts := max(1, math.Ceil(math.Cbrt(third*math.Sqrt(3)/36/0.5)))
	for i := range int(parts) {
		p := cubicPart(a, b, c, d, float64(i)/parts, float64(i+1)/parts)
		to = append(to,
			point{(3*(p[1].x+p[2].x) - p[0].x - p[3].x) / 4, (3*(p[1].y+p[2].y) - p[0].y - p[3].y) / 4, false},
			point{p[3].x, p[3].y, true})
	}
	to[len(to)-1] = d
	return to
}

// cubicPart is the part of a cubic between two of its parameters, by blossoming.
func cubicPart(a, b, c, d point, t0, t1 float64) [4]point {
	blossom := func(r, s, t float64) point {
		mix := func(p, q point, t float64) point { return point{x: p.x + (q.x-p.x)*t, y: p.y + (q.y-p.y)*t} }
		ab, bc, cd := mix(a, b, r), mix(b, c, r), mix(c, d, r)
		return mix(mix(ab, bc, s), mix(bc, cd, s), t)
	}
	return [4]point{blossom(t0, t0, t0), blossom(t0, t0, t1), blossom(t0, t1, t1), blossom(t1, t1, t1)}
}

// withoutImplied drops the points that stand halfway between two control points,
// which a glyf table leaves out.
func withoutImplied(contour []point) []point {
	var kept []point
	n := len(contour)
	for i, p := range contour {
		before, after := contour[(i+n-1)%n], contour[(i+1)%n]
		if p.on && !before.on && !after.on && i > 0 &&
			math.Abs(p.x*2-before.x-after.x) < 0.01 && math.Abs(p.y*2-before.y-after.y) < 0.01 {
			continue
		}
		kept = append(kept, p)
	}
	return kept
}

func encodeOutline(contours [][]point) *outline {
	o := &outline{contours: len(contours)}
	if len(contours) == 0 {
		return o
	}
	o.xMin, o.yMin, o.xMax, o.yMax = math.MaxInt16, math.MaxInt16, math.MinInt16, math.MinInt16
	var ends, flags, xs, ys []byte
	var x, y int16
	for _, contour := range contours {
		for _, p := range contour {
			px, py := int16(math.Round(p.x)), int16(math.Round(p.y))
			o.xMin, o.xMax, o.yMin, o.yMax = min(o.xMin, px), max(o.xMax, px), min(o.yMin, py), max(o.yMax, py)
			var flag byte
			if p.on {
				flag = 1
			}
			xs = appendDelta(xs, px-x, &flag, 2, 16)
			ys = appendDelta(ys, py-y, &flag, 4, 32)
			flags = append(flags, flag)
			x, y = px, py
		}
		ends = append(ends, byte((len(flags)-1)>>8), byte(len(flags)-1))
	}
	o.points = len(flags)
	for _, v := range []int16{int16(len(contours)), o.xMin, o.yMin, o.xMax, o.yMax} {
		o.data = append(o.data, byte(v>>8), byte(v))
	}
	o.data = append(o.data, ends...)
	o.data = append(o.data, 0, 0) // no instructions
	o.data = append(o.data, flags...)
	o.data = append(append(o.data, xs...), ys...)
	for len(o.data)%4 != 0 {
		o.data = append(o.data, 0)
	}
	return o
}

// appendDelta appends a coordinate as the distance from the one before: in one
// byte with its sign in the flag, in two, or in none where it is the same.
func appendDelta(to []byte, d int16, flag *byte, short, same byte) []byte {
	switch {
	case d == 0:
		*flag |= same
		return to
	case d > 0 && d < 256:
		*flag |= short | same
		return append(to, byte(d))
	case d < 0 && d > -256:
		*flag |= short
		return append(to, byte(-d))
	}
	return append(to, byte(d>>8), byte(d))
}
