package paper

import (
	"ampoule/cert"
	"ampoule/internal/messages"
	"os"
	"strings"
	"testing"
	"time"
)

func rec(n string) Certificate {
	return Certificate{Format: cert.FormatICVP, Participant: "XXA", Text: "HC1:" + strings.Repeat("6BFOXN%TSMAHN-H", 28), Record: &cert.Certificate{Kind: "vaccination", Authority: "XXA", Issued: time.Date(2026, 10, 1, 0, 0, 0, 0, time.UTC),
		Person:      cert.Person{Name: cert.Name{Full: n}, BirthDate: "1990-02-03", Sex: "female", Nationality: "XXA", Document: cert.Document{Number: "SPEC0001", Type: "PPN"}},
		Vaccination: &cert.Vaccination{Disease: cert.Code{Code: "1D47"}, Product: cert.Code{Code: "DEMO-YF-0001", Display: "Demonstration yellow fever vaccine (fictitious)"}, Manufacturer: cert.Code{Display: "Demonstration Manufacturer One (fictitious)"}, Lot: "DEMO-LOT-1", Date: "2026-09-01", Clinician: "Demonstration clinic", ValidFrom: "2026-09-11"}}}
}
func dcc(n, g string) Certificate {
	return Certificate{Format: cert.FormatEUDCC, Participant: "XA", Text: "HC1:" + strings.Repeat("6BFOXN%TSMAHN-H", 36), Record: &cert.Certificate{Kind: "vaccination", ID: "URN:UVCI:01:XA:0123456789ABCDEF0123456789#K", Authority: "Demonstration Health Authority", Issued: time.Date(2026, 10, 1, 0, 0, 0, 0, time.UTC), Expires: time.Date(2027, 10, 1, 0, 0, 0, 0, time.UTC),
		Person:      cert.Person{Name: cert.Name{Family: n, Given: g}, BirthDate: "1990-02-03"},
		Vaccination: &cert.Vaccination{Disease: cert.Code{Code: "840539006"}, Vaccine: cert.Code{Code: "1119349007", Display: "SARS-CoV-2 mRNA vaccine"}, Product: cert.Code{Code: "EU/1/20/1528", Display: "Comirnaty"}, Manufacturer: cert.Code{Code: "ORG-100030215", Display: "Biontech Manufacturing GmbH"}, Date: "2026-03-01", Dose: 2, Doses: 2, Country: "AT"}}}
}
func TestZZ(t *testing.T) {
	L := map[string]*messages.Language{}
	for _, l := range messages.Languages {
		L[l.Tag] = l
	}
	made := time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC)
	long := "Maria Aleksandra Wilhelmina Brzęczyszczykiewicz-Wolfeschlegelsteinhausenbergerdorff de la Santísima Trinidad y Todos los Santos"
	for name, c := range map[string]struct {
		cs []Certificate
		o  Options
	}{
		"en-fr": {[]Certificate{rec("SPECIMEN DEMO")}, Options{First: L["en"], Second: L["fr"]}},
		"en-ar": {[]Certificate{rec("محمد عبد الله الأمين")}, Options{First: L["en"], Second: L["ar"]}},
		"fr-es": {[]Certificate{rec(long)}, Options{First: L["fr"], Second: L["es"]}},
		"four":  {[]Certificate{rec("SPECIMEN DEMO"), rec("क्षत्रिय हिन्दी"), dcc("Spécimen-Ünal", "Démo"), rec("محمد الأمين"), rec(long)}, Options{First: L["en"], Second: L["ar"], PerSheet: 4}},
		"two":   {[]Certificate{rec("SPECIMEN DEMO"), dcc("Spécimen-Ünal", "Démo")}, Options{First: L["fr"], Second: L["pt"], PerSheet: 2}},
		"dcc":   {[]Certificate{dcc("Spécimen-Ünal", "Démo")}, Options{First: L["en"], Second: L["ar"]}},
	} {
		c.o.Made = made
		b, err := Print(c.cs, c.o)
		if err != nil {
			t.Error(name, err)
			continue
		}
		os.WriteFile("/tmp/pf/"+name+".pdf", b, 0o644)
	}
}
func BenchmarkZZ(b *testing.B) {
	for b.Loop() {
		if _, err := Print([]Certificate{rec("SPECIMEN DEMO")}, Options{First: messages.Languages[0], Second: messages.Languages[1]}); err != nil {
			b.Fatal(err)
		}
	}
}
