package qr

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"image"
	"image/color"
	"image/gif"
	"image/jpeg"
	"image/png"

	"github.com/makiuchi-d/gozxing"
)

// Limits of a picture to be read. They are checked against its header, before
// anything is decoded.
const (
	MaxFile   = 32 << 20 // bytes of the file
	MaxPixels = 16 << 20 // width times height
	MaxMemory = 96 << 20 // bytes that the decoded picture and its grey copy take
)

// grey is a picture in 256 steps of brightness, 0 black. Row y starts at
// pix[y*stride].
type grey struct {
	pix                   []byte
	width, height, stride int
}

// codec is a picture format, told by the first bytes of a file.
type codec struct {
	magic  string
	header func(data []byte) (image.Config, error)
	decode func(data []byte) (image.Image, error)
}

var codecs = []codec{
	{"\x89PNG\r\n\x1a\n",
		func(d []byte) (image.Config, error) { return png.DecodeConfig(bytes.NewReader(d)) },
		func(d []byte) (image.Image, error) { return png.Decode(bytes.NewReader(d)) }},
	{"\xff\xd8\xff",
		func(d []byte) (image.Config, error) { return jpeg.DecodeConfig(bytes.NewReader(d)) },
		func(d []byte) (image.Image, error) { return jpeg.Decode(bytes.NewReader(d)) }},
	{"GIF8",
		func(d []byte) (image.Config, error) { return gif.DecodeConfig(bytes.NewReader(d)) },
		func(d []byte) (image.Image, error) { return gif.Decode(bytes.NewReader(d)) }},
}

// IsPicture reports whether data starts like a PNG, a JPEG or a GIF, the
// formats that Read takes.
func IsPicture(data []byte) bool { return codecOf(data) != nil }

func codecOf(data []byte) *codec {
	for i := range codecs {
		if bytes.HasPrefix(data, []byte(codecs[i].magic)) {
			return &codecs[i]
		}
	}
	return nil
}

// open decodes a picture within the limits.
func open(data []byte) (grey, error) {
	if len(data) > MaxFile {
		return grey{}, fmt.Errorf("qr: file of %d bytes, limit %d: %w", len(data), MaxFile, ErrTooLarge)
	}
	c := codecOf(data)
	if c == nil {
		return grey{}, fmt.Errorf("qr: neither PNG, JPEG nor GIF: %w", ErrNotPicture)
	}
	config, err := c.header(data)
	if err != nil {
		return grey{}, fmt.Errorf("qr: picture header: %v: %w", err, ErrUnreadable)
	}
	if config.Width <= 0 || config.Height <= 0 {
		return grey{}, fmt.Errorf("qr: picture without area: %w", ErrUnreadable)
	}
	// Divided, not multiplied: a header can name sides whose product overflows.
	if config.Width > MaxPixels/config.Height {
		return grey{}, fmt.Errorf("qr: %d x %d pixels, limit %d: %w", config.Width, config.Height, MaxPixels, ErrTooLarge)
	}
	if need := memory(data, config); need > MaxMemory {
		return grey{}, fmt.Errorf("qr: picture takes %d MiB to decode, limit %d: %w", need>>20, MaxMemory>>20, ErrTooLarge)
	}
	img, err := c.decode(data)
	if err != nil {
		return grey{}, fmt.Errorf("qr: picture: %v: %w", err, ErrUnreadable)
	}
	return toGrey(img), nil
}

// memory estimates the bytes needed to decode a picture and hold it in grey.
func memory(data []byte, config image.Config) int {
	perPixel := 4 // RGBA, NRGBA, CMYK
	switch config.ColorModel {
	case color.GrayModel, color.Gray16Model, color.YCbCrModel:
		perPixel = 3
	case color.RGBA64Model, color.NRGBA64Model:
		perPixel = 8
	}
	if _, ok := config.ColorModel.(color.Palette); ok {
		perPixel = 1
	}
	need := config.Width * config.Height * (perPixel + 1)
	return need + coefficients(data)
}

// coefficients returns the bytes that Go's JPEG decoder keeps until the last
// scan of a progressive picture: 4 for each sample of each component, far more
// than the pixels. It is 0 for anything else.
func coefficients(data []byte) int {
	if !bytes.HasPrefix(data, []byte("\xff\xd8")) {
		return 0
	}
	for i := 2; i+4 <= len(data); {
		if data[i] != 0xff {
			i++ // fill bytes between segments
			continue
		}
		marker := data[i+1]
		if marker == 0xff || marker == 0 || 0xd0 <= marker && marker <= 0xd7 {
			i++
			continue
		}
		length := int(binary.BigEndian.Uint16(data[i+2:]))
		body := data[i+4:]
		if marker == 0xda { // start of scan: no frame header comes after it
			return 0
		}
		if marker == 0xc2 && len(body) >= 6 { // SOF2 (ITU-T T.81, B.2.2)
			height, width := int(binary.BigEndian.Uint16(body[1:])), int(binary.BigEndian.Uint16(body[3:]))
			components := body[6:]
			most, sum := 1, 0
			for c := range int(body[5]) {
				if 3*c+1 >= len(components) {
					break
				}
				sampling := int(components[3*c+1]>>4) * int(components[3*c+1]&15)
				most = max(most, sampling)
				sum += sampling
			}
			return 4 * width * height * sum / most
		}
		i += 2 + max(length, 2)
	}
	return 0
}

// toGrey converts a picture, transparent parts becoming white paper.
func toGrey(img image.Image) grey {
	b := img.Bounds()
	w, h := b.Dx(), b.Dy()
	switch m := img.(type) {
	case *image.YCbCr: // the brightness is there already
		return grey{pix: m.Y, width: w, height: h, stride: m.YStride}
	case *image.Gray:
		return grey{pix: m.Pix, width: w, height: h, stride: m.Stride}
	}

	g := grey{pix: make([]byte, w*h), width: w, height: h, stride: w}
	switch m := img.(type) {
	case *image.Paletted:
		var shade [256]byte
		for i, c := range m.Palette {
			shade[i] = brightness(c.RGBA())
		}
		for y := range h {
			line := g.pix[y*w:][:w]
			for x, p := range m.Pix[y*m.Stride:][:w] {
				line[x] = shade[p]
			}
		}
	case *image.NRGBA:
		for y := range h {
			line, from := g.pix[y*w:][:w], m.Pix[y*m.Stride:]
			for x := range line {
				p := from[4*x:][:4]
				light := (299*int(p[0]) + 587*int(p[1]) + 114*int(p[2])) / 1000
				line[x] = byte((light*int(p[3]) + 255*(255-int(p[3]))) / 255)
			}
		}
	case *image.RGBA:
		for y := range h {
			line, from := g.pix[y*w:][:w], m.Pix[y*m.Stride:]
			for x := range line {
				p := from[4*x:][:4]
				line[x] = byte((299*int(p[0])+587*int(p[1])+114*int(p[2]))/1000 + 255 - int(p[3]))
			}
		}
	default:
		for y := range h {
			for x := range w {
				g.pix[y*w+x] = brightness(img.At(b.Min.X+x, b.Min.Y+y).RGBA())
			}
		}
	}
	return g
}

// brightness returns the luma of a colour on white paper. The parts are 16 bits
// wide and premultiplied by alpha, as color.Color gives them.
func brightness(r, g, b, a uint32) byte {
	return byte(((299*r+587*g+114*b)/1000 + 0xffff - a) >> 8)
}

// shrink returns the picture at 1/k of its size, each pixel the mean of k x k.
func (g grey) shrink(k int) grey {
	s := grey{width: g.width / k, height: g.height / k}
	s.stride = s.width
	s.pix = make([]byte, s.width*s.height)
	sums := make([]int, s.width)
	for y := range s.height {
		clear(sums)
		for dy := range k {
			line := g.pix[(y*k+dy)*g.stride:][:s.width*k]
			for x := range sums {
				for _, p := range line[x*k : x*k+k] {
					sums[x] += int(p)
				}
			}
		}
		for x, sum := range sums {
			s.pix[y*s.stride+x] = byte(sum / (k * k))
		}
	}
	return s
}

// enlarge returns the picture at k times its size, in square dots.
func (g grey) enlarge(k int) grey {
	e := grey{width: g.width * k, height: g.height * k}
	e.stride = e.width
	e.pix = make([]byte, e.width*e.height)
	for y := range g.height {
		line := e.pix[y*k*e.stride:][:e.width]
		for x := range g.width {
			p := g.pix[y*g.stride+x]
			for i := range k {
				line[x*k+i] = p
			}
		}
		for i := 1; i < k; i++ {
			copy(e.pix[(y*k+i)*e.stride:], line)
		}
	}
	return e
}

// inverted returns the picture with light and dark exchanged.
func (g grey) inverted() grey {
	n := grey{pix: make([]byte, g.width*g.height), width: g.width, height: g.height, stride: g.width}
	for y := range g.height {
		line := n.pix[y*n.stride:][:n.width]
		for x, p := range g.pix[y*g.stride:][:g.width] {
			line[x] = 255 - p
		}
	}
	return n
}

// smooth returns the picture with each pixel replaced by the median of the 3 x 3
// around it, which removes single wrong dots and keeps edges.
func (g grey) smooth() grey {
	s := grey{pix: make([]byte, g.width*g.height), width: g.width, height: g.height, stride: g.width}
	for y := range g.height {
		out := s.pix[y*s.stride:][:s.width]
		copy(out, g.pix[y*g.stride:])
		if y == 0 || y == g.height-1 {
			continue
		}
		a, b, c := g.pix[(y-1)*g.stride:], g.pix[y*g.stride:], g.pix[(y+1)*g.stride:]
		for x := 1; x < g.width-1; x++ {
			// The median of nine is the median of: the largest minimum, the middle
			// median and the smallest maximum of the three columns.
			l0, m0, h0 := sort3(a[x-1], b[x-1], c[x-1])
			l1, m1, h1 := sort3(a[x], b[x], c[x])
			l2, m2, h2 := sort3(a[x+1], b[x+1], c[x+1])
			_, mid, _ := sort3(m0, m1, m2)
			_, out[x], _ = sort3(max(l0, l1, l2), mid, min(h0, h1, h2))
		}
	}
	return s
}

func sort3(a, b, c byte) (low, mid, high byte) {
	low, high = min(a, b, c), max(a, b, c)
	return low, a ^ b ^ c ^ low ^ high, high
}

// global splits the picture at one brightness, the one that parts its histogram
// best (Otsu's method: the largest variance between the two classes).
func (g grey) global() (*gozxing.BitMatrix, error) {
	var histogram [256]int
	total, sum := 0, 0
	for y := range g.height {
		for _, p := range g.pix[y*g.stride:][:g.width] {
			histogram[p]++
		}
	}
	for v, n := range histogram {
		total += n
		sum += v * n
	}
	threshold, best := 0, -1.0
	dark, darkSum := 0, 0
	for v, n := range histogram {
		dark += n
		darkSum += v * n
		if dark == 0 || dark == total {
			continue
		}
		d := float64(darkSum)/float64(dark) - float64(sum-darkSum)/float64(total-dark)
		if between := d * d * float64(dark) * float64(total-dark); between > best {
			threshold, best = v, between
		}
	}
	m, err := gozxing.NewBitMatrix(g.width, g.height)
	if err != nil {
		return nil, err
	}
	for y := range g.height {
		for x, p := range g.pix[y*g.stride:][:g.width] {
			if int(p) <= threshold {
				m.Set(x, y)
			}
		}
	}
	return m, nil
}

// local splits the picture at a brightness that follows the light across it.
func (g grey) local() (*gozxing.BitMatrix, error) {
	return gozxing.NewHybridBinarizer(luminance{&gozxing.LuminanceSourceBase{Width: g.width, Height: g.height}, g}).GetBlackMatrix()
}

// luminance shows a grey picture to the binarizer.
type luminance struct {
	*gozxing.LuminanceSourceBase
	g grey
}

func (l luminance) GetRow(y int, _ []byte) ([]byte, error) {
	return l.g.pix[y*l.g.stride:][:l.g.width], nil
}

func (l luminance) GetMatrix() []byte {
	if l.g.stride == l.g.width {
		return l.g.pix
	}
	packed := make([]byte, 0, l.g.width*l.g.height)
	for y := range l.g.height {
		packed = append(packed, l.g.pix[y*l.g.stride:][:l.g.width]...)
	}
	return packed
}

func (l luminance) Invert() gozxing.LuminanceSource {
	n := l.g.inverted()
	return luminance{l.LuminanceSourceBase, n}
}

func (l luminance) String() string { return fmt.Sprintf("%d x %d", l.g.width, l.g.height) }
