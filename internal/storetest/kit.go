// Package storetest holds what every implementation of a party's store must do,
// and what tests of stores need: an issuer with keys and fictitious persons, and a
// PostgreSQL server of their own.
package storetest

import (
	"crypto/ecdsa"
	"encoding/base64"
	"fmt"
	"testing"
	"time"

	"ampoule/cert"
	"ampoule/format/jwks"
	"ampoule/internal/keys"
	"ampoule/party/issuer"
	"ampoule/party/verifier"
	"ampoule/trust"
)

// Day is the day on which the tests issue.
var Day = time.Date(2026, 11, 1, 12, 30, 15, 0, time.UTC)

const cardAddress = "https://issuer.example/cards"

// Kit is an issuer of participant XA with its keys, and a verifier that trusts
// them all.
type Kit struct {
	Registry *issuer.Registry
	sca      *keys.SCA
	csca     *keys.SCA
	list     *trust.List
	now      func() time.Time
}

// NewKit makes an issuer over a book.
func NewKit(t testing.TB, book issuer.Book) *Kit {
	t.Helper()
	k := &Kit{list: new(trust.List), now: func() time.Time { return Day }}
	participant := keys.Participant{Country: "XA", Organization: "Specimen authority", Name: "XA"}
	var err error
	if k.sca, err = keys.NewSCA(participant, Day.AddDate(-1, 0, 0), nil); err != nil {
		t.Fatal(err)
	}
	if k.csca, err = keys.NewCSCA(participant, "XXA", Day.AddDate(-1, 0, 0), nil); err != nil {
		t.Fatal(err)
	}
	if err := k.list.Add(trust.Source{Name: "csca", Data: k.csca.Key.Certificate().Raw}); err != nil {
		t.Fatal(err)
	}
	k.Registry = &issuer.Registry{Book: book, Country: "XA", Now: k.now, Issuers: make(map[issuer.Format]*issuer.Issuer)}
	k.NewKeys(t)
	return k
}

// NewKeys makes new keys for every format, which are trusted beside the old.
func (k *Kit) NewKeys(t testing.TB) {
	t.Helper()
	dsc, err := k.sca.IssueDSC(keys.DSCProfile{}, Day.AddDate(0, -1, 0), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range []trust.Domain{trust.DCC, trust.DDCC} {
		key, err := trust.NewKey(dsc.Certificate().Raw)
		if err != nil {
			t.Fatal(err)
		}
		key.Domain, key.Participant = d, "XA"
		k.list.Insert(key)
	}
	if err := k.list.Add(trust.Source{Name: "cards", Data: keySet(t, dsc), Issuer: cardAddress}); err != nil {
		t.Fatal(err)
	}
	seal, err := k.csca.IssueSealSigner("01", Day.AddDate(0, -1, 0), nil)
	if err != nil {
		t.Fatal(err)
	}
	for f, key := range map[issuer.Format]*keys.Key{issuer.EUDCC: dsc, issuer.DDCC: dsc, issuer.SHC: dsc, issuer.VDSNC: seal} {
		c := key.Certificate()
		i := &issuer.Issuer{
			Signer: key.Signer, KID: key.KID(), NotBefore: c.NotBefore, NotAfter: c.NotAfter,
			Participant: "XA", Address: cardAddress, Now: k.now,
		}
		if f == issuer.VDSNC {
			i.Participant = "XXA"
		}
		for _, c := range key.Chain {
			i.Chain = append(i.Chain, c.Raw)
		}
		k.Registry.Issuers[f] = i
	}
}

// keySet writes the JWK set of a key.
func keySet(t testing.TB, k *keys.Key) []byte {
	t.Helper()
	public := k.Signer.Public().(*ecdsa.PublicKey)
	point, err := public.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	kid, err := jwks.KID(public)
	if err != nil {
		t.Fatal(err)
	}
	enc := base64.RawURLEncoding.EncodeToString
	return fmt.Appendf(nil, `{"keys":[{"kty":"EC","kid":"%s","use":"sig","alg":"ES256","crv":"P-256","x":"%s","y":"%s"}]}`, kid, enc(point[1:33]), enc(point[33:]))
}

// The words of the fictitious persons, which must not stand anywhere in the clear.
var (
	Families  = []string{"Specimen", "Musterfrau", "Exemplaire"}
	Givens    = []string{"Adalovelace", "Demonstratia", "Fictiva"}
	Documents = "SPECDOC"
	Lots      = "SPEC-LOT-7"
)

// Dose is a vaccination of person n.
func Dose(n int) *cert.Certificate {
	return &cert.Certificate{
		Kind: cert.KindVaccination, Authority: "Specimen authority",
		Person: cert.Person{
			Name:      cert.Name{Family: Families[n%len(Families)], Given: fmt.Sprintf("%s %s", Givens[n/3%len(Givens)], letters(n))},
			BirthDate: cert.Date(fmt.Sprintf("19%02d-%02d-%02d", 50+n%50, 1+n%12, 1+n%28)), Sex: "female",
			Document: cert.Document{Number: fmt.Sprintf("%s%05d", Documents, n), Type: "PPN"},
		},
		Vaccination: &cert.Vaccination{
			Disease: cert.Code{Code: "840539006", System: "http://snomed.info/sct"}, Vaccine: cert.Code{Code: "1119349007", System: "http://snomed.info/sct"},
			Product: cert.Code{Code: "EU/1/20/1528", System: "https://ec.europa.eu/health/documents/community-register/html/"}, Manufacturer: cert.Code{Code: "ORG-100030215"},
			Lot: Lots, Date: "2026-10-01", Dose: 1, Doses: 2, Country: "AT",
		},
	}
}

// letters writes a number as a name could be.
func letters(n int) string {
	out := "X"
	for ; n > 0; n /= 26 {
		out += string(rune('A' + n%26))
	}
	return out
}

// SealDose is a vaccination that a visible digital seal can carry.
func SealDose(n int) *cert.Certificate {
	r := Dose(n)
	r.Vaccination.Disease = cert.Code{Code: "1D47", System: "http://id.who.int/icd/release/11/mms"}
	r.Vaccination.Vaccine = cert.Code{Code: "XM0N24", System: "http://id.who.int/icd/release/11/mms"}
	r.Vaccination.Product = cert.Code{Code: "SPEC-YF", System: "https://issuer.example/products", Display: "Specimen vaccine"}
	r.Vaccination.Manufacturer, r.Vaccination.Clinician = cert.Code{}, "Specimen centre"
	return r
}

// Order asks for an EU DCC and a SMART Health Card.
func Order(key string, record *cert.Certificate) issuer.Order {
	return issuer.Order{By: By("clerk-1"), Key: key, Record: record, Wanted: []issuer.Wanted{
		{Format: issuer.EUDCC, Expires: Day.AddDate(0, 6, 0)}, {Format: issuer.SHC},
	}}
}

// Verify returns the outcome of a certificate, by the status lists that are
// published now, or by those of yesterday.
func (k *Kit) Verify(t testing.TB, text string, lists []issuer.StatusList) verifier.Outcome {
	t.Helper()
	var documents [][]byte
	for _, l := range lists {
		documents = append(documents, l.Document)
	}
	return k.Verifier(t, documents...).Verify(text).Outcome
}

// Verifier trusts the kit's keys and goes by some status lists.
func (k *Kit) Verifier(t testing.TB, lists ...[]byte) *verifier.Verifier {
	t.Helper()
	v := &verifier.Verifier{Trust: k.list, Now: k.now, Status: new(trust.Status)}
	for _, l := range lists {
		if err := v.Status.Add("list", l); err != nil {
			t.Fatal(err)
		}
	}
	return v
}

// Lists returns the status lists.
func (k *Kit) Lists(t testing.TB) []issuer.StatusList {
	t.Helper()
	lists, err := k.Registry.StatusLists(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return lists
}

// By is an actor who is bound to no place.
func By(id string) issuer.Actor { return issuer.Actor{ID: id} }
