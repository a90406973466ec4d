package trust_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
	"slices"
	"testing"
	"time"

	"ampoule/format/didlist"
	"ampoule/format/tng"
	"ampoule/trust"
)

// issued is a certificate with its key, made as odd as a test wants it.
type issued struct {
	c   *x509.Certificate
	key *ecdsa.PrivateKey
}

func makeCertificate(t *testing.T, name string, by *issued, from, to time.Time, change func(*x509.Certificate)) *issued {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{Country: []string{"XA"}, CommonName: name}, NotBefore: from, NotAfter: to,
		KeyUsage: x509.KeyUsageDigitalSignature,
	}
	if by == nil {
		template.BasicConstraintsValid, template.IsCA, template.KeyUsage = true, true, x509.KeyUsageCertSign
	}
	if change != nil {
		change(template)
	}
	parent, signer := template, key
	if by != nil {
		parent, signer = by.c, by.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &issued{c, key}
}

// TestAudit puts one of each fault into a signed list and finds exactly those.
func TestAudit(t *testing.T) {
	year := func(n int) time.Time { return gatewayNow.AddDate(n, 0, 0) }
	sca := makeCertificate(t, "SPECIMEN SCA", nil, year(-1), year(3), nil)
	old := makeCertificate(t, "SPECIMEN old SCA", nil, year(-5), year(-1), nil)
	long := makeCertificate(t, "SPECIMEN long SCA", nil, year(-1), year(9), nil)
	plain := makeCertificate(t, "SPECIMEN plain SCA", nil, year(-1), year(3), func(c *x509.Certificate) { c.IsCA = false })
	good := makeCertificate(t, "good", sca, year(-1), year(1), nil)
	expired := makeCertificate(t, "expired", sca, year(-1), gatewayNow.AddDate(0, 0, -1), nil)
	onOld := makeCertificate(t, "on an expired one", old, year(-2), gatewayNow.AddDate(0, 0, -1), nil)
	future := makeCertificate(t, "not yet", sca, gatewayNow.AddDate(0, 1, 0), year(2), nil)
	tooLong := makeCertificate(t, "too long", sca, year(-1), year(3), nil)
	foreign := makeCertificate(t, "foreign", sca, year(-1), year(1), func(c *x509.Certificate) { c.Subject.Country = []string{"XB"} })
	orphan := makeCertificate(t, "orphan", makeCertificate(t, "SPECIMEN nobody", nil, year(-1), year(3), nil), year(-1), year(1), nil)

	entry := func(c *issued, usage string, issuer *issued) didlist.Entry {
		e := didlist.Entry{Domain: "DCC", Participant: "XXA", KeyUsage: usage, Chain: [][]byte{c.c.Raw}}
		if issuer != nil {
			e.Chain = append(e.Chain, issuer.c.Raw)
		}
		return e
	}
	duplicate := entry(tooLong, "DSC", sca)
	duplicate.KID = []byte(trust.DeriveKeyID(good.c.Raw))
	duplicate.ID = "did:web:trust.example:v2:trustlist:DCC:XXA:DSC#other"
	entries := []didlist.Entry{
		entry(sca, "SCA", nil), entry(old, "CSCA", nil), entry(long, "SCA", nil), entry(plain, "SCA", nil),
		entry(good, "DSC", sca), entry(expired, "DSC", nil), entry(onOld, "DSC", old), entry(future, "DSC", sca),
		entry(foreign, "DSC", sca), entry(orphan, "DSC", nil), duplicate,
		entry(makeCertificate(t, "wrong issuer", sca, year(-1), year(1), nil), "DSC", long),
	}
	const did = "did:web:trust.example:v2:trustlist"
	doc, err := didlist.New(didlist.ContextUAT, did, did, did+":signer", entries, nil)
	if err != nil {
		t.Fatal(err)
	}
	data, err := doc.Sign(sca.key, rand.Reader, gatewayNow, "nonce", didlist.FormDER)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]int{
		"sca-expired": 1, "validity-too-long": 2, "no-ca-true": 1, "dsc-expired": 2, "on-expired-sca": 1, "outlives-sca": 1,
		"not-yet-valid": 1, "country-mismatch": 1, "no-issuer": 1, "kid-not-derived": 1, "kid-differs-from-id": 1, "duplicate-kid": 1, "issuer-did-not-sign": 1,
	}
	for name, pins := range map[string][]crypto.PublicKey{"pinned": {sca.key.Public()}, "not pinned": nil} {
		t.Run(name, func(t *testing.T) {
			v, err := trust.Look(trust.Source{Name: "did.json", Data: data, Pins: pins})
			if err != nil || v.Verified != (pins != nil) || v.Kind != "DID trust list" || !v.Created.Equal(gatewayNow) {
				t.Fatalf("%+v, %v", v, err)
			}
			got := map[string]int{}
			for _, f := range trust.Audit(v, gatewayNow) {
				got[string(f.Reason)]++
				if who, what := trust.Advice(f.Reason); who == "" || what == "" {
					t.Errorf("%s: no advice", f.Reason)
				}
			}
			if pins == nil {
				if got["not-verified"] != 1 {
					t.Error("nobody is told that it is not verified")
				}
				delete(got, "not-verified")
			}
			if fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("%v\nwant %v", got, want)
			}
		})
	}
}

// TestLookOlder reads a list of version 1, of which nothing can be verified: it
// can be looked at, and not be trusted.
func TestLookOlder(t *testing.T) {
	a := newMember(t, "XA")
	method := func(kid string, raw []byte) map[string]any {
		return map[string]any{"id": "did:web:trust.example:trustlist#" + kid, "type": "JsonWebKey2020", "publicKeyJwk": map[string]any{
			"kty": "EC", "kid": kid, "x5c": []string{base64.StdEncoding.EncodeToString(raw)},
		}}
	}
	data, err := json.Marshal(map[string]any{
		"@context": []string{"https://www.w3.org/ns/did/v1", "https://w3id.org/security/suites/jws-2020/v1"},
		"id":       "did:web:trust.example:trustlist", "controller": "did:web:trust.example:trustlist",
		"verificationMethod": []any{method("AAAAAAAAAAA=", a.dsc.Certificate().Raw), method("BBBBBBBBBBA=", a.sca.Key.Certificate().Raw), method("x", []byte("none")), 7},
		"proof":              map[string]any{"type": "JsonWebSignature2020", "created": "2022-01-01T00:00:00Z", "nonce": "", "jws": "a..b"},
	})
	if err != nil {
		t.Fatal(err)
	}
	pins := []crypto.PublicKey{a.up.Signer.Public()}
	v, err := trust.Look(trust.Source{Name: "did.json", Data: data, Pins: pins})
	if err != nil || v.Verified || !v.Unsigned || len(v.Entries) != 2 || len(v.Drops) != 2 || v.Created.Year() != 2022 {
		t.Fatalf("%+v, %v", v, err)
	}
	if e := v.Entries; e[0].Usage != "DSC" || e[1].Usage != "SCA" || e[0].Participant != "XXA" || string(e[0].KID) != string(make([]byte, 8)) {
		t.Errorf("%+v", e)
	}
	if f := trust.Audit(v, gatewayNow); f[0].Reason != "not-verifiable" {
		t.Errorf("%+v", f)
	}
	list := new(trust.List)
	if err := list.Add(trust.Source{Name: "did.json", Data: data, Pins: pins}); err == nil || len(list.All()) > 0 {
		t.Errorf("an unverifiable list was believed: %v", err)
	}
}

// TestLookKinds finds the same certificate in a source of every kind.
func TestLookKinds(t *testing.T) {
	a := newMember(t, "XA")
	raw := a.dsc.Certificate().Raw
	eu, err := tng.EncodeTrustList([]tng.TrustListEntry{listEntry(t, tng.DSC, "XA", a.up, raw, true), {Country: "XA", KID: "AAAAAAAAAAA=", Type: tng.DSC, Deleted: true}})
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		data []byte
		kind string
	}{"PEM": {pemOf(raw), "certificates"}, "DER": {raw, "certificate"}, "EU list": {eu, "EU trust list"}} {
		t.Run(name, func(t *testing.T) {
			v, err := trust.Look(trust.Source{Name: name, Data: tc.data})
			if err != nil || v.Kind != tc.kind || len(v.Entries) != 1 {
				t.Fatalf("%+v, %v", v, err)
			}
			if e := v.Entries[0]; e.Participant != "XXA" || e.Usage != "DSC" || e.KID != trust.DeriveKeyID(raw) || string(e.Raw) != string(raw) {
				t.Errorf("%+v", e)
			}
		})
	}
	if _, err := trust.Look(trust.Source{Name: "text", Data: []byte("nothing")}); err == nil {
		t.Error("a text was a trust source")
	}
}

func TestWatch(t *testing.T) {
	key := func(n byte) []byte { return []byte{0x30, n} }
	survey := func(created int, keys map[string]byte) *trust.Survey {
		v := &trust.Survey{Source: "list", Created: gatewayNow.Add(time.Duration(created) * time.Hour)}
		for name, n := range keys {
			v.Entries = append(v.Entries, trust.Surveyed{Domain: "DCC", Participant: name[:3], Usage: "DSC", KID: trust.KeyID(name), Raw: key(n)})
		}
		v.Entries = append(v.Entries, trust.Surveyed{Domain: "DCC", Participant: "XXA", Usage: "TLS", KID: "t", Raw: key(byte(created))})
		return v
	}
	kinds := func(events []trust.WatchEvent) (out []string) {
		for _, e := range events {
			out = append(out, string(e.Kind))
		}
		return out
	}
	steps := []struct {
		name    string
		created int
		keys    map[string]byte
		want    []string
	}{
		{"first", 0, map[string]byte{"XXA1": 1, "XXB1": 2}, nil},
		{"signed again", 1, map[string]byte{"XXA1": 1, "XXB1": 2}, nil},
		{"one more", 2, map[string]byte{"XXA1": 1, "XXB1": 2, "XXB2": 3}, []string{"appeared"}},
		{"one gone", 3, map[string]byte{"XXA1": 1, "XXB2": 3}, []string{"vanished"}},
		{"an old list", 2, map[string]byte{"XXA1": 1, "XXB1": 2, "XXB2": 3}, []string{"older", "came-back"}},
		{"gone again", 4, map[string]byte{"XXA1": 1, "XXB2": 3}, []string{"vanished"}},
		{"another under its name", 5, map[string]byte{"XXA1": 1, "XXB1": 9, "XXB2": 3}, []string{"appeared"}},
		{"changed", 6, map[string]byte{"XXA1": 8, "XXB1": 9, "XXB2": 3}, []string{"changed"}},
	}
	var seen *trust.Seen
	for _, s := range steps {
		var events []trust.WatchEvent
		events, seen = trust.Watch(seen, survey(s.created, s.keys), "")
		if got := kinds(events); !slices.Equal(got, s.want) {
			t.Errorf("%s: %q, want %q", s.name, got, s.want)
		}
	}

	a := survey(0, map[string]byte{"XXA1": 1, "XXB1": 2, "XXB2": 3})
	b := survey(0, map[string]byte{"XXA1": 7, "XXB1": 2, "XXB3": 4})
	if got := kinds(trust.Differ(a, b, "")); !slices.Equal(got, []string{"differs", "missing", "missing"}) {
		t.Errorf("%q", got)
	}
	if got := kinds(trust.Differ(a, b, "XXB")); !slices.Equal(got, []string{"missing", "missing"}) {
		t.Errorf("%q", got)
	}
	if got := trust.Differ(a, a, ""); got != nil {
		t.Errorf("%+v", got)
	}
}

// FuzzLook: whatever a source is, it can be looked at and judged, and a verifier
// believes nothing of it without a pin that signed it.
func FuzzLook(f *testing.F) {
	a := newMember(f, "XA")
	raw := a.dsc.Certificate().Raw
	list, err := tng.EncodeTrustList([]tng.TrustListEntry{listEntry(f, tng.DSC, "XA", a.up, raw, true)})
	if err != nil {
		f.Fatal(err)
	}
	download, err := (&tng.Download{TrustList: []tng.TrustListEntry{listEntry(f, tng.DSC, "XA", a.up, raw, true)}}).Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw)
	f.Add(pemOf(raw))
	f.Add(list)
	f.Add(download)
	f.Add([]byte(`{"verificationMethod":[{"id":"a#b","publicKeyJwk":{"kid":"AA==","x5c":["` + base64.StdEncoding.EncodeToString(raw) + `"]}}]}`))
	f.Add([]byte(`{"keys":[]}`))
	f.Add([]byte(`{"issuerInfo":[]}`))
	pins := []crypto.PublicKey{a.up.Signer.Public()}
	f.Fuzz(func(t *testing.T, data []byte) {
		v, err := trust.Look(trust.Source{Name: "source", Data: data, Pins: pins})
		if err != nil {
			return
		}
		trust.Audit(v, gatewayNow)
		v.Keys("")
		if v.Verified {
			t.Errorf("%s: nobody signed it", v.Kind)
		}
	})
}
