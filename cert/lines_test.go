package cert_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"ampoule/cert"
	"ampoule/format/vhl"

	"github.com/google/go-cmp/cmp"
)

func TestLines(t *testing.T) {
	at := func(c *cert.Certificate, expires time.Time) *cert.Certificate {
		c.Issued, c.Expires = time.Date(2026, 3, 1, 23, 0, 0, 0, time.FixedZone("", -2*3600)), expires
		return c
	}
	end := time.Date(2027, 3, 1, 0, 0, 0, 0, time.UTC)
	vaccination, _ := cert.FromDCC(euVaccination())
	test, _ := cert.FromDCC(euTest())
	recovery, _ := cert.FromDCC(euRecovery())
	unknown := cert.FromICVP(generation3(), nil)
	unknown.ValidFrom = time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		name string
		of   *cert.Certificate
		want []cert.Line
	}{
		{"EU vaccination", at(vaccination, end), []cert.Line{
			{"name", "Ada Spécimen"}, {"name (ICAO)", "SPECIMEN<<ADA"}, {"born", "1990-02-03"}, {"vaccination", "COVID-19"},
			{"vaccine", display(t, cert.ValueSetProphylaxis, "1119349007")}, {"product", "Comirnaty"}, {"manufacturer", display(t, cert.ValueSetManufacturer, "ORG-100030215")},
			{"given", "2026-02-20, AT"}, {"dose", "2 of 3"}, {"authority", "Specimen authority"}, {"identifier", "URN:UVCI:01:AT:SPECIMEN#1"},
			{"issued", "2026-03-02"}, {"valid until", "2027-03-01"},
		}},
		{"EU test", at(test, end), []cert.Line{
			{"name", "Ada Spécimen"}, {"name (ICAO)", "SPECIMEN<<ADA"}, {"born", "1990-02-03"},
			{"test", "COVID-19, " + display(t, cert.ValueSetTestType, "LP217198-3") + ", Specimen antigen"}, {"device", display(t, cert.ValueSetTestDevice, "1232")},
			{"sampled", "2026-02-20T10:00:00+01:00, AT"}, {"result", display(t, cert.ValueSetTestResult, "260415000")}, {"centre", "Specimen centre"},
			{"authority", "Specimen authority"}, {"identifier", "URN:UVCI:01:AT:SPECIMEN#1"}, {"issued", "2026-03-02"}, {"valid until", "2027-03-01"},
		}},
		{"EU recovery", at(recovery, end), []cert.Line{
			{"name", "Ada Spécimen"}, {"name (ICAO)", "SPECIMEN<<ADA"}, {"born", "1990-02-03"}, {"recovery", "COVID-19"}, {"first positive", "2026-01-01, AT"},
			{"counts from", "2026-01-12"}, {"counts until", "2026-06-30"}, {"authority", "Specimen authority"}, {"identifier", "URN:UVCI:01:AT:SPECIMEN#1"},
			{"issued", "2026-03-02"}, {"valid until", "2027-03-01"},
		}},
		{"ICVP for life", at(cert.FromICVP(generation3(), products(t)), time.Time{}), []cert.Line{
			{"name", "Spécimen Ada"}, {"name (ICAO)", "SPECIMEN<ADA"}, {"born", "1990-02-03"}, {"sex", "female"}, {"nationality", "XXA"}, {"document", "PPN, SPEC0001"},
			{"guardian", "Specimen Parent"}, {"vaccination", "Yellow fever"}, {"product", "Specimen yellow fever vaccine"}, {"manufacturer", "Specimen Biologicals"},
			{"lot", "SPEC-LOT-1"}, {"given", "2026-02-20"}, {"clinician", "Specimen Clinician"}, {"authority", "XXA"}, {"issued", "2026-03-02"}, {"valid until", "life of person vaccinated"},
		}},
		{"ICVP of a product that nobody knows", at(unknown, end), []cert.Line{
			{"name", "Spécimen Ada"}, {"name (ICAO)", "SPECIMEN<ADA"}, {"born", "1990-02-03"}, {"sex", "female"}, {"nationality", "XXA"}, {"document", "PPN, SPEC0001"},
			{"guardian", "Specimen Parent"}, {"product", "YF-1"}, {"lot", "SPEC-LOT-1"}, {"given", "2026-02-20"}, {"clinician", "Specimen Clinician"}, {"authority", "XXA"},
			{"issued", "2026-03-02"}, {"valid from", "2026-03-02"}, {"valid until", "2027-03-01"},
		}},
		{"ICVP of generation 1", cert.FromICVP(generation1(), nil), []cert.Line{
			{"name", "Spécimen Ada"}, {"name (ICAO)", "SPECIMEN<ADA"}, {"born", "1990-02-03"}, {"sex", "female"}, {"nationality", "XXA"}, {"document", "PPN, SPEC0001"},
			{"guardian", "Specimen Parent"}, {"vaccination", "Yellow fever"}, {"vaccine", "XM0N24"}, {"product", "Specimen vaccine"}, {"manufacturer", "Specimen Biologicals"},
			{"lot", "SPEC-LOT-1"}, {"given", "2026-02-20"}, {"clinician", "Specimen Clinician"}, {"counts from", "2026-03-02"}, {"counts until", "2036-03-02"}, {"authority", "XXA"},
		}},
		{"link", cert.FromLink(&vhl.Link{URL: "https://sharer.example/List?_id=1", Label: "Summary", Passcode: true, LongTerm: true, Expires: end}), []cert.Line{
			{"link", "https://sharer.example/List?_id=1"}, {"label", "Summary"}, {"opened with", "a passcode that the holder tells"},
		}},
		{"link without a passcode", cert.FromLink(&vhl.Link{URL: "https://sharer.example/List?_id=1"}), []cert.Line{{"link", "https://sharer.example/List?_id=1"}}},
		{"nothing", new(cert.Certificate), nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, tt.of.Lines()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestLinesNeverInventALife: only a Digital ICVP means by its silence that it is
// valid for life.
func TestLinesNeverInventALife(t *testing.T) {
	eu, _ := cert.FromDCC(euVaccination())
	early := cert.FromICVP(generation1(), nil)
	early.Vaccination.ValidUntil = ""
	other := &cert.Certificate{Kind: cert.KindVaccination, Vaccination: &cert.Vaccination{Vaccine: cert.Code{Code: "XM68M6", System: "http://id.who.int/icd/release/11/mms"}}}
	for _, c := range []*cert.Certificate{eu, early, other} {
		for _, line := range c.Lines() {
			if line.Name == "valid until" {
				t.Errorf("%+v", line)
			}
		}
	}
}

// TestFromLink: the key that opens the documents stays in the code.
func TestFromLink(t *testing.T) {
	link := &vhl.Link{Kind: vhl.KindVHL, URL: "https://sharer.example/", Label: "Summary", Passcode: true, LongTerm: true, Expires: time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)}
	copy(link.Key[:], "a key of thirty-two bytes, told!")
	record := cert.FromLink(link)
	want := &cert.Certificate{Kind: cert.KindLink, Link: &cert.Link{URL: link.URL, Label: "Summary", Passcode: true, LongTerm: true, Expires: link.Expires}}
	if diff := cmp.Diff(want, record); diff != "" {
		t.Error(diff)
	}
	data, err := json.Marshal(record)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(data), "thirty-two") || strings.Contains(string(data), "YSBrZXkg") {
		t.Errorf("the key is in %s", data)
	}
}
