package cert_test

import (
	"encoding/json"
	"testing"
	"time"

	"ampoule/cert"

	"github.com/google/go-cmp/cmp"
)

// TestCertificateJSON fixes the names by which scripts read a record, and that
// what is not there is left out.
func TestCertificateJSON(t *testing.T) {
	at := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	full := cert.FromICVP(generation2(), products(t))
	full.ID, full.Issued, full.ValidFrom, full.Expires = "ID-1", at, at, at
	full.Vaccination.Dose, full.Vaccination.Doses, full.Vaccination.Country = 1, 2, "AT"
	recovery, _ := cert.FromDCC(euRecovery())
	for _, tt := range []struct {
		name string
		of   *cert.Certificate
		want string
	}{
		{"vaccination", full, `{"kind":"vaccination","id":"ID-1","authority":"XXA","issued":"2026-03-01T00:00:00Z","valid_from":"2026-03-01T00:00:00Z","expires":"2026-03-01T00:00:00Z",` +
			`"person":{"name":{"full":"Spécimen Ada","full_mrz":"SPECIMEN\u003cADA"},"birth_date":"1990-02-03","sex":"female","nationality":"XXA","document":{"number":"SPEC0001","type":"PPN"},"guardian":"Specimen Parent"},` +
			`"vaccination":{"disease":{"code":"1D47","system":"http://id.who.int/icd/release/11/mms","display":"Yellow fever"},"product":{"code":"YF-1","system":"` + cert.SystemICVPProduct + `","display":"Specimen yellow fever vaccine"},` +
			`"manufacturer":{"code":"","display":"Specimen Biologicals"},"lot":"SPEC-LOT-1","date":"2026-02-20","dose":1,"doses":2,"country":"AT","clinician":"Specimen Clinician","valid_from":"2026-03-02","valid_until":"2036-03-02"}}`},
		{"recovery", recovery, `{"kind":"recovery","id":"URN:UVCI:01:AT:SPECIMEN#1","authority":"Specimen authority","person":{"name":{"family":"Spécimen","given":"Ada","family_mrz":"SPECIMEN","given_mrz":"ADA"},"birth_date":"1990-02-03"},` +
			`"recovery":{"disease":{"code":"840539006","system":"http://snomed.info/sct","display":"COVID-19"},"first_positive":"2026-01-01","country":"AT","valid_from":"2026-01-12","valid_until":"2026-06-30"}}`},
		{"nothing", new(cert.Certificate), `{"kind":""}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := json.Marshal(tt.of)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, string(got)); diff != "" {
				t.Error(diff)
			}
			var back cert.Certificate
			if err := json.Unmarshal(got, &back); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.of, &back); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestCountry: the country is that of the event.
func TestCountry(t *testing.T) {
	for name, c := range map[string]*cert.Certificate{
		"vaccination": {Vaccination: &cert.Vaccination{Country: "AT"}},
		"test":        {Test: &cert.Test{Country: "AT"}},
		"recovery":    {Recovery: &cert.Recovery{Country: "AT"}},
	} {
		if c.Country() != "AT" {
			t.Errorf("%s: %q", name, c.Country())
		}
	}
	if got := (&cert.Certificate{Link: &cert.Link{}}).Country(); got != "" {
		t.Errorf("a link happened in %q", got)
	}
}
