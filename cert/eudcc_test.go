package cert_test

import (
	"errors"
	"strings"
	"testing"

	"ampoule/cert"
	"ampoule/format"
	"ampoule/format/eudcc"

	"github.com/google/go-cmp/cmp"
)

func euName() eudcc.Name {
	return eudcc.Name{Surname: "Spécimen", StandardSurname: "SPECIMEN", Forename: "Ada", StandardForename: "ADA"}
}

func euVaccination() *eudcc.Certificate {
	return &eudcc.Certificate{Version: "1.3.2", Name: euName(), DateOfBirth: "1990-02-03", Vaccination: &eudcc.Vaccination{
		Target: "840539006", Prophylaxis: "1119349007", Product: "EU/1/20/1528", Manufacturer: "ORG-100030215", Dose: 2, Doses: 3,
		Date: "2026-02-20", Country: "AT", Issuer: "Specimen authority", ID: "URN:UVCI:01:AT:SPECIMEN#1",
	}}
}

func euTest() *eudcc.Certificate {
	return &eudcc.Certificate{Version: "1.3.2", Name: euName(), DateOfBirth: "1990-02-03", Test: &eudcc.Test{
		Target: "840539006", Type: "LP217198-3", Name: "Specimen antigen", Device: "1232", SampleTime: "2026-02-20T10:00:00+01:00",
		ResultTime: "2026-02-20T11:00:00+01:00", Result: "260415000", Centre: "Specimen centre", Country: "AT", Issuer: "Specimen authority", ID: "URN:UVCI:01:AT:SPECIMEN#1",
	}}
}

func euRecovery() *eudcc.Certificate {
	return &eudcc.Certificate{Version: "1.3.2", Name: euName(), DateOfBirth: "1990-02-03", Recovery: &eudcc.Recovery{
		Target: "840539006", FirstPositive: "2026-01-01", Country: "AT", Issuer: "Specimen authority", From: "2026-01-12", Until: "2026-06-30", ID: "URN:UVCI:01:AT:SPECIMEN#1",
	}}
}

// TestDCCRoundTrip: what the schema has a place for comes back unchanged.
func TestDCCRoundTrip(t *testing.T) {
	for name, payload := range map[string]*eudcc.Certificate{"vaccination": euVaccination(), "test": euTest(), "recovery": euRecovery()} {
		t.Run(name, func(t *testing.T) {
			record, remarks := cert.FromDCC(payload)
			if len(remarks) > 0 {
				t.Errorf("remarks %v", remarks)
			}
			if string(record.Kind) != name {
				t.Errorf("kind %s", record.Kind)
			}
			back, err := record.ToDCC()
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(payload, back); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestFromDCC(t *testing.T) {
	record, _ := cert.FromDCC(euVaccination())
	want := &cert.Certificate{
		Kind: cert.KindVaccination, ID: "URN:UVCI:01:AT:SPECIMEN#1", Authority: "Specimen authority",
		Person: cert.Person{Name: cert.Name{Family: "Spécimen", Given: "Ada", FamilyMRZ: "SPECIMEN", GivenMRZ: "ADA"}, BirthDate: "1990-02-03"},
		Vaccination: &cert.Vaccination{
			Disease:      cert.Code{Code: "840539006", System: "http://snomed.info/sct", Display: "COVID-19"},
			Vaccine:      cert.Code{Code: "1119349007", System: "http://snomed.info/sct", Display: display(t, cert.ValueSetProphylaxis, "1119349007")},
			Product:      cert.Code{Code: "EU/1/20/1528", System: "https://ec.europa.eu/health/documents/community-register/html/", Display: "Comirnaty"},
			Manufacturer: cert.Code{Code: "ORG-100030215", System: "https://spor.ema.europa.eu/v1/organisations", Display: display(t, cert.ValueSetManufacturer, "ORG-100030215")},
			Date:         "2026-02-20", Dose: 2, Doses: 3, Country: "AT",
		},
	}
	if diff := cmp.Diff(want, record); diff != "" {
		t.Error(diff)
	}
	if record.Country() != "AT" {
		t.Errorf("country %q", record.Country())
	}
}

func display(t *testing.T, set cert.ValueSet, code string) string {
	t.Helper()
	words, known := cert.Display(set, code)
	if !known || words == "" {
		t.Fatalf("%s is not in %s", code, set)
	}
	return words
}

// TestDCCRemarks: a code outside its value set passes through, without a system
// or words of our own, and is remarked.
func TestDCCRemarks(t *testing.T) {
	for _, tt := range []struct {
		path   string
		change func(c *eudcc.Certificate, code string)
		code   func(c *cert.Certificate) cert.Code
	}{
		{"v[0].tg", func(c *eudcc.Certificate, s string) { c.Vaccination.Target = s }, func(c *cert.Certificate) cert.Code { return c.Vaccination.Disease }},
		{"v[0].vp", func(c *eudcc.Certificate, s string) { c.Vaccination.Prophylaxis = s }, func(c *cert.Certificate) cert.Code { return c.Vaccination.Vaccine }},
		{"v[0].mp", func(c *eudcc.Certificate, s string) { c.Vaccination.Product = s }, func(c *cert.Certificate) cert.Code { return c.Vaccination.Product }},
		{"v[0].ma", func(c *eudcc.Certificate, s string) { c.Vaccination.Manufacturer = s }, func(c *cert.Certificate) cert.Code { return c.Vaccination.Manufacturer }},
		{"v[0].co", func(c *eudcc.Certificate, s string) { c.Vaccination.Country = s }, func(c *cert.Certificate) cert.Code { return cert.Code{Code: c.Vaccination.Country} }},
		{"t[0].tg", func(c *eudcc.Certificate, s string) { c.Test.Target = s }, func(c *cert.Certificate) cert.Code { return c.Test.Disease }},
		{"t[0].tt", func(c *eudcc.Certificate, s string) { c.Test.Type = s }, func(c *cert.Certificate) cert.Code { return c.Test.Type }},
		{"t[0].ma", func(c *eudcc.Certificate, s string) { c.Test.Device = s }, func(c *cert.Certificate) cert.Code { return c.Test.Device }},
		{"t[0].tr", func(c *eudcc.Certificate, s string) { c.Test.Result = s }, func(c *cert.Certificate) cert.Code { return c.Test.Result }},
		{"t[0].co", func(c *eudcc.Certificate, s string) { c.Test.Country = s }, func(c *cert.Certificate) cert.Code { return cert.Code{Code: c.Test.Country} }},
		{"r[0].tg", func(c *eudcc.Certificate, s string) { c.Recovery.Target = s }, func(c *cert.Certificate) cert.Code { return c.Recovery.Disease }},
		{"r[0].co", func(c *eudcc.Certificate, s string) { c.Recovery.Country = s }, func(c *cert.Certificate) cert.Code { return cert.Code{Code: c.Recovery.Country} }},
	} {
		t.Run(tt.path, func(t *testing.T) {
			payload := map[byte]func() *eudcc.Certificate{'v': euVaccination, 't': euTest, 'r': euRecovery}[tt.path[0]]()
			tt.change(payload, " Specimen code ")
			record, remarks := cert.FromDCC(payload)
			if diff := cmp.Diff([]string{tt.path}, remarks); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(cert.Code{Code: " Specimen code "}, tt.code(record)); diff != "" {
				t.Error(diff)
			}
			tt.change(payload, "")
			if _, remarks = cert.FromDCC(payload); len(remarks) > 0 {
				t.Errorf("nothing is remarked as %v", remarks)
			}
		})
	}
	t.Run("several", func(t *testing.T) {
		payload := euVaccination()
		payload.Vaccination.Product, payload.Vaccination.Country = "X", "XA"
		if _, remarks := cert.FromDCC(payload); len(remarks) != 2 {
			t.Errorf("remarks %v", remarks)
		}
	})
}

// TestDCCSpaces: blanks around a known code are dropped.
func TestDCCSpaces(t *testing.T) {
	payload := euVaccination()
	payload.Vaccination.Product, payload.Vaccination.Target = " EU/1/20/1528 ", "840539006\t"
	record, remarks := cert.FromDCC(payload)
	if len(remarks) > 0 || record.Vaccination.Product.Code != "EU/1/20/1528" || record.Vaccination.Product.Display != "Comirnaty" || record.Vaccination.Disease.Code != "840539006" {
		t.Errorf("%+v, remarks %v", record.Vaccination, remarks)
	}
}

// TestDCCDates: the midnight that some issuers write into dates is dropped,
// partial and broken dates stay as they are, and times stay times.
func TestDCCDates(t *testing.T) {
	for given, want := range map[string]cert.Date{
		"1990-02-03": "1990-02-03", "1990-02-03T00:00:00": "1990-02-03", "1990-02-03T00:00:00Z": "1990-02-03",
		"1990-02": "1990-02", "1990": "1990", "": "", "1990-02-30T00:00:00": "1990-02-30T00:00:00", "1990-02-03 00:00": "1990-02-03 00:00",
	} {
		v, r := euVaccination(), euRecovery()
		v.DateOfBirth, v.Vaccination.Date = given, given
		r.Recovery.FirstPositive, r.Recovery.From, r.Recovery.Until = given, given, given
		a, _ := cert.FromDCC(v)
		b, _ := cert.FromDCC(r)
		for _, got := range []cert.Date{a.Person.BirthDate, a.Vaccination.Date, b.Recovery.FirstPositive, b.Recovery.ValidFrom, b.Recovery.ValidUntil} {
			if got != want {
				t.Errorf("%q: %q, want %q", given, got, want)
			}
		}
	}
	record, _ := cert.FromDCC(euTest())
	if record.Test.Sampled != "2026-02-20T10:00:00+01:00" || record.Test.Reported != "2026-02-20T11:00:00+01:00" {
		t.Errorf("%+v", record.Test)
	}
}

// TestDCCNames: both spellings are kept as the issuer wrote them, and one that
// is missing is computed.
func TestDCCNames(t *testing.T) {
	for _, tt := range []struct {
		name        string
		given, want eudcc.Name
	}{
		{"both", euName(), euName()},
		{"both, and they differ", eudcc.Name{Surname: "Müller", StandardSurname: "MULLER", Forename: "A", StandardForename: "B"}, eudcc.Name{Surname: "Müller", StandardSurname: "MULLER", Forename: "A", StandardForename: "B"}},
		{"no transliteration", eudcc.Name{Surname: "Müller Ångström", Forename: "Zoë"}, eudcc.Name{Surname: "Müller Ångström", StandardSurname: "MUELLER<AANGSTROEM", Forename: "Zoë", StandardForename: "ZOE"}},
		{"transliteration alone", eudcc.Name{StandardSurname: "SPECIMEN"}, eudcc.Name{StandardSurname: "SPECIMEN"}},
		{"one name", eudcc.Name{Forename: "Ada"}, eudcc.Name{Forename: "Ada", StandardForename: "ADA"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			payload := euVaccination()
			payload.Name = tt.given
			record, _ := cert.FromDCC(payload)
			n := record.Person.Name
			got := eudcc.Name{Surname: n.Family, StandardSurname: n.FamilyMRZ, Forename: n.Given, StandardForename: n.GivenMRZ}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestToDCC(t *testing.T) {
	t.Run("transliterates", func(t *testing.T) {
		record, _ := cert.FromDCC(euVaccination())
		record.Person.Name = cert.Name{Family: "Grün", Given: "Ada Eva"}
		payload, err := record.ToDCC()
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(eudcc.Name{Surname: "Grün", StandardSurname: "GRUEN", Forename: "Ada Eva", StandardForename: "ADA<EVA"}, payload.Name); diff != "" {
			t.Error(diff)
		}
		if record.Person.Name.FamilyMRZ != "" {
			t.Error("the record was changed")
		}
	})
	t.Run("leaves behind what has no place", func(t *testing.T) {
		record, _ := cert.FromDCC(euVaccination())
		record.Person.Sex, record.Person.Nationality, record.Vaccination.Lot, record.Person.Document.Number = "female", "AUT", "LOT", "P1"
		payload, err := record.ToDCC()
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(euVaccination(), payload); diff != "" {
			t.Error(diff)
		}
	})
	for _, tt := range []struct {
		name   string
		change func(c *cert.Certificate)
		want   format.Defect
		place  string
	}{
		{"no event", func(c *cert.Certificate) { c.Vaccination = nil }, cert.ErrNotCarried, "vaccination"},
		{"no name", func(c *cert.Certificate) { c.Person.Name = cert.Name{} }, format.RequiredMissing, "person.name"},
		{"one name for all", func(c *cert.Certificate) { c.Person.Name = cert.Name{Full: "Ada Specimen"} }, format.RequiredMissing, "person.name"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			record, _ := cert.FromDCC(euVaccination())
			tt.change(record)
			payload, err := record.ToDCC()
			if !errors.Is(err, tt.want) || !strings.Contains(err.Error(), tt.place) || payload != nil {
				t.Errorf("%v, %v", payload, err)
			}
		})
	}
}
