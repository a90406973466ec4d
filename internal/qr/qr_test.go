package qr

import (
	"bytes"
	"encoding/binary"
	"encoding/xml"
	"errors"
	"fmt"
	"image"
	"image/png"
	"io"
	"math/rand/v2"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/makiuchi-d/gozxing"
	"rsc.io/qr/coding"
)

// hc1 returns a text like that of a health certificate: n base45 characters.
func hc1(n int) string {
	random := rand.New(rand.NewPCG(1, uint64(n)))
	b := []byte("HC1:")
	for range n {
		b = append(b, alphabet[random.IntN(len(alphabet))])
	}
	return string(b)
}

// shc returns a text like that of a SMART Health Card: n digits.
func shc(n int) string {
	random := rand.New(rand.NewPCG(2, uint64(n)))
	b := []byte("shc:/")
	for range n {
		b = append(b, byte('0'+random.IntN(10)))
	}
	return string(b)
}

func encode(t testing.TB, text string, level Level) *Symbol {
	t.Helper()
	s, err := Encode(text, level)
	if err != nil {
		t.Fatalf("Encode(%.30q, %v): %v", text, level, err)
	}
	return s
}

// modulesOf copies a symbol into the matrix that the decoder takes.
func modulesOf(t testing.TB, s *Symbol) *gozxing.BitMatrix {
	t.Helper()
	m, err := gozxing.NewSquareBitMatrix(s.Size())
	if err != nil {
		t.Fatal(err)
	}
	for y := range s.Size() {
		for x := range s.Size() {
			if s.Black(x, y) {
				m.Set(x, y)
			}
		}
	}
	return m
}

func TestEncodeSegmentsAndVersion(t *testing.T) {
	for _, test := range []struct {
		name     string
		text     string
		level    Level
		version  int
		segments string
	}{
		{"one digit", "7", L, 1, "n1"},
		{"most digits of version 1-L", strings.Repeat("9", 41), L, 1, "n41"},
		{"one digit more", strings.Repeat("9", 42), L, 2, "n42"},
		{"most alphanumerics of version 1-H", strings.Repeat("A", 10), H, 1, "a10"},
		{"one alphanumeric more", strings.Repeat("A", 11), H, 2, "a11"},
		{"most bytes of version 1-Q", strings.Repeat("a", 11), Q, 1, "b11"},
		{"one byte more", strings.Repeat("a", 12), Q, 2, "b12"},
		{"health certificate", hc1(576), Q, 19, "a580"},
		{"health certificate full of digits", "HC1:" + strings.Repeat("5", 300), M, 10, "a304"},
		{"SMART Health Card", shc(2390), L, 22, "b5 n2390"},
		{"link with a number", "https://id.example/01/09506000134352/10/ABC", M, 3, "b22 n14 a7"},
		{"few digits between bytes", "a12b", M, 1, "b4"},
		{"not UTF-8", "\xff\x00\x80zip", M, 1, "b6"},
		{"most digits", strings.Repeat("1", 7089), L, 40, "n7089"},
		{"most alphanumerics", strings.Repeat("A", 4296), L, 40, "a4296"},
		{"most bytes", strings.Repeat("a", 2953), L, 40, "b2953"},
		{"most bytes at H", strings.Repeat("a", 1273), H, 40, "b1273"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := encode(t, test.text, test.level)
			if s.Version() != test.version || s.Size() != 17+4*test.version || s.Level() != test.level {
				t.Errorf("version %d, %d modules, level %v; want version %d, level %v", s.Version(), s.Size(), s.Level(), test.version, test.level)
			}
			_, segments := fit(test.text, test.level)
			if got := describe(segments); got != test.segments {
				t.Errorf("segments %s, want %s", got, test.segments)
			}
			p, err := decodeModules(modulesOf(t, s))
			if err != nil || p.text != test.text {
				t.Errorf("decoded %.40q, %v", p.text, err)
			}
		})
	}
}

func describe(segments []coding.Encoding) string {
	var parts []string
	for _, s := range segments {
		switch s := s.(type) {
		case coding.Num:
			parts = append(parts, fmt.Sprint("n", len(s)))
		case coding.Alpha:
			parts = append(parts, fmt.Sprint("a", len(s)))
		case coding.String:
			parts = append(parts, fmt.Sprint("b", len(s)))
		}
	}
	return strings.Join(parts, " ")
}

func TestEncodeRefuses(t *testing.T) {
	for _, test := range []struct {
		name  string
		text  string
		level Level
		want  error
	}{
		{"nothing", "", M, ErrEmpty},
		{"a digit too many", strings.Repeat("1", 7090), L, ErrTooLong},
		{"an alphanumeric too many", strings.Repeat("A", 4297), L, ErrTooLong},
		{"a byte too many", strings.Repeat("a", 2954), L, ErrTooLong},
		{"a byte too many at H", strings.Repeat("a", 1274), H, ErrTooLong},
		{"level below L", "A", -1, ErrLevel},
		{"level above H", "A", 4, ErrLevel},
	} {
		t.Run(test.name, func(t *testing.T) {
			s, err := Encode(test.text, test.level)
			if !errors.Is(err, test.want) || s != nil {
				t.Errorf("got %v, %v; want %v", s, err, test.want)
			}
		})
	}
}

// Every version and level decodes, and is module for module what the coding
// package makes with the mask that was chosen.
func TestEncodeEveryVersion(t *testing.T) {
	for version := minVersion; version <= maxVersion; version++ {
		if testing.Short() && version%13 != 1 {
			continue
		}
		for level := L; level <= H; level++ {
			bytes := coding.Version(version).DataBytes(coding.Level(level)) - 3
			text := strings.Repeat("certificate, ", bytes/13+1)[:bytes]
			s := encode(t, text, level)
			if s.Version() != version {
				t.Errorf("%d bytes at %v: version %d, want %d", bytes, level, s.Version(), version)
			}
			p, err := decodeModules(modulesOf(t, s))
			if err != nil || p.text != text {
				t.Errorf("version %d-%v: decoded %.40q, %v", version, level, p.text, err)
			}
			if version%13 != 1 {
				continue // the comparison is slow
			}
			_, segments := fit(text, level)
			lowest, at := 0, 0
			for m := range masks {
				plan, err := coding.NewPlan(coding.Version(version), coding.Level(level), coding.Mask(m))
				if err != nil {
					t.Fatal(err)
				}
				code, err := plan.Encode(segments...)
				if err != nil {
					t.Fatal(err)
				}
				if p := slowPenalty(code); m == 0 || p < lowest {
					lowest, at = p, m
				}
				if m != s.mask {
					continue
				}
				for y := range s.Size() {
					for x := range s.Size() {
						if s.Black(x, y) != code.Black(x, y) {
							t.Fatalf("version %d-%v mask %d: module %d,%d differs", version, level, m, x, y)
						}
					}
				}
			}
			if s.mask != at {
				t.Errorf("version %d-%v: mask %d, but %d has the lowest penalty, %d", version, level, s.mask, at, lowest)
			}
		}
	}
}

var runs = regexp.MustCompile("#+| +")

// slowPenalty is ISO/IEC 18004 table 11 read module by module.
func slowPenalty(c *coding.Code) int {
	total, dark := 0, 0
	n := c.Size
	for i := range n {
		for _, at := range []func(k int) bool{
			func(k int) bool { return c.Black(k, i) },
			func(k int) bool { return c.Black(i, k) },
		} {
			line := ""
			for k := range n {
				line += map[bool]string{true: "#", false: " "}[at(k)]
			}
			for _, run := range runs.FindAllString(line, -1) {
				if len(run) >= 5 {
					total += len(run) - 2
				}
			}
			for k := 0; k+11 <= n; k++ {
				if line[k:k+11] == "    # ### #" || line[k:k+11] == "# ### #    " {
					total += 40
				}
			}
		}
		for k := range n {
			if c.Black(i, k) {
				dark++
			}
			if i+1 < n && k+1 < n && c.Black(i, k) == c.Black(i+1, k) && c.Black(i, k) == c.Black(i, k+1) && c.Black(i, k) == c.Black(i+1, k+1) {
				total += 3
			}
		}
	}
	share := 100 * dark / (n * n) // rule 4 counts full steps of 5 % either way
	if 2*dark < n*n {
		share = 100 - (100*dark+n*n-1)/(n*n)
	}
	return total + 10*((share-50)/5)
}

func TestBlackOutside(t *testing.T) {
	s := encode(t, "A", M)
	for _, p := range [][2]int{{-1, 0}, {0, -1}, {s.Size(), 0}, {0, s.Size()}, {1 << 40, 0}} {
		if s.Black(p[0], p[1]) {
			t.Errorf("Black(%d, %d) is true outside the symbol", p[0], p[1])
		}
	}
	if !s.Black(0, 0) || s.Black(1, 1) {
		t.Error("the finder pattern is not in the upper left corner")
	}
}

func TestPNG(t *testing.T) {
	s := encode(t, hc1(200), Q)
	for _, test := range []struct {
		opts       Options
		side       int
		perMetre   int // 0: no pHYs
		name       string
		quiet, dot int
	}{
		{Options{}, (s.Size() + 8) * 4, 0, "default", 4, 4},
		{Options{Scale: 1}, s.Size() + 8, 0, "one pixel a module", 4, 1},
		{Options{Scale: 7, QuietZone: 10}, (s.Size() + 20) * 7, 0, "wide margin", 10, 7},
		{Options{Scale: 3, Millimetres: 35}, (s.Size() + 8) * 3, (s.Size() + 8) * 3 * 1000 / 35, "35 mm", 4, 3},
	} {
		t.Run(test.name, func(t *testing.T) {
			data, err := s.PNG(test.opts)
			if err != nil {
				t.Fatal(err)
			}
			again, err := s.PNG(test.opts)
			if err != nil || !bytes.Equal(data, again) {
				t.Errorf("drawn twice, the bytes differ (%v)", err)
			}
			img, err := png.Decode(bytes.NewReader(data))
			if err != nil {
				t.Fatal(err)
			}
			if got := img.Bounds(); got != image.Rect(0, 0, test.side, test.side) {
				t.Fatalf("bounds %v, want %d pixels a side", got, test.side)
			}
			for y := range test.side {
				for x := range test.side {
					want := s.Black(x/test.dot-test.quiet, y/test.dot-test.quiet) && x >= test.quiet*test.dot && y >= test.quiet*test.dot
					if r, _, _, _ := img.At(x, y).RGBA(); (r == 0) != want {
						t.Fatalf("pixel %d,%d: dark %v, want %v", x, y, r == 0, want)
					}
				}
			}
			if data[24] != 1 || data[25] != 0 {
				t.Errorf("bit depth %d, colour type %d; want 1, 0 (greyscale)", data[24], data[25])
			}
			at := bytes.Index(data, []byte("pHYs"))
			if (at >= 0) != (test.perMetre > 0) {
				t.Fatalf("pHYs chunk at %d, want one: %v", at, test.perMetre > 0)
			}
			if at >= 0 {
				x, y := int(binary.BigEndian.Uint32(data[at+4:])), int(binary.BigEndian.Uint32(data[at+8:]))
				if x != y || x < test.perMetre || x > test.perMetre+1 || data[at+12] != 1 {
					t.Errorf("%d x %d pixels a metre (unit %d), want about %d", x, y, data[at+12], test.perMetre)
				}
			}
		})
	}
}

func TestSVG(t *testing.T) {
	s := encode(t, hc1(100), M)
	data, err := s.SVG(Options{Millimetres: 42.5, QuietZone: 5, Title: `Code of <A & "B">`})
	if err != nil {
		t.Fatal(err)
	}
	again, err := s.SVG(Options{Millimetres: 42.5, QuietZone: 5, Title: `Code of <A & "B">`})
	if err != nil || !bytes.Equal(data, again) {
		t.Errorf("drawn twice, the bytes differ (%v)", err)
	}

	var doc struct {
		Width   string `xml:"width,attr"`
		Height  string `xml:"height,attr"`
		ViewBox string `xml:"viewBox,attr"`
		Title   string `xml:"title"`
		Path    struct {
			D string `xml:"d,attr"`
		} `xml:"path"`
	}
	if err := xml.Unmarshal(data, &doc); err != nil {
		t.Fatal(err)
	}
	side := s.Size() + 10
	if want := fmt.Sprintf("0 0 %d %d", side, side); doc.ViewBox != want || doc.Width != "42.5mm" || doc.Height != "42.5mm" {
		t.Errorf("viewBox %q, %s x %s; want %q, 42.5mm", doc.ViewBox, doc.Width, doc.Height, want)
	}
	if want := `Code of <A & "B">`; doc.Title != want {
		t.Errorf("title %q, want %q", doc.Title, want)
	}

	// Follow the path as a renderer does: after "z" the pen is back at the start.
	got := make(map[[2]int]bool)
	x, y := 0, 0
	for _, run := range regexp.MustCompile(`([Mm])(\d+) (\d+)h(\d+)v1h-(\d+)z`).FindAllStringSubmatch(doc.Path.D, -1) {
		n := make([]int, 4)
		for i := range n {
			n[i], _ = strconv.Atoi(run[i+2])
		}
		if run[1] == "M" {
			x, y = n[0], n[1]
		} else {
			x, y = x+n[0], y+n[1]
		}
		if n[2] != n[3] {
			t.Fatalf("run %s is not closed", run[0])
		}
		for i := range n[2] {
			got[[2]int{x + i - 5, y - 5}] = true
		}
	}
	want := make(map[[2]int]bool)
	for y := range s.Size() {
		for x := range s.Size() {
			if s.Black(x, y) {
				want[[2]int{x, y}] = true
			}
		}
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("modules (-want +got):\n%s", d)
	}

	plain, err := s.SVG(Options{})
	if err != nil || strings.Contains(string(plain), "mm") || strings.Contains(string(plain), "title") {
		t.Errorf("a size or a title nobody asked for, or %v", err)
	}
}

func TestOptionsRefused(t *testing.T) {
	s := encode(t, "A", M)
	nan := 0.0
	nan /= nan
	for _, opts := range []Options{
		{QuietZone: 3}, {QuietZone: -1}, {QuietZone: 65},
		{Scale: -1}, {Scale: maxSide/29 + 1},
		{Millimetres: -1}, {Millimetres: 0.5}, {Millimetres: 1e9}, {Millimetres: nan},
	} {
		if _, err := s.PNG(opts); !errors.Is(err, ErrOptions) {
			t.Errorf("PNG(%+v): %v, want %v", opts, err, ErrOptions)
		}
		if _, err := s.SVG(opts); !errors.Is(err, ErrOptions) {
			t.Errorf("SVG(%+v): %v, want %v", opts, err, ErrOptions)
		}
	}
}

func TestLevelString(t *testing.T) {
	if got := fmt.Sprint(L, M, Q, H, Level(9)); got != "L M Q H Level(9)" {
		t.Errorf("got %s", got)
	}
}

// FuzzEncodeReadRoundTrip encodes, draws and reads any text.
func FuzzEncodeReadRoundTrip(f *testing.F) {
	for _, seed := range []string{"7", "HC1:6BF", "shc:/567629", "https://example.org/a?b=12345678901234567890", "\xff\xfe\x00", "Ünïcode", "PK\x03\x04\x80\x81", "%%A%"} {
		f.Add(seed, 0)
		f.Add(seed, 3)
	}
	f.Fuzz(func(t *testing.T, text string, level int) {
		s, err := Encode(text, Level(level&3))
		if text == "" || errors.Is(err, ErrTooLong) && len(text) > 1273 {
			return
		}
		if err != nil {
			t.Fatalf("Encode(%q): %v", text, err)
		}
		data, err := s.PNG(Options{})
		if err != nil {
			t.Fatal(err)
		}
		got, err := Read(data)
		if d := cmp.Diff([]string{text}, got); d != "" {
			t.Errorf("version %d-%v: read %v (-want +got):\n%s", s.Version(), s.Level(), err, d)
		}
		if svg, err := s.SVG(Options{Title: text}); err != nil {
			t.Error(err)
		} else if err := xml.NewDecoder(bytes.NewReader(svg)).Decode(new(struct{})); err != nil && err != io.EOF {
			t.Errorf("SVG with title %q: %v", text, err)
		}
	})
}

func BenchmarkEncode(b *testing.B) {
	text := hc1(614)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Encode(text, Q); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSVG(b *testing.B) {
	s := encode(b, hc1(614), Q)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.SVG(Options{Millimetres: 40}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkPNG(b *testing.B) {
	s := encode(b, hc1(614), Q)
	for _, scale := range []int{1, 4, 8} {
		b.Run(fmt.Sprintf("scale%d", scale), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				data, err := s.PNG(Options{Scale: scale})
				if err != nil {
					b.Fatal(err)
				}
				b.ReportMetric(float64(len(data)), "bytes")
			}
		})
	}
}

// The level is the highest that keeps the symbol as small as was asked for.
func TestEncodeWithin(t *testing.T) {
	for _, tc := range []struct {
		length, side int
		level, want  Level
	}{
		{100, 117, Q, Q},
		{100, 117, H, H},
		{700, 117, Q, Q},
		{900, 117, Q, M},
		{1200, 117, Q, L},
		{2000, 117, Q, L}, // of any size at L
		{2900, 117, H, L}, // which fits no other level
		{1200, 177, Q, Q},
	} {
		s, err := EncodeWithin(strings.Repeat("a", tc.length), tc.level, tc.side)
		if err != nil || s.Level() != tc.want {
			t.Errorf("%d bytes within %d: %v %v", tc.length, tc.side, s.Level(), err)
		}
	}
	for _, text := range []string{"", strings.Repeat("a", 2954)} {
		if _, err := EncodeWithin(text, Q, 117); err == nil {
			t.Errorf("%d bytes: a symbol", len(text))
		}
	}
	if _, err := EncodeWithin("a", 9, 117); !errors.Is(err, ErrLevel) {
		t.Error(err)
	}
}
