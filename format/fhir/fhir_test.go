package fhir

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"ampoule/format"
	"ampoule/format/strictjson"

	"github.com/google/go-cmp/cmp"
)

const (
	patient = `{"fullUrl":"resource:0","resource":{"resourceType":"Patient","name":[{"family":"Specimen","given":["Ada"]}],"birthDate":"1990-02-03"}}`
	dose    = `{"fullUrl":"resource:1","resource":{"resourceType":"Immunization","status":"completed","vaccineCode":{"coding":[{"system":"http://hl7.org/fhir/sid/cvx","code":"184"}]},"patient":{"reference":"resource:0"},"occurrenceDateTime":"2026-03-01","lotNumber":"L1"}}`
	lab     = `{"fullUrl":"resource:2","resource":{"resourceType":"Observation","status":"final","code":{"coding":[{"system":"http://loinc.org","code":"94558-4"}]},"subject":{"reference":"resource:0"},"effectiveDateTime":"2026-02-17","valueCodeableConcept":{"coding":[{"system":"http://snomed.info/sct","code":"260373001"}]}}}`
)

func bundle(entries ...string) string {
	return `{"resourceType":"Bundle","type":"collection","entry":[` + strings.Join(entries, ",") + `]}`
}

func decode(t testing.TB, text string) (*Bundle, []format.Finding) {
	t.Helper()
	v, err := strictjson.Parse([]byte(text), strictjson.Limits{})
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return Decode(v)
}

func TestDecodeEncode(t *testing.T) {
	full := &Bundle{Type: "collection", Entries: []Entry{
		{FullURL: "resource:0", Type: "Patient", Patient: &Patient{
			Identifier: []Identifier{{Type: Concept{Coding: []Coding{{System: "urn:t", Code: "PPN"}}}, System: "urn:x", Value: "P1"}},
			Name:       []HumanName{{Family: "Specimen", Given: []string{"Ada", "B."}}}, Gender: "female", BirthDate: "1990-02",
		}},
		{FullURL: "resource:1", Type: "Immunization", Immunization: &Immunization{
			Status: "completed", VaccineCode: Concept{Coding: []Coding{{System: SystemCVX, Code: "184"}, {System: SystemSNOMED, Code: "1"}}},
			Patient: Reference{Reference: "resource:0"}, Occurrence: "2026-03-01T10:00:00+01:00", Manufacturer: Reference{Reference: "resource:3"},
			LotNumber: "L1", ExpirationDate: "2027-01", IsSubpotent: true, Performer: []Performer{{Actor: Reference{Display: "A & <B>"}}},
			ProtocolApplied: []Protocol{{TargetDisease: []Concept{{Coding: []Coding{{System: SystemSNOMED, Code: "16541001"}}}}, DoseNumber: 1, SeriesDoses: 2}},
		}},
		{FullURL: "resource:2", Type: "Observation", Observation: &Observation{
			Status: "final", Code: Concept{Coding: []Coding{{System: SystemLOINC, Code: "94558-4"}}}, Subject: Reference{Reference: "resource:0"},
			Effective: "2026-02-17", ValueString: "positive", Performer: []Reference{{Display: "Lab"}},
		}},
		{FullURL: "resource:3", Type: "Organization", Organization: &Organization{Name: "Maker", Identifier: []Identifier{{System: "urn:y", Value: "M"}}}},
	}}
	text, err := full.AppendJSON([]byte("before"))
	if err != nil || !strings.HasPrefix(string(text), "before{") || !strings.Contains(string(text), `"A & <B>"`) {
		t.Fatalf("%s %v", text, err)
	}
	got, findings := decode(t, string(text[len("before"):]))
	if len(findings) > 0 {
		t.Errorf("findings %v", findings)
	}
	for i := range full.Entries {
		if full.Entries[i].Immunization != nil || full.Entries[i].Observation != nil {
			full.Entries[i].Subject = full.Entries[0].Patient
		}
	}
	if diff := cmp.Diff(full, got); diff != "" {
		t.Error(diff)
	}
	if o := got.Organization(got.Entries[1].Immunization.Manufacturer); o == nil || o.Name != "Maker" {
		t.Errorf("organization %v", o)
	}
	if got.Patient() != got.Entries[0].Patient || !got.Has("Observation") || got.Has("Coverage") {
		t.Error("what is there")
	}
	if _, err := (&Bundle{Type: "collection", Entries: []Entry{{Type: "Coverage"}}}).AppendJSON(nil); !errors.Is(err, format.BadType) {
		t.Errorf("an unknown resource: %v", err)
	}
	short, err := (&Bundle{Type: "collection", Entries: []Entry{{Patient: &Patient{}}}}).AppendJSON(nil)
	if err != nil || !strings.Contains(string(short), `"fullUrl":"resource:0"`) {
		t.Errorf("%s %v", short, err)
	}
}

func TestFindings(t *testing.T) {
	swap := func(in, old, new string) string {
		if !strings.Contains(in, old) {
			t.Fatalf("no %s in %s", old, in)
		}
		return strings.Replace(in, old, new, 1)
	}
	const refused, tolerable = false, true
	type finding struct {
		path      string
		reason    format.Defect
		tolerable bool
	}
	for _, tc := range []struct {
		name, in string
		want     []finding
	}{
		{"a dose", bundle(patient, dose), nil},
		{"a result", bundle(patient, lab), nil},
		{"both, patient last", bundle(dose, lab, patient), nil},
		{"another resource", bundle(patient, `{"fullUrl":"resource:1","resource":{"resourceType":"Coverage","status":"active"}}`), nil},
		{"a security label", bundle(patient, swap(dose, `"status"`, `"meta":{"security":[{"code":"IAL2"}]},"status"`)), nil},
		{"a year alone", bundle(patient, swap(dose, `2026-03-01`, `2026`)), nil},
		{"a period", bundle(patient, swap(lab, `"effectiveDateTime":"2026-02-17"`, `"effectivePeriod":{"start":"2026-02-17"}`)), nil},
		{"a quantity", bundle(patient, swap(lab, `"valueCodeableConcept":{"coding":[{"system":"http://snomed.info/sct","code":"260373001"}]}`, `"valueQuantity":{"value":1.5,"unit":"IU/ml"}`)), nil},
		{"an absolute address", bundle(swap(patient, "resource:0", "https://a.example/Patient/1"), swap(dose, `"resource:0"`, `"Patient/1"`)),
			[]finding{{"entry[0].fullUrl", LongURL, tolerable}, {"entry[1].resource.patient.reference", LongURL, tolerable}}},

		{"no object", `[]`, []finding{{"fhirBundle", format.BadType, refused}}},
		{"another resource outside", `{"resourceType":"Patient"}`, []finding{{"resourceType", format.BadType, refused}}},
		{"no entry", `{"resourceType":"Bundle","type":"collection"}`, []finding{{"entry", format.RequiredMissing, refused}}},
		{"no patient", bundle(dose), []finding{{"entry.Patient", format.RequiredMissing, refused}, {"entry[0].resource.patient", Unresolved, refused}}},
		{"two patients", bundle(patient, swap(patient, "resource:0", "resource:9"), dose), []finding{{"entry[1]", SeveralPatients, refused}}},
		{"one address twice", bundle(patient, dose, dose), []finding{{"entry[2].fullUrl", DuplicateURL, refused}}},
		{"an entry of no object", bundle(patient, `7`), []finding{{"entry[1]", format.BadType, refused}}},
		{"no resource", bundle(patient, `{"fullUrl":"resource:1"}`), []finding{{"entry[1].resource", format.RequiredMissing, refused}}},
		{"another's dose", bundle(patient, swap(dose, `"resource:0"`, `"resource:1"`)), []finding{{"entry[1].resource.patient", Unresolved, refused}}},
		{"nobody's result", bundle(patient, swap(lab, `"subject"`, `"focus"`)), []finding{{"entry[1].resource.subject", Unresolved, refused}}},
		{"no name", bundle(swap(patient, `"name"`, `"alias"`)), []finding{{"entry[0].resource.name", format.RequiredMissing, refused}}},
		{"an empty name", bundle(swap(patient, `{"family":"Specimen","given":["Ada"]}`, `{}`)),
			[]finding{{"entry[0].resource.name", format.RequiredMissing, refused}, {"entry[0].resource.name[0]", EmptyValue, tolerable}}},
		{"no birth date", bundle(swap(patient, `"birthDate"`, `"born"`)), []finding{{"entry[0].resource.birthDate", format.RequiredMissing, tolerable}}},
		{"a birth date of no day", bundle(swap(patient, `1990-02-03`, `1990-02-31`)), []finding{{"entry[0].resource.birthDate", format.BadDate, refused}}},
		{"another gender", bundle(swap(patient, `"birthDate"`, `"gender":"F","birthDate"`)), []finding{{"entry[0].resource.gender", format.BadCode, tolerable}}},
		{"hidden letters", bundle(swap(patient, `Ada`, `A\u202eda`)), []finding{{"entry[0].resource.name[0].given[0]", format.SuspiciousText, tolerable}}},
		{"not done", bundle(patient, swap(dose, `completed`, `not-done`)), []finding{{"entry[1].resource.status", BadStatus, refused}}},
		{"status of another case", bundle(patient, swap(dose, `completed`, `Completed`)), []finding{{"entry[1].resource.status", BadStatus, refused}}},
		{"no status", bundle(patient, swap(dose, `"status":"completed",`, ``)), []finding{{"entry[1].resource.status", format.RequiredMissing, refused}}},
		{"a preliminary result", bundle(patient, swap(lab, `final`, `preliminary`)), []finding{{"entry[1].resource.status", BadStatus, refused}}},
		{"no code", bundle(patient, swap(dose, `"code":"184"`, `"version":"1"`)), []finding{{"entry[1].resource.vaccineCode.coding", format.RequiredMissing, refused}}},
		{"no coding", bundle(patient, swap(dose, `{"coding":[{"system":"http://hl7.org/fhir/sid/cvx","code":"184"}]}`, `{"coding":[]}`)),
			[]finding{{"entry[1].resource.vaccineCode.coding", format.RequiredMissing, refused}, {"entry[1].resource.vaccineCode.coding", EmptyValue, tolerable}}},
		{"no vaccine", bundle(patient, swap(dose, `"vaccineCode"`, `"vaccine"`)), []finding{{"entry[1].resource.vaccineCode", format.RequiredMissing, refused}}},
		{"no system", bundle(patient, swap(dose, `"system":"http://hl7.org/fhir/sid/cvx",`, ``)), []finding{{"entry[1].resource.vaccineCode.coding[0].system", format.RequiredMissing, tolerable}}},
		{"no day", bundle(patient, swap(dose, `"occurrenceDateTime"`, `"occurrenceString"`)), []finding{{"entry[1].resource.occurrenceDateTime", format.RequiredMissing, refused}}},
		{"a day written otherwise", bundle(patient, swap(dose, `2026-03-01`, `01-03-2026`)), []finding{{"entry[1].resource.occurrenceDateTime", format.BadDate, refused}}},
		{"a time without a zone", bundle(patient, swap(dose, `2026-03-01`, `2026-03-01T10:00:00`)), []finding{{"entry[1].resource.occurrenceDateTime", format.BadDate, tolerable}}},
		{"no value", bundle(patient, swap(lab, `"valueCodeableConcept"`, `"component"`)), []finding{{"entry[1].resource.value", format.RequiredMissing, refused}}},
		{"a lot of another type", bundle(patient, swap(dose, `"L1"`, `1`)), []finding{{"entry[1].resource.lotNumber", format.BadType, refused}}},
		{"an empty lot", bundle(patient, swap(dose, `"L1"`, `""`)), []finding{{"entry[1].resource.lotNumber", EmptyValue, tolerable}}},
		{"a lot of null", bundle(patient, swap(dose, `"L1"`, `null`)),
			[]finding{{"entry[1].resource.lotNumber", format.BadType, refused}, {"entry[1].resource.lotNumber", EmptyValue, tolerable}}},
		{"a display", bundle(patient, swap(dose, `"184"`, `"184","display":"YF"`)), []finding{{"entry[1].resource.vaccineCode.coding[0].display", NotMinified, tolerable}}},
		{"a text", bundle(patient, swap(dose, `"coding"`, `"text":"YF","coding"`)), []finding{{"entry[1].resource.vaccineCode.text", NotMinified, tolerable}}},
		{"an id", bundle(patient, swap(dose, `"status"`, `"id":"1","status"`)), []finding{{"entry[1].resource.id", NotMinified, tolerable}}},
		{"a meta", bundle(patient, swap(dose, `"status"`, `"meta":"x","status"`)), []finding{{"entry[1].resource.meta", NotMinified, tolerable}}},
		{"a dose of a bad number", bundle(patient, swap(dose, `"status"`, `"protocolApplied":[{"doseNumberPositiveInt":0}],"status"`)),
			[]finding{{"entry[1].resource.protocolApplied[0].doseNumberPositiveInt", format.BadValue, tolerable}}},
		{"an element of no object", bundle(patient, swap(dose, `"status"`, `"performer":["x"],"status"`)), []finding{{"entry[1].resource.performer[0]", format.BadType, tolerable}}},
		// The profiles of a card do not bind a patient summary.
		{"a document", swap(bundle(patient, swap(dose, `"occurrenceDateTime"`, `"occurrenceString"`), swap(lab, "final", "preliminary")), "collection", "document"),
			[]finding{{"type", format.BadValue, tolerable}, {"entry[2].resource.status", BadStatus, tolerable}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, findings := decode(t, tc.in)
			var got []finding
			for _, f := range findings {
				got = append(got, finding{f.Path, f.Reason, f.Tolerable})
			}
			if diff := cmp.Diff(tc.want, got, cmp.AllowUnexported(finding{})); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestBounds(t *testing.T) {
	many := strings.Repeat(`{},`, 5000) + `{}`
	b, findings := decode(t, bundle(many))
	if len(b.Entries) != maxEntries || len(findings) != maxFindings {
		t.Errorf("%d entries, %d findings", len(b.Entries), len(findings))
	}
	if b.Patient() != nil {
		t.Error("a patient")
	}
}

func TestQuantity(t *testing.T) {
	for in, want := range map[string]string{`{"value":1.50,"unit":"IU/ml"}`: "1.50 IU/ml", `{"value":3,"code":"1","comparator":"<"}`: "<3 1", `{"value":3}`: "3", `{"unit":"x"}`: "", `7`: ""} {
		b, _ := decode(t, bundle(patient, strings.Replace(lab, `"valueCodeableConcept":{"coding":[{"system":"http://snomed.info/sct","code":"260373001"}]}`, fmt.Sprintf(`"valueQuantity":%s`, in), 1)))
		if got := b.Entries[1].Observation.ValueString; got != want {
			t.Errorf("%s: %q, want %q", in, got, want)
		}
	}
}

// FuzzDecode: nothing panics, findings are bounded, and a bundle without any is
// written and read back the same.
func FuzzDecode(f *testing.F) {
	f.Add([]byte(bundle(patient, dose, lab)))
	f.Add([]byte(`{"resourceType":"Bundle","type":"document","entry":[{"resource":{"resourceType":"Observation","valueQuantity":7}}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		v, err := strictjson.Parse(data, strictjson.Limits{})
		if err != nil {
			return
		}
		b, findings := Decode(v)
		if len(findings) > maxFindings {
			t.Errorf("%d findings", len(findings))
		}
		if len(findings) > 0 {
			return
		}
		text, err := b.AppendJSON(nil)
		if err != nil {
			return // a resource that is read over
		}
		again, findings := decode(t, string(text))
		if len(findings) > 0 {
			t.Errorf("%s: %v", text, findings)
		}
		if diff := cmp.Diff(b, again); diff != "" {
			t.Error(diff)
		}
	})
}
