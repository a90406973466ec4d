package gateway_test

import (
	"bytes"
	"crypto"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	name "crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"ampoule/format/cms"
	"ampoule/format/dccrevocation"
	"ampoule/format/tng"
	"ampoule/internal/gatewaytest"
	"ampoule/party/gateway"
)

var day = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// bed is a gateway with two participants.
type bed struct {
	*gatewaytest.Network
	a, b *gatewaytest.Party
}

func newBed(t testing.TB) *bed {
	t.Helper()
	n := gatewaytest.New(t, day)
	return &bed{n, n.Onboard(t, "XA", "DCC"), n.Onboard(t, "XB", "DCC")}
}

// refused asks for a refusal of this kind and code.
func refused(t testing.TB, err error, kind gateway.RefusalKind, code string) {
	t.Helper()
	var r *gateway.Refusal
	if !errors.As(err, &r) || r.Kind != kind || r.Problem.Code != code {
		t.Errorf("got %v, want kind %d and code %s", err, kind, code)
	}
}

// listed is what the new list says of a certificate, or nil.
func (b *bed) listed(t testing.TB, raw []byte) *tng.CertificateEntry {
	t.Helper()
	for _, e := range b.Operator.Certificates(b.b.Participant(t), gateway.CertificateQuery{}) {
		if bytes.Equal(e.Raw, raw) {
			return &e
		}
	}
	return nil
}

func TestAuthenticate(t *testing.T) {
	b := newBed(t)
	thumbprint := tng.Thumbprint(b.a.TLS.Cert.Raw)
	for _, tc := range []struct {
		name   string
		caller gateway.Caller
		kind   gateway.RefusalKind
		code   string
	}{
		{"no certificate", gateway.Caller{Country: "XA"}, gateway.Unauthenticated, "0x400"},
		{"no country", gateway.Caller{Thumbprint: thumbprint}, gateway.Bad, "0x401"},
		{"another country", gateway.Caller{Thumbprint: thumbprint, Country: "XB"}, gateway.Unauthenticated, "0x402"},
		{"unknown", gateway.Caller{Thumbprint: tng.Thumbprint(nil), Country: "XA"}, gateway.Unauthenticated, "0x402"},
		{"of another use", gateway.Caller{Thumbprint: tng.Thumbprint(b.a.UP.Cert.Raw), Country: "XA"}, gateway.Unauthenticated, "0x402"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := b.Operator.Authenticate(t.Context(), tc.caller)
			refused(t, err, tc.kind, tc.code)
		})
	}
	if _, err := b.Operator.Authenticate(t.Context(), gateway.Caller{Thumbprint: thumbprint, Country: "XA"}); err != nil {
		t.Error(err)
	}
	b.Advance(400 * 24 * time.Hour)
	_, err := b.Operator.Authenticate(t.Context(), gateway.Caller{Thumbprint: thumbprint, Country: "XA"})
	refused(t, err, gateway.Unauthenticated, "0x402")
}

func TestUploadAndDelete(t *testing.T) {
	b := newBed(t)
	dsc := b.a.Signer(t, x509.Certificate{}, nil)
	message := b.a.Upload(t, dsc.Cert.Raw)
	if _, err := b.Operator.UploadSigner(t.Context(), b.a.Participant(t), message); err != nil {
		t.Fatal(err)
	}
	e := b.listed(t, dsc.Cert.Raw)
	if e == nil || e.Country != "XA" || e.KID != tng.DerivedKID(dsc.Cert.Raw) || e.Group != "DSC" || e.Domain != "DCC" || !tng.IsUUID(e.UUID) {
		t.Fatalf("%+v", e)
	}
	// It is listed detached, and verifies beside the certificate.
	if m, err := cms.Parse(e.Signature); err != nil || m.Content != nil {
		t.Errorf("not detached: %v", err)
	}
	if o, err := cms.Open(e.Signature, e.Raw); err != nil || !bytes.Equal(o.Certificate.Raw, b.a.UP.Cert.Raw) {
		t.Errorf("signature: %v", err)
	}
	_, err := b.Operator.UploadSigner(t.Context(), b.a.Participant(t), message)
	refused(t, err, gateway.Exists, "0x002")

	// Another cannot delete it, neither as itself nor with its message.
	refused(t, b.Operator.DeleteCertificate(t.Context(), b.b.Participant(t), message), gateway.Bad, "0x001")
	refused(t, b.Operator.DeleteCertificate(t.Context(), b.b.Participant(t), b.b.Upload(t, dsc.Cert.Raw)), gateway.Bad, "0x007")
	// Nor does a participant delete what the trust anchor took in.
	refused(t, b.Operator.DeleteCertificate(t.Context(), b.a.Participant(t), b.a.Upload(t, b.a.SCA.Cert.Raw)), gateway.Missing, "0x005")

	b.Advance(time.Minute)
	before := b.Now()
	if err := b.Operator.DeleteCertificate(t.Context(), b.a.Participant(t), message); err != nil {
		t.Fatal(err)
	}
	if b.listed(t, dsc.Cert.Raw) != nil {
		t.Error("still listed")
	}
	refused(t, b.Operator.DeleteCertificate(t.Context(), b.a.Participant(t), message), gateway.Missing, "0x005")
	// A delta tells of it, without its signature.
	delta, err := b.Operator.TrustList(t.Context(), b.b.Participant(t), gateway.ListQuery{Since: before})
	if err != nil || len(delta) != 1 || !delta[0].Deleted || delta[0].Thumbprint != tng.Thumbprint(dsc.Cert.Raw) || delta[0].KID != e.KID {
		t.Errorf("delta %+v, %v", delta, err)
	}
	// And it can come again.
	if _, err := b.Operator.UploadSigner(t.Context(), b.a.Participant(t), message); err != nil {
		t.Error(err)
	}
}

// TestRefusedUploads holds every check of an upload against what it must refuse.
// The first ones are what other gateways let pass.
func TestRefusedUploads(t *testing.T) {
	b := newBed(t)
	of := func(c *gatewaytest.Pair) tng.Upload {
		return tng.Upload{CMS: b.a.Upload(t, c.Cert.Raw)}
	}
	subject := func(countries ...string) name.Name { return name.Name{Country: countries, CommonName: "signer"} }
	theirs := b.b.Signer(t, x509.Certificate{}, nil)
	if _, err := b.Operator.Upload(t.Context(), b.b.Participant(t), tng.Upload{CMS: b.b.Upload(t, theirs.Cert.Raw)}); err != nil {
		t.Fatal(err)
	}
	custom := b.b.Signer(t, x509.Certificate{}, nil)
	if _, err := b.Operator.Upload(t.Context(), b.b.Participant(t), tng.Upload{CMS: b.b.Upload(t, custom.Cert.Raw), KID: "ABCDEFGH"}); err != nil {
		t.Fatal(err)
	}
	// An authority that has the name of the participant's, and another key.
	namesake := b.NewParty(t, "XA")
	good := b.a.Signer(t, x509.Certificate{}, nil)
	tampered := b.a.Upload(t, good.Cert.Raw)
	tampered[bytes.Index(tampered, good.Cert.Raw)+len(good.Cert.Raw)-1] ^= 1
	old := x509.Certificate{NotBefore: day.AddDate(-1, 0, 0), NotAfter: day.AddDate(0, 0, -1)}
	soon := x509.Certificate{NotBefore: day.AddDate(0, 0, 1), NotAfter: day.AddDate(1, 0, 0)}
	two := b.a.UP.Sign(t, good.Cert.Raw, day)

	for _, tc := range []struct {
		name string
		c    tng.Upload
		kind gateway.RefusalKind
		code string
	}{
		{"a signature that fails", tng.Upload{CMS: tampered}, gateway.Bad, "n/a"},
		{"a custom key identifier that another's derived one is", tng.Upload{CMS: two, KID: tng.DerivedKID(theirs.Cert.Raw)}, gateway.Bad, "0x004"},
		{"the same without padding", tng.Upload{CMS: two, KID: tng.DerivedKID(theirs.Cert.Raw)[:11]}, gateway.Bad, "0x004"},
		{"a custom key identifier that is another's", tng.Upload{CMS: two, KID: "ABCDEFGH"}, gateway.Bad, "0x004"},
		{"a key identifier of an authority", tng.Upload{CMS: two, KID: tng.DerivedKID(b.b.SCA.Cert.Raw)}, gateway.Bad, "0x004"},
		{"an authority found by its name only", of(namesake.Signer(t, x509.Certificate{}, nil)), gateway.Bad, "0x004"},
		{"a country in a group that others do not look at", tng.Upload{CMS: b.a.Upload(t, b.a.Signer(t, x509.Certificate{Subject: subject("XB")}, nil).Cert.Raw), Group: "CUSTOM"}, gateway.Bad, "0x004"},
		{"expired", of(b.a.Signer(t, old, nil)), gateway.Bad, "0x004"},
		{"not in force yet", of(b.a.Signer(t, soon, nil)), gateway.Bad, "0x004"},
		{"RSA of 1024 bits", of(b.a.Signer(t, x509.Certificate{}, weakRSA(t))), gateway.Bad, "0x004"},
		{"a curve of 224 bits", of(b.a.Signer(t, x509.Certificate{}, gatewaytest.EC(t, elliptic.P224()))), gateway.Bad, "0x004"},
		{"an authority as a signer", of(b.a.Signer(t, x509.Certificate{IsCA: true, BasicConstraintsValid: true}, nil)), gateway.Bad, "0x004"},
		{"a server's certificate", of(b.a.Signer(t, x509.Certificate{ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}, nil)), gateway.Bad, "0x004"},
		{"a key usage without signatures", of(b.a.Signer(t, x509.Certificate{KeyUsage: x509.KeyUsageKeyAgreement}, nil)), gateway.Bad, "0x004"},

		{"another's country", of(b.a.Signer(t, x509.Certificate{Subject: subject("XB")}, nil)), gateway.Bad, "0x004"},
		{"two countries", of(b.a.Signer(t, x509.Certificate{Subject: subject("XA", "XB")}, nil)), gateway.Bad, "0x004"},
		{"no country", of(b.a.Signer(t, x509.Certificate{Subject: subject()}, nil)), gateway.Bad, "0x004"},
		{"another's uploader", tng.Upload{CMS: b.b.Upload(t, good.Cert.Raw)}, gateway.Bad, "0x004"},
		{"an uploader that is not onboarded", tng.Upload{CMS: namesake.Upload(t, good.Cert.Raw)}, gateway.Bad, "0x004"},
		{"signed by who connects", tng.Upload{CMS: b.a.TLS.Sign(t, good.Cert.Raw, day)}, gateway.Bad, "0x004"},
		{"no CMS", tng.Upload{CMS: good.Cert.Raw}, gateway.Bad, "n/a"},
		{"no certificate in it", tng.Upload{CMS: b.a.Upload(t, []byte("text"))}, gateway.Bad, "n/a"},
		{"a group of the trust anchor's", tng.Upload{CMS: two, Group: tng.Authentication}, gateway.Bad, "n/a"},
		{"an unknown domain", tng.Upload{CMS: two, Domain: "DISNEY"}, gateway.Bad, "n/a"},
		{"a property that is not allowed", tng.Upload{CMS: two, Properties: map[string]string{"colour": "blue"}}, gateway.Bad, "n/a"},
		{"for data exchange, by the authority of documents", tng.Upload{CMS: two, Group: tng.DESC}, gateway.Bad, "0x004"},
		{"a key identifier with a blank", tng.Upload{CMS: two, KID: "A B"}, gateway.Bad, "0x004"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := b.Operator.Upload(t.Context(), b.a.Participant(t), tc.c)
			refused(t, err, tc.kind, tc.code)
		})
	}
	if b.listed(t, good.Cert.Raw) != nil {
		t.Fatal("one of them was listed")
	}
	// The same one is taken as it should be, with properties that are null.
	i, err := b.Operator.Upload(t.Context(), b.a.Participant(t), tng.Upload{CMS: two, KID: "own", Domain: "dICVP", Properties: nil})
	if err != nil || i.Domain != "DICVP" {
		t.Fatalf("%+v, %v", i, err)
	}
	if e := b.listed(t, good.Cert.Raw); e == nil || e.KID != "own" || e.Domain != "DICVP" || !bytes.Equal(e.Signature, two) || e.Properties == nil {
		t.Errorf("%+v", e)
	}
	for _, spelling := range []string{"DICVP", "ICVP", "dICVP"} {
		if got := b.Operator.Certificates(b.a.Participant(t), gateway.CertificateQuery{Domains: []string{spelling}}); len(got) != 1 {
			t.Errorf("%s: %d", spelling, len(got))
		}
	}
}

// TestDataExchange: signers for data exchange are issued by an authority of their
// own, and stand under their own name.
func TestDataExchange(t *testing.T) {
	b := newBed(t)
	deca := b.NewParty(t, "XA")
	b.Apply(t, b.Propose(gateway.Proposal{Action: gateway.Onboard, Country: "XA", Entries: []gateway.ProposedEntry{{Type: tng.DECA, Domain: "PH4H", Certificate: deca.SCA.Cert.Raw}}}))
	desc := deca.Signer(t, x509.Certificate{ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}, nil)
	message := b.a.Upload(t, desc.Cert.Raw)
	_, err := b.Operator.Upload(t.Context(), b.a.Participant(t), tng.Upload{CMS: message, Domain: "PH4H"})
	refused(t, err, gateway.Bad, "0x004")
	if _, err := b.Operator.Upload(t.Context(), b.a.Participant(t), tng.Upload{CMS: message, Domain: "PH4H", Group: tng.DESC}); err != nil {
		t.Fatal(err)
	}
	for _, group := range []string{tng.DECA, tng.DESC} {
		if got := b.Operator.Certificates(b.b.Participant(t), gateway.CertificateQuery{Groups: []string{group}, Domains: []string{"PH4H"}}); len(got) != 1 {
			t.Errorf("%d of %s", len(got), group)
		}
	}
}

// weakRSA is a key below what Go itself makes.
func weakRSA(t testing.TB) crypto.Signer {
	t.Helper()
	t.Setenv("GODEBUG", "rsa1024min=0")
	return gatewaytest.RSA(t, 1024)
}

// TestLenience: each check that other gateways leave out can be turned off, and
// then it lets pass what they do.
func TestLenience(t *testing.T) {
	usage := x509.Certificate{ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	health := x509.Certificate{UnknownExtKeyUsage: []asn1.ObjectIdentifier{{1, 3, 6, 1, 4, 1, 1847, 2021, 1, 2}}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	for _, tc := range []struct {
		name     string
		strict   gateway.Strictness
		template x509.Certificate
		curve    elliptic.Curve
		ok       bool
	}{
		{"dates", gateway.Strictness{Dates: true}, x509.Certificate{NotBefore: day.AddDate(-1, 0, 0), NotAfter: day.AddDate(0, 0, -1)}, elliptic.P256(), false},
		{"no dates", gateway.Strictness{}, x509.Certificate{NotBefore: day.AddDate(-1, 0, 0), NotAfter: day.AddDate(0, 0, -1)}, elliptic.P256(), true},
		{"keys", gateway.Strictness{Keys: true}, x509.Certificate{}, elliptic.P224(), false},
		{"no keys", gateway.Strictness{}, x509.Certificate{}, elliptic.P224(), true},
		{"usage", gateway.Strictness{Usage: true}, usage, elliptic.P256(), false},
		{"no usage", gateway.Strictness{}, usage, elliptic.P256(), true},
		{"health beside a server", gateway.Strict, health, elliptic.P256(), true},
		{"outlives", gateway.Strictness{Outlive: true}, x509.Certificate{NotBefore: day, NotAfter: day.AddDate(5, 0, 0)}, elliptic.P256(), false},
		{"outlives, by default", gateway.Strict, x509.Certificate{NotBefore: day, NotAfter: day.AddDate(5, 0, 0)}, elliptic.P256(), true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := newBed(t)
			b.Operator.Strict = tc.strict
			dsc := b.a.Signer(t, tc.template, gatewaytest.EC(t, tc.curve))
			_, err := b.Operator.UploadSigner(t.Context(), b.a.Participant(t), b.a.Upload(t, dsc.Cert.Raw))
			if (err == nil) != tc.ok {
				t.Errorf("%v, want ok %v", err, tc.ok)
			}
		})
	}
}

func TestTrustList(t *testing.T) {
	b := newBed(t)
	for range 5 {
		dsc := b.a.Signer(t, x509.Certificate{}, nil)
		if _, err := b.Operator.UploadSigner(t.Context(), b.a.Participant(t), b.a.Upload(t, dsc.Cert.Raw)); err != nil {
			t.Fatal(err)
		}
	}
	p := b.b.Participant(t)
	list := func(q gateway.ListQuery) []tng.TrustListEntry {
		t.Helper()
		got, err := b.Operator.TrustList(t.Context(), p, q)
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	all := list(gateway.ListQuery{})
	if len(all) != 11 || !slices.IsSortedFunc(all, func(a, b tng.TrustListEntry) int { return bytes.Compare([]byte(a.KID), []byte(b.KID)) }) {
		t.Fatalf("%d entries, or not by key identifier", len(all))
	}
	var paged []tng.TrustListEntry
	for page := range 4 {
		paged = append(paged, list(gateway.ListQuery{Page: page, Size: 4})...)
	}
	if fmt.Sprint(paged) != fmt.Sprint(all) {
		t.Error("pages are not the whole")
	}
	if got := list(gateway.ListQuery{Page: 1 << 40, Size: 1000}); len(got) != 0 {
		t.Errorf("a page far away has %d", len(got))
	}
	if got := list(gateway.ListQuery{Type: tng.DSC, Country: "XA"}); len(got) != 5 {
		t.Errorf("%d signers of XA", len(got))
	}
	if got := list(gateway.ListQuery{Type: tng.CSCA}); len(got) != 2 || got[0].Country == got[1].Country {
		t.Errorf("authorities %v", got)
	}
	// Each entry is signed by whom it should be.
	for _, e := range all {
		want := b.Anchor.Cert.Raw
		if e.Type == tng.DSC {
			want = b.a.UP.Cert.Raw
		}
		if o, err := cms.Open(e.Signature, e.Raw); err != nil || !bytes.Equal(o.Certificate.Raw, want) {
			t.Errorf("%s %s: %v", e.Type, e.KID, err)
		}
	}
	if got := b.Operator.Countries(p); !slices.Equal(got, []string{"XA", "XB"}) {
		t.Errorf("countries %v", got)
	}
}

func batch(t testing.TB, country string, expires time.Time) []byte {
	t.Helper()
	data, err := dccrevocation.Batch{Country: country, Expires: expires, Type: dccrevocation.TypeSignature, Hashes: []dccrevocation.Hash128{{1}}}.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestBatches(t *testing.T) {
	b := newBed(t)
	a := b.a.Participant(t)
	later := day.AddDate(0, 1, 0)
	for _, tc := range []struct {
		name    string
		message []byte
		kind    gateway.RefusalKind
	}{
		{"another country", b.a.Upload(t, batch(t, "XB", later)), gateway.Forbidden},
		{"another's uploader", b.b.Upload(t, batch(t, "XA", later)), gateway.Forbidden},
		{"expired", b.a.Upload(t, batch(t, "XA", day)), gateway.Bad},
		{"no batch", b.a.Upload(t, []byte("{}")), gateway.Bad},
		{"two batches", b.a.Upload(t, slices.Concat([]byte("["), batch(t, "XA", later), []byte(","), batch(t, "XA", later), []byte("]"))), gateway.Bad},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := b.Operator.UploadBatch(t.Context(), a, tc.message)
			refused(t, err, tc.kind, "0x000")
		})
	}
	var ids []string
	for i := range 3 {
		id, err := b.Operator.UploadBatch(t.Context(), a, b.a.Upload(t, batch(t, "XA", later.AddDate(0, 0, i))))
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, id)
	}
	page, err := b.Operator.Batches(t.Context(), b.b.Participant(t), day.AddDate(-1, 0, 0))
	if err != nil || page.More || len(page.Batches) != 3 || page.Batches[0].BatchID != ids[0] || page.Batches[2].Date.Before(page.Batches[1].Date) {
		t.Fatalf("%+v, %v", page, err)
	}
	signed, err := b.Operator.Batch(t.Context(), b.b.Participant(t), ids[1])
	if err != nil {
		t.Fatal(err)
	}
	if o, err := cms.Open(signed, nil); err != nil || !bytes.Equal(o.Certificate.Raw, b.a.UP.Cert.Raw) {
		t.Errorf("the batch: %v", err)
	}
	_, err = b.Operator.Batches(t.Context(), a, day.Add(time.Minute))
	refused(t, err, gateway.Bad, "0x000")

	// Its own country deletes it, and who asks is told that it is gone.
	order, err := tng.EncodeBatchDelete(ids[1])
	if err != nil {
		t.Fatal(err)
	}
	refused(t, b.Operator.DeleteBatch(t.Context(), b.b.Participant(t), b.b.Upload(t, order)), gateway.Forbidden, "0x000")
	if err := b.Operator.DeleteBatch(t.Context(), a, b.a.Upload(t, order)); err != nil {
		t.Fatal(err)
	}
	_, err = b.Operator.Batch(t.Context(), a, ids[1])
	refused(t, err, gateway.Gone, "0x000")
	refused(t, b.Operator.DeleteBatch(t.Context(), a, b.a.Upload(t, order)), gateway.Gone, "0x000")
	_, err = b.Operator.Batch(t.Context(), a, "00000000-0000-4000-8000-000000000000")
	refused(t, err, gateway.Missing, "0x000")

	// What has expired goes by itself.
	b.Advance(later.Sub(day))
	if n, err := b.Operator.ExpireBatches(t.Context()); err != nil || n != 1 {
		t.Errorf("%d expired, %v", n, err)
	}
	page, err = b.Operator.Batches(t.Context(), b.b.Participant(t), day.AddDate(-1, 0, 0))
	if err != nil || len(page.Batches) != 3 || page.Batches[0].Deleted || !page.Batches[1].Deleted || !page.Batches[2].Deleted {
		t.Errorf("%+v, %v", page, err)
	}
}

func TestRights(t *testing.T) {
	b := newBed(t)
	b.Operator.Rights = []gateway.Right{gateway.RevocationListReader}
	a := b.a.Participant(t)
	_, err := b.Operator.UploadBatch(t.Context(), a, nil)
	refused(t, err, gateway.Forbidden, "0x403")
	refused(t, b.Operator.DeleteBatch(t.Context(), a, nil), gateway.Forbidden, "0x403")
	if _, err := b.Operator.Batches(t.Context(), a, day); err != nil {
		t.Error(err)
	}
	// A proposal gives others.
	c := b.NewParty(t, "XC")
	entries := c.Entries("DCC")
	entries[2].Rights = []gateway.Right{gateway.RevocationUploader}
	b.Apply(t, b.Propose(gateway.Proposal{Action: gateway.Onboard, Country: "XC", Entries: entries}))
	_, err = b.Operator.Batches(t.Context(), c.Participant(t), day)
	refused(t, err, gateway.Forbidden, "0x403")
	if _, err := b.Operator.UploadBatch(t.Context(), c.Participant(t), c.Upload(t, batch(t, "XC", day.AddDate(0, 1, 0)))); err != nil {
		t.Error(err)
	}
}

func rule(id, kind, certificate, version string, from time.Time) []byte {
	return fmt.Appendf(nil, `{"Identifier":%q,"Type":%q,"Country":%q,"Version":%q,"SchemaVersion":"1.0.0","Engine":"CERTLOGIC","EngineVersion":"0.7.5",
		"CertificateType":%q,"Description":[],"ValidFrom":%q,"ValidTo":%q,"AffectedFields":[],"Logic":{"===":[1,1]}}`,
		id, kind, id[3:5], version, certificate, from.Format(time.RFC3339), from.AddDate(1, 0, 0).Format(time.RFC3339))
}

func TestRules(t *testing.T) {
	b := newBed(t)
	a := b.a.Participant(t)
	from := day.AddDate(0, 0, 3)
	for _, tc := range []struct {
		name string
		text []byte
		kind gateway.RefusalKind
		code string
	}{
		{"another country", rule("GR-XB-0001", "Acceptance", "General", "1.0.0", from), gateway.Forbidden, "0x210"},
		{"name of another kind", rule("VR-XA-0001", "Acceptance", "General", "1.0.0", from), gateway.Bad, "0x240"},
		{"invalidation by the name of acceptance", rule("GR-XA-0001", "Invalidation", "General", "1.0.0", from), gateway.Bad, "0x240"},
		{"version", rule("GR-XA-0001", "Acceptance", "General", "1.0", from), gateway.Bad, "0x220"},
		{"holds at once", rule("GR-XA-0001", "Acceptance", "General", "1.0.0", day.Add(time.Hour)), gateway.Bad, "0x230"},
		{"not JSON", []byte("{"), gateway.Bad, "0x200"},
		{"no logic", []byte(`{"Identifier":"GR-XA-0001","Type":"Acceptance","Country":"XA","Version":"1.0.0","CertificateType":"General","ValidFrom":"x","ValidTo":"y"}`), gateway.Bad, "0x200"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			refused(t, b.Operator.UploadRule(t.Context(), a, b.a.Upload(t, tc.text)), tc.kind, tc.code)
		})
	}
	upload := func(version string, from time.Time) error {
		return b.Operator.UploadRule(t.Context(), a, b.a.Upload(t, rule("GR-XA-0001", "Acceptance", "General", version, from)))
	}
	if err := upload("1.2.0", from); err != nil {
		t.Fatal(err)
	}
	refused(t, upload("1.2.0", from), gateway.Bad, "0x220")
	refused(t, upload("1.1.9", from), gateway.Bad, "0x220")
	if err := upload("1.10.0", from.AddDate(0, 1, 0)); err != nil {
		t.Fatal(err)
	}
	versions := func() (out []string) {
		t.Helper()
		rules, err := b.Operator.Rules(t.Context(), "XA")
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range rules["GR-XA-0001"] {
			out = append(out, r.Version)
			if _, err := cms.Open(r.CMS, nil); err != nil {
				t.Error(err)
			}
		}
		return out
	}
	if got := versions(); !slices.Equal(got, []string{"1.10.0", "1.2.0"}) {
		t.Errorf("before either holds: %v", got)
	}
	b.Advance(60 * 24 * time.Hour)
	if got := versions(); !slices.Equal(got, []string{"1.10.0"}) {
		t.Errorf("when the newer holds: %v", got)
	}
	refused(t, b.Operator.DeleteRule(t.Context(), b.b.Participant(t), b.b.Upload(t, []byte("GR-XA-0001"))), gateway.Forbidden, "0x210")
	if err := b.Operator.DeleteRule(t.Context(), a, b.a.Upload(t, []byte("GR-XA-0001"))); err != nil {
		t.Fatal(err)
	}
	if got := versions(); got != nil {
		t.Errorf("after deletion: %v", got)
	}
	refused(t, b.Operator.DeleteRule(t.Context(), a, b.a.Upload(t, []byte("GR-XA-0001"))), gateway.Missing, "0x110")
}

func TestReferences(t *testing.T) {
	b := newBed(t)
	a := b.a.Participant(t)
	reference := tng.Reference{Version: "1.0", Country: "XA", Type: "FHIR", Service: "ValueSet", Name: "sets", SignatureType: "NONE", Domain: "PH4H", UUID: "00000000-0000-4000-8000-000000000000"}
	text, err := reference.Encode()
	if err != nil {
		t.Fatal(err)
	}
	_, err = b.Operator.UploadReference(t.Context(), b.b.Participant(t), b.b.Upload(t, text))
	refused(t, err, gateway.Forbidden, "0x210")
	r, err := b.Operator.UploadReference(t.Context(), a, b.a.Upload(t, text))
	if err != nil || r.UUID == reference.UUID {
		t.Fatalf("%+v, %v", r, err)
	}
	list, err := b.Operator.References(t.Context(), gateway.CertificateQuery{Domains: []string{"PH4H"}, ReferenceTypes: []string{"FHIR"}})
	if err != nil || len(list) != 1 || list[0].UUID != r.UUID {
		t.Errorf("%+v, %v", list, err)
	}
	if list, err := b.Operator.References(t.Context(), gateway.CertificateQuery{SignatureTypes: []string{"CMS"}}); err != nil || len(list) != 0 {
		t.Errorf("%+v, %v", list, err)
	}
	if _, err := b.Operator.Reference(t.Context(), r.UUID); err != nil {
		t.Error(err)
	}
	order, err := tng.EncodeReferenceDelete(r.UUID)
	if err != nil {
		t.Fatal(err)
	}
	refused(t, b.Operator.DeleteReference(t.Context(), b.b.Participant(t), b.b.Upload(t, order)), gateway.Forbidden, "0x210")
	if err := b.Operator.DeleteReference(t.Context(), a, b.a.Upload(t, order)); err != nil {
		t.Fatal(err)
	}
	_, err = b.Operator.Reference(t.Context(), r.UUID)
	refused(t, err, gateway.Missing, "0x005")
}

// TestMigration: a participant changes its uploader, and signs again what it had
// uploaded.
func TestMigration(t *testing.T) {
	b := newBed(t)
	dsc, trusted := b.a.Signer(t, x509.Certificate{}, nil), b.a.Signer(t, x509.Certificate{}, nil)
	if _, err := b.Operator.UploadSigner(t.Context(), b.a.Participant(t), b.a.Upload(t, dsc.Cert.Raw)); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Operator.Upload(t.Context(), b.a.Participant(t), tng.Upload{CMS: b.a.Upload(t, trusted.Cert.Raw)}); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Operator.UploadBatch(t.Context(), b.a.Participant(t), b.a.Upload(t, batch(t, "XA", day.AddDate(0, 1, 0)))); err != nil {
		t.Fatal(err)
	}
	next := b.NewParty(t, "XA").UP
	b.Apply(t, b.Propose(gateway.Proposal{Action: gateway.Onboard, Country: "XA", Entries: []gateway.ProposedEntry{{Type: tng.UploadType, Domain: "DCC", Certificate: next.Cert.Raw}}}))
	removal := b.Propose(gateway.Proposal{Action: gateway.Remove, Country: "XA", Remove: []string{tng.Thumbprint(b.a.UP.Cert.Raw)}})
	if applied := b.Apply(t, removal); applied.Removed != 1 || applied.Unsigned != 2 {
		t.Errorf("%+v", applied)
	}
	a := b.a.Participant(t)
	packages, err := b.Operator.Packages(t.Context(), a)
	if err != nil || len(packages) != 3 {
		t.Fatalf("%d packages, %v", len(packages), err)
	}
	if others, err := b.Operator.Packages(t.Context(), b.b.Participant(t)); err != nil || len(others) != 0 {
		t.Errorf("another's: %v, %v", others, err)
	}
	for _, p := range packages {
		m, err := cms.Parse(p.CMS)
		if err != nil {
			t.Fatal(err)
		}
		content, detached := m.Content, m.Content == nil
		if detached {
			content = dsc.Cert.Raw
		}
		signed, err := cms.Sign(rand.Reader, content, next.Cert, next.Key, day, detached)
		if err != nil {
			t.Fatal(err)
		}
		other := p
		other.CMS = next.Sign(t, append(bytes.Clone(content), ' '), day)
		refused(t, b.Operator.Migrate(t.Context(), a, other), gateway.Bad, "0x200")
		other.CMS = b.a.Upload(t, content)
		refused(t, b.Operator.Migrate(t.Context(), a, other), gateway.Forbidden, "0x000")
		refused(t, b.Operator.Migrate(t.Context(), b.b.Participant(t), p), gateway.Missing, "0x005")
		p.CMS = signed
		if err := b.Operator.Migrate(t.Context(), a, p); err != nil {
			t.Errorf("%s: %v", p.Type, err)
		}
	}
	for _, c := range []*gatewaytest.Pair{dsc, trusted} {
		e := b.listed(t, c.Cert.Raw)
		if o, err := cms.Open(e.Signature, e.Raw); err != nil || !bytes.Equal(o.Certificate.Raw, next.Cert.Raw) {
			t.Errorf("signed again: %v", err)
		}
	}
	if e := b.listed(t, dsc.Cert.Raw); e != nil {
		if m, err := cms.Parse(e.Signature); err != nil || m.Content != nil {
			t.Error("what was detached is not any more")
		}
	}
}
