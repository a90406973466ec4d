package cert

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"ampoule/format/vdsnc"
)

func TestFromVDSNC(t *testing.T) {
	person := vdsnc.Person{Name: "SPECIMEN  ADA", BirthDate: "1990-02-03", Sex: "F", Document: "X1", OtherDocument: "Y1"}
	want := Person{
		Name: Name{Full: "SPECIMEN  ADA", FullMRZ: "SPECIMEN<<ADA"}, BirthDate: "1990-02-03", Sex: "female",
		Document: Document{Number: "X1", Type: "PPN"},
	}
	want.Name.FullMRZ, _ = Transliterate("SPECIMEN  ADA")
	dose := func(date string, number int) vdsnc.Dose {
		return vdsnc.Dose{Date: date, Number: number, Country: "UTO", Centre: "Clinic", Lot: "L" + date}
	}
	// The doses of two vaccines, out of order.
	got := FromVDSNC(&vdsnc.Seal{Issuer: "UTO", Vaccination: &vdsnc.Vaccination{ID: "U1", Person: person, Events: []vdsnc.Event{
		{Vaccine: "XM68M6", Name: "Comirnaty", Disease: "RA01.0", Doses: []vdsnc.Dose{dose("2026-05-01", 2), dose("2026-01-01", 1)}},
		{Vaccine: "XM0N24", Name: "Stamaril", Disease: "1D47", Doses: []vdsnc.Dose{dose("2026-03-01", 1)}},
	}}})
	vaccination := func(date Date, number int, disease, vaccine Code, name string) *Vaccination {
		return &Vaccination{
			Disease: disease, Vaccine: vaccine, Product: Code{Display: name}, Lot: "L" + string(date), Date: date,
			Dose: number, Country: "UTO", Clinician: "Clinic",
		}
	}
	covid, fever := Code{"RA01.0", systemICD11, "COVID-19"}, Code{"1D47", systemICD11, "Yellow fever"}
	comirnaty, stamaril := Code{Code: "XM68M6", System: systemICD11}, Code{Code: "XM0N24", System: systemICD11}
	if diff := cmp.Diff(&Certificate{
		Kind: KindVaccination, ID: "U1", Authority: "UTO", Person: want,
		Vaccination: vaccination("2026-05-01", 2, covid, comirnaty, "Comirnaty"),
		Earlier: []Event{
			{Vaccination: vaccination("2026-01-01", 1, covid, comirnaty, "Comirnaty")},
			{Vaccination: vaccination("2026-03-01", 1, fever, stamaril, "Stamaril")},
		},
	}, got); diff != "" {
		t.Error(diff)
	}

	person = vdsnc.Person{Name: "SPECIMEN  ADA", BirthDate: "1990-02-03", Sex: "X", Number: "X1", NumberType: "P"}
	want.Sex = "unknown"
	got = FromVDSNC(&vdsnc.Seal{Issuer: "UTO", Test: &vdsnc.Test{
		ID: "U2", Person: person, Centre: "Lab", Country: "UTO", Sampled: "2026-10-30T12:00:00+08:00", Reported: "2026-10-31T14:00:00+08:00",
		Method: "molecular(PCR)", Result: "negative",
	}})
	if diff := cmp.Diff(&Certificate{
		Kind: KindTest, ID: "U2", Authority: "UTO", Person: want,
		Test: &Test{
			Type: Code{Display: "molecular(PCR)"}, Result: Code{Display: "negative"}, Centre: "Lab", Country: "UTO",
			Sampled: "2026-10-30T12:00:00+08:00", Reported: "2026-10-31T14:00:00+08:00",
		},
	}, got); diff != "" {
		t.Error(diff)
	}

	for name, v := range map[string]*vdsnc.Vaccination{"no event": {}, "no dose": {Events: []vdsnc.Event{{Vaccine: "XM0N24"}}}} {
		if got := FromVDSNC(&vdsnc.Seal{Vaccination: v}); got.Kind != KindVaccination || got.Vaccination == nil {
			t.Errorf("%s: %+v", name, got)
		}
	}
}
