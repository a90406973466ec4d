package issuer

import (
	"errors"
	"testing"
	"time"

	"ampoule/cert"

	"github.com/google/go-cmp/cmp"
)

// TestIssuesWhatWasConverted: a record that was converted and lacks nothing is
// issued, and what a reader of the certificate knows is what the conversion said.
func TestIssuesWhatWasConverted(t *testing.T) {
	hcerts, _ := newIssuer(t, ecKey(t))
	hcerts.Address = "https://issuer.example"
	seals, _, _ := newSealIssuer(t)
	record := icvpRecord(yellowFever)
	record.Person.Name = cert.Name{Family: "Specimen", Given: "Ada"}
	issued := make(map[Format]int)
	seal := sealVaccination()
	const icd11 = "http://id.who.int/icd/release/11/mms"
	for _, v := range []*cert.Vaccination{seal.Vaccination, seal.Earlier[0].Vaccination} {
		v.Disease, v.Vaccine.System = cert.Code{Code: "1D47", System: icd11}, icd11
	}
	for _, from := range []*cert.Certificate{record, withSystems(t, dccVaccination()), withSystems(t, dccTest()), dccRecovery(), seal, sealTest()} {
		for _, to := range cert.Formats() {
			x, err := from.Convert(to, cert.BuiltinConceptMaps(), catalogue(t))
			if errors.Is(err, cert.ErrNotCarried) {
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			i := hcerts
			if to == VDSNC {
				i = seals
			}
			r := *x.Record
			if to == VDSNC {
				r.Authority = "" // the state's, not a name
			}
			request := Request{Format: to, Record: &r}
			if to == EUDCC {
				request.Expires = today.AddDate(0, 6, 0)
			}
			out, err := i.Issue(request)
			if len(x.Missing) > 0 || to == cert.FormatDIVOC {
				if err == nil {
					t.Errorf("a %s was issued as %s, and lacks %v", from.Kind, to, x.Missing)
				}
				continue
			}
			if err != nil {
				t.Errorf("a %s lacks nothing as %s, and is not issued: %v", from.Kind, to, err)
				continue
			}
			want, got := *x.Read, *out.Record()
			for _, c := range []*cert.Certificate{&want, &got} {
				c.ID, c.Authority, c.Issued, c.ValidFrom, c.Expires = "", "", time.Time{}, time.Time{}, time.Time{}
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("a %s as %s is read otherwise than the conversion said:\n%s", from.Kind, to, diff)
			}
			issued[to]++
		}
	}
	for _, to := range cert.Formats() {
		if issued[to] == 0 && to != cert.FormatDIVOC {
			t.Errorf("nothing was issued as %s", to)
		}
	}
}

// withSystems names the code systems of a record whose codes are the EU's.
func withSystems(t *testing.T, c *cert.Certificate) *cert.Certificate {
	t.Helper()
	x, err := c.Convert(EUDCC, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	return x.Record
}
