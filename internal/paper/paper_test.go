package paper

import (
	"bytes"
	"compress/zlib"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"ampoule/cert"
	"ampoule/format"
	"ampoule/internal/messages"
)

var made = time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC)

func inLanguage(tag string) *messages.Language {
	for _, l := range messages.Languages {
		if l.Tag == tag {
			return l
		}
	}
	panic(tag)
}

func languages(first, second string) Options {
	return Options{First: inLanguage(first), Second: inLanguage(second), Made: made}
}

// codeText is a text of the length that codes have.
func codeText(n int) string {
	return "HC1:" + strings.Repeat("6BFOXN%TSMAHN-H", n/15)
}

func icvp(name string) Certificate {
	return Certificate{
		Format: cert.FormatICVP, Participant: "XXA", Text: codeText(420),
		Record: &cert.Certificate{
			Kind: cert.KindVaccination, Authority: "XXA", Issued: made.AddDate(0, -1, 0),
			Person: cert.Person{
				Name: cert.Name{Full: name}, BirthDate: "1990-02-03", Sex: "female", Nationality: "XXA",
				Document: cert.Document{Number: "SPEC0001", Type: "PPN"},
			},
			Vaccination: &cert.Vaccination{
				Disease: cert.Code{Code: "1D47"}, Product: cert.Code{Code: "DEMO-YF-0001", Display: "Demonstration yellow fever vaccine (fictitious)"},
				Manufacturer: cert.Code{Display: "Demonstration Manufacturer One (fictitious)"},
				Lot:          "DEMO-LOT-1", Date: "2026-09-01", Clinician: "Demonstration clinic", ValidFrom: "2026-09-11",
			},
		},
	}
}

func dcc(family, given string) Certificate {
	return Certificate{
		Format: cert.FormatEUDCC, Participant: "XA", Text: codeText(600),
		Record: &cert.Certificate{
			Kind: cert.KindVaccination, ID: "URN:UVCI:01:XA:0123456789ABCDEF0123456789#K", Authority: "Demonstration Health Authority",
			Issued: made.AddDate(0, -1, 0), Expires: made.AddDate(1, 0, 0),
			Person: cert.Person{Name: cert.Name{Family: family, Given: given}, BirthDate: "1990"},
			Vaccination: &cert.Vaccination{
				Disease: cert.Code{Code: "840539006"}, Vaccine: cert.Code{Code: "1119349007", Display: "SARS-CoV-2 mRNA vaccine"},
				Product: cert.Code{Code: "EU/1/20/1528", Display: "Comirnaty"}, Manufacturer: cert.Code{Code: "ORG-100030215", Display: "Biontech Manufacturing GmbH"},
				Date: "2026-03-01", Dose: 2, Doses: 2, Country: "AT",
			},
		},
	}
}

func tested() Certificate {
	c := dcc("Spécimen", "Démo")
	c.Format, c.Record.Vaccination = cert.FormatDDCC, nil
	c.Record.Test = &cert.Test{
		Disease: cert.Code{Code: "XN109", Display: "SARS-CoV-2"}, Type: cert.Code{Code: "94500-6", Display: "SARS-CoV-2 RNA, NAA with probe detection"},
		Sampled: "2026-10-01T10:00:00Z", Result: cert.Code{Code: "260415000", Display: "Not detected"}, Centre: "Demonstration test centre", Country: "XXA",
	}
	return c
}

func recovered() Certificate {
	c := dcc("Spécimen", "Démo")
	c.Record.Vaccination = nil
	c.Record.Recovery = &cert.Recovery{Disease: cert.Code{Code: "840539006"}, FirstPositive: "2026-03-01", Country: "AT", ValidFrom: "2026-03-12", ValidUntil: "2026-09-01"}
	return c
}

// series is a certificate of two doses.
func series() Certificate {
	c := dcc("Spécimen", "Démo")
	c.Format = cert.FormatSHC
	first := *c.Record.Vaccination
	first.Lot, first.Dose = "EARLIER-LOT", 1
	c.Record.Earlier = []cert.Event{{Vaccination: &first}}
	return c
}

const longName = "Maria Aleksandra Wilhelmina Brzęczyszczykiewicz-Wolfeschlegelsteinhausenbergerdorff de la Santísima Trinidad y Todos los Santos"

var sheets = []struct {
	name         string
	options      Options
	perSheet     int
	certificates []Certificate
}{
	{"en+fr", languages("en", "fr"), 1, []Certificate{icvp("SPECIMEN DEMO")}},
	{"en+ar, a name in Arabic", languages("en", "ar"), 1, []Certificate{icvp("محمد عبد الله الأمين")}},
	{"fr+es, a long name", languages("fr", "es"), 1, []Certificate{icvp(longName)}},
	{"en+pt, a DCC", languages("en", "pt"), 1, []Certificate{dcc("Spécimen-Ünal", "Démo")}},
	{"fr+en, a test", languages("fr", "en"), 1, []Certificate{tested()}},
	{"en+es, a recovery", languages("en", "es"), 1, []Certificate{recovered()}},
	{"en+ar, two doses", languages("en", "ar"), 1, []Certificate{series()}},
	{"two on a sheet", languages("fr", "pt"), 2, []Certificate{icvp("SPECIMEN DEMO"), series(), tested()}},
	{"four on a sheet", languages("en", "ar"), 4, []Certificate{icvp("SPECIMEN DEMO"), icvp("क्षत्रिय हिन्दी"), dcc("Spécimen-Ünal", "Démo"), tested(), icvp(longName)}},
}

func printSheets(t *testing.T, i int) []byte {
	t.Helper()
	o := sheets[i].options
	o.PerSheet = sheets[i].perSheet
	file, err := Print(sheets[i].certificates, o)
	if err != nil {
		t.Fatal(err)
	}
	return file
}

// read is what the tests know of a PDF: its objects, inflated.
type read struct{ objects map[int]string }

var (
	objectHead = regexp.MustCompile(`^(\d+) 0 obj\n`)
	reference  = regexp.MustCompile(`(\d+) 0 R`)
)

// readPDF reads a file strictly by its table of offsets.
func readPDF(t *testing.T, file []byte) read {
	t.Helper()
	_, tail, ok := bytes.Cut(file, []byte("\nstartxref\n"))
	if !ok {
		t.Fatal("no startxref")
	}
	at, err := strconv.Atoi(strings.TrimSuffix(string(tail), "\n%%EOF\n"))
	if err != nil || !bytes.HasPrefix(file[at:], []byte("xref\n0 ")) {
		t.Fatalf("startxref %d: %v", at, err)
	}
	lines := strings.Split(string(file[at:]), "\n")
	count, err := strconv.Atoi(strings.TrimPrefix(lines[1], "0 "))
	if err != nil {
		t.Fatal(err)
	}
	r := read{map[int]string{}}
	for n := 1; n < count; n++ {
		offset, err := strconv.Atoi(lines[2+n][:10])
		if err != nil || len(lines[2+n]) != 19 {
			t.Fatalf("xref line %q", lines[2+n])
		}
		body := file[offset:]
		m := objectHead.FindSubmatch(body)
		if m == nil || string(m[1]) != strconv.Itoa(n) {
			t.Fatalf("object %d is not at %d", n, offset)
		}
		body, _, _ = bytes.Cut(body[len(m[0]):], []byte("\nendobj\n"))
		dictionary, data, isStream := bytes.Cut(body, []byte("\nstream\n"))
		text := string(dictionary)
		if isStream {
			z, err := zlib.NewReader(bytes.NewReader(bytes.TrimSuffix(data, []byte("\nendstream"))))
			if err != nil {
				t.Fatalf("object %d: %v", n, err)
			}
			inflated, err := io.ReadAll(z)
			if err != nil {
				t.Fatalf("object %d: %v", n, err)
			}
			text += "\nstream\n" + string(inflated)
		}
		r.objects[n] = text
	}
	for n, o := range r.objects {
		for _, m := range reference.FindAllStringSubmatch(strings.SplitN(o, "\nstream\n", 2)[0], -1) {
			if to, _ := strconv.Atoi(m[1]); r.objects[to] == "" {
				t.Errorf("object %d refers to %s, which is not there", n, m[1])
			}
		}
	}
	return r
}

// of returns the objects that hold a text, by number.
func (r read) of(text string) (found []int) {
	for n, o := range r.objects {
		if strings.Contains(o, text) {
			found = append(found, n)
		}
	}
	slices.Sort(found)
	return found
}

// TestStructure: each sheet is a well-formed PDF whose every mark on the page
// belongs to one element, or is an artifact.
func TestStructure(t *testing.T) {
	for i, tt := range sheets {
		t.Run(tt.name, func(t *testing.T) {
			file := printSheets(t, i)
			if again := printSheets(t, i); !bytes.Equal(file, again) {
				t.Error("the same sheet has other bytes")
			}
			r := readPDF(t, file)
			for _, want := range []string{"/MarkInfo <</Marked true>>", "/Lang " + text16(tt.options.First.Tag), "/DisplayDocTitle true", "/S /H1", "/S /Sect", "/ToUnicode"} {
				if len(r.of(want)) == 0 {
					t.Errorf("no %s", want)
				}
			}
			figures := r.of("/S /Figure")
			if len(figures) != len(tt.certificates) {
				t.Errorf("%d codes for %d certificates", len(figures), len(tt.certificates))
			}
			for _, f := range figures {
				if !strings.Contains(r.objects[f], "/Alt <FEFF") {
					t.Error("a code without a text to speak")
				}
			}
			if table := len(r.of("/S /Table")); tt.certificates[0].Format == cert.FormatICVP && tt.perSheet == 1 && (table != 1 || len(r.of("/S /TH")) != 6 || len(r.of("/S /TD")) != 6) {
				t.Error("not the table of annex 6")
			}
			pages := r.of("/Type /Page ")
			if want := (len(tt.certificates) + tt.perSheet - 1) / tt.perSheet; len(pages) != want {
				t.Fatalf("%d pages, want %d", len(pages), want)
			}
			for _, page := range pages {
				checkMarks(t, r, page)
			}
			// Who it is for stands in the content alone.
			for n, o := range r.objects {
				for _, c := range tt.certificates {
					p := c.Record.Person
					for _, private := range []string{p.Name.Full, p.Name.Family, p.Document.Number, "1990"} {
						if private != "" && strings.Contains(o, "/Producer") && (strings.Contains(o, private) || strings.Contains(o, hex16(private))) {
							t.Errorf("object %d: the metadata names the holder", n)
						}
					}
				}
			}
		})
	}
}

var (
	markedContent = regexp.MustCompile(`/(\w+) <</MCID (\d+)>> BDC`)
	contents      = regexp.MustCompile(`/Contents (\d+) 0 R`)
)

func checkMarks(t *testing.T, r read, page int) {
	t.Helper()
	m := contents.FindStringSubmatch(r.objects[page])
	n, _ := strconv.Atoi(m[1])
	_, content, _ := strings.Cut(r.objects[n], "\nstream\n")
	depth, marks := 0, 0
	for _, op := range strings.Split(content, "\n") {
		switch {
		case strings.HasSuffix(op, "BDC"), strings.HasSuffix(op, "BMC"):
			depth++
			if m := markedContent.FindStringSubmatch(op); m != nil {
				if m[2] != strconv.Itoa(marks) {
					t.Errorf("mark %s where %d is next", m[2], marks)
				}
				owner := fmt.Sprintf("/Type /MCR /Pg %d 0 R /MCID %s>>", page, m[2])
				if of := r.of(owner); len(of) != 1 || !strings.Contains(r.objects[of[0]], "/S /"+m[1]) {
					t.Errorf("mark %s belongs to %v", m[2], of)
				}
				marks++
			}
		case op == "EMC":
			depth--
		case depth == 0 && op != "":
			t.Errorf("outside of any mark: %q", op)
		case strings.Contains(op, "<0000") && strings.HasSuffix(op, "TJ"):
			t.Error("a glyph that no font has is shown")
		}
	}
	if depth != 0 || marks == 0 {
		t.Errorf("marks end %d deep, and are %d", depth, marks)
	}
}

// TestAtOnce: many print at a time, and each gets the same.
func TestAtOnce(t *testing.T) {
	want := printSheets(t, 1)
	var wait sync.WaitGroup
	for range 8 {
		wait.Go(func() {
			for range 3 {
				o := sheets[1].options
				got, err := Print(sheets[1].certificates, o)
				if err != nil || !bytes.Equal(got, want) {
					t.Errorf("other bytes, %v", err)
				}
			}
		})
	}
	wait.Wait()
}

// TestRefused: what cannot be printed is named, and nothing is.
func TestRefused(t *testing.T) {
	with := func(change func(c *Certificate)) []Certificate {
		c := icvp("SPECIMEN DEMO")
		change(&c)
		return []Certificate{c}
	}
	demo := []Certificate{icvp("SPECIMEN DEMO")}
	ar, en := inLanguage("ar"), inLanguage("en")
	for _, tt := range []struct {
		name         string
		certificates []Certificate
		options      Options
		want         error
		words        string
	}{
		{"no certificate", nil, Options{First: en, Second: ar}, ErrSheet, ""},
		{"too many", slices.Repeat(demo, MaxCertificates+1), Options{First: en, Second: ar}, ErrSheet, ""},
		{"three on a sheet", demo, Options{First: en, Second: ar, PerSheet: 3}, ErrSheet, ""},
		{"one language", demo, Options{First: en, Second: en}, ErrLanguage, ""},
		{"neither English nor French first", demo, Options{First: ar, Second: en}, ErrLanguage, "English or French"},
		{"DIVOC", with(func(c *Certificate) { c.Format = cert.FormatDIVOC }), Options{First: en, Second: ar}, ErrFormat, ""},
		{"no event", with(func(c *Certificate) { c.Record = &cert.Certificate{} }), Options{First: en, Second: ar}, format.RequiredMissing, ""},
		{"a character without a glyph", with(func(c *Certificate) { c.Record.Person.Name.Full = "Demo 見本" }), Options{First: en, Second: ar}, ErrGlyph, "U+898B"},
		{"an emoji in a lot", with(func(c *Certificate) { c.Record.Vaccination.Lot = "L🙂" }), Options{First: en, Second: ar, PerSheet: 4}, ErrGlyph, "U+1F642"},
		{"a name without an end", with(func(c *Certificate) { c.Record.Person.Name.Full = strings.Repeat("Specimen ", 400) }), Options{First: en, Second: ar}, ErrNoRoom, ""},
		{"a word without an end", with(func(c *Certificate) { c.Record.Person.Name.Full = strings.Repeat("Specimen", 200) }), Options{First: en, Second: ar, PerSheet: 4}, ErrNoRoom, "fewer"},
		{"a code of too many modules", with(func(c *Certificate) { c.Text = codeText(2400) }), Options{First: en, Second: ar, PerSheet: 4}, ErrDense, "fewer"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			file, err := Print(tt.certificates, tt.options)
			if !errors.Is(err, tt.want) || file != nil || !strings.Contains(err.Error(), tt.words) {
				t.Errorf("%d bytes, %v; want %v", len(file), err, tt.want)
			}
		})
	}
	if _, err := Print(with(func(c *Certificate) { c.Text = codeText(2400) }), Options{First: en, Second: ar}); err != nil {
		t.Errorf("a large code has room on a whole sheet: %v", err)
	}
}

// TestHidden: what hides in a name is shown, so that it cannot turn what follows.
func TestHidden(t *testing.T) {
	if got := clean("Demo\u202e\nX"); got != `Demo\u202e\nX` {
		t.Errorf("%q", got)
	}
}

// TestAddedFont: a font of cubic outlines brings Han, Kana and Hangul.
func TestAddedFont(t *testing.T) {
	data, err := os.ReadFile("testdata/cjk.otf")
	if err != nil {
		t.Fatal(err)
	}
	f, err := ReadFont(data)
	if err != nil {
		t.Fatal(err)
	}
	o := languages("en", "fr")
	o.Fonts = []*Font{f}
	for _, n := range []string{"見本デモ", "견본", "样本 歷史", "Demo 見本 محمد"} {
		file, err := Print([]Certificate{icvp(n)}, o)
		if err != nil {
			t.Errorf("%s: %v", n, err)
			continue
		}
		if r := readPDF(t, file); len(r.of("+NotoSansCJKJP")) == 0 {
			t.Errorf("%s: the font is not in the file", n)
		}
	}
	for name, bad := range map[string][]byte{"nothing": {}, "no font": []byte("SPECIMEN DEMO"), "half a font": data[:len(data)/2]} {
		if _, err := ReadFont(bad); !errors.Is(err, ErrFont) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestOutline: a cubic curve becomes quadratic ones that stay close to it.
func TestOutline(t *testing.T) {
	a, b, c, d := point{0, 0, true}, point{0, 550, false}, point{450, 1000, false}, point{1000, 1000, true}
	curve := appendCubic([]point{a}, a, b, c, d)
	if len(curve) < 5 || len(curve)%2 != 1 || curve[len(curve)-1] != d {
		t.Fatalf("%v", curve)
	}
	parts := (len(curve) - 1) / 2
	for i := range parts {
		for s := 0.0; s <= 1; s += 0.125 {
			p, q, r := curve[2*i], curve[2*i+1], curve[2*i+2]
			x := (1-s)*(1-s)*p.x + 2*s*(1-s)*q.x + s*s*r.x
			u := (float64(i) + s) / float64(parts)
			want := cubicPart(a, b, c, d, u, u)[0].x
			if diff := x - want; diff > 0.6 || diff < -0.6 {
				t.Errorf("%g off at %g", diff, u)
			}
		}
	}
}

// TestForgets: nothing of a person stays in memory when a sheet is done.
func TestForgets(t *testing.T) {
	w := newWorker(nil)
	d := newPDF("", "en", made)
	p := d.addPage()
	o := languages("en", "fr")
	o.PerSheet = 1
	if err := place(w, p, &o, icvp("SPECIMEN DEMO"), 0); err != nil {
		t.Fatal(err)
	}
	if len(w.names) == 0 || len(w.labels) < 20 {
		t.Fatalf("%d names and %d labels", len(w.names), len(w.labels))
	}
	w.giveBack()
	if len(w.names) != 0 {
		t.Error("names stay")
	}
	for key := range w.labels {
		for _, private := range []string{"SPECIMEN", "1990", "SPEC0001", "2026", "DEMO-LOT-1", "Demonstration clinic"} {
			if strings.Contains(key.text, private) {
				t.Errorf("%q stays", key.text)
			}
		}
	}
}
