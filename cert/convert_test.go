package cert

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"ampoule/format"
	"ampoule/format/fhir"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// specimenProducts is a catalogue of two products.
func specimenProducts(t testing.TB) *Catalogue {
	t.Helper()
	c, err := ReadCatalogue([]byte(`{"catalogue": "specimen list", "products": [
		{"id": "YF-1", "display": "Specimen yellow fever vaccine", "disease": "yellow-fever", "manufacturer": "Specimen Biologicals"},
		{"id": "PV-1", "display": "Specimen polio vaccine", "disease": "polio"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// specimenMaps are the built-in maps and one that has a code of every system for
// one vaccine.
func specimenMaps(t testing.TB) *ConceptMaps {
	t.Helper()
	m := BuiltinConceptMaps()
	lines := []string{"source_system,source_code,equivalence,target_system,target_code"}
	for _, l := range []string{
		"cvx 37 equivalent icd11 XM-YF", "icvp-product YF-1 wider icd11 XM-YF", "icvp-product YF-1 wider cvx 37",
		"icd11 XM-MRNA equivalent snomed 1119349007", "loinc LP6464-4 equivalent icd11 XM-NAAT", "snomed 260415000 equivalent icd11 XM-NEG",
	} {
		f := strings.Fields(l)
		lines = append(lines, strings.Join([]string{SystemNamed(f[0]), f[1], f[2], SystemNamed(f[3]), f[4]}, ","))
	}
	if err := m.Add("specimen map", []byte(strings.Join(lines, "\n")+"\n")); err != nil {
		t.Fatal(err)
	}
	return m
}

// The records of the tests say everything that the neutral record can.

func fullPerson() Person {
	return Person{
		Name: Name{Family: "Spécimen", Given: "Ada"}, BirthDate: "1990-02-03", Sex: "female", Nationality: "AUT",
		Document: Document{Number: "SPEC0001", Type: "PPN"}, Guardian: "Specimen Parent",
	}
}

func fullVaccination() *Certificate {
	return &Certificate{
		Kind: KindVaccination, ID: "SPECIMEN", Authority: "Specimen authority", Person: fullPerson(),
		Vaccination: &Vaccination{
			Disease: Code{"840539006", systemSNOMED, "COVID-19"}, Vaccine: Code{"1119349007", systemSNOMED, "SARS-CoV-2 mRNA vaccine"},
			Product: Code{"EU/1/20/1528", systemEURegister, "Comirnaty"}, Manufacturer: Code{"ORG-100030215", systemSPOR, "Biontech Manufacturing GmbH"},
			Lot: "SPEC-LOT-1", Date: "2026-10-01", Dose: 2, Doses: 3, Country: "AT", Clinician: "Specimen Clinic",
			ValidFrom: "2026-10-15", ValidUntil: "2027-10-15",
		},
		Earlier: []Event{{Vaccination: &Vaccination{
			Disease: Code{"840539006", systemSNOMED, "COVID-19"}, Vaccine: Code{"1119349007", systemSNOMED, ""}, Product: Code{"EU/1/20/1528", systemEURegister, "Comirnaty"},
			Date: "2026-09-01", Lot: "SPEC-LOT-0", Dose: 1, Country: "AT", Clinician: "Specimen Clinic",
		}}},
	}
}

func fullYellowFever() *Certificate {
	c := fullVaccination()
	v := c.Vaccination
	v.Product, v.Disease = Code{"YF-1", SystemICVPProduct, "Specimen yellow fever vaccine"}, Code{"1D47", systemICD11, "Yellow fever"}
	v.Vaccine, v.Manufacturer = Code{"37", fhir.SystemCVX, "yellow fever"}, Code{Display: "Specimen Biologicals"}
	return c
}

func fullTest() *Certificate {
	return &Certificate{
		Kind: KindTest, ID: "SPECIMEN", Authority: "Specimen authority", Person: fullPerson(),
		Test: &Test{
			Disease: Code{"840539006", systemSNOMED, "COVID-19"}, Type: Code{"LP6464-4", systemLOINC, ""}, Name: "Specimen PCR", Device: Code{"1232", systemTestDevices, ""},
			Sampled: "2026-11-01T10:00:00Z", Reported: "2026-11-01T12:00:00Z", Result: Code{"260415000", systemSNOMED, "Not detected"},
			Centre: "Specimen centre", Contact: Contact{"+100", "centre@specimen.example", "Specimen street"}, Country: "AT",
		},
	}
}

// TestConversionTable holds the table of docs/conversion.md to what the formats
// really carry. UPDATE_DOCS=1 writes it.
func TestConversionTable(t *testing.T) {
	var out strings.Builder
	for _, kind := range []struct {
		title  string
		record *Certificate
	}{{"A vaccination", fullVaccination()}, {"A test", fullTest()}} {
		cell := make(map[string]map[Format]string)
		set := func(row string, to Format, mark string) {
			if cell[row] == nil {
				cell[row] = make(map[Format]string)
			}
			if cell[row][to] == "" || mark == "no" {
				cell[row][to] = mark
			}
		}
		for _, to := range Formats() {
			record := kind.record
			if to == FormatICVP && record.Vaccination != nil {
				record = fullYellowFever()
			}
			x, err := record.Convert(to, specimenMaps(t), specimenProducts(t))
			if errors.Is(err, ErrNotCarried) {
				continue
			} else if err != nil {
				t.Fatal(err)
			}
			for path := range flatten(t, record) {
				if slices.Contains(append(ofIssuer, "kind"), path) || strings.HasSuffix(path, ".display") {
					continue
				}
				mark, row := "●", strings.TrimSuffix(strings.TrimSuffix(path, ".code"), ".system")
				for _, l := range x.Losses {
					if l.Path == path || strings.HasPrefix(path, l.Path+".") || strings.HasPrefix(path, l.Path+"[") {
						mark = map[LossKind]string{Lost: "no", Changed: "changed", Widened: "wider", Translated: "●"}[l.Kind]
					}
				}
				if strings.HasPrefix(path, "earlier[0]") {
					row, mark = "earlier", "●"
					if slices.ContainsFunc(x.Losses, func(l Loss) bool { return l.Path == "earlier[0]" }) {
						mark = "no"
					}
				}
				set(row, to, mark)
			}
		}
		fmt.Fprintf(&out, "\n### %s\n\n| | %s |\n|---|%s\n", kind.title, strings.Join(formatNames(), " | "), strings.Repeat("---|", len(Formats())))
		for _, path := range slices.Sorted(maps.Keys(cell)) {
			fmt.Fprintf(&out, "| `%s` |", path)
			for _, to := range Formats() {
				fmt.Fprintf(&out, " %s |", cell[path][to])
			}
			out.WriteString("\n")
		}
	}
	const file, mark = "../docs/conversion.md", "<!-- measured -->\n"
	doc, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	before, table, ok := strings.Cut(string(doc), mark)
	if !ok {
		t.Fatalf("%s has no mark", file)
	}
	if table != out.String() {
		if os.Getenv("UPDATE_DOCS") == "" {
			t.Errorf("docs/conversion.md is not what the formats carry; UPDATE_DOCS=1 writes it:\n%s", cmp.Diff(table, out.String()))
		} else if err := os.WriteFile(file, []byte(before+mark+out.String()), 0o666); err != nil {
			t.Fatal(err)
		}
	}
}

func formatNames() []string {
	var names []string
	for _, f := range Formats() {
		names = append(names, string(f))
	}
	return names
}

// flatten returns the facts of a record by their paths, of which the report knows
// nothing: it goes by the JSON that the record is written in.
func flatten(t interface{ Fatal(...any) }, c *Certificate) map[string]string {
	data, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	var v any
	if err := json.Unmarshal(data, &v); err != nil {
		t.Fatal(err)
	}
	facts := make(map[string]string)
	var walk func(path string, v any)
	walk = func(path string, v any) {
		switch v := v.(type) {
		case map[string]any:
			for name, member := range v {
				walk(strings.TrimPrefix(path+"."+name, "."), member)
			}
		case []any:
			for i, item := range v {
				walk(fmt.Sprintf("%s[%d]", path, i), item)
			}
		default:
			if text := fmt.Sprint(v); text != "" {
				facts[path] = text
			}
		}
	}
	walk("", v)
	return facts
}

// ofIssuer are the facts that a new issuer adds.
var ofIssuer = []string{"id", "authority", "issued", "valid_from", "expires"}

// checkReport holds a report against the two records: every difference is in it,
// and it has nothing else.
func checkReport(t *rapid.T, before *Certificate, x *Conversion) {
	a, b := flatten(t, before), flatten(t, x.Read)
	for _, path := range ofIssuer {
		delete(a, path)
		delete(b, path)
	}
	told := make(map[string]bool)
	covers := func(path string) bool {
		for _, l := range x.Losses {
			if l.Path == path || strings.HasPrefix(path, l.Path+".") || strings.HasPrefix(path, l.Path+"[") {
				told[l.Path] = true
				return true
			}
		}
		return false
	}
	for path := range maps.Keys(a) {
		if a[path] != b[path] && !covers(path) && !sameSystem(path, a[path], b[path]) {
			t.Fatalf("%s: %s was %q and is %q, and the report does not say so:\n%+v", x.Format, path, a[path], b[path], x.Losses)
		}
	}
	for path := range maps.Keys(b) {
		if _, had := a[path]; !had && !covers(path) {
			t.Fatalf("%s: %s is %q, and the report does not say that it was added", x.Format, path, b[path])
		}
	}
	for _, l := range x.Losses {
		if !told[l.Path] {
			t.Fatalf("%s: the report says %s is %s, and it is not: %q, %q", x.Format, l.Path, l.Kind, a[l.Path], b[l.Path])
		}
		switch l.Kind {
		case Translated, Widened:
			if len(l.Maps) == 0 || l.From == nil && l.Kind == Translated || l.To == nil {
				t.Fatalf("%s: %s by nobody: %+v", l.Path, l.Kind, l)
			}
		}
	}
}

// sameSystem: one code system under two of its names.
func sameSystem(path, a, b string) bool {
	return strings.HasSuffix(path, ".system") && conceptSystem(a) == conceptSystem(b)
}

// complete returns a record with everything that certificates of a format need.
func complete(t *rapid.T, of Format) *Certificate {
	c := fullVaccination()
	switch {
	case of == FormatICVP:
		c = fullYellowFever()
	case of == FormatEUDCC && rapid.Bool().Draw(t, "recovery"):
		c.Kind, c.Vaccination, c.Earlier = KindRecovery, nil, nil
		c.Recovery = &Recovery{Disease: Code{"840539006", systemSNOMED, ""}, FirstPositive: "2026-08-01", Country: "AT", ValidFrom: "2026-08-12", ValidUntil: "2027-01-01"}
	case of != FormatDIVOC && rapid.Bool().Draw(t, "test"):
		c = fullTest()
		if of == FormatVDSNC {
			c.Test.Type, c.Test.Result = Code{Display: "molecular(PCR)"}, Code{Display: "negative"}
		}
	}
	return c
}

// drawRecord draws a complete record of a format and changes a few things in it.
func drawRecord(t *rapid.T, of Format) *Certificate {
	c := complete(t, of)
	text := func(label string, of ...string) string { return rapid.SampledFrom(append(of, "")).Draw(t, label) }
	code := func(label string, of ...Code) Code { return rapid.SampledFrom(append(of, Code{})).Draw(t, label) }
	p := &c.Person
	changes := []func(){
		func() {
			p.Name = rapid.SampledFrom([]Name{
				{Full: "Ada Spécimen"}, {Family: "Spécimen"}, {Given: "Ada Beta"}, {Full: "Ада", FullMRZ: "ADA"},
				{Family: "Specimen", FamilyMRZ: "SPECIMEN", Given: "Ada", GivenMRZ: "ADA"}, {Family: "Spécimen", FamilyMRZ: "OTHER"},
			}).Draw(t, "name")
		},
		func() { p.BirthDate = Date(text("born", "1990", "1990-02")) },
		func() { p.Sex = text("sex", "male", "other", "unknown") },
		func() { p.Nationality = text("nationality", "UTO") },
		func() { p.Guardian = "" },
		func() {
			p.Document = rapid.SampledFrom([]Document{{}, {"SPEC0002", "NI"}, {"SPEC0003", ""}, {"SPEC0004", "DL"}}).Draw(t, "document")
		},
		func() { c.Earlier = nil },
	}
	disease := func() Code {
		return code("disease", Code{"RA01", systemICD11, "COVID-19"}, Code{"1D47", systemICD11, ""}, Code{"RA01.0", systemICD11, ""}, Code{"99", "urn:other", ""}, Code{"", "", "in words"})
	}
	country := func() string { return text("country", "AUT", "UTO", "AT") }
	if v := c.Vaccination; v != nil {
		if len(c.Earlier) > 0 && rapid.Bool().Draw(t, "of the earlier dose") {
			v = c.Earlier[0].Vaccination
		}
		changes = append(changes,
			func() { v.Disease = disease() },
			func() {
				v.Vaccine = code("vaccine", Code{"208", fhir.SystemCVX, ""}, Code{"37", fhir.SystemCVX, "yellow fever"}, Code{"XM-YF", "http://id.who.int/icd11/mms", ""}, Code{"J07BN01", systemATC, ""}, Code{"", "", "in words"}, Code{"77", "", ""})
			},
			func() {
				v.Product = code("product", Code{"YF-1", SystemICVPProduct, ""}, Code{"", "", "a product in words"}, Code{"Sputnik-V", systemTempProduct, ""}, Code{"Sputnik-V", systemEURegister, "Sputnik V"})
			},
			func() { v.Synonyms = []Code{{"J07BN01", systemATC, ""}, {"37", fhir.SystemCVX, ""}} },
			func() {
				v.Manufacturer = code("manufacturer", Code{"PFR", "http://hl7.org/fhir/sid/mvx", ""}, Code{"", "", "Specimen Biologicals"})
			},
			func() { v.Lot = text("lot", "l 2") },
			func() { v.Dose, v.Doses = rapid.IntRange(0, 3).Draw(t, "dose"), rapid.IntRange(0, 3).Draw(t, "doses") },
			func() { v.Country = country() },
			func() { v.Clinician = "" },
			func() { v.ValidFrom, v.ValidUntil = "", Date(text("until", "2028-01-01")) },
		)
	}
	if x := c.Test; x != nil {
		changes = append(changes,
			func() { x.Disease = disease() },
			func() { x.Type = code("type", Code{"94558-4", systemLOINC, ""}, Code{"", "", "antigen"}) },
			func() { x.Name, x.Device = text("test"), code("device") },
			func() {
				x.Sampled = rapid.SampledFrom([]string{"2026-11-01T10:00:00+02:00", "2026-11-01"}).Draw(t, "sampled")
			},
			func() { x.Reported = "" },
			func() {
				x.Result = code("result", Code{"260373001", systemSNOMED, ""}, Code{"", "", "negative"}, Code{"", "", "unclear"})
			},
			func() { x.Centre, x.Contact = text("centre"), Contact{Phone: text("phone", "+200")} },
			func() { x.Country = country() },
		)
	}
	if r := c.Recovery; r != nil {
		changes = append(changes, func() { r.Disease = disease() }, func() { r.Country = country() })
	}
	for range rapid.IntRange(0, 4).Draw(t, "changes") {
		changes[rapid.IntRange(0, len(changes)-1).Draw(t, "change")]()
	}
	return c
}

// TestConversionTellsEverything: a certificate of any format, converted to any
// other, loses what the report lists, no more and no less; and converted to its
// own it loses nothing.
func TestConversionTellsEverything(t *testing.T) {
	concepts, catalogue := specimenMaps(t), specimenProducts(t)
	pairs := make(map[[2]Format]int)
	property := func(t *rapid.T, from Format) {
		drawn := drawRecord(t, from)
		before, err := json.Marshal(drawn)
		if err != nil {
			t.Fatal(err)
		}
		first, err := drawn.Convert(from, concepts, catalogue)
		if after, _ := json.Marshal(drawn); string(after) != string(before) {
			t.Fatal("the record was changed")
		}
		if errors.Is(err, ErrNotCarried) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		if first.Read == nil {
			if len(first.Missing) == 0 {
				t.Fatal("nothing was written, and nothing is missing")
			}
			return
		}
		checkReport(t, drawn, first)
		if len(first.Missing) > 0 {
			return // no such certificate can be issued
		}
		issued := first.Read
		for _, to := range Formats() {
			second, err := issued.Convert(to, concepts, catalogue)
			if errors.Is(err, ErrNotCarried) {
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			if to == from && (len(second.Losses) > 0 || len(second.Missing) > 0) {
				t.Fatalf("%s converted to itself: %+v %v", from, second.Losses, second.Missing)
			}
			if second.Read != nil {
				checkReport(t, issued, second)
				pairs[[2]Format{from, to}]++
			}
		}
	}
	for _, from := range Formats() {
		t.Run(string(from), func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) { property(t, from) })
		})
	}
	for _, from := range Formats() {
		for _, to := range Formats() {
			if pairs[[2]Format{from, to}] == 0 {
				t.Errorf("no record went from %s to %s", from, to)
			}
		}
	}
}

func TestConvert(t *testing.T) {
	for _, tt := range []struct {
		name   string
		record *Certificate
		to     Format
		want   []Loss
		lacks  []Missing
	}{
		{"a dose of CVX becomes the EU's", &Certificate{Kind: KindVaccination, Person: Person{Name: Name{Family: "Specimen", FamilyMRZ: "SPECIMEN"}}, Vaccination: &Vaccination{
			Disease: Code{"RA01", systemICD11, "COVID-19"}, Vaccine: Code{"208", fhir.SystemCVX, ""}, Date: "2026-10-01", Dose: 1, Doses: 2, Country: "AUT", Lot: "L1",
		}}, FormatEUDCC, []Loss{
			{Path: "vaccination.disease", Kind: Translated, From: &Code{"RA01", systemICD11, "COVID-19"}, To: &Code{"840539006", systemSNOMED, "COVID-19"}, Maps: []string{"ampoule:diseases"}},
			{Path: "vaccination.vaccine", Kind: Widened, From: &Code{"208", fhir.SystemCVX, ""}, To: &Code{"1119349007", systemSNOMED, "SARS-CoV-2 mRNA vaccine"}, Maps: []string{"ampoule:cvx-eu-prophylaxis"}},
			{Path: "vaccination.product", Kind: Added, To: &Code{"EU/1/20/1528", systemEURegister, "Comirnaty"}, Maps: []string{"ampoule:cvx-eu-product"}},
			{Path: "vaccination.lot", Kind: Lost},
			{Path: "vaccination.country", Kind: Changed},
		}, []Missing{{format.RequiredMissing, "v[0].ma"}}},
		{"one of the EU's becomes CVX, and stays beside it", &Certificate{Kind: KindVaccination, Person: Person{Name: Name{Family: "Specimen", FamilyMRZ: "SPECIMEN", Given: "Ada", GivenMRZ: "ADA"}, BirthDate: "1990-02-03"}, Vaccination: &Vaccination{
			Vaccine: Code{"XM-YF", systemICD11, ""}, Date: "2026-10-01", Lot: "L1",
		}}, FormatSHC, []Loss{
			{Path: "vaccination.vaccine", Kind: Translated, From: &Code{"XM-YF", systemICD11, ""}, To: &Code{"37", fhir.SystemCVX, ""}, Maps: []string{"specimen map"}},
			{Path: "vaccination.synonyms[0]", Kind: Added},
		}, nil},
		{"what is narrower does not stand for it", &Certificate{Kind: KindVaccination, Person: Person{Name: Name{Family: "Specimen", FamilyMRZ: "SPECIMEN", Given: "Ada", GivenMRZ: "ADA"}, BirthDate: "1990-02-03"}, Vaccination: &Vaccination{
			Vaccine: Code{"XM-YF", systemICD11, ""}, Product: Code{"37", fhir.SystemCVX, ""}, Date: "2026-10-01", Lot: "L1",
		}}, FormatICVP, []Loss{
			{Path: "person.name.full", Kind: Added}, {Path: "person.name.family", Kind: Lost}, {Path: "person.name.given", Kind: Lost},
			{Path: "person.name.full_mrz", Kind: Added}, {Path: "person.name.family_mrz", Kind: Lost}, {Path: "person.name.given_mrz", Kind: Lost},
			{Path: "vaccination.vaccine", Kind: Lost, From: &Code{"XM-YF", systemICD11, ""}},
			{Path: "vaccination.product", Kind: Lost, From: &Code{"37", fhir.SystemCVX, ""}, Related: []Match{
				{Code{"YF-1", SystemICVPProduct, ""}, fhir.Narrower, []string{"specimen map"}},
			}},
		}, []Missing{{format.RequiredMissing, "s"}, {format.RequiredMissing, "nt"}, {format.RequiredMissing, "vx.vp"}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			x, err := tt.record.Convert(tt.to, specimenMaps(t), specimenProducts(t))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, x.Losses); diff != "" {
				t.Errorf("losses:\n%s", diff)
			}
			if diff := cmp.Diff(tt.lacks, x.Missing); diff != "" {
				t.Errorf("missing:\n%s", diff)
			}
		})
	}
}

func TestConvertNotCarried(t *testing.T) {
	recovery := &Certificate{Kind: KindRecovery, Recovery: &Recovery{Disease: Code{Code: "840539006", System: systemSNOMED}}}
	for _, to := range Formats() {
		if _, err := recovery.Convert(to, nil, nil); to != FormatEUDCC && !errors.Is(err, ErrNotCarried) {
			t.Errorf("a recovery in %s: %v", to, err)
		}
		if _, err := (&Certificate{Kind: KindLink, Link: new(Link)}).Convert(to, nil, nil); !errors.Is(err, ErrNotCarried) {
			t.Errorf("a link in %s: %v", to, err)
		}
	}
	if _, err := fullTest().Convert("cbor", nil, nil); !errors.Is(err, ErrNotCarried) {
		t.Errorf("no such format: %v", err)
	}
}
