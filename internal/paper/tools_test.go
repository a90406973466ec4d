package paper

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/text/unicode/norm"

	"ampoule/internal/messages"
	"ampoule/party/verifier"
	"ampoule/thing"
)

// need skips where a tool is missing, and fails where checks are complete.
func need(t *testing.T, tools ...string) {
	t.Helper()
	if testing.Short() {
		t.Skip("not in the short run")
	}
	for _, tool := range tools {
		if _, err := exec.LookPath(tool); err != nil {
			if os.Getenv("CI") != "" {
				t.Fatalf("%s is missing: make deps", tool)
			}
			t.Skipf("%s is missing: make deps", tool)
		}
	}
}

func output(t *testing.T, name string, args ...string) string {
	t.Helper()
	var stderr bytes.Buffer
	c := exec.Command(name, args...)
	c.Stderr = &stderr
	out, err := c.Output()
	if err != nil {
		t.Fatalf("%s: %v: %s", name, err, stderr.String())
	}
	return string(out)
}

// picture is a page as a scanner sees it, in greys.
type picture struct {
	width, height int
	pixels        []byte
}

func readPGM(t *testing.T, path string) *picture {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	p := new(picture)
	if _, err := fmt.Sscanf(string(data[:20]), "P5\n%d %d\n255\n", &p.width, &p.height); err != nil || len(data) < p.width*p.height {
		t.Fatalf("%s: %v", path, err)
	}
	p.pixels = data[len(data)-p.width*p.height:]
	return p
}

func (p *picture) write(t *testing.T, path string) {
	t.Helper()
	if err := os.WriteFile(path, append(fmt.Appendf(nil, "P5\n%d %d\n255\n", p.width, p.height), p.pixels...), 0o600); err != nil {
		t.Fatal(err)
	}
}

// crease folds the page twice and opens it again: the toner has come off along
// the folds, and the paper is grey beside them.
func (p *picture) crease() {
	for d, shade := range map[int]byte{-2: 170, -1: 255, 0: 255, 1: 255, 2: 170} {
		for x := range p.width {
			p.pixels[(p.height/2+d)*p.width+x] = shade
		}
		for y := range p.height {
			p.pixels[y*p.width+p.width/2+d] = shade
		}
	}
}

// scan is a page that was printed in one colour, at three times the resolution,
// and is looked at in greys.
func (p *picture) scan() *picture {
	const by = 3
	s := &picture{width: p.width / by, height: p.height / by}
	s.pixels = make([]byte, s.width*s.height)
	for i := range s.pixels {
		light := 0
		for j := range by * by {
			if p.pixels[(i/s.width*by+j/by)*p.width+i%s.width*by+j%by] >= 128 {
				light++
			}
		}
		s.pixels[i] = byte(light * 255 / (by * by))
	}
	return s
}

// TestScanned: the codes of every sheet are read by a second decoder from a
// rendering at 100 dpi: in greys, printed in black alone, at 96 % as some browsers
// print, and with creases along the folds.
func TestScanned(t *testing.T) {
	need(t, "pdftoppm", "zbarimg")
	for i, tt := range sheets {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			file := filepath.Join(dir, "sheet.pdf")
			if err := os.WriteFile(file, printSheets(t, i), 0o600); err != nil {
				t.Fatal(err)
			}
			var want []string
			for _, c := range tt.certificates {
				want = append(want, c.Text)
			}
			slices.Sort(want)
			for name, args := range map[string][]string{
				"greys": {"-r", "100", "-gray"}, "in black alone": {"-r", "300", "-gray"}, "at 96 %": {"-r", "96", "-gray"}, "creased": {"-r", "100", "-gray"},
			} {
				if name == "in black alone" && i > 0 && tt.perSheet == 1 {
					continue // slow, and the codes are alike
				}
				to := filepath.Join(dir, strings.ReplaceAll(name, " ", ""))
				output(t, "pdftoppm", append(args, file, to)...)
				pictures, _ := filepath.Glob(to + "-*")
				for _, path := range pictures {
					p := readPGM(t, path)
					switch name {
					case "creased":
						p.crease()
					case "in black alone":
						p = p.scan()
					}
					p.write(t, path)
				}
				read := strings.Fields(output(t, "zbarimg", append([]string{"--quiet", "--raw", "--nodbus"}, pictures...)...))
				slices.Sort(read)
				if !slices.Equal(read, want) {
					t.Errorf("%s: %d codes were read, and %d printed", name, len(read), len(want))
				}
			}
		})
	}
}

// TestExtracted: another program finds the text in the order in which it is read,
// whatever its script.
func TestExtracted(t *testing.T) {
	need(t, "pdftotext", "pdfinfo")
	for _, tt := range []struct{ name, second string }{
		{"Spécimen Ünal-Øst Łódź", "fr"}, {"محمد عبد الله الأمين", "ar"}, {"مُحَمَّد", "ar"}, {"שלום עולם", "en"}, {"क्षत्रिय हिन्दी कि", "es"}, {"বাংলাদেশ কৌশিক", "pt"},
		{"தமிழ் கொடு", "fr"}, {"తెలుగు క్రి", "fr"}, {"አማርኛ", "fr"}, {"สวัสดี น้ำ", "fr"}, {"ខ្មែរ ក្រុម", "fr"}, {"မြန်မာ ကျော်", "fr"}, {"Δείγμα Москва", "fr"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			first := "en"
			if tt.second == "en" {
				first = "fr"
			}
			o := languages(first, tt.second)
			data, err := Print([]Certificate{icvp(tt.name)}, o)
			if err != nil {
				t.Fatal(err)
			}
			file := filepath.Join(t.TempDir(), "sheet.pdf")
			if err := os.WriteFile(file, data, 0o600); err != nil {
				t.Fatal(err)
			}
			text := norm.NFC.String(output(t, "pdftotext", "-enc", "UTF-8", file, "-"))
			plain := strings.NewReplacer("\u202a", "", "\u202b", "", "\u202c", "").Replace(text)
			if n := strings.Count(plain, norm.NFC.String(tt.name)); n != 2 {
				t.Errorf("the name is found %d times, and stands there twice:\n%s", n, text)
			}
			if title := o.Second.Text("paper.icvp.accordance"); tt.second != "ar" && !strings.Contains(plain, strings.TrimSuffix(title, ".")) {
				t.Errorf("%q is not found", title)
			}
			if info := output(t, "pdfinfo", file); !strings.Contains(info, "Tagged:          yes") || !strings.Contains(info, "(A4)") || strings.Contains(info, tt.name) {
				t.Error(info)
			}
		})
	}
}

// TestReadingOrder: a screen reader meets the parts in the order of the sheet, and
// each text in its language.
func TestReadingOrder(t *testing.T) {
	need(t, "pdfinfo")
	file := filepath.Join(t.TempDir(), "sheet.pdf")
	if err := os.WriteFile(file, printSheets(t, 0), 0o600); err != nil {
		t.Fatal(err)
	}
	tree := output(t, "pdfinfo", "-struct-text", file)
	for _, part := range []string{
		"Document", "Sect", `"XXA"`, "H1", "International Certificate of Vaccination or Prophylaxis", "Issued to", "SPECIMEN DEMO", "SPEC0001",
		"Digital certificate", "Figure", "Valid until", "life of person vaccinated", "How to check it",
		"This is to certify that", "Nous certifions que", "SPECIMEN DEMO", "date of birth", "3 February 1990", "whose signature follows", "Yellow fever",
		"Table", "TH", "Vaccine or prophylaxis", "Official stamp of administering centre", "TD", "Demonstration yellow fever vaccine", "DEMO-LOT-1", "11 September 2026",
		"This certificate is valid only", "Ce certificat n’est valable que",
	} {
		_, after, found := strings.Cut(tree, part)
		if !found {
			t.Fatalf("%q does not follow: what is left is\n%s", part, tree)
		}
		tree = after
	}
}

// TestAdvice: where something is known against the dose, or may be, each sheet says to the
// holder what to do, in both languages; where nothing is, it says nothing of it. A part of
// a sheet that has no room for it is refused, and never printed without.
func TestAdvice(t *testing.T) {
	need(t, "pdftotext")
	printed := func(c Certificate, o Options) (string, error) {
		data, err := Print([]Certificate{c}, o)
		if err != nil {
			return "", err
		}
		file := filepath.Join(t.TempDir(), "sheet.pdf")
		if err := os.WriteFile(file, data, 0o600); err != nil {
			t.Fatal(err)
		}
		return strings.Join(strings.Fields(norm.NFC.String(output(t, "pdftotext", "-enc", "UTF-8", file, "-"))), " "), nil
	}
	for _, second := range []string{"fr", "es", "pt"} {
		for _, perSheet := range []int{1, 2, 4} {
			for _, reason := range []string{thing.ReasonRecalled, thing.ReasonFrozen, "dose-listed", thing.ReasonPlace, thing.ReasonNoStatement} {
				o := languages("en", second)
				o.PerSheet = perSheet
				c := icvp("SPECIMEN DEMO")
				c.Advice = verifier.Advice{Value: verifier.Concern, Reason: reason}
				if reason == thing.ReasonPlace || reason == thing.ReasonNoStatement {
					c.Advice.Value = verifier.NotKnown
				}
				text, err := printed(c, o)
				if perSheet > 1 && errors.Is(err, ErrNoRoom) {
					t.Logf("%s, %s, %d on a sheet: %v", second, reason, perSheet, err)
					continue
				}
				if err != nil {
					t.Errorf("%s, %s, %d on a sheet: %v", second, reason, perSheet, err)
					continue
				}
				for _, l := range []*messages.Language{o.First, o.Second} {
					sentence := l.Reason(reason, l.Advice(c.Advice.Value)).Holder
					if got := strings.Contains(text, strings.Join(strings.Fields(norm.NFC.String(sentence)), " ")); got != c.Advice.Asks() {
						t.Errorf("%s, %s, %d on a sheet: %q is there: %v", l.Tag, reason, perSheet, sentence, got)
					}
				}
			}
		}
	}
}
