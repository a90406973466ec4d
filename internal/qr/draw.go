package qr

import (
	"bytes"
	"encoding/binary"
	"encoding/xml"
	"fmt"
	"hash/crc32"
	"math"
	"strconv"
	"sync"

	"github.com/klauspost/compress/zlib"
)

// Options say how to draw a symbol. The zero value is a good default for a
// screen.
type Options struct {
	// Scale is the side of a module in a PNG, in pixels; 0 means 4. SVG does not
	// use it.
	Scale int

	// Millimetres is the side of the printed picture, quiet zone included; 0
	// leaves the size open. A PNG states it as pixels per metre, so that a
	// printing program takes the size over.
	Millimetres float64

	// QuietZone is the light margin in modules; 0 means the 4 that ISO/IEC 18004
	// clause 6.3.8 requires. Less is refused: readers lose such symbols on dark
	// paper, and nobody notices on a white page.
	QuietZone int

	// Title is the text that a screen reader speaks for an SVG. It should say
	// what the code is for, and not repeat personal data from it.
	Title string
}

const (
	defaultScale   = 4
	maxQuietZone   = 64
	maxSide        = 16384 // pixels of a PNG side: 32 MiB of bits before compression
	maxMillimetres = 10000
)

// checked returns the options with the defaults filled in.
func (o Options) checked(s *Symbol) (Options, error) {
	if o.Scale == 0 {
		o.Scale = defaultScale
	}
	if o.QuietZone == 0 {
		o.QuietZone = quietZone
	}
	switch {
	case o.QuietZone < quietZone || o.QuietZone > maxQuietZone:
		return o, fmt.Errorf("qr: quiet zone of %d modules, want %d to %d: %w", o.QuietZone, quietZone, maxQuietZone, ErrOptions)
	case o.Scale < 1 || o.Scale > maxSide/(s.Size()+2*o.QuietZone):
		return o, fmt.Errorf("qr: %d pixels a module, want 1 to %d: %w", o.Scale, maxSide/(s.Size()+2*o.QuietZone), ErrOptions)
	case !(o.Millimetres >= 0 && o.Millimetres <= maxMillimetres): // catches NaN too
		return o, fmt.Errorf("qr: %v mm wide, want 0 to %d: %w", o.Millimetres, maxMillimetres, ErrOptions)
	case o.Millimetres > 0 && o.Millimetres < 1:
		return o, fmt.Errorf("qr: %v mm wide, want at least 1: %w", o.Millimetres, ErrOptions)
	}
	return o, nil
}

// SVG draws the symbol as an SVG 1.1 document: one path of dark runs on a white
// square, the module being the unit. It returns ErrOptions for options out of
// range.
func (s *Symbol) SVG(opts Options) ([]byte, error) {
	o, err := opts.checked(s)
	if err != nil {
		return nil, err
	}
	side := strconv.Itoa(s.Size() + 2*o.QuietZone)

	b := make([]byte, 0, 512+len(o.Title)+s.Size()*s.Size()*4)
	b = append(b, `<svg xmlns="http://www.w3.org/2000/svg" version="1.1" role="img" viewBox="0 0 `...)
	b = append(b, side+" "+side+`"`...)
	if o.Millimetres > 0 {
		mm := strconv.FormatFloat(o.Millimetres, 'f', -1, 64)
		b = append(b, ` width="`+mm+`mm" height="`+mm+`mm"`...)
	}
	b = append(b, ` shape-rendering="crispEdges">`...)
	if o.Title != "" {
		var title bytes.Buffer
		if err := xml.EscapeText(&title, []byte(o.Title)); err != nil {
			return nil, fmt.Errorf("qr: title: %w", err)
		}
		b = append(b, "<title>"...)
		b = append(b, title.Bytes()...)
		b = append(b, "</title>"...)
	}
	b = append(b, `<rect width="`+side+`" height="`+side+`" fill="#fff"/><path d="`...)
	for y := range s.rows {
		from := 0 // start of the run before: closing a run goes back there
		first := true
		for x := 0; x < len(s.rows); {
			if !s.rows[y].get(x) {
				x++
				continue
			}
			start := x
			for x < len(s.rows) && s.rows[y].get(x) {
				x++
			}
			if first {
				b = append(b, 'M')
				b = strconv.AppendInt(b, int64(start+o.QuietZone), 10)
				b = append(b, ' ')
				b = strconv.AppendInt(b, int64(y+o.QuietZone), 10)
			} else {
				b = append(b, 'm')
				b = strconv.AppendInt(b, int64(start-from), 10)
				b = append(b, " 0"...)
			}
			first, from = false, start
			b = append(b, 'h')
			b = strconv.AppendInt(b, int64(x-start), 10)
			b = append(b, "v1h-"...)
			b = strconv.AppendInt(b, int64(x-start), 10)
			b = append(b, 'z')
		}
	}
	return append(b, "\"/></svg>\n"...), nil
}

// PNG draws the symbol as a PNG of one bit a pixel. It returns ErrOptions for
// options out of range.
func (s *Symbol) PNG(opts Options) ([]byte, error) {
	o, err := opts.checked(s)
	if err != nil {
		return nil, err
	}
	side := o.Scale * (s.Size() + 2*o.QuietZone)

	w := pngWriters.Get().(*pngWriter)
	defer pngWriters.Put(w)
	w.out.Reset()
	w.out.WriteString("\x89PNG\r\n\x1a\n")

	// Width, height, 1 bit, greyscale, deflate, the five filters, not interlaced
	// (PNG specification, third edition, section 11.2.1).
	header := binary.BigEndian.AppendUint32(nil, uint32(side))
	header = binary.BigEndian.AppendUint32(header, uint32(side))
	w.chunk("IHDR", append(header, 1, 0, 0, 0, 0))
	if o.Millimetres > 0 {
		perMetre := uint32(math.Round(float64(side) * 1000 / o.Millimetres))
		phys := binary.BigEndian.AppendUint32(nil, perMetre)
		phys = binary.BigEndian.AppendUint32(phys, perMetre)
		w.chunk("pHYs", append(phys, 1)) // 1: the unit is the metre
	}
	if err := w.pixels(s, o, side); err != nil {
		return nil, fmt.Errorf("qr: compressing: %w", err)
	}
	w.chunk("IDAT", w.packed.Bytes())
	w.chunk("IEND", nil)
	return bytes.Clone(w.out.Bytes()), nil
}

// pngWriter holds the buffers of one drawing. A compressor costs far more to
// make than to use for a symbol, hence the pool.
type pngWriter struct {
	out    bytes.Buffer
	packed bytes.Buffer
	zip    *zlib.Writer
	line   []byte
}

var pngWriters = sync.Pool{New: func() any {
	// Level 1: a symbol is random bits, so harder work saves next to nothing.
	z, err := zlib.NewWriterLevel(nil, zlib.BestSpeed)
	if err != nil {
		panic(err) // the level is a constant in range
	}
	return &pngWriter{zip: z}
}}

// pixels compresses the picture into w.packed.
func (w *pngWriter) pixels(s *Symbol, o Options, side int) error {
	w.packed.Reset()
	w.zip.Reset(&w.packed)
	stride := 1 + (side+7)/8
	if cap(w.line) < 2*stride {
		w.line = make([]byte, 2*stride)
	}
	line, same := w.line[:stride], w.line[stride:2*stride]

	// Filter 2 stores the difference from the line above: a repeated line is all
	// zeros, which compresses to nothing.
	clear(same)
	same[0] = 2

	blank := func(lines int) error {
		clear(line)
		for i := range line[1:] {
			line[1+i] = 0xff
		}
		return w.lines(line, same, lines)
	}
	if err := blank(o.QuietZone * o.Scale); err != nil {
		return err
	}
	for y := range s.rows {
		line[0] = 0
		for i := range line[1:] {
			line[1+i] = 0xff
		}
		for x := range s.rows {
			if s.rows[y].get(x) {
				darken(line[1:], (x+o.QuietZone)*o.Scale, o.Scale)
			}
		}
		if err := w.lines(line, same, o.Scale); err != nil {
			return err
		}
	}
	if err := blank(o.QuietZone * o.Scale); err != nil {
		return err
	}
	return w.zip.Close()
}

// lines writes line n times.
func (w *pngWriter) lines(line, same []byte, n int) error {
	if _, err := w.zip.Write(line); err != nil {
		return err
	}
	for range n - 1 {
		if _, err := w.zip.Write(same); err != nil {
			return err
		}
	}
	return nil
}

// darken clears n bits from bit x on.
func darken(line []byte, x, n int) {
	for n > 0 {
		room := 8 - x&7
		k := min(room, n)
		line[x>>3] &^= byte((1<<k - 1) << (room - k))
		x, n = x+k, n-k
	}
}

// chunk appends one chunk (PNG specification, section 5.3).
func (w *pngWriter) chunk(name string, data []byte) {
	var word [4]byte
	binary.BigEndian.PutUint32(word[:], uint32(len(data)))
	w.out.Write(word[:])
	start := w.out.Len()
	w.out.WriteString(name)
	w.out.Write(data)
	binary.BigEndian.PutUint32(word[:], crc32.ChecksumIEEE(w.out.Bytes()[start:]))
	w.out.Write(word[:])
}
