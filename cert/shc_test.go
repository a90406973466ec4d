package cert

import (
	"errors"
	"strings"
	"testing"
	"time"

	"ampoule/format"
	"ampoule/format/fhir"
	"ampoule/format/shc"
	"ampoule/format/strictjson"

	"github.com/google/go-cmp/cmp"
)

func cardOf(entries ...fhir.Entry) *shc.Card {
	p := &fhir.Patient{Name: []fhir.HumanName{{Family: "Specimen", Given: []string{"Ada", "B."}}}, BirthDate: "1990-02-03", Gender: "female",
		Identifier: []fhir.Identifier{{Value: "123"}, {Type: fhir.Concept{Coding: []fhir.Coding{{Code: "PPN"}}}, Value: "P1"}}}
	for i := range entries {
		if entries[i].Patient == nil && entries[i].Subject == nil && entries[i].FullURL == "" {
			entries[i].Subject = p
		}
	}
	return &shc.Card{Issuer: "https://issuer.example", Bundle: &fhir.Bundle{Type: "collection", Entries: append([]fhir.Entry{{Patient: p}}, entries...)}}
}

func doseOn(day, lot string) fhir.Entry {
	return fhir.Entry{Type: "Immunization", Immunization: &fhir.Immunization{
		Status: "completed", Occurrence: day, LotNumber: lot,
		VaccineCode: fhir.Concept{Coding: []fhir.Coding{{System: "http://www.whocc.no/atc", Code: "J07BL01"}, {System: fhir.SystemCVX, Code: "184", Display: "yellow fever"}}},
	}}
}

func TestFromSHCSeveralDoses(t *testing.T) {
	notDone := doseOn("2027-01-01", "NEVER")
	notDone.Immunization.Status = "not-done"
	nobody := doseOn("2027-01-02", "NOBODY")
	nobody.FullURL = "resource:9" // keeps it without a subject
	r := FromSHC(cardOf(doseOn("2026-03-01", "B"), doseOn("2026-05-01", "C"), notDone, nobody, doseOn("2025", "A")))
	if r.Kind != KindVaccination || r.Authority != "https://issuer.example" || r.Vaccination.Lot != "C" || len(r.Earlier) != 2 ||
		r.Earlier[0].Vaccination.Lot != "A" || r.Earlier[1].Vaccination.Lot != "B" {
		t.Errorf("%+v", r)
	}
	want := Code{Code: "184", System: fhir.SystemCVX, Display: "yellow fever"}
	if r.Vaccination.Vaccine != want || len(r.Vaccination.Synonyms) != 1 || r.Vaccination.Synonyms[0].Code != "J07BL01" {
		t.Errorf("%+v", r.Vaccination)
	}
	n := r.Person.Name
	if n.Family != "Specimen" || n.Given != "Ada B." || n.FamilyMRZ != "SPECIMEN" || r.Person.BirthDate != "1990-02-03" || r.Person.Sex != "female" ||
		r.Person.Document != (Document{"P1", "PPN"}) {
		t.Errorf("%+v", r.Person)
	}
	var lines []string
	for _, l := range r.Lines() {
		lines = append(lines, l.Name+": "+l.Value)
	}
	text := strings.Join(lines, "\n")
	for _, want := range []string{"lot: C", "earlier dose: 2025, yellow fever, lot A", "earlier dose: 2026-03-01, yellow fever, lot B"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	if strings.Contains(text, "NEVER") || strings.Contains(text, "NOBODY") {
		t.Errorf("a dose that was not given to the holder:\n%s", text)
	}
}

func TestFromSHCTest(t *testing.T) {
	lab := fhir.Entry{Type: "Observation", Observation: &fhir.Observation{
		Status: "final", Effective: "2026-06-01T10:00:00Z", Code: fhir.Concept{Coding: []fhir.Coding{{System: fhir.SystemLOINC, Code: "94558-4"}}},
		Value: fhir.Concept{Coding: []fhir.Coding{{System: fhir.SystemSNOMED, Code: "260415000"}}}, Performer: []fhir.Reference{{Display: "Lab"}},
	}}
	r := FromSHC(cardOf(lab, doseOn("2026-03-01", "B")))
	if r.Kind != KindTest || r.Vaccination != nil || r.Test.Type.Code != "94558-4" || r.Test.Result.Code != "260415000" || r.Test.Centre != "Lab" ||
		len(r.Earlier) != 1 || r.Earlier[0].Vaccination.Lot != "B" {
		t.Errorf("%+v", r)
	}
	// Without an event it is a summary, without a holder nobody's.
	for _, c := range []*shc.Card{cardOf(), {Bundle: new(fhir.Bundle)}, cardOf(fhir.Entry{Patient: new(fhir.Patient)}, doseOn("2026-01-01", "X"))} {
		if r := FromSHC(c); r.Kind != KindSummary || r.Vaccination != nil || r.Test != nil {
			t.Errorf("%+v", r)
		}
	}
}

// What goes into a card comes out of it.
func TestToSHC(t *testing.T) {
	issued := time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)
	dose := func(day Date, lot string) *Vaccination {
		return &Vaccination{
			Disease: Code{Code: "840539006", System: fhir.SystemSNOMED}, Vaccine: Code{Code: "207", System: fhir.SystemCVX},
			Synonyms:     []Code{{Code: "J07BN01", System: "http://www.whocc.no/atc"}},
			Manufacturer: Code{Code: "MOD", System: "http://hl7.org/fhir/sid/mvx"},
			Lot:          lot, Date: day, Dose: 1, Doses: 2, Clinician: "Clinic",
		}
	}
	want := &Certificate{
		Kind: KindVaccination, Issued: issued, Expires: issued.AddDate(1, 0, 0), Authority: "https://issuer.example",
		Person: Person{
			Name:      Name{Family: "Specimen", Given: "Ada B.", FamilyMRZ: "SPECIMEN", GivenMRZ: "ADA<B"},
			BirthDate: "1990-02-03", Sex: "female", Document: Document{"P1", "PPN"},
		},
		Vaccination: dose("2026-05-01", "C"),
		Earlier: []Event{
			{Vaccination: dose("2026-03-01", "A")},
			{Test: &Test{Type: Code{Code: "94558-4", System: fhir.SystemLOINC}, Sampled: "2026-04-01", Result: Code{Display: "1.5 IU/ml"}, Centre: "Lab"}},
		},
	}
	card, err := want.ToSHC()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{shc.TypeCard, shc.TypeImmunization, shc.TypeCOVID19, shc.TypeLaboratory}, card.Types); diff != "" {
		t.Error(diff)
	}
	if !card.NotBefore.Equal(issued) || !card.Expires.Equal(want.Expires) {
		t.Errorf("%s to %s", card.NotBefore, card.Expires)
	}
	card.Issuer = "https://issuer.example"
	text, err := card.Bundle.AppendJSON(nil)
	if err != nil {
		t.Fatal(err)
	}
	tree, err := strictjson.Parse(text, strictjson.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	bundle, findings := fhir.Decode(tree)
	if len(findings) > 0 {
		t.Errorf("%s: %v", text, findings)
	}
	card.Bundle = bundle
	got := FromSHC(card)
	got.Issued, got.Expires = card.NotBefore, card.Expires
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}

	if _, err := (&Certificate{Kind: KindRecovery, Recovery: new(Recovery)}).ToSHC(); !errors.Is(err, ErrNotCarried) {
		t.Errorf("a recovery: %v", err)
	}
	if _, err := (&Certificate{Kind: KindVaccination, Vaccination: new(Vaccination)}).ToSHC(); !errors.Is(err, format.RequiredMissing) {
		t.Errorf("no vaccine: %v", err)
	}
}
