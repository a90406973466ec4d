package qr

import (
	"bytes"
	"encoding/binary"
	"errors"
	"image"
	"image/color"
	"image/gif"
	"image/jpeg"
	"image/png"
	"math"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ampoule/format"
)

// shot says how a camera saw a symbol.
type shot struct {
	dot           float64 // pixels a module
	degrees       float64 // turned clockwise
	quiet         float64 // modules of margin around the symbol; negative: none, and cropped to it
	width, height int     // of the frame; 0: as large as needed
	x, y          float64 // centre of the symbol in the frame, as shares of it; 0: the middle
	dark, light   float64 // brightness; both 0: 0 and 255
	background    float64 // brightness of the rest of the frame, where the margin ends
	slope         float64 // how much darker the right edge of the frame is than the left
	tilt          float64 // perspective: how much nearer the lower edge is than the upper
	mirror        bool
	noise         float64 // standard deviation of the brightness
	pepper        float64 // share of pixels that are black or white by chance
	blur          int     // radius of a box filter, applied twice
}

// take draws a symbol as a camera would see it: area sampled, then blurred, then
// noisy.
func take(s *Symbol, c shot) *image.Gray {
	if c.dark == 0 && c.light == 0 {
		c.light = 255
	}
	if c.background == 0 {
		c.background = c.light
	}
	n := float64(s.Size())
	sin, cos := math.Sincos(c.degrees * math.Pi / 180)
	side := (n + 2*max(c.quiet, 0)) * c.dot
	if c.width == 0 {
		extent := int(math.Ceil(side * (math.Abs(sin) + math.Abs(cos)) * (1 + c.tilt)))
		c.width, c.height = extent, extent
	}
	if c.x == 0 && c.y == 0 {
		c.x, c.y = 0.5, 0.5
	}
	img := image.NewGray(image.Rect(0, 0, c.width, c.height))
	cx, cy := c.x*float64(c.width), c.y*float64(c.height)
	samples := 3
	if c.dot > 8 {
		samples = 2
	}
	random := rand.New(rand.NewPCG(3, 4))
	values := make([]float64, c.width*c.height)
	for y := range c.height {
		for x := range c.width {
			sum := 0.0
			for i := range samples * samples {
				px := float64(x) + (float64(i%samples)+0.5)/float64(samples) - cx
				py := float64(y) + (float64(i/samples)+0.5)/float64(samples) - cy
				zoom := c.dot * (1 + c.tilt*py/side)
				u, v := (px*cos+py*sin)/zoom+n/2, (py*cos-px*sin)/zoom+n/2
				if c.mirror {
					u = n - u
				}
				switch {
				case s.Black(int(math.Floor(u)), int(math.Floor(v))):
					sum += c.dark
				case u >= -c.quiet && v >= -c.quiet && u < n+c.quiet && v < n+c.quiet:
					sum += c.light
				default:
					sum += c.background
				}
			}
			values[y*c.width+x] = sum/float64(samples*samples) - c.slope*float64(x)/float64(c.width)
		}
	}
	for range 2 * min(c.blur, 1) {
		values = boxBlur(values, c.width, c.height, c.blur)
	}
	for i, v := range values {
		v += random.NormFloat64() * c.noise
		if c.pepper > 0 && random.Float64() < c.pepper {
			v = float64(255 * random.IntN(2))
		}
		img.Pix[i] = byte(max(0, min(255, v)))
	}
	return img
}

func boxBlur(v []float64, width, height, r int) []float64 {
	out := make([]float64, len(v))
	for y := range height {
		for x := range width {
			sum, n := 0.0, 0
			for dy := max(-r, -y); dy <= min(r, height-1-y); dy++ {
				for dx := max(-r, -x); dx <= min(r, width-1-x); dx++ {
					sum += v[(y+dy)*width+x+dx]
					n++
				}
			}
			out[y*width+x] = sum / float64(n)
		}
	}
	return out
}

func pngOf(t testing.TB, img image.Image) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := (&png.Encoder{CompressionLevel: png.BestSpeed}).Encode(&b, img); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestRead(t *testing.T) {
	dcc := hc1(576)
	for _, test := range []struct {
		name  string
		text  string
		level Level
		shot  shot
	}{
		{"straight", dcc, Q, shot{dot: 4, quiet: 4}},
		{"90 degrees", dcc, Q, shot{dot: 4, quiet: 4, degrees: 90}},
		{"180 degrees", dcc, Q, shot{dot: 4, quiet: 4, degrees: 180}},
		{"270 degrees", dcc, Q, shot{dot: 4, quiet: 4, degrees: 270}},
		{"7 degrees", dcc, Q, shot{dot: 4, quiet: 4, degrees: 7}},
		{"30 degrees", dcc, Q, shot{dot: 4, quiet: 4, degrees: 30}},
		{"45 degrees", dcc, Q, shot{dot: 4, quiet: 4, degrees: 45}},
		{"200 degrees", dcc, Q, shot{dot: 5, quiet: 4, degrees: 200}},
		{"mirrored", dcc, Q, shot{dot: 4, quiet: 4, mirror: true}},
		{"mirrored and turned", dcc, Q, shot{dot: 4, quiet: 4, mirror: true, degrees: 130}},
		{"one pixel a module", dcc, Q, shot{dot: 1, quiet: 4}},
		{"one pixel a module, no margin", dcc, M, shot{dot: 1}},
		{"one pixel a module, version 1", "A", M, shot{dot: 1, quiet: 4}},
		{"two pixels a module", dcc, Q, shot{dot: 2, quiet: 4}},
		{"two and a half pixels a module", dcc, Q, shot{dot: 2.5, quiet: 4}},
		{"two and a half pixels, 30 degrees", dcc, Q, shot{dot: 2.5, quiet: 4, degrees: 30}},
		{"no quiet zone", dcc, Q, shot{dot: 4}},
		{"no quiet zone, turned", dcc, Q, shot{dot: 4, degrees: 20}},
		{"one module of quiet zone on grey", dcc, Q, shot{dot: 4, quiet: 1, background: 120, width: 600, height: 600}},
		{"low contrast", dcc, Q, shot{dot: 4, quiet: 4, dark: 120, light: 150}},
		{"very low contrast", dcc, Q, shot{dot: 4, quiet: 4, dark: 128, light: 138}},
		{"dark photo", dcc, Q, shot{dot: 4, quiet: 4, dark: 4, light: 40}},
		{"uneven light", dcc, Q, shot{dot: 4, quiet: 4, dark: 70, light: 250, slope: 170}},
		{"inverted", dcc, Q, shot{dot: 4, quiet: 4, dark: 255, light: 0.1, background: 0.1}},
		{"inverted, grey, turned", dcc, Q, shot{dot: 4, quiet: 4, dark: 200, light: 60, degrees: 12}},
		{"noisy", dcc, Q, shot{dot: 5, quiet: 4, noise: 40}},
		{"noisy, turned", dcc, Q, shot{dot: 5, quiet: 4, noise: 40, degrees: 33}},
		{"noisy and large", dcc, Q, shot{dot: 10, quiet: 4, noise: 80}},
		{"salt and pepper", dcc, Q, shot{dot: 4, quiet: 4, pepper: 0.08}},
		{"much salt and pepper", dcc, Q, shot{dot: 6, quiet: 4, pepper: 0.25}},
		{"blurred", dcc, Q, shot{dot: 5, quiet: 4, blur: 2}},
		{"blurred, turned", dcc, Q, shot{dot: 5, quiet: 4, blur: 2, degrees: 15}},
		{"slanted", dcc, Q, shot{dot: 5, quiet: 4, tilt: 0.2}},
		{"slanted, turned", dcc, Q, shot{dot: 6, quiet: 4, tilt: 0.25, degrees: 40}},
		{"corner of a big frame", dcc, Q, shot{dot: 3, quiet: 4, width: 3000, height: 2000, x: 0.07, y: 0.1, background: 90}},
		{"other corner, noisy", dcc, Q, shot{dot: 4, quiet: 4, width: 2400, height: 1800, x: 0.88, y: 0.86, background: 140, noise: 12, degrees: 5}},
		{"large photo", dcc, Q, shot{dot: 24, quiet: 4, width: 4000, height: 3000, background: 100, noise: 25, degrees: 8}},
		{"version 1", "HELLO", H, shot{dot: 6, quiet: 4, degrees: 25}},
		{"version 1 at a slant", "HELLO", H, shot{dot: 8, quiet: 4, tilt: 0.15}},
		{"version 7", hc1(150), M, shot{dot: 4, quiet: 4, degrees: 80}},
		{"version 40", shc(6900), L, shot{dot: 4, quiet: 4, degrees: 3}},
		{"SMART Health Card", shc(2390), L, shot{dot: 4, quiet: 4, degrees: 11}},
		{"binary", "PK\x03\x04\x14\x00\x08\x08\x80\x81\xfe\xff\x00\x01", M, shot{dot: 4, quiet: 4}},
		{"UTF-8", "Æsop, Łódź, 東京, कोविड", M, shot{dot: 4, quiet: 4}},
		{"two bytes that look like a UTF-16 mark", "\xfe\xffab", M, shot{dot: 4, quiet: 4}},
		{"looks like Shift JIS", "\xb1\xb2\xb3\xb4", M, shot{dot: 4, quiet: 4}},
	} {
		t.Run(test.name, func(t *testing.T) {
			if testing.Short() && test.shot.width > 1000 {
				t.Skip("several megapixels")
			}
			img := take(encode(t, test.text, test.level), test.shot)
			start := time.Now()
			got, err := Read(pngOf(t, img))
			t.Logf("%v", time.Since(start))
			if d := cmp.Diff([]string{test.text}, got); d != "" {
				t.Errorf("%d x %d: %v (-want +got):\n%s", img.Rect.Dx(), img.Rect.Dy(), err, d)
			}
		})
	}
}

// paste puts pictures on one sheet, each with its upper left corner at a place.
func paste(width, height int, at []image.Point, pictures []*image.Gray) *image.Gray {
	sheet := image.NewGray(image.Rect(0, 0, width, height))
	for i := range sheet.Pix {
		sheet.Pix[i] = 255
	}
	for i, p := range pictures {
		for y := range p.Rect.Dy() {
			copy(sheet.Pix[sheet.PixOffset(at[i].X, at[i].Y+y):], p.Pix[y*p.Stride:][:p.Rect.Dx()])
		}
	}
	return sheet
}

func TestReadSeveral(t *testing.T) {
	a, b, c := hc1(300), "https://example.org/second", "third"
	first := take(encode(t, a, Q), shot{dot: 3, quiet: 4, degrees: 5})
	second := take(encode(t, b, M), shot{dot: 5, quiet: 4})
	third := take(encode(t, c, L), shot{dot: 7, quiet: 4, degrees: 100})
	again := take(encode(t, b, H), shot{dot: 3, quiet: 4})
	for _, test := range []struct {
		name     string
		at       []image.Point
		pictures []*image.Gray
		want     []string
	}{
		{"side by side", []image.Point{{0, 40}, {400, 42}}, []*image.Gray{first, second}, []string{a, b}},
		{"one above the other", []image.Point{{50, 400}, {60, 0}}, []*image.Gray{first, second}, []string{b, a}},
		{"three", []image.Point{{0, 0}, {500, 20}, {100, 400}}, []*image.Gray{first, second, third}, []string{a, b, c}},
		{"the same text twice", []image.Point{{0, 0}, {400, 300}}, []*image.Gray{second, again}, []string{b}},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := Read(pngOf(t, paste(900, 800, test.at, test.pictures)))
			if d := cmp.Diff(test.want, got); d != "" {
				t.Errorf("%v (-want +got):\n%s", err, d)
			}
		})
	}
}

func TestReadFormats(t *testing.T) {
	text := hc1(250)
	img := take(encode(t, text, Q), shot{dot: 4, quiet: 4})
	palette := image.NewPaletted(img.Rect, color.Palette{color.White, color.RGBA{0, 0, 90, 255}, color.RGBA{255, 0, 0, 255}})
	clear := image.NewNRGBA(img.Rect)
	deep := image.NewNRGBA64(img.Rect)
	for i, p := range img.Pix {
		x, y := i%img.Stride, i/img.Stride
		if p < 128 {
			palette.SetColorIndex(x, y, 1)
			clear.SetNRGBA(x, y, color.NRGBA{0, 60, 0, 255}) // the rest is transparent black
		}
		deep.Set(x, y, color.Gray{p})
	}
	var jpegs, grey, gifs bytes.Buffer
	for _, err := range []error{
		jpeg.Encode(&jpegs, palette, &jpeg.Options{Quality: 40}),
		jpeg.Encode(&grey, img, &jpeg.Options{Quality: 30}),
		gif.Encode(&gifs, palette, nil),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, test := range []struct {
		name string
		data []byte
	}{
		{"PNG, palette", pngOf(t, palette)},
		{"PNG, dark on transparent", pngOf(t, clear)},
		{"PNG, 16 bits", pngOf(t, deep)},
		{"JPEG, grey", grey.Bytes()},
		{"GIF", gifs.Bytes()},
		{"JPEG, colour", jpegs.Bytes()},
	} {
		t.Run(test.name, func(t *testing.T) {
			if !IsPicture(test.data) {
				t.Error("IsPicture is false")
			}
			got, err := Read(test.data)
			if d := cmp.Diff([]string{text}, got); d != "" {
				t.Errorf("%v (-want +got):\n%s", err, d)
			}
		})
	}
}

func TestToGrey(t *testing.T) {
	// White, black, half transparent black, transparent, pure green.
	colours := []color.NRGBA{{255, 255, 255, 255}, {0, 0, 0, 255}, {0, 0, 0, 128}, {0, 0, 0, 0}, {0, 255, 0, 255}}
	want := []byte{255, 0, 127, 255, 149}
	r := image.Rect(3, 7, 3+len(colours), 8) // not at the origin
	var palette color.Palette
	for _, c := range colours {
		palette = append(palette, c)
	}
	for _, img := range []interface {
		image.Image
		Set(x, y int, c color.Color)
	}{image.NewNRGBA(r), image.NewRGBA(r), image.NewNRGBA64(r), image.NewRGBA64(r), image.NewPaletted(r, palette)} {
		for i, c := range colours {
			img.Set(r.Min.X+i, r.Min.Y, c)
		}
		g := toGrey(img)
		for i := range want {
			if d := int(g.pix[i]) - int(want[i]); d < -1 || d > 1 {
				t.Errorf("%T: colour %d has brightness %d, want %d", img, i, g.pix[i], want[i])
			}
		}
	}
}

// pngHeader returns the start of a PNG that claims a size and a colour type.
func pngHeader(width, height uint32, depth, colour byte) []byte {
	var w pngWriter
	w.out.WriteString("\x89PNG\r\n\x1a\n")
	header := binary.BigEndian.AppendUint32(nil, width)
	header = binary.BigEndian.AppendUint32(header, height)
	w.chunk("IHDR", append(header, depth, colour, 0, 0, 0))
	return w.out.Bytes()
}

// jpegHeader returns the start of a JPEG of three components, frame marker sof,
// with the brightness sampled luma times as often as the colours, each way.
func jpegHeader(width, height uint16, sof, luma byte) []byte {
	b := []byte{0xff, 0xd8, 0xff, 0xe0, 0, 4, 1, 2, 0xff, sof, 0, 17, 8}
	b = binary.BigEndian.AppendUint16(b, height)
	b = binary.BigEndian.AppendUint16(b, width)
	return append(b, 3, 1, luma<<4|luma, 0, 2, 0x11, 0, 3, 0x11, 0, 0xff, 0xda, 0, 2)
}

func TestReadRefuses(t *testing.T) {
	whole := pngOf(t, take(encode(t, hc1(100), M), shot{dot: 3, quiet: 4}))
	white := image.NewGray(image.Rect(0, 0, 300, 200))
	for i := range white.Pix {
		white.Pix[i] = 255
	}
	random := rand.New(rand.NewPCG(5, 6))
	noise := image.NewGray(image.Rect(0, 0, 1200, 900))
	for i := range noise.Pix {
		noise.Pix[i] = byte(random.Uint32())
	}
	for _, test := range []struct {
		name string
		data []byte
		want error
	}{
		{"nothing", nil, ErrNotPicture},
		{"text", []byte("HC1:6BFOXN"), ErrNotPicture},
		{"WebP", []byte("RIFF\x00\x00\x00\x00WEBP"), ErrNotPicture},
		{"only the signature", []byte("\x89PNG\r\n\x1a\n"), ErrUnreadable},
		{"cut off", whole[:len(whole)/2], ErrUnreadable},
		{"PNG without area", pngHeader(0, 10, 8, 0), ErrUnreadable},
		{"file too long", append(bytes.Clone(whole), make([]byte, MaxFile)...), ErrTooLarge},
		{"17 megapixels", pngHeader(4352, 4096, 8, 0), ErrTooLarge},
		{"sides that overflow", pngHeader(1<<31-1, 1<<31-1, 8, 0), ErrUnreadable},
		{"long and thin", pngHeader(1<<30, 2, 1, 0), ErrTooLarge},
		{"64 bits a pixel", pngHeader(4096, 4096, 16, 6), ErrTooLarge},
		{"32 bits a pixel, header only", pngHeader(4096, 4096, 8, 6), ErrUnreadable},
		{"progressive JPEG, full colour", jpegHeader(4000, 4000, 0xc2, 1), ErrTooLarge},
		{"baseline JPEG, header only", jpegHeader(4000, 4000, 0xc0, 1), ErrUnreadable},
		{"small progressive JPEG, header only", jpegHeader(2500, 2000, 0xc2, 2), ErrUnreadable},
		{"GIF, header only", []byte("GIF89a\x10\x00\x10\x00\x00\x00\x00"), ErrUnreadable},
		{"white", pngOf(t, white), ErrNoCode},
		{"noise", pngOf(t, noise), ErrNoCode},
		{"one pixel", pngOf(t, image.NewGray(image.Rect(0, 0, 1, 1))), ErrNoCode},
		{"a line", pngOf(t, image.NewGray(image.Rect(0, 0, 1, 5000))), ErrNoCode},
	} {
		t.Run(test.name, func(t *testing.T) {
			texts, err := Read(test.data)
			if !errors.Is(err, test.want) || texts != nil {
				t.Errorf("got %q, %v; want %v", texts, err, test.want)
			}
			var d format.Defect
			if !errors.As(err, &d) {
				t.Errorf("%v carries no reason word", err)
			}
		})
	}
}

// The largest picture, tiled with finder patterns at sizes that make the most
// work, must neither hang nor take much memory.
func TestReadBounds(t *testing.T) {
	if testing.Short() {
		t.Skip("16 megapixels")
	}
	pattern := []string{"####### ", "#     # ", "# ### # ", "# ### # ", "# ### # ", "#     # ", "####### ", "        "}
	tile := func(dot int) *image.Gray {
		img := image.NewGray(image.Rect(0, 0, 4096, 4096))
		for y := range 4096 {
			for x := range 4096 {
				if pattern[y/dot%8][x/dot%8] == ' ' {
					img.Pix[y*4096+x] = 255
				}
			}
		}
		return img
	}
	random := rand.New(rand.NewPCG(7, 8))
	noise := image.NewGray(image.Rect(0, 0, 4096, 4096))
	for i := range noise.Pix {
		noise.Pix[i] = byte(random.Uint32())
	}
	for _, test := range []struct {
		name string
		img  *image.Gray
	}{
		{"finder patterns", tile(3)}, {"large finder patterns", tile(50)}, {"noise", noise},
	} {
		t.Run(test.name, func(t *testing.T) {
			g := toGrey(test.img)
			var before, after runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&before)
			start := time.Now()
			_, err := read(g)
			took := time.Since(start)
			runtime.ReadMemStats(&after)
			t.Logf("%v, %d MiB allocated in all", took, (after.TotalAlloc-before.TotalAlloc)>>20)
			if !errors.Is(err, ErrNoCode) {
				t.Errorf("got %v, want %v", err, ErrNoCode)
			}
			// About 2 seconds here; a search without limits takes minutes.
			if took > 30*time.Second {
				t.Errorf("took %v", took)
			}
		})
	}
}

// bitstream writes fields of (value, bits) and pads to whole bytes.
func bitstream(fields ...[2]int) []byte {
	var b []byte
	n := 0
	for _, f := range fields {
		for i := f[1] - 1; i >= 0; i-- {
			if n%8 == 0 {
				b = append(b, 0)
			}
			b[n/8] |= byte(f[0]>>i&1) << (7 - n%8)
			n++
		}
	}
	return b
}

func TestParseSegments(t *testing.T) {
	for _, test := range []struct {
		name   string
		fields [][2]int
		want   part
		err    error
	}{
		{"bytes, Latin 1 not named", [][2]int{{4, 4}, {1, 8}, {0xe9, 8}, {0, 4}}, part{text: "\xe9"}, nil},
		{"bytes, Latin 1 named", [][2]int{{7, 4}, {3, 8}, {4, 4}, {1, 8}, {0xe9, 8}, {0, 4}}, part{text: "é"}, nil},
		{"bytes, UTF-8 named", [][2]int{{7, 4}, {26, 8}, {4, 4}, {2, 8}, {0xc3, 8}, {0xa9, 8}, {0, 4}}, part{text: "é"}, nil},
		{"bytes, binary named in two bytes", [][2]int{{7, 4}, {0x80 | 899>>8, 8}, {899 & 255, 8}, {4, 4}, {1, 8}, {0xff, 8}, {0, 4}}, part{text: "\xff"}, nil},
		{"kanji", [][2]int{{8, 4}, {2, 8}, {0x0d9f, 13}, {0x1aaa, 13}, {0, 4}}, part{text: "点茗"}, nil},
		{"digits then letters", [][2]int{{1, 4}, {4, 10}, {12, 10}, {3, 4}, {2, 4}, {1, 9}, {10, 6}, {0, 4}}, part{text: "0123A"}, nil},
		{"GS1", [][2]int{{5, 4}, {2, 4}, {4, 9}, {38 + 45*10, 11}, {38*45 + 38, 11}, {0, 4}}, part{text: "A%\x1d"}, nil},
		{"part 2 of 3", [][2]int{{3, 4}, {1, 4}, {2, 4}, {0x5a, 8}, {1, 4}, {1, 10}, {7, 4}, {0, 4}}, part{text: "7", index: 1, count: 3, parity: 0x5a}, nil},
		{"no terminator, all bits used", [][2]int{{4, 4}, {1, 8}, {'A', 8}, {0, 3}}, part{text: "A"}, nil},
		{"empty", [][2]int{{0, 4}}, part{}, nil},
		{"more digits than bits", [][2]int{{1, 4}, {1000, 10}, {0, 4}}, part{}, ErrUnreadable},
		{"three digits above 999", [][2]int{{1, 4}, {3, 10}, {1000, 10}}, part{}, ErrUnreadable},
		{"letters above 44,44", [][2]int{{2, 4}, {2, 9}, {2025, 11}}, part{}, ErrUnreadable},
		{"more bytes than there are", [][2]int{{4, 4}, {200, 8}, {1, 8}}, part{}, ErrUnreadable},
		{"more kanji than there are", [][2]int{{8, 4}, {200, 8}, {1, 13}}, part{}, ErrUnreadable},
		{"unknown character set", [][2]int{{7, 4}, {127, 8}, {0, 4}}, part{}, ErrUnreadable},
		{"bad character set number", [][2]int{{7, 4}, {0xff, 8}, {0, 4}}, part{}, ErrUnreadable},
		{"unknown mode", [][2]int{{15, 4}, {0, 8}}, part{}, ErrUnreadable},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := parseSegments(bitstream(test.fields...), 1)
			if d := cmp.Diff(test.want, got, cmp.AllowUnexported(part{})); d != "" || !errors.Is(err, test.err) {
				t.Errorf("%v, want %v (-want +got):\n%s", err, test.err, d)
			}
		})
	}
}

func TestStructuredAppend(t *testing.T) {
	piece := func(text string, index, count, parity int, y float64) place {
		return place{part{text: text, index: index, count: count, parity: parity}, 0, y}
	}
	for _, test := range []struct {
		name  string
		found []place
		want  []string
		err   error
	}{
		{"whole, out of order", []place{piece("b", 1, 2, 9, 0), piece("a", 0, 2, 9, 1)}, []string{"ab"}, nil},
		{"two texts", []place{piece("b", 1, 2, 9, 0), piece("x", 0, 2, 8, 1), piece("a", 0, 2, 9, 2), piece("y", 1, 2, 8, 3)}, []string{"ab", "xy"}, nil},
		{"one missing", []place{piece("a", 0, 2, 9, 0)}, nil, ErrIncomplete},
		{"one missing, another text whole", []place{piece("a", 0, 2, 9, 0), piece("z", 0, 0, 0, 1)}, []string{"z"}, nil},
		{"none", nil, nil, ErrNoCode},
	} {
		t.Run(test.name, func(t *testing.T) {
			var s search
			for _, p := range test.found {
				s.add(p)
				s.add(p) // seen again in another view
			}
			got, err := s.texts()
			if d := cmp.Diff(test.want, got); d != "" || !errors.Is(err, test.err) {
				t.Errorf("%v, want %v (-want +got):\n%s", err, test.err, d)
			}
		})
	}
}

// A picture that makes the pattern finder panic is answered like a damaged one.
func TestReadRecovers(t *testing.T) {
	saved := codecs
	defer func() { codecs = saved }()
	codecs = []codec{{magic: "boom", header: func([]byte) (image.Config, error) { panic("index out of range") }}}
	if texts, err := Read([]byte("boom")); !errors.Is(err, ErrUnreadable) || texts != nil {
		t.Errorf("got %q, %v; want %v", texts, err, ErrUnreadable)
	}
}

// FuzzRead feeds pictures, damaged and not. The fuzzer's bytes also become the
// pixels of a small picture, which reaches the decoder more often.
func FuzzRead(f *testing.F) {
	for _, text := range []string{"A", hc1(60), "\xff\x00"} {
		img := take(encode(f, text, M), shot{dot: 2, quiet: 2, degrees: 3})
		f.Add(pngOf(f, img), uint8(img.Rect.Dx()))
		var b bytes.Buffer
		if err := jpeg.Encode(&b, img, nil); err != nil {
			f.Fatal(err)
		}
		f.Add(b.Bytes(), uint8(0))
		b = bytes.Buffer{}
		if err := gif.Encode(&b, img, nil); err != nil {
			f.Fatal(err)
		}
		f.Add(b.Bytes(), uint8(1))
		f.Add(img.Pix, uint8(img.Stride))
	}
	f.Add([]byte(strings.Repeat("#", 100)), uint8(10))
	f.Fuzz(func(t *testing.T, data []byte, width uint8) {
		if len(data) > 1<<16 {
			return
		}
		if texts, err := Read(data); err != nil && format.Reason(err, "") == "" || (err == nil) != (len(texts) > 0) {
			t.Errorf("got %q, %v", texts, err)
		}
		if w := int(width); w > 0 && len(data) >= w {
			if texts, err := read(grey{pix: data, width: w, height: len(data) / w, stride: w}); (err == nil) != (len(texts) > 0) {
				t.Errorf("pixels: got %q, %v", texts, err)
			}
		}
	})
}

func BenchmarkRead(b *testing.B) {
	s := encode(b, hc1(576), Q)
	straight, err := s.PNG(Options{})
	if err != nil {
		b.Fatal(err)
	}
	for _, bench := range []struct {
		name string
		data []byte
	}{
		{"screenshot404px", straight},
		{"turned", pngOf(b, take(s, shot{dot: 4, quiet: 4, degrees: 30}))},
		{"noisy1280x960", pngOf(b, take(s, shot{dot: 7, quiet: 4, width: 1280, height: 960, noise: 25, background: 120, degrees: 6}))},
		{"photo12MP", pngOf(b, take(s, shot{dot: 20, quiet: 4, width: 4000, height: 3000, noise: 15, background: 120, degrees: 6}))},
	} {
		b.Run(bench.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Read(bench.data); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
