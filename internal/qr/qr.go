// Package qr turns texts into QR symbols and pictures back into texts.
//
// Writing follows ISO/IEC 18004 (Model 2, versions 1 to 40). Encode packs the
// text into segments, takes the smallest version that holds them and the data
// mask with the lowest penalty (clause 7.8.3); the Symbol then draws itself as
// SVG, for paper, or as a one-bit PNG, for screens and messages:
//
//	symbol, err := qr.Encode("HC1:6BF...", qr.Q)
//	...
//	picture, err := symbol.PNG(qr.Options{Scale: 4})
//
// The same text, level and options always give the same bytes.
//
// Reading takes the bytes of a PNG, JPEG or GIF and returns every text found:
//
//	texts, err := qr.Read(photo)
//
// Pictures come from strangers, so Read is bounded in size, memory and work
// before it decodes a pixel; the constants MaxFile, MaxPixels and MaxMemory
// state the limits. It keeps no clock: the same picture always gets the same
// answer, however busy the machine is.
package qr

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync/atomic"

	"rsc.io/qr/coding"

	"ampoule/format"
)

// Defects of a text to be encoded, or of the options to draw it with.
const (
	ErrEmpty   format.Defect = "text-empty"           // there is nothing to encode
	ErrTooLong format.Defect = "text-too-long"        // the text does not fit version 40 at the level asked for
	ErrLevel   format.Defect = "unknown-level"        // the level is none of L, M, Q and H
	ErrOptions format.Defect = "bad-picture-settings" // a quiet zone below 4 modules, a size out of range
)

// Level is how much damage a symbol survives: the share of codewords that can
// be wrong is about 7 % for L, 15 % for M, 25 % for Q and 30 % for H.
type Level int

// The four levels of ISO/IEC 18004 clause 7.5.1.
const (
	L Level = iota
	M
	Q
	H
)

// String returns the letter of the level.
func (l Level) String() string {
	if l < L || l > H {
		return fmt.Sprintf("Level(%d)", int(l))
	}
	return "LMQH"[l : l+1]
}

const (
	minVersion = 1
	maxVersion = 40

	// quietZone is the width of the light margin that ISO/IEC 18004 clause 6.3.8
	// requires on every side, in modules.
	quietZone = 4
)

// sizeOf returns the modules on a side of a version (ISO/IEC 18004 clause 6.3.1).
func sizeOf(version int) int { return 17 + 4*version }

// row is one row of modules, dark ones set, the leftmost in the highest bit of
// the first word. 177 modules, the side of version 40, fit.
type row [3]uint64

func (r *row) get(x int) bool { return r[x>>6]&(1<<(63-x&63)) != 0 }

func (r *row) put(x int, dark bool) {
	if dark {
		r[x>>6] |= 1 << (63 - x&63)
	} else {
		r[x>>6] &^= 1 << (63 - x&63)
	}
}

// Symbol is one QR symbol: a square of dark and light modules without its quiet
// zone. It is never changed after Encode returned it, so it can be drawn by
// several goroutines at a time.
type Symbol struct {
	version int
	level   Level
	mask    int
	rows    []row
}

// Version returns the version, 1 to 40.
func (s *Symbol) Version() int { return s.version }

// Level returns the level that the symbol was encoded with.
func (s *Symbol) Level() Level { return s.level }

// Size returns the modules on a side, quiet zone excluded: 21 to 177.
func (s *Symbol) Size() int { return len(s.rows) }

// Black reports whether the module in column x of row y is dark. Everything
// outside the symbol is light.
func (s *Symbol) Black(x, y int) bool {
	if x < 0 || y < 0 || x >= len(s.rows) || y >= len(s.rows) {
		return false
	}
	return s.rows[y].get(x)
}

// EncodeWithin makes the symbol at the given level, or at a lower one where it
// would have more than side modules; at level L of any size. A reader mends less
// then, and a camera sees more of each module, which matters more for a code
// that is large.
func EncodeWithin(text string, level Level, side int) (*Symbol, error) {
	for ; level > L; level-- {
		s, err := Encode(text, level)
		if err == nil && s.Size() <= side {
			return s, nil
		}
		if err != nil && !errors.Is(err, ErrTooLong) {
			return nil, err
		}
	}
	return Encode(text, level)
}

// Encode makes the smallest symbol that carries text at the given level. Any
// bytes can be encoded, UTF-8 or not. It returns ErrEmpty, ErrLevel, or
// ErrTooLong where even version 40 is too small: at level L that takes more
// than 7089 digits, 4296 alphanumeric characters or 2953 bytes.
func Encode(text string, level Level) (*Symbol, error) {
	if text == "" {
		return nil, fmt.Errorf("qr: %w", ErrEmpty)
	}
	if level < L || level > H {
		return nil, fmt.Errorf("qr: level %d: %w", int(level), ErrLevel)
	}
	version, segments := fit(text, level)
	if version == 0 {
		return nil, fmt.Errorf("qr: %d bytes at level %v: %w", len(text), level, ErrTooLong)
	}
	sheet, err := layoutFor(version, level)
	if err != nil {
		return nil, fmt.Errorf("qr: version %d: %w", version, err)
	}
	code, err := sheet.plan.Encode(segments...)
	if err != nil {
		return nil, fmt.Errorf("qr: version %d: %w", version, err)
	}

	s := &Symbol{version: version, level: level, rows: make([]row, code.Size)}
	var padded [24]byte
	for y := range s.rows {
		n := copy(padded[:], code.Bitmap[y*code.Stride:][:(code.Size+7)/8])
		clear(padded[n:])
		for i := range s.rows[y] {
			s.rows[y][i] = binary.BigEndian.Uint64(padded[8*i:])
		}
	}
	s.chooseMask(sheet)
	return s, nil
}

// fit returns the smallest version that holds text at level, and the segments
// to write, or 0. Segment headers have three lengths, one per class of
// versions, so the best split can differ between classes.
func fit(text string, level Level) (int, []coding.Encoding) {
	version := minVersion
	for class, last := range [...]int{9, 26, maxVersion} {
		segments := split(text, class)
		bits := 0
		for _, s := range segments {
			bits += s.Bits(coding.Version(last))
		}
		for ; version <= last; version++ {
			if bits <= 8*coding.Version(version).DataBytes(coding.Level(level)) {
				return version, segments
			}
		}
	}
	return 0, nil
}

// layout is what all symbols of one version and level share.
type layout struct {
	plan *coding.Plan // with mask 0; only ever read
	data []row        // the modules that a mask applies to
}

// layouts keeps each layout once it was needed: building one takes longer than
// filling it in. All 160 together are about 7 MB.
var layouts [maxVersion + 1][H + 1]atomic.Pointer[layout]

func layoutFor(version int, level Level) (*layout, error) {
	slot := &layouts[version][level]
	if l := slot.Load(); l != nil {
		return l, nil
	}
	plan, err := coding.NewPlan(coding.Version(version), coding.Level(level), 0)
	if err != nil {
		return nil, err
	}
	l := &layout{plan: plan, data: make([]row, len(plan.Pixel))}
	for y, pixels := range plan.Pixel {
		for x, p := range pixels {
			switch p.Role() {
			case coding.Data, coding.Check, coding.Extra:
				l.data[y].put(x, true)
			}
		}
	}
	slot.Store(l)
	return l, nil
}
