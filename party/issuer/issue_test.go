package issuer

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io"
	"math/big"
	"regexp"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"ampoule/cert"
	"ampoule/format"
	"ampoule/format/cose"
	"ampoule/format/hcert"
	"ampoule/party/verifier"
	"ampoule/trust"

	"github.com/google/go-cmp/cmp"
)

var (
	today = time.Date(2026, 11, 1, 12, 30, 15, 0, time.UTC)
	born  = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	dies  = time.Date(2028, 1, 1, 0, 0, 0, 0, time.UTC)
)

const (
	yellowFever = "YF-1"
	polio       = "PV-1"
)

func catalogue(t testing.TB) *cert.Catalogue {
	t.Helper()
	c, err := cert.ReadCatalogue([]byte(`{"catalogue": "specimen list", "products": [
		{"id": "YF-1", "display": "Specimen yellow fever vaccine", "disease": "yellow-fever", "manufacturer": "Specimen Biologicals"},
		{"id": "PV-1", "display": "Specimen polio vaccine", "disease": "polio", "manufacturer": "Specimen Biologicals"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// newIssuer makes an issuer of participant XXA and a verifier, under the strict
// profile, that trusts its key.
func newIssuer(t testing.TB, key crypto.Signer) (*Issuer, *verifier.Verifier) {
	t.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{Country: []string{"XA"}}, NotBefore: born, NotAfter: dies}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	list := new(trust.List)
	v := &verifier.Verifier{Trust: list, Catalogue: catalogue(t), Policies: map[trust.Domain]verifier.Policy{}}
	for _, d := range []trust.Domain{trust.ICVP, trust.DCC, trust.DDCC} {
		k, err := trust.NewKey(der)
		if err != nil {
			t.Fatal(err)
		}
		k.Domain, k.Participant = d, "XXA"
		list.Insert(k)
		p := verifier.DefaultPolicy(d)
		p.Profile = hcert.Strict
		v.Policies[d] = p
	}
	i := &Issuer{
		Signer: key, KID: []byte(trust.DeriveKeyID(der)), NotBefore: born, NotAfter: dies, Participant: "XXA",
		Catalogue: catalogue(t), Now: func() time.Time { return today },
	}
	return i, v
}

func ecKey(t testing.TB) crypto.Signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

var rsa2048 = sync.OnceValues(func() (*rsa.PrivateKey, error) { return rsa.GenerateKey(rand.Reader, 2048) })

func rsaKey(t testing.TB) crypto.Signer {
	t.Helper()
	key, err := rsa2048()
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// The records of the tests, complete: a case takes away or changes one thing.

func icvpRecord(product string) *cert.Certificate {
	return &cert.Certificate{
		Kind: cert.KindVaccination, Authority: "XXA",
		Person: cert.Person{
			Name: cert.Name{Full: "Specimen Ada"}, BirthDate: "1990-02-03", Sex: "female", Nationality: "XXA",
			Document: cert.Document{Number: "SPEC0001", Type: "PPN"}, Guardian: "Specimen Parent",
		},
		Vaccination: &cert.Vaccination{Product: cert.Code{Code: product}, Lot: "SPEC-LOT-1", Date: "2026-11-01", Clinician: "Specimen Clinician"},
	}
}

func dccPerson() cert.Person {
	return cert.Person{Name: cert.Name{Family: "Spécimen", Given: "Ada"}, BirthDate: "1990-02-03"}
}

func dccVaccination() *cert.Certificate {
	return &cert.Certificate{
		Kind: cert.KindVaccination, Authority: "Specimen authority", Person: dccPerson(),
		Vaccination: &cert.Vaccination{
			Disease: cert.Code{Code: "840539006"}, Vaccine: cert.Code{Code: "1119349007"}, Product: cert.Code{Code: "EU/1/20/1528"},
			Manufacturer: cert.Code{Code: "ORG-100030215"}, Date: "2026-10-01", Dose: 2, Doses: 2, Country: "AT",
		},
	}
}

func dccTest() *cert.Certificate {
	return &cert.Certificate{
		Kind: cert.KindTest, Authority: "Specimen authority", Person: dccPerson(),
		Test: &cert.Test{
			Disease: cert.Code{Code: "840539006"}, Type: cert.Code{Code: "LP6464-4"}, Name: "Specimen PCR", Sampled: "2026-11-01T10:00:00Z",
			Result: cert.Code{Code: "260415000"}, Centre: "Specimen centre", Country: "AT",
		},
	}
}

func ddccVaccination() *cert.Certificate {
	r := dccVaccination()
	r.Person = cert.Person{Name: cert.Name{Full: "Specimen Ada"}, BirthDate: "1990-02-03", Sex: "female", Document: cert.Document{Number: "SPEC0001"}}
	r.Vaccination.Lot, r.Vaccination.Country = "SPEC-LOT-1", "XXA"
	return r
}

func ddccTest() *cert.Certificate {
	r := dccTest()
	r.Person, r.Test.Country = ddccVaccination().Person, "XXA"
	return r
}

func dccRecovery() *cert.Certificate {
	return &cert.Certificate{
		Kind: cert.KindRecovery, Authority: "Specimen authority", Person: dccPerson(),
		Recovery: &cert.Recovery{Disease: cert.Code{Code: "840539006"}, FirstPositive: "2026-10-01", Country: "AT", ValidFrom: "2026-10-12", ValidUntil: "2027-03-30"},
	}
}

func decode(t testing.TB, text string) *hcert.Message {
	t.Helper()
	m, err := hcert.Decode(text, hcert.Strict)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// TestRoundTrip: what is issued is valid to a strict verifier, with nothing to
// remark, and the record that is handed out is the one that is read.
func TestRoundTrip(t *testing.T) {
	until := time.Date(2027, 6, 30, 23, 59, 59, 0, time.UTC)
	for _, tt := range []struct {
		name    string
		key     func(testing.TB) crypto.Signer
		request Request
		later   int // days, until it counts
		claims  hcert.Claims
		alg     cose.Algorithm
	}{
		{"yellow fever for life", ecKey, Request{ICVP, icvpRecord(yellowFever), time.Time{}}, 10,
			hcert.Claims{Issuer: "XXA", IssuedAt: today, NotBefore: time.Date(2026, 11, 11, 0, 0, 0, 0, time.UTC)}, cose.ES256},
		{"yellow fever with an end", ecKey, Request{ICVP, icvpRecord(yellowFever), until}, 10,
			hcert.Claims{Issuer: "XXA", IssuedAt: today, NotBefore: time.Date(2026, 11, 11, 0, 0, 0, 0, time.UTC), ExpiresAt: until}, cose.ES256},
		{"polio", ecKey, Request{ICVP, icvpRecord(polio), time.Time{}}, 0,
			hcert.Claims{Issuer: "XXA", IssuedAt: today, NotBefore: time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)}, cose.ES256},
		{"polio, signed with RSA", rsaKey, Request{ICVP, icvpRecord(polio), time.Time{}}, 0,
			hcert.Claims{Issuer: "XXA", IssuedAt: today, NotBefore: time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)}, cose.PS256},
		{"an end of another zone and with a fraction", ecKey, Request{ICVP, icvpRecord(polio), until.Add(time.Millisecond).In(time.FixedZone("", 3600))}, 0,
			hcert.Claims{Issuer: "XXA", IssuedAt: today, NotBefore: time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC), ExpiresAt: until}, cose.ES256},
		{"an end with the key's", ecKey, Request{ICVP, icvpRecord(polio), dies}, 0,
			hcert.Claims{Issuer: "XXA", IssuedAt: today, NotBefore: time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC), ExpiresAt: dies}, cose.ES256},
		{"EU vaccination", ecKey, Request{EUDCC, dccVaccination(), until}, 0, hcert.Claims{Issuer: "XXA", IssuedAt: today, ExpiresAt: until}, cose.ES256},
		{"EU test", ecKey, Request{EUDCC, dccTest(), until}, 0, hcert.Claims{Issuer: "XXA", IssuedAt: today, ExpiresAt: until}, cose.ES256},
		{"EU recovery", rsaKey, Request{EUDCC, dccRecovery(), until}, 0, hcert.Claims{Issuer: "XXA", IssuedAt: today, ExpiresAt: until}, cose.PS256},
		{"DDCC vaccination", ecKey, Request{DDCC, ddccVaccination(), until}, 0, hcert.Claims{Issuer: "XXA", IssuedAt: today, ExpiresAt: until}, cose.ES256},
		{"DDCC vaccination without an end", ecKey, Request{DDCC, ddccVaccination(), time.Time{}}, 0, hcert.Claims{Issuer: "XXA", IssuedAt: today}, cose.ES256},
		{"DDCC of a record with parts of a name", ecKey, Request{DDCC, func() *cert.Certificate {
			r := ddccVaccination()
			r.Person.Name = cert.Name{Family: "Spécimen", Given: "Ada"}
			return r
		}(), until}, 0, hcert.Claims{Issuer: "XXA", IssuedAt: today, ExpiresAt: until}, cose.ES256},
		{"DDCC test", rsaKey, Request{DDCC, ddccTest(), until}, 0, hcert.Claims{Issuer: "XXA", IssuedAt: today, ExpiresAt: until}, cose.PS256},
	} {
		t.Run(tt.name, func(t *testing.T) {
			i, v := newIssuer(t, tt.key(t))
			before := *tt.request.Record
			out, err := i.Issue(tt.request)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(&before, tt.request.Record); diff != "" {
				t.Errorf("the request was changed:\n%s", diff)
			}
			m := decode(t, out.Text)
			if diff := cmp.Diff(tt.claims, m.Claims); diff != "" {
				t.Errorf("claims:\n%s", diff)
			}
			if m.Claims.ExpiresAt.IsZero() && m.ClaimSet.GetInt(4).Exists() {
				t.Error("an exp for a certificate without end")
			}
			if m.Sign1.Alg != tt.alg || string(m.Sign1.KID) != string(i.KID) || m.Sign1.KIDUnprotected || m.Sign1.AlgUnprotected || m.Sign1.Unprotected.Len() > 0 {
				t.Errorf("headers: %s, kid %x", m.Sign1.Alg, m.Sign1.KID)
			}
			if len(m.Remarks) > 0 {
				t.Errorf("remarks %v", m.Remarks)
			}

			v.Now = func() time.Time { return today.AddDate(0, 0, tt.later) }
			got := v.Verify(out.Text)
			if got.Outcome != verifier.Valid || got.Format != string(out.Format) || got.Issuer.Participant != "XXA" {
				t.Fatalf("%s (%s)", got.Outcome, got.Reason)
			}
			for _, s := range []verifier.Step{verifier.StepDecode, verifier.StepSchema} {
				if c := got.Check(s); c.Reason != "conforms" || c.Detail != "" {
					t.Errorf("%s: %s %q", s, c.Reason, c.Detail)
				}
			}
			if diff := cmp.Diff(out.Record(), got.Certificate); diff != "" {
				t.Errorf("the record handed out, and the one that is read:\n%s", diff)
			}
			if tt.later > 0 {
				v.Now = func() time.Time { return today }
				if early := v.Verify(out.Text); early.Outcome != verifier.NotYetValid {
					t.Errorf("on the day it is issued: %s", early.Outcome)
				}
			}
		})
	}
}

// TestICVPContent: disease and manufacturer follow from the product and are
// never carried (REQ-DE-12, REQ-DE-16); the handed out record has them.
func TestICVPContent(t *testing.T) {
	i, _ := newIssuer(t, ecKey(t))
	record := icvpRecord(yellowFever)
	record.Vaccination.Disease = cert.Code{Code: "1D47", Display: "Yellow fever"}
	record.Vaccination.Manufacturer = cert.Code{Code: "MAN-1", Display: "Specimen Biologicals"}
	record.Vaccination.Dose, record.Vaccination.Doses, record.Vaccination.Country = 1, 1, "AT"
	out, err := i.Issue(Request{Format: ICVP, Record: record})
	if err != nil {
		t.Fatal(err)
	}
	m := decode(t, out.Text)
	want := `{"n":"Specimen Ada","s":"female","v":"1.0.0","dt":"PPN","gn":"Specimen Parent","id":"SPEC0001","nt":"XXA",` +
		`"vx":{"bo":"SPEC-LOT-1","cn":"Specimen Clinician","dv":"2026-11-01","is":"XXA","vp":"YF-1"},"dob":"1990-02-03"}`
	if diff := cmp.Diff(want, string(m.Certificate.AppendJSON(nil))); diff != "" {
		t.Error(diff)
	}
	v := out.Record().Vaccination
	if v.Disease.Display != "Yellow fever" || v.Manufacturer.Display != "Specimen Biologicals" || v.Manufacturer.Code != "" || v.Country != "" || v.Dose != 0 {
		t.Errorf("%+v", v)
	}
}

// TestAuthority: where the record names none, the participant is the issuing
// authority (REQ-DE-15).
func TestAuthority(t *testing.T) {
	i, _ := newIssuer(t, ecKey(t))
	for authority, want := range map[string]string{"": "XXA", "XXB": "XXB"} {
		record := icvpRecord(polio)
		record.Authority, record.Vaccination.Clinician = authority, ""
		out, err := i.Issue(Request{Format: ICVP, Record: record})
		if err != nil {
			t.Fatal(err)
		}
		if out.Record().Authority != want {
			t.Errorf("%q: authority %q, want %q", authority, out.Record().Authority, want)
		}
	}
}

// refusal is a request that must not be signed, with the sentinel and the place
// that the error must name.
type refusal struct {
	name   string
	change func(i *Issuer, r *Request)
	want   error
	place  string
}

// person and the like change a complete request.
func person(f func(p *cert.Person)) func(i *Issuer, r *Request) {
	return func(_ *Issuer, r *Request) { f(&r.Record.Person) }
}

func vaccination(f func(v *cert.Vaccination)) func(i *Issuer, r *Request) {
	return func(_ *Issuer, r *Request) { f(r.Record.Vaccination) }
}

func test(f func(t *cert.Test)) func(i *Issuer, r *Request) {
	return func(_ *Issuer, r *Request) { f(r.Record.Test) }
}

func recovery(f func(v *cert.Recovery)) func(i *Issuer, r *Request) {
	return func(_ *Issuer, r *Request) { f(r.Record.Recovery) }
}

func expires(t time.Time) func(i *Issuer, r *Request) {
	return func(_ *Issuer, r *Request) { r.Expires = t }
}

func clock(t time.Time) func(i *Issuer, r *Request) {
	return func(i *Issuer, _ *Request) { i.Now = func() time.Time { return t } }
}

// always are refused in every format.
var always = []refusal{
	{"no record", func(_ *Issuer, r *Request) { r.Record = nil }, format.RequiredMissing, "record"},
	{"no format", func(_ *Issuer, r *Request) { r.Format = "" }, ErrFormat, `""`},
	{"another format", func(_ *Issuer, r *Request) { r.Format = "divoc" }, ErrFormat, "shc"},
	{"expired", expires(today.Add(-time.Second)), ErrExpiry, "past"},
	{"expires now", expires(today), ErrExpiry, "past"},
	{"expires a second after the key", expires(dies.Add(time.Second)), ErrExpiry, "after the signing key"},
	{"a second before the key's validity", clock(born.Add(-time.Second)), ErrKeyValidity, "2026-01-01 to 2028-01-01"},
	{"a second after the key's validity", clock(dies.Add(time.Second)), ErrKeyValidity, "2026-01-01 to 2028-01-01"},
	{"an issuer without dates", func(i *Issuer, _ *Request) { i.NotBefore, i.NotAfter = time.Time{}, time.Time{} }, ErrKeyValidity, "key"},
	{"a key on P-384", func(i *Issuer, _ *Request) {
		i.Signer, _ = ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	}, cose.ErrAlgNotAllowed, "P-384"},
	{"a birth date that does not exist", person(func(p *cert.Person) { p.BirthDate = "1990-02-30" }), format.BadDate, ": bad-date"},
}

// TestRefuses takes one thing away, or makes one wrong, at a time.
func TestRefuses(t *testing.T) {
	until := today.AddDate(0, 6, 0)
	for _, group := range []struct {
		name    string
		request func() Request
		cases   []refusal
	}{
		{"ICVP", func() Request { return Request{Format: ICVP, Record: icvpRecord(yellowFever)} }, []refusal{
			{"no name", person(func(p *cert.Person) { p.Name = cert.Name{} }), format.RequiredMissing, "n:"},
			{"a name of blanks", person(func(p *cert.Person) { p.Name.Full = "  " }), format.RequiredMissing, "n:"},
			{"a name that is too long", person(func(p *cert.Person) { p.Name.Full = strings.Repeat("X", 201) }), format.TooLong, "n:"},
			{"a name with hidden characters", person(func(p *cert.Person) { p.Name.Full = "Speci\u202emen" }), format.SuspiciousText, "n:"},
			{"a name that is not UTF-8", person(func(p *cert.Person) { p.Name.Full = "Speci\xffmen" }), format.BadValue, ""},
			{"no birth date", person(func(p *cert.Person) { p.BirthDate = "" }), format.RequiredMissing, "dob:"},
			{"a partial birth date", person(func(p *cert.Person) { p.BirthDate = "1990" }), format.BadDate, "dob:"},
			{"no sex", person(func(p *cert.Person) { p.Sex = "" }), format.RequiredMissing, "s:"},
			{"no nationality", person(func(p *cert.Person) { p.Nationality = "" }), format.RequiredMissing, "nt:"},
			{"a nationality of two letters", person(func(p *cert.Person) { p.Nationality = "AT" }), format.BadCode, "nt:"},
			{"no lot", vaccination(func(v *cert.Vaccination) { v.Lot = "" }), format.RequiredMissing, "vx.bo"},
			{"no date", vaccination(func(v *cert.Vaccination) { v.Date = "" }), format.BadDate, "vaccination.date"},
			{"a partial date", vaccination(func(v *cert.Vaccination) { v.Date = "2026-11" }), format.BadDate, "vaccination.date"},
			{"a date in the future", vaccination(func(v *cert.Vaccination) { v.Date = "2026-11-03" }), ErrFuture, "vaccination.date"},
			{"no product", vaccination(func(v *cert.Vaccination) { v.Product = cert.Code{} }), format.RequiredMissing, "vaccination.product"},
			{"a product that is not in the catalogue", vaccination(func(v *cert.Vaccination) { v.Product.Code = "ZZ-1" }), format.BadCode, "vaccination.product"},
			{"no catalogue", func(i *Issuer, _ *Request) { i.Catalogue = nil }, format.BadCode, "vaccination.product"},
			{"another disease than the product's", vaccination(func(v *cert.Vaccination) { v.Disease.Code = "1C81" }), format.BadCode, "vaccination.disease"},
			{"neither authority nor clinician", func(i *Issuer, r *Request) {
				i.Participant, r.Record.Authority, r.Record.Vaccination.Clinician = "", "", ""
			}, format.RequiredMissing, "vx.cn|vx.is"},
			{"a test", func(_ *Issuer, r *Request) { r.Record = dccTest() }, cert.ErrNotCarried, "test"},
			{"a second before the amendments are in force", func(i *Issuer, r *Request) {
				i.NotBefore = time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)
				i.Now = func() time.Time { return time.Date(2025, 9, 18, 23, 59, 59, 0, time.UTC) }
			}, ErrNotInForce, "2025-09-19"},
			{"an end before it counts", expires(time.Date(2026, 11, 10, 0, 0, 0, 0, time.UTC)), ErrExpiry, "before it counts"},
			{"an end as it begins to count", expires(time.Date(2026, 11, 11, 0, 0, 0, 0, time.UTC)), ErrExpiry, "before it counts"},
		}},
		{"EU vaccination", func() Request { return Request{EUDCC, dccVaccination(), until} }, []refusal{
			{"no end", expires(time.Time{}), ErrExpiry, "must expire"},
			{"no name", person(func(p *cert.Person) { p.Name = cert.Name{} }), format.RequiredMissing, "person.name"},
			{"a name that is too long", person(func(p *cert.Person) { p.Name.Family = strings.Repeat("X", 81) }), format.TooLong, "nam.fn"},
			{"a name with hidden characters", person(func(p *cert.Person) { p.Name.Given = "Speci\u200bmen" }), format.SuspiciousText, "nam.gn"},
			{"a birth date with a time", person(func(p *cert.Person) { p.BirthDate = "1990-02-03T00:00:00" }), format.BadDate, "dob"},
			{"no date", vaccination(func(v *cert.Vaccination) { v.Date = "" }), format.BadDate, "vaccination.date"},
			{"a date in the future", vaccination(func(v *cert.Vaccination) { v.Date = "2026-11-03" }), ErrFuture, "vaccination.date"},
			{"no dose", vaccination(func(v *cert.Vaccination) { v.Dose = 0 }), format.BadValue, "v[0].dn"},
			{"no doses", vaccination(func(v *cert.Vaccination) { v.Doses = 0 }), format.BadValue, "v[0].sd"},
			{"no country", vaccination(func(v *cert.Vaccination) { v.Country = "" }), format.RequiredMissing, "country"},
			{"a country in lower case", vaccination(func(v *cert.Vaccination) { v.Country = "at" }), format.BadCode, "country:"},
			{"a country in words", vaccination(func(v *cert.Vaccination) { v.Country = "Austria" }), format.BadCode, "country:"},
			{"a country in lower case beside an identifier", func(_ *Issuer, r *Request) {
				r.Record.ID, r.Record.Vaccination.Country = "URN:UVCI:01:AT:SPECIMEN#1", "at"
			}, format.BadCode, "v[0].co"},
			{"nothing that happened", func(_ *Issuer, r *Request) {
				r.Record.ID, r.Record.Vaccination = "URN:UVCI:01:AT:SPECIMEN#1", nil
			}, cert.ErrNotCarried, "no vaccination"},
			{"an identifier that is too long", func(_ *Issuer, r *Request) { r.Record.ID = strings.Repeat("X", 81) }, format.TooLong, "v[0].ci"},
		}},
		{"EU test", func() Request { return Request{EUDCC, dccTest(), until} }, []refusal{
			{"no sample", test(func(x *cert.Test) { x.Sampled = "" }), format.RequiredMissing, "t[0].sc"},
			{"a sample without a zone", test(func(x *cert.Test) { x.Sampled = "2026-11-01T10:00:00" }), format.BadDate, "t[0].sc"},
			{"a sample in the future", test(func(x *cert.Test) { x.Sampled = "2026-11-01T12:30:16Z" }), ErrFuture, "test.sampled"},
			{"a sample in the future, in another zone", test(func(x *cert.Test) { x.Sampled = "2026-11-01T10:31:00-02:00" }), ErrFuture, "test.sampled"},
			{"no disease", test(func(x *cert.Test) { x.Disease.Code = "" }), format.RequiredMissing, "t[0].tg"},
			{"no type", test(func(x *cert.Test) { x.Type.Code = "" }), format.RequiredMissing, "t[0].tt"},
			{"no result", test(func(x *cert.Test) { x.Result.Code = "" }), format.RequiredMissing, "t[0].tr"},
			{"no country", test(func(x *cert.Test) { x.Country = "" }), format.RequiredMissing, "country"},
			{"no authority", func(_ *Issuer, r *Request) { r.Record.Authority = "" }, format.RequiredMissing, "t[0].is"},
		}},
		{"DDCC vaccination", func() Request { return Request{DDCC, ddccVaccination(), until} }, []refusal{
			{"no name", person(func(p *cert.Person) { p.Name = cert.Name{} }), format.RequiredMissing, "name"},
			{"a birth date in another order", person(func(p *cert.Person) { p.BirthDate = "03.02.1990" }), format.BadDate, "birthDate"},
			{"no vaccine", vaccination(func(v *cert.Vaccination) { v.Vaccine = cert.Code{} }), format.RequiredMissing, "vaccine"},
			{"no brand", vaccination(func(v *cert.Vaccination) { v.Product = cert.Code{} }), format.RequiredMissing, "brand"},
			{"no manufacturer", vaccination(func(v *cert.Vaccination) { v.Manufacturer = cert.Code{} }), format.RequiredMissing, "manufacturer|maholder"},
			{"no lot", vaccination(func(v *cert.Vaccination) { v.Lot = "" }), format.RequiredMissing, "lot"},
			{"no dose", vaccination(func(v *cert.Vaccination) { v.Dose = 0 }), format.RequiredMissing, "dose"},
			{"a dose below zero", vaccination(func(v *cert.Vaccination) { v.Dose = -1 }), format.BadValue, "dose"},
			{"a date in the future", vaccination(func(v *cert.Vaccination) { v.Date = "2026-11-03" }), ErrFuture, "vaccination.date"},
			{"no country", vaccination(func(v *cert.Vaccination) { v.Country = "" }), format.RequiredMissing, "country"},
			{"no country beside an identifier", func(_ *Issuer, r *Request) { r.Record.ID, r.Record.Vaccination.Country = "HC-1", "" }, format.RequiredMissing, "country"},
			{"no authority and no participant", func(i *Issuer, r *Request) { i.Participant, r.Record.Authority = "", "" }, format.RequiredMissing, "issuer"},
			{"a recovery", func(_ *Issuer, r *Request) { r.Record = dccRecovery() }, cert.ErrNotCarried, "recovery"},
		}},
		{"DDCC test", func() Request { return Request{DDCC, ddccTest(), until} }, []refusal{
			{"no pathogen", test(func(x *cert.Test) { x.Disease = cert.Code{} }), format.RequiredMissing, "pathogen"},
			{"no type", test(func(x *cert.Test) { x.Type = cert.Code{} }), format.RequiredMissing, "type"},
			{"no result", test(func(x *cert.Test) { x.Result = cert.Code{} }), format.RequiredMissing, "result"},
			{"no sample", test(func(x *cert.Test) { x.Sampled = "" }), format.RequiredMissing, "date"},
			{"a sample in the future", test(func(x *cert.Test) { x.Sampled = "2026-11-01T12:30:16Z" }), ErrFuture, "test.sampled"},
		}},
		{"EU recovery", func() Request { return Request{EUDCC, dccRecovery(), until} }, []refusal{
			{"no first positive", recovery(func(x *cert.Recovery) { x.FirstPositive = "" }), format.BadDate, "recovery.first_positive"},
			{"a first positive in the future", recovery(func(x *cert.Recovery) { x.FirstPositive = "2026-11-03" }), ErrFuture, "recovery.first_positive"},
			{"no disease", recovery(func(x *cert.Recovery) { x.Disease.Code = "" }), format.RequiredMissing, "r[0].tg"},
			{"no beginning", recovery(func(x *cert.Recovery) { x.ValidFrom = "" }), format.RequiredMissing, "r[0].df"},
			{"no end of its own", recovery(func(x *cert.Recovery) { x.ValidUntil = "" }), format.RequiredMissing, "r[0].du"},
			{"no country", recovery(func(x *cert.Recovery) { x.Country = "" }), format.RequiredMissing, "country"},
			{"no authority", func(_ *Issuer, r *Request) { r.Record.Authority = "" }, format.RequiredMissing, "r[0].is"},
		}},
	} {
		cases := append(group.cases, always...)
		for _, tt := range cases {
			t.Run(group.name+"/"+tt.name, func(t *testing.T) {
				i, _ := newIssuer(t, ecKey(t))
				r := group.request()
				if _, err := i.Issue(r); err != nil {
					t.Fatalf("the complete request: %v", err)
				}
				r = group.request()
				tt.change(i, &r)
				out, err := i.Issue(r)
				if !errors.Is(err, tt.want) {
					t.Fatalf("%v, want %v", err, tt.want)
				}
				if out != nil {
					t.Error("something was issued all the same")
				}
				if !strings.Contains(err.Error(), tt.place) {
					t.Errorf("%q does not name %q", err, tt.place)
				}
			})
		}
	}
}

// TestEUVaccinationNeedsItsCodes: the codes of a vaccination may not be empty.
func TestEUVaccinationNeedsItsCodes(t *testing.T) {
	for path, code := range map[string]func(v *cert.Certificate) *string{
		"v[0].tg": func(c *cert.Certificate) *string { return &c.Vaccination.Disease.Code },
		"v[0].vp": func(c *cert.Certificate) *string { return &c.Vaccination.Vaccine.Code },
		"v[0].mp": func(c *cert.Certificate) *string { return &c.Vaccination.Product.Code },
		"v[0].ma": func(c *cert.Certificate) *string { return &c.Vaccination.Manufacturer.Code },
		"v[0].is": func(c *cert.Certificate) *string { return &c.Authority },
	} {
		t.Run(path, func(t *testing.T) {
			i, _ := newIssuer(t, ecKey(t))
			record := dccVaccination()
			*code(record) = ""
			_, err := i.Issue(Request{EUDCC, record, today.AddDate(0, 6, 0)})
			if !errors.Is(err, format.RequiredMissing) || !strings.Contains(err.Error(), path) {
				t.Errorf("%v", err)
			}
		})
	}
}

// TestDates: what is today somewhere is not in the future.
func TestDates(t *testing.T) {
	i, v := newIssuer(t, ecKey(t))
	for _, tt := range []struct {
		name string
		now  time.Time
		date cert.Date
		want error
	}{
		{"tomorrow, fourteen hours ahead", time.Date(2026, 11, 1, 10, 0, 0, 0, time.UTC), "2026-11-02", nil},
		{"tomorrow, more than that ahead", time.Date(2026, 11, 1, 9, 59, 59, 0, time.UTC), "2026-11-02", ErrFuture},
		{"the day the amendments came into force", time.Date(2026, 11, 1, 10, 0, 0, 0, time.UTC), "2025-09-19", nil},
		{"long before, since only the issue counts", time.Date(2026, 11, 1, 10, 0, 0, 0, time.UTC), "1996-01-01", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			i.Now = func() time.Time { return tt.now }
			record := icvpRecord(polio)
			record.Vaccination.Date = tt.date
			out, err := i.Issue(Request{Format: ICVP, Record: record})
			if !errors.Is(err, tt.want) {
				t.Fatalf("%v, want %v", err, tt.want)
			}
			if err != nil {
				return
			}
			v.Now = func() time.Time { return tt.now.AddDate(0, 0, 1) }
			if got := v.Verify(out.Text); got.Outcome != verifier.Valid {
				t.Errorf("%s (%s)", got.Outcome, got.Reason)
			}
		})
	}
	t.Run("the first second of the amendments", func(t *testing.T) {
		i.NotBefore = inForce.AddDate(-1, 0, 0)
		i.Now = func() time.Time { return inForce }
		record := icvpRecord(polio)
		record.Vaccination.Date = "2025-09-19"
		if _, err := i.Issue(Request{Format: ICVP, Record: record}); err != nil {
			t.Error(err)
		}
	})
}

// TestSignaturesAreRandom: fingerprints are made of signatures, so the same
// content must never be signed the same way twice.
func TestSignaturesAreRandom(t *testing.T) {
	for name, key := range map[string]crypto.Signer{"ES256": ecKey(t), "PS256": rsaKey(t)} {
		t.Run(name, func(t *testing.T) {
			i, _ := newIssuer(t, key)
			record := dccVaccination()
			record.ID = "URN:UVCI:01:AT:SPECIMEN#1"
			var payloads, signatures []string
			for range 3 {
				for _, r := range []Request{{ICVP, icvpRecord(polio), time.Time{}}, {EUDCC, record, today.AddDate(0, 6, 0)}} {
					out, err := i.Issue(r)
					if err != nil {
						t.Fatal(err)
					}
					m := decode(t, out.Text)
					payloads = append(payloads, string(m.Sign1.Payload))
					signatures = append(signatures, string(m.Sign1.Signature))
				}
			}
			seen := map[string]bool{}
			for k := range payloads {
				if payloads[k] != payloads[k%2] {
					t.Error("the payload of one record differs between two issues")
				}
				if seen[signatures[k]] {
					t.Error("the same signature twice")
				}
				seen[signatures[k]] = true
			}
		})
	}
}

// TestConcurrentIssue: one issuer serves many goroutines.
func TestConcurrentIssue(t *testing.T) {
	i, v := newIssuer(t, ecKey(t))
	v.Now = i.Now
	record, dose := dccVaccination(), icvpRecord(polio)
	var mu sync.Mutex
	ids := map[string]bool{}
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 10 {
				a, err := i.Issue(Request{EUDCC, record, today.AddDate(0, 6, 0)})
				if err != nil {
					t.Error(err)
					return
				}
				b, err := i.Issue(Request{Format: ICVP, Record: dose})
				if err != nil {
					t.Error(err)
					return
				}
				for _, text := range []string{a.Text, b.Text} {
					if got := v.Verify(text); got.Outcome != verifier.Valid {
						t.Errorf("%s (%s)", got.Outcome, got.Reason)
					}
				}
				mu.Lock()
				if ids[a.Record().ID] {
					t.Errorf("%s twice", a.Record().ID)
				}
				ids[a.Record().ID] = true
				mu.Unlock()
			}
		})
	}
	all.Wait()
	if len(ids) != 80 {
		t.Errorf("%d identifiers", len(ids))
	}
}

func TestUVCICheck(t *testing.T) {
	for _, tt := range []struct {
		id   string
		want byte
	}{
		{"URN:UVCI:01:AT:10807843F94AEE0EE5093FBC254BD813", 'B'}, // of the specification
		{"", 'A'},
		{"A", 'A'},
		{"B", '/'}, // twice 1 from 38 is 36
	} {
		if got := uvciCheck(tt.id); got != tt.want {
			t.Errorf("%q: %c, want %c", tt.id, got, tt.want)
		}
	}
	// The check character finds every change of one character.
	const id = "URN:UVCI:01:AT:10807843F94AEE0EE5093FBC254BD813"
	want := uvciCheck(id)
	for k := range len(id) {
		for _, c := range []byte(uvciAlphabet) {
			if c != id[k] && uvciCheck(id[:k]+string(c)+id[k+1:]) == want {
				t.Errorf("%c at %d is not found", c, k)
			}
		}
	}
}

func TestNewUVCI(t *testing.T) {
	form := regexp.MustCompile(`^URN:UVCI:01:AT:[A-Z2-7]{25}#[A-Z0-9/:]$`)
	seen := map[string]bool{}
	for range 1000 {
		id, err := newUVCI("AT", nil)
		if err != nil {
			t.Fatal(err)
		}
		if !form.MatchString(id) || len(id) > 72 {
			t.Fatalf("identifier %q", id)
		}
		body, check, _ := strings.Cut(id, "#")
		if check != string(uvciCheck(body)) {
			t.Fatalf("%s: check character %s", body, check)
		}
		if seen[id] {
			t.Fatalf("%s twice", id)
		}
		seen[id] = true
	}
}

// TestIdentifier: a record's own identifier is kept, and a failing source of
// randomness stops the issue.
func TestIdentifier(t *testing.T) {
	i, _ := newIssuer(t, ecKey(t))
	record := dccVaccination()
	record.ID = "URN:UVCI:01:AT:SPECIMEN#1"
	r := Request{EUDCC, record, today.AddDate(0, 6, 0)}
	out, err := i.Issue(r)
	if err != nil {
		t.Fatal(err)
	}
	if out.Record().ID != record.ID {
		t.Errorf("identifier %q", out.Record().ID)
	}
	failing := errors.New("no randomness")
	i.Rand = iotest.ErrReader(failing)
	record.ID = ""
	if _, err := i.Issue(r); !errors.Is(err, failing) {
		t.Errorf("%v", err)
	}
	i.Rand = io.LimitReader(rand.Reader, 15)
	if _, err := i.Issue(r); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("%v", err)
	}
}

// brokenSigner is a device that refuses to sign.
type brokenSigner struct {
	crypto.Signer
	err error
}

func (b brokenSigner) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) { return nil, b.err }

func TestSignerFails(t *testing.T) {
	i, _ := newIssuer(t, ecKey(t))
	failing := errors.New("the device is locked")
	i.Signer = brokenSigner{i.Signer, failing}
	if out, err := i.Issue(Request{Format: ICVP, Record: icvpRecord(polio)}); !errors.Is(err, failing) || out != nil {
		t.Errorf("%v, %v", out, err)
	}
}
