package cert_test

import (
	"testing"
	"time"

	"ampoule/cert"
	"ampoule/format/divoc"

	"github.com/google/go-cmp/cmp"
)

func TestFromDIVOC(t *testing.T) {
	issued := time.Date(2026, 3, 2, 4, 0, 0, 0, time.UTC)
	d := &divoc.Document{Credential: divoc.Credential{
		Issuer: "https://divoc.example/", Issued: issued, ValidUntil: issued.AddDate(1, 0, 0),
		Person: divoc.Person{ID: "did:Passport:SPEC0001", Name: "Spécimen Ada", BirthDate: "1990-02-03", Age: "36", Gender: "Female", Nationality: "IN"},
		Vaccinations: []divoc.Vaccination{
			{
				CertificateID: "2", Vaccine: "Specimen vaccine", Manufacturer: "Specimen Biologicals", Batch: "LOT-2", ICD11: "XM0N24", Prophylaxis: "Specimen, live",
				Date: "2026-03-01T04:00:00.000Z", From: "2026-03-11", Until: "2036-03-11", Dose: 2, TotalDoses: 2, Verifier: "Specimen Clinician",
				Address: divoc.Address{Country: "IN"},
			},
			{CertificateID: "1", Vaccine: "Specimen vaccine", Batch: "LOT-1", ICD11: "RA01", Date: "2026-02-01", Dose: 1, TotalDoses: 2},
		},
	}}
	const icd11 = "http://id.who.int/icd/release/11/mms"
	want := &cert.Certificate{
		Kind: cert.KindVaccination, ID: "2", Authority: "https://divoc.example/", Issued: issued, Expires: issued.AddDate(1, 0, 0),
		Person: cert.Person{
			Name: cert.Name{Full: "Spécimen Ada", FullMRZ: "SPECIMEN<ADA"}, BirthDate: "1990-02-03", Sex: "female", Nationality: "IND",
			Document: cert.Document{Number: "SPEC0001", Type: "PPN"},
		},
		Vaccination: &cert.Vaccination{
			Vaccine: cert.Code{Code: "XM0N24", System: icd11, Display: "Specimen, live"}, Product: cert.Code{Display: "Specimen vaccine"},
			Manufacturer: cert.Code{Display: "Specimen Biologicals"}, Lot: "LOT-2", Date: "2026-03-01", Dose: 2, Doses: 2, Country: "IN",
			Clinician: "Specimen Clinician", ValidFrom: "2026-03-11", ValidUntil: "2036-03-11",
		},
		Earlier: []cert.Event{{Vaccination: &cert.Vaccination{
			Disease: cert.Code{Code: "RA01", System: icd11, Display: "COVID-19"}, Product: cert.Code{Display: "Specimen vaccine"},
			Lot: "LOT-1", Date: "2026-02-01", Dose: 1, Doses: 2,
		}}},
	}
	if diff := cmp.Diff(want, cert.FromDIVOC(d)); diff != "" {
		t.Error(diff)
	}
}

func TestFromDIVOCPerson(t *testing.T) {
	for _, tc := range []struct {
		id, nationality string
		want            cert.Document
		country         string
	}{
		{"did:in.gov.uidai.aadhaar:2342", "Indian", cert.Document{Number: "2342", Type: "NI"}, ""},
		{"did:DrivingLicense:1", "lka", cert.Document{Number: "1"}, "LKA"},
		{"https://divoc.example/1", "", cert.Document{}, ""},
		{"did:x", "", cert.Document{}, ""},
		{"", "", cert.Document{}, ""},
	} {
		c := cert.FromDIVOC(&divoc.Document{Credential: divoc.Credential{Person: divoc.Person{ID: tc.id, Nationality: tc.nationality}}})
		if diff := cmp.Diff(tc.want, c.Person.Document); diff != "" || c.Person.Nationality != tc.country || c.Vaccination != nil {
			t.Errorf("%s: %s %+v", tc.id, diff, c)
		}
	}
}
