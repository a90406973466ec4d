package cert_test

import (
	"testing"

	"ampoule/cert"
	"ampoule/format"
	"ampoule/format/cbor"
	"ampoule/format/ddcc"

	"github.com/google/go-cmp/cmp"
)

// cborMap writes a map of texts, and of maps and numbers where the value says so.
func cborMap(pairs ...any) []byte {
	data := cbor.AppendMap(nil, len(pairs)/2)
	for i := 0; i < len(pairs); i += 2 {
		data = cbor.AppendText(data, pairs[i].(string))
		switch v := pairs[i+1].(type) {
		case string:
			data = cbor.AppendText(data, v)
		case int:
			data = cbor.AppendInt(data, int64(v))
		case []byte: // an encoded map
			data = append(data, v...)
		}
	}
	return data
}

func parsed(t *testing.T, data []byte) cbor.Value {
	t.Helper()
	v, err := cbor.Parse(data, cbor.DefaultLimits)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// TestFromDDCC reads the nested form of the model and the flat one of the
// published samples into the same record.
func TestFromDDCC(t *testing.T) {
	coding := func(code string) []byte {
		return cborMap("code", code, "system", "urn:specimen", "display", "Specimen "+code)
	}
	person := []any{"name", "Spécimen Ada", "birthDate", "1990-02-03T00:00:00Z", "sex", coding("female"), "identifier", "SPEC0001"}
	meta := []any{"issuer", "XXA", "hcid", "HCID-1", "version", "1"}
	dose := []any{"vaccine", coding("V"), "brand", coding("B"), "maholder", coding("H"), "disease", coding("D"), "lot", "SPEC-LOT-1",
		"date", "2026-02-20T10:00:00Z", "dose", 1, "total_doses", 2, "country", coding("XXA"), "centre", "Specimen centre", "practitioner", "Specimen Clinician"}
	code := func(c string) cert.Code {
		return cert.Code{Code: c, System: "urn:specimen", Display: "Specimen " + c}
	}
	wantPerson := cert.Person{
		Name: cert.Name{Full: "Spécimen Ada", FullMRZ: "SPECIMEN<ADA"}, BirthDate: "1990-02-03", Sex: "female", Document: cert.Document{Number: "SPEC0001"},
	}
	vaccination := func(from, until cert.Date) *cert.Certificate {
		return &cert.Certificate{Kind: cert.KindVaccination, ID: "HCID-1", Authority: "XXA", Person: wantPerson, Vaccination: &cert.Vaccination{
			Disease: code("D"), Vaccine: code("V"), Product: code("B"), Manufacturer: code("H"), Lot: "SPEC-LOT-1", Date: "2026-02-20", Dose: 1, Doses: 2,
			Country: "XXA", Clinician: "Specimen Clinician", ValidFrom: from, ValidUntil: until,
		}}
	}
	read := func(t *testing.T, decode func(cbor.Value) (*ddcc.Certificate, []format.Finding), data []byte) *cert.Certificate {
		t.Helper()
		d, _ := decode(parsed(t, data))
		return cert.FromDDCC(d)
	}
	t.Run("vaccination, nested", func(t *testing.T) {
		data := cborMap(append(person, "certificate", cborMap(append(meta, "period", cborMap("start", "2026-03-01", "end", "2027-03-01T00:00:00Z"))...), "vaccination", cborMap(dose...))...)
		if diff := cmp.Diff(vaccination("2026-03-01", "2027-03-01"), read(t, ddcc.DecodeVaccination, data)); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("vaccination, flat", func(t *testing.T) {
		data := cborMap(append(append(append(person, meta...), dose...), "valid_from", "2026-03-01")...)
		if diff := cmp.Diff(vaccination("2026-03-01", ""), read(t, ddcc.DecodeVaccination, data)); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("the manufacturer before the holder of the authorisation", func(t *testing.T) {
		data := cborMap(append(append(person, dose...), "manufacturer", coding("M"))...)
		if got := read(t, ddcc.DecodeVaccination, data).Vaccination.Manufacturer; got != code("M") {
			t.Errorf("%+v", got)
		}
	})
	sample := []any{"pathogen", coding("P"), "type", coding("T"), "brand", coding("B"), "date", "2026-02-20T10:00:00Z", "result", coding("R"), "country", "XXA", "centre", "Specimen centre"}
	wantTest := &cert.Certificate{Kind: cert.KindTest, ID: "HCID-1", Authority: "XXA", Person: wantPerson, Test: &cert.Test{
		Disease: code("P"), Type: code("T"), Device: code("B"), Sampled: "2026-02-20T10:00:00Z", Result: code("R"), Centre: "Specimen centre", Country: "XXA",
	}}
	for name, data := range map[string][]byte{
		"test, nested": cborMap(append(person, "certificate", cborMap(meta...), "test", cborMap(sample...))...),
		"test, flat":   cborMap(append(append(person, meta...), sample...)...),
	} {
		t.Run(name, func(t *testing.T) {
			got := read(t, ddcc.DecodeTest, data)
			if diff := cmp.Diff(wantTest, got); diff != "" {
				t.Error(diff)
			}
			if got.Country() != "XXA" {
				t.Errorf("country %q", got.Country())
			}
		})
	}
	t.Run("nothing that can be read", func(t *testing.T) {
		got := read(t, ddcc.DecodeVaccination, []byte{0x80})
		if diff := cmp.Diff(new(cert.Certificate), got); diff != "" || got.Country() != "" {
			t.Error(diff)
		}
	})
}
