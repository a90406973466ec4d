package issuer

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"strings"
	"testing"
	"time"

	"ampoule/cert"
	"ampoule/format"
	"ampoule/format/pkix"
	"ampoule/internal/keys"
	"ampoule/party/verifier"
	"ampoule/trust"

	"github.com/google/go-cmp/cmp"
)

// newSealIssuer makes an issuer of state XXA and a verifier that trusts its
// authority.
func newSealIssuer(t testing.TB) (*Issuer, *verifier.Verifier, *keys.SCA) {
	t.Helper()
	csca, err := keys.NewCSCA(keys.Participant{Country: "XA", Organization: "Specimen authority", Name: "CSCA"}, "XXA", born, nil)
	if err != nil {
		t.Fatal(err)
	}
	list := new(trust.List)
	if err := list.Add(trust.Source{Name: "csca", Data: csca.Key.Certificate().Raw}); err != nil {
		t.Fatal(err)
	}
	key, err := csca.IssueSealSigner("01", born, nil)
	if err != nil {
		t.Fatal(err)
	}
	i := &Issuer{KID: key.KID(), NotBefore: born, NotAfter: dies, Participant: "XXA", Now: func() time.Time { return today }}
	i.use(key)
	return i, &verifier.Verifier{Trust: list, Now: i.Now}, csca
}

// use takes another key.
func (i *Issuer) use(k *keys.Key) {
	i.Signer, i.Chain = k.Signer, nil
	for _, c := range k.Chain {
		i.Chain = append(i.Chain, c.Raw)
	}
}

func sealVaccination() *cert.Certificate {
	dose := func(date cert.Date, n int) *cert.Vaccination {
		return &cert.Vaccination{
			Disease: cert.Code{Code: "yellow-fever"}, Vaccine: cert.Code{Code: "XM0N24"}, Product: cert.Code{Code: "SPEC-YF", Display: "Specimen vaccine"},
			Lot: "SPEC-LOT-1", Date: date, Dose: n, Country: "AT", Clinician: "Specimen centre",
		}
	}
	return &cert.Certificate{
		Kind: cert.KindVaccination, Authority: "Specimen authority",
		Person: cert.Person{
			Name: cert.Name{Family: "Spécimen", Given: "Ada"}, BirthDate: "1990-02-03", Sex: "female", Document: cert.Document{Number: "SPEC0001", Type: "PPN"},
		},
		Vaccination: dose("2026-10-01", 2), Earlier: []cert.Event{{Vaccination: dose("2026-09-01", 1)}},
	}
}

func sealTest() *cert.Certificate {
	r := sealVaccination()
	r.Kind, r.Vaccination, r.Earlier = cert.KindTest, nil, nil
	r.Test = &cert.Test{
		Type: cert.Code{Display: "antigen"}, Result: cert.Code{Display: "negative"}, Centre: "Specimen centre", Country: "XXA",
		Sampled: "2026-11-01T10:00:00Z", Reported: "2026-11-01T11:00:00Z",
		Contact: cert.Contact{Phone: "+00000000", Email: "lab@example.org", Address: "1 Example Street"},
	}
	return r
}

// A seal is valid to a verifier that trusts the authority, and unknown to others.
func TestSealRoundTrip(t *testing.T) {
	for name, record := range map[string]*cert.Certificate{"vaccination": sealVaccination(), "test": sealTest()} {
		t.Run(name, func(t *testing.T) {
			i, v, _ := newSealIssuer(t)
			out, err := i.Issue(Request{Format: VDSNC, Record: record})
			if err != nil {
				t.Fatal(err)
			}
			got := v.Verify(out.Text)
			if got.Outcome != verifier.Valid || got.Format != string(VDSNC) || got.Issuer.Participant != "XXA" {
				t.Fatalf("%s (%s) %s", got.Outcome, got.Reason, got.Issuer.Participant)
			}
			for _, s := range []verifier.Step{verifier.StepDecode, verifier.StepSchema} {
				if c := got.Check(s); c.Reason != "conforms" || c.Detail != "" {
					t.Errorf("%s: %s %q", s, c.Reason, c.Detail)
				}
			}
			if diff := cmp.Diff(out.Record(), got.Certificate); diff != "" {
				t.Errorf("the record handed out, and the one that is read:\n%s", diff)
			}
			if got.Certificate.Authority != "XXA" || !strings.HasPrefix(got.Certificate.ID, "URN:UVCI:01:") || len(got.Certificate.Earlier) != len(record.Earlier) {
				t.Errorf("%+v", got.Certificate)
			}
			v.Trust = new(trust.List)
			if got := v.Verify(out.Text); got.Outcome != verifier.UnknownIssuer {
				t.Errorf("without the authority: %s", got.Outcome)
			}
		})
	}
}

func TestSealRefuses(t *testing.T) {
	plain := func(t *testing.T, csca *keys.SCA) *keys.Key {
		k, err := csca.IssueDSC(keys.DSCProfile{}, born, nil)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	dose := func(f func(v *cert.Vaccination)) func(*testing.T, *Issuer, *keys.SCA, *Request) {
		return func(_ *testing.T, _ *Issuer, _ *keys.SCA, r *Request) { f(r.Record.Vaccination) }
	}
	for _, tt := range []struct {
		name   string
		change func(t *testing.T, i *Issuer, csca *keys.SCA, r *Request)
		want   error
		place  string
	}{
		{"an end", func(_ *testing.T, _ *Issuer, _ *keys.SCA, r *Request) { r.Expires = today.AddDate(0, 1, 0) }, ErrExpiry, "does not expire"},
		{"no certificate", func(_ *testing.T, i *Issuer, _ *keys.SCA, _ *Request) { i.Chain = nil }, ErrKeyValidity, "authority"},
		{"no authority", func(_ *testing.T, i *Issuer, _ *keys.SCA, _ *Request) { i.Chain = i.Chain[:1] }, ErrKeyValidity, "CSCA"},
		{"a signer of other certificates", func(t *testing.T, i *Issuer, csca *keys.SCA, _ *Request) { i.use(plain(t, csca)) }, trust.ErrSignerUsage, "not for seals"},
		{"the authority itself", func(_ *testing.T, i *Issuer, csca *keys.SCA, _ *Request) {
			i.use(csca.Key)
			i.Chain = append(i.Chain, i.Chain[0])
		}, trust.ErrSignerUsage, "authority's"},
		{"another authority", func(t *testing.T, i *Issuer, _ *keys.SCA, _ *Request) {
			_, _, other := newSealIssuer(t)
			i.Chain[1] = other.Key.Certificate().Raw
		}, trust.ErrChain, "refused"},
		{"an authority that is none", func(_ *testing.T, i *Issuer, _ *keys.SCA, _ *Request) { i.Chain[1] = i.Chain[0] }, trust.ErrNotAuthority, "authority"},
		{"another state", func(_ *testing.T, i *Issuer, _ *keys.SCA, _ *Request) { i.Participant = "XXB" }, trust.ErrSignerState, "XXA"},
		{"a state of two letters that is none", func(_ *testing.T, i *Issuer, _ *keys.SCA, _ *Request) { i.Participant = "XA" }, format.BadCode, "hdr.is"},
		{"no state", func(_ *testing.T, i *Issuer, _ *keys.SCA, _ *Request) { i.Participant = "" }, format.BadCode, "hdr.is"},
		{"a signer that is expired", func(_ *testing.T, i *Issuer, _ *keys.SCA, _ *Request) {
			i.NotAfter = dies.AddDate(5, 0, 0)
			i.Now = func() time.Time { return dies.AddDate(1, 0, 0) }
		}, trust.ErrSignerExpired, "refused"},
		{"the certificate of another key", func(t *testing.T, i *Issuer, _ *keys.SCA, _ *Request) {
			k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
			if err != nil {
				t.Fatal(err)
			}
			i.Signer = k
		}, format.Defect("bad-signature"), "not of the signing key"},
		{"what is no certificate", func(_ *testing.T, i *Issuer, _ *keys.SCA, _ *Request) { i.Chain[0] = []byte{0x30, 0} }, trust.ErrCertificate, "refused"},

		{"no vaccine", dose(func(v *cert.Vaccination) { v.Vaccine = cert.Code{} }), format.RequiredMissing, "ve[1].des"},
		{"a vaccine of another system", dose(func(v *cert.Vaccination) { v.Vaccine = cert.Code{Code: "1", System: "http://snomed.info/sct"} }), format.RequiredMissing, "des"},
		{"no lot", dose(func(v *cert.Vaccination) { v.Lot = "" }), format.RequiredMissing, "ve[0].vd[1].lot"},
		{"no centre", dose(func(v *cert.Vaccination) { v.Clinician = "" }), format.RequiredMissing, "ve[0].vd[1].adm"},
		{"dose 100", dose(func(v *cert.Vaccination) { v.Dose = 100 }), format.BadValue, "ve[0].vd[1].seq"},
		{"a date in the future", dose(func(v *cert.Vaccination) { v.Date = "2026-11-03" }), ErrFuture, "vaccination.date"},
		{"an earlier date in the future", func(_ *testing.T, _ *Issuer, _ *keys.SCA, r *Request) {
			r.Record.Earlier[0].Vaccination.Date = "2026-11-03"
		}, ErrFuture, "earlier[0]"},
		{"neither birth date nor passport", func(_ *testing.T, _ *Issuer, _ *keys.SCA, r *Request) {
			r.Record.Person.BirthDate, r.Record.Person.Document.Type = "", "NI"
		}, format.RequiredMissing, "pid.dob|pid.i"},
		{"a recovery", func(_ *testing.T, _ *Issuer, _ *keys.SCA, r *Request) { r.Record = dccRecovery() }, cert.ErrNotCarried, "recovery"},
		{"a test whose centre cannot be reached", func(_ *testing.T, _ *Issuer, _ *keys.SCA, r *Request) {
			r.Record = sealTest()
			r.Record.Test.Contact = cert.Contact{}
		}, format.RequiredMissing, "sp.cd.p"},
		{"a test in the words of another format", func(_ *testing.T, _ *Issuer, _ *keys.SCA, r *Request) {
			r.Record = sealTest()
			r.Record.Test.Type = cert.Code{Code: "LP6464-4"}
		}, format.BadCode, "tr.tc"},
		{"a test tied to a document of no kind", func(_ *testing.T, _ *Issuer, _ *keys.SCA, r *Request) {
			r.Record = sealTest()
			r.Record.Person.Document.Type = ""
		}, format.BadCode, "pid.dt"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			i, _, csca := newSealIssuer(t)
			r := Request{Format: VDSNC, Record: sealVaccination()}
			tt.change(t, i, csca, &r)
			out, err := i.Issue(r)
			if !errors.Is(err, tt.want) || !strings.Contains(err.Error(), tt.place) {
				t.Fatalf("%v, want %v at %q", err, tt.want, tt.place)
			}
			if out != nil {
				t.Error("something was issued all the same")
			}
		})
	}
}

// The certificates say what the passport world asks of them.
func TestSealCertificates(t *testing.T) {
	i, _, _ := newSealIssuer(t)
	authority, err := pkix.ParseCertificate(i.Chain[1])
	if err != nil || authority.State != "XXA" || len(authority.Notes) > 0 || !authority.IsAuthority {
		t.Errorf("%v %+v", err, authority)
	}
	signer, err := pkix.ParseCertificate(i.Chain[0])
	if err != nil || cmp.Diff([]string{"NV"}, signer.DocumentTypes) != "" || len(signer.Notes) > 0 || signer.Subject.Country != "XA" || signer.IsAuthority {
		t.Errorf("%v %+v", err, signer)
	}
	if c, err := x509.ParseCertificate(i.Chain[0]); err != nil || len(c.UnhandledCriticalExtensions) > 0 {
		t.Error(err)
	}
}
