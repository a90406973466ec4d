package qr

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"github.com/makiuchi-d/gozxing"
	"github.com/makiuchi-d/gozxing/common"
	"github.com/makiuchi-d/gozxing/common/reedsolomon"
	"github.com/makiuchi-d/gozxing/qrcode/decoder"
	"github.com/makiuchi-d/gozxing/qrcode/detector"
	"golang.org/x/text/encoding/japanese"
)

// part is what one symbol carries.
type part struct {
	text string

	// Structured append (ISO/IEC 18004 clause 8): this is symbol index of count
	// whose joined data have the given parity. count is 0 for a single symbol.
	index, count, parity int
}

// decodeTriple samples the symbol between three finders and decodes it.
func decodeTriple(m *gozxing.BitMatrix, all []finder, t triple) (part, bool) {
	// A symbol seen in a mirror has right and below exchanged.
	for _, way := range [][2]int{{t.right, t.below}, {t.below, t.right}} {
		corner, right, below := all[t.corner], all[way[0]], all[way[1]]
		for _, g := range grids(m, corner, right, below) {
			tries := []grid{g}
			if a, ok := g.aligned(m); ok {
				tries = []grid{a, g}
			}
			for _, try := range tries {
				bits, err := try.sample(m)
				if err != nil {
					continue
				}
				if p, err := decodeModules(bits); err == nil {
					return p, true
				}
			}
		}
	}
	return part{}, false
}

// grid is a guess of where the modules of a symbol are: a square of n modules,
// seen in perspective. The centres of the three finders, 3.5 modules from the
// edges, are known; the rest is how much nearer to the camera, or farther, the
// symbol is at the right and at the lower finder, as the divisor of the
// perspective there, where it is 1 at the corner.
type grid struct {
	n                    int
	corner, right, below finder
	wRight, wBelow       float64
	score                float64 // share of the timing patterns that is right
}

// at returns the pixel under a point of the symbol, in modules from its upper
// left edge.
func (g *grid) at(u, v float64) (x, y float64) {
	span := float64(g.n - 7)
	a, b := (u-3.5)/span, (v-3.5)/span
	w := 1 + a*(g.wRight-1) + b*(g.wBelow-1)
	x = (g.corner.x + a*(g.wRight*g.right.x-g.corner.x) + b*(g.wBelow*g.below.x-g.corner.x)) / w
	y = (g.corner.y + a*(g.wRight*g.right.y-g.corner.y) + b*(g.wBelow*g.below.y-g.corner.y)) / w
	return x, y
}

// dark returns the colour of the module in column u of row v; ok is false
// outside the picture.
func (g *grid) dark(m *gozxing.BitMatrix, u, v int) (dark, ok bool) {
	x, y := g.at(float64(u)+0.5, float64(v)+0.5)
	// A symbol cut off by the edge of the picture may lack half a module.
	if !(x >= -1 && y >= -1 && x < float64(m.GetWidth()+1) && y < float64(m.GetHeight()+1)) {
		return false, false
	}
	return m.Get(min(max(int(x), 0), m.GetWidth()-1), min(max(int(y), 0), m.GetHeight()-1)), true
}

// grids guesses the version from the distance between the finders, and returns
// those grids whose timing patterns are where they should be, best first.
func grids(m *gozxing.BitMatrix, corner, right, below finder) []grid {
	c1, r := moduleAt(m, corner, right), moduleAt(m, right, corner)
	c2, b := moduleAt(m, corner, below), moduleAt(m, below, corner)
	module := (c1 + r + c2 + b) / 4
	if math.IsNaN(module) || module < 0.5 {
		module = (corner.module + right.module + below.module) / 3
	}
	distance := (math.Hypot(right.x-corner.x, right.y-corner.y) + math.Hypot(below.x-corner.x, below.y-corner.y)) / 2
	guess := (distance/module + 7 - 17) / 4

	// A module far away is smaller by the square of the divisor, along the line.
	// Small differences may as well be errors of measuring, so a flat symbol is
	// always tried, too.
	slants := [][2]float64{{1, 1}}
	if w1, w2 := math.Sqrt(c1/r), math.Sqrt(c2/b); math.Abs(w1-1) < 0.5 && math.Abs(w2-1) < 0.5 { // false for NaN
		slants = append(slants, [2]float64{w1, w2})
	}

	var fits []grid
	// The estimate errs by a share of the size, so large symbols get more tries.
	reach := max(1, 0.12*guess)
	for v := int(math.Ceil(guess - reach)); float64(v) <= guess+reach; v++ {
		if v < minVersion || v > maxVersion {
			continue
		}
		for _, w := range slants {
			g := grid{n: sizeOf(v), corner: corner, right: right, below: below, wRight: w[0], wBelow: w[1]}
			// Seven of ten modules of a true timing pattern are right even in a bad
			// picture; anything else alternates by chance, about half of them.
			if g.score = g.timing(m); g.score >= 0.7 {
				fits = append(fits, g)
			}
		}
	}
	slices.SortStableFunc(fits, func(a, b grid) int { return cmp.Compare(b.score, a.score) })
	return fits[:min(3, len(fits))]
}

// timing returns the share of modules in the two timing patterns that have the
// right colour (ISO/IEC 18004 clause 6.3.5).
func (g *grid) timing(m *gozxing.BitMatrix) float64 {
	good := 0
	for i := 8; i < g.n-8; i++ {
		if dark, ok := g.dark(m, i, 6); ok && dark == (i%2 == 0) {
			good++
		}
		if dark, ok := g.dark(m, 6, i); ok && dark == (i%2 == 0) {
			good++
		}
	}
	return float64(good) / float64(2*(g.n-16))
}

// sample reads the modules of a symbol.
func (g *grid) sample(m *gozxing.BitMatrix) (*gozxing.BitMatrix, error) {
	bits, err := gozxing.NewSquareBitMatrix(g.n)
	if err != nil {
		return nil, err
	}
	for v := range g.n {
		for u := range g.n {
			dark, ok := g.dark(m, u, v)
			if !ok {
				return nil, fmt.Errorf("qr: symbol reaches out of the picture: %w", ErrUnreadable)
			}
			if dark {
				bits.Set(u, v)
			}
		}
	}
	return bits, nil
}

// aligned returns the grid bent so that the alignment pattern nearest the
// fourth corner, a fourth known point, fits. ok is false where none is found.
func (g *grid) aligned(m *gozxing.BitMatrix) (grid, bool) {
	if g.n == sizeOf(1) {
		return grid{}, false // has none (ISO/IEC 18004 clause 6.3.6)
	}
	at := float64(g.n) - 6.5
	x, y := g.at(at, at)
	x1, y1 := g.at(at-1, at)
	module := math.Hypot(x-x1, y-y1)
	if !(x >= 0 && y >= 0 && x < float64(m.GetWidth()) && y < float64(m.GetHeight())) {
		return grid{}, false
	}
	for _, reach := range []float64{4, 8, 16} {
		left, top := max(0, int(x-reach*module)), max(0, int(y-reach*module))
		w := min(m.GetWidth()-1, int(x+reach*module)) - left
		h := min(m.GetHeight()-1, int(y+reach*module)) - top
		if float64(w) < 3*module || float64(h) < 3*module {
			continue
		}
		p, err := detector.NewAlignmentPatternFinder(m, left, top, w, h, module, nil).Find()
		if err != nil {
			continue
		}
		// Solve at(at, at) = p for the two divisors, in which it is linear.
		a := (at - 3.5) / float64(g.n-7)
		px, py := p.GetX(), p.GetY()
		a11, a12 := a*(px-g.right.x), a*(px-g.below.x)
		a21, a22 := a*(py-g.right.y), a*(py-g.below.y)
		b1 := g.corner.x + a*(g.right.x+g.below.x-2*g.corner.x) - px
		b2 := g.corner.y + a*(g.right.y+g.below.y-2*g.corner.y) - py
		det := a11*a22 - a12*a21
		if math.Abs(det) < 1e-9 {
			return grid{}, false
		}
		bent := *g
		bent.wRight, bent.wBelow = 1+(b1*a22-b2*a12)/det, 1+(a11*b2-a21*b1)/det
		if bent.wRight < 0.4 || bent.wBelow < 0.4 || bent.wRight+bent.wBelow < 1.2 {
			return grid{}, false // something else was taken for the pattern
		}
		return bent, true
	}
	return grid{}, false
}

// moduleAt measures the pixels a module at a finder along the line to another:
// from its centre it is 3.5 modules to the outer edge, and as much the other way.
func moduleAt(m *gozxing.BitMatrix, f, other finder) float64 {
	d := math.Hypot(other.x-f.x, other.y-f.y)
	ux, uy := (other.x-f.x)/d, (other.y-f.y)/d
	return (edge(m, f, ux, uy) + edge(m, f, -ux, -uy)) / 7
}

// edge returns the distance from a finder's centre to its outer edge in a
// direction, or NaN where dark, light, dark do not follow each other.
func edge(m *gozxing.BitMatrix, f finder, ux, uy float64) float64 {
	const step = 0.25
	limit := 8 * f.module
	state := 0 // inner square, ring of light, outer ring
	for t := 0.0; t < limit; t += step {
		x, y := f.x+t*ux, f.y+t*uy
		inside := x >= 0 && y >= 0 && int(x) < m.GetWidth() && int(y) < m.GetHeight()
		dark := inside && m.Get(int(x), int(y))
		if dark == (state == 1) {
			if state++; state == 3 {
				return t
			}
		}
	}
	return math.NaN()
}

// decodeModules turns sampled modules into the text they carry. It changes bits.
func decodeModules(bits *gozxing.BitMatrix) (part, error) {
	parser, err := decoder.NewBitMatrixParser(bits)
	if err != nil {
		return part{}, err
	}
	version, err := parser.ReadVersion()
	if err != nil {
		return part{}, err
	}
	info, err := parser.ReadFormatInformation()
	if err != nil {
		return part{}, err
	}
	codewords, err := parser.ReadCodewords()
	if err != nil {
		return part{}, err
	}
	blocks, err := decoder.DataBlock_GetDataBlocks(codewords, version, info.GetErrorCorrectionLevel())
	if err != nil {
		return part{}, err
	}
	var data []byte
	correct := reedsolomon.NewReedSolomonDecoder(reedsolomon.GenericGF_QR_CODE_FIELD_256)
	for _, b := range blocks {
		words := b.GetCodewords()
		ints := make([]int, len(words))
		for i, w := range words {
			ints[i] = int(w)
		}
		if err := correct.Decode(ints, len(words)-b.GetNumDataCodewords()); err != nil {
			return part{}, err
		}
		for _, v := range ints[:b.GetNumDataCodewords()] {
			data = append(data, byte(v))
		}
	}
	return parseSegments(data, version.GetVersionNumber())
}

// parseSegments reads the segments of a symbol (ISO/IEC 18004 clause 7.4).
//
// The library that finds the codewords can do this too, but it guesses a
// character set for bytes and answers in UTF-8, so that binary content is lost.
// Here a byte segment is its bytes, unless the symbol names its character set
// (ECI): then it becomes UTF-8.
func parseSegments(data []byte, version int) (part, error) {
	class := 0
	if version > 9 {
		class = 1
	}
	if version > 26 {
		class = 2
	}
	bits := common.NewBitSource(data)
	var p part
	var out []byte
	var charset *common.CharacterSetECI
	gs1 := false
	bad := func(what string) (part, error) { return part{}, fmt.Errorf("qr: %s: %w", what, ErrUnreadable) }

	for bits.Available() >= 4 {
		indicator, _ := bits.ReadBits(4) // checked just above
		switch indicator {
		case 0: // terminator
			p.text = string(out)
			return p, nil

		case 1, 2, 4, 8:
			m := map[int]mode{1: numeric, 2: alphanumeric, 4: binaryBytes, 8: binaryBytes}[indicator]
			length := countBits[m][class]
			if indicator == 8 {
				length = [...]int{8, 10, 12}[class] // kanji, table 3
			}
			count, err := bits.ReadBits(length)
			if err != nil {
				return bad("segment without a length")
			}
			var segment []byte
			switch indicator {
			case 1:
				segment, err = readDigits(bits, count)
			case 2:
				segment, err = readAlphanumeric(bits, count, gs1)
			case 4:
				segment, err = readBytes(bits, count)
				if err == nil && charset != nil {
					segment, err = charset.GetCharset().NewDecoder().Bytes(segment)
				}
			case 8:
				segment, err = readKanji(bits, count)
			}
			if err != nil {
				return bad("segment")
			}
			out = append(out, segment...)

		case 3: // structured append
			if bits.Available() < 16 {
				return bad("structured append")
			}
			p.index, _ = bits.ReadBits(4)
			p.count, _ = bits.ReadBits(4)
			p.count++
			p.parity, _ = bits.ReadBits(8)

		case 5: // GS1
			gs1 = true

		case 9: // an industry's own application indicator, 8 bits
			if _, err := bits.ReadBits(8); err != nil {
				return bad("application indicator")
			}
			gs1 = true

		case 7:
			number, err := readECI(bits)
			if err != nil {
				return bad("ECI")
			}
			switch number {
			case 26, 27, 170, 899: // UTF-8, ASCII, ISO 646 and binary are their bytes
				charset = nil
			default:
				if charset, err = common.GetCharacterSetECIByValue(number); err != nil || charset == nil {
					return bad("unknown character set")
				}
			}

		default:
			return bad("unknown mode")
		}
	}
	p.text = string(out)
	return p, nil
}

func readDigits(bits *common.BitSource, count int) ([]byte, error) {
	out := make([]byte, 0, count)
	for count > 0 {
		n := min(count, 3)
		v, err := bits.ReadBits([...]int{0, 4, 7, 10}[n])
		if err != nil {
			return nil, err
		}
		if v >= [...]int{0, 10, 100, 1000}[n] {
			return nil, ErrUnreadable
		}
		out = append(out, fmt.Sprintf("%0*d", n, v)...)
		count -= n
	}
	return out, nil
}

func readAlphanumeric(bits *common.BitSource, count int, gs1 bool) ([]byte, error) {
	out := make([]byte, 0, count)
	for count > 0 {
		n := min(count, 2)
		v, err := bits.ReadBits([...]int{0, 6, 11}[n])
		if err != nil {
			return nil, err
		}
		if v >= [...]int{0, 45, 45 * 45}[n] {
			return nil, ErrUnreadable
		}
		if n == 2 {
			out = append(out, alphabet[v/45])
		}
		out = append(out, alphabet[v%45])
		count -= n
	}
	if !gs1 {
		return out, nil
	}
	// In a GS1 symbol "%" stands for the group separator and "%%" for "%"
	// (ISO/IEC 18004 clause 7.4.8.2).
	translated := out[:0]
	for i := 0; i < len(out); i++ {
		c := out[i]
		if c == '%' {
			if i+1 < len(out) && out[i+1] == '%' {
				i++
			} else {
				c = 0x1d
			}
		}
		translated = append(translated, c)
	}
	return translated, nil
}

func readBytes(bits *common.BitSource, count int) ([]byte, error) {
	if bits.Available() < 8*count {
		return nil, ErrUnreadable
	}
	out := make([]byte, count)
	for i := range out {
		v, _ := bits.ReadBits(8) // checked above
		out[i] = byte(v)
	}
	return out, nil
}

// readKanji reads characters of 13 bits and returns them in UTF-8
// (ISO/IEC 18004 clause 7.4.6).
func readKanji(bits *common.BitSource, count int) ([]byte, error) {
	if bits.Available() < 13*count {
		return nil, ErrUnreadable
	}
	shiftJIS := make([]byte, 0, 2*count)
	for range count {
		v, _ := bits.ReadBits(13) // checked above
		c := v/0xc0<<8 | v%0xc0
		if c < 0x1f00 {
			c += 0x8140
		} else {
			c += 0xc140
		}
		shiftJIS = append(shiftJIS, byte(c>>8), byte(c))
	}
	return japanese.ShiftJIS.NewDecoder().Bytes(shiftJIS)
}

// readECI reads an ECI designator of one to three bytes (ISO/IEC 18004 clause
// 7.4.2.2).
func readECI(bits *common.BitSource) (int, error) {
	first, err := bits.ReadBits(8)
	if err != nil {
		return 0, err
	}
	switch {
	case first < 0x80:
		return first, nil
	case first < 0xc0:
		rest, err := bits.ReadBits(8)
		return first&0x3f<<8 | rest, err
	case first < 0xe0:
		rest, err := bits.ReadBits(16)
		return first&0x1f<<16 | rest, err
	}
	return 0, ErrUnreadable
}
