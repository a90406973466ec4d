package trust_test

import (
	"crypto"
	"crypto/rand"
	"fmt"
	"slices"
	"testing"
	"time"

	"ampoule/format/cms"
	"ampoule/format/pkix"
	"ampoule/format/tng"
	"ampoule/internal/keys"
	"ampoule/trust"
)

var gatewayNow = time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)

// member is a participant of the network of these tests.
type member struct {
	country string
	sca     *keys.SCA
	up      *keys.Key
	dsc     *keys.Key
}

func newMember(t testing.TB, country string) *member {
	t.Helper()
	p := keys.Participant{Country: country, Organization: "SPECIMEN " + country, Name: "SPECIMEN SCA"}
	m := &member{country: country}
	var err error
	if m.sca, err = keys.NewSCA(p, gatewayNow, nil); err != nil {
		t.Fatal(err)
	}
	if m.up, err = keys.NewUP(p, gatewayNow, nil); err != nil {
		t.Fatal(err)
	}
	if m.dsc, err = m.sca.IssueDSC(keys.DSCProfile{}, gatewayNow, nil); err != nil {
		t.Fatal(err)
	}
	return m
}

func sign(t testing.TB, k *keys.Key, content []byte, detached bool) []byte {
	t.Helper()
	c, err := pkix.ParseCertificate(k.Certificate().Raw)
	if err != nil {
		t.Fatal(err)
	}
	message, err := cms.Sign(rand.Reader, content, c, k.Signer, gatewayNow, detached)
	if err != nil {
		t.Fatal(err)
	}
	return message
}

func listEntry(t testing.TB, kind, country string, by *keys.Key, raw []byte, detached bool) tng.TrustListEntry {
	return tng.TrustListEntry{KID: tng.DerivedKID(raw), Timestamp: gatewayNow, Country: country, Type: kind, Thumbprint: tng.Thumbprint(raw), Signature: sign(t, by, raw, detached), Raw: raw}
}

func certificateEntry(t testing.TB, domain, country, kid string, by *keys.Key, raw []byte) tng.CertificateEntry {
	return tng.CertificateEntry{Raw: raw, Signature: sign(t, by, raw, false), KID: kid, Group: tng.DSC, Country: country, Domain: domain, UUID: "x", Version: 1}
}

// TestCheckGateway: one network, one thing wrong at a time.
func TestCheckGateway(t *testing.T) {
	a, b := newMember(t, "XA"), newMember(t, "XB")
	p := keys.Participant{Country: "XW", Organization: "SPECIMEN gateway", Name: "SPECIMEN anchor"}
	anchor, err := keys.NewUP(p, gatewayNow, nil)
	if err != nil {
		t.Fatal(err)
	}
	other, err := keys.NewUP(p, gatewayNow, nil)
	if err != nil {
		t.Fatal(err)
	}
	raw := func(k *keys.Key) []byte { return k.Certificate().Raw }
	network := func() *tng.Download {
		d := &tng.Download{Gateway: "https://gateway.example", At: gatewayNow}
		for _, m := range []*member{a, b} {
			d.TrustList = append(d.TrustList,
				listEntry(t, tng.CSCA, m.country, anchor, raw(m.sca.Key), true),
				listEntry(t, tng.UploadType, m.country, anchor, raw(m.up), false),
				listEntry(t, tng.DSC, m.country, m.up, raw(m.dsc), true))
		}
		d.Certificates = []tng.CertificateEntry{certificateEntry(t, "PH4H", "XA", "ABCDEFGH", a.up, raw(a.dsc))}
		return d
	}
	// Of the same names as XA's authority, and not it.
	impostor := newMember(t, "XA")

	for _, tc := range []struct {
		name   string
		change func(*tng.Download)
		keys   int // of the four that there would be: two DSC, one of them in two domains
		drops  []string
	}{
		{"all good", func(*tng.Download) {}, 3, nil},
		{"in both lists", func(d *tng.Download) {
			d.Certificates = append(d.Certificates, tng.CertificateEntry{
				Raw: raw(a.dsc), Signature: d.TrustList[2].Signature, KID: tng.DerivedKID(raw(a.dsc)), Group: tng.DSC, Country: "XA", Domain: "DCC",
			})
		}, 3, nil},
		{"authority not anchored", func(d *tng.Download) { d.TrustList[0].Signature = sign(t, other, d.TrustList[0].Raw, true) }, 1, []string{"not-by-the-anchor", "issuer-not-trusted", "issuer-not-trusted"}},
		{"uploader not anchored", func(d *tng.Download) { d.TrustList[1].Signature = sign(t, other, d.TrustList[1].Raw, true) }, 1, []string{"not-by-the-anchor", "not-by-its-uploader", "not-by-its-uploader"}},
		{"anchor signed another", func(d *tng.Download) { d.TrustList[0].Signature = sign(t, anchor, []byte("other"), true) }, 1, []string{"digest-mismatch", "issuer-not-trusted", "issuer-not-trusted"}},
		{"anchor's message holds another", func(d *tng.Download) { d.TrustList[0].Signature = sign(t, anchor, []byte("other"), false) }, 1, []string{"two-contents", "issuer-not-trusted", "issuer-not-trusted"}},
		{"signer uploaded by another country", func(d *tng.Download) { d.TrustList[2] = listEntry(t, tng.DSC, "XA", b.up, raw(a.dsc), true) }, 2, []string{"not-by-its-uploader"}},
		{"signer uploaded by nobody", func(d *tng.Download) { d.TrustList[2] = listEntry(t, tng.DSC, "XA", other, raw(a.dsc), true) }, 2, []string{"not-by-its-uploader"}},
		{"signer that the anchor signed itself", func(d *tng.Download) { d.TrustList[2] = listEntry(t, tng.DSC, "XA", anchor, raw(a.dsc), true) }, 2, []string{"not-by-its-uploader"}},
		{"signature of the uploader broken", func(d *tng.Download) {
			d.TrustList[2].Signature = slices.Clone(d.TrustList[2].Signature)
			d.TrustList[2].Signature[len(d.TrustList[2].Signature)-1] ^= 1
		}, 2, []string{"bad-signature"}},
		{"issued by a namesake", func(d *tng.Download) { d.TrustList[2] = listEntry(t, tng.DSC, "XA", a.up, raw(impostor.dsc), true) }, 2, []string{"issuer-not-trusted"}},
		{"country of another", func(d *tng.Download) { d.TrustList[2] = listEntry(t, tng.DSC, "XB", b.up, raw(a.dsc), true) }, 2, []string{"country-mismatch"}},
		{"authority of another country", func(d *tng.Download) { d.TrustList[0].Country = "XB" }, 1, []string{"country-mismatch", "issuer-not-trusted", "issuer-not-trusted"}},
		{"identifier of another's signer", func(d *tng.Download) { d.Certificates[0].KID = tng.DerivedKID(raw(b.dsc)) }, 2, []string{"kid-of-another"}},
		{"identifier that is none", func(d *tng.Download) { d.Certificates[0].KID = "*" }, 2, []string{"malformed-kid"}},
		{"no identifier", func(d *tng.Download) { d.Certificates[0].KID = "" }, 2, []string{"malformed-kid"}},
		{"deleted", func(d *tng.Download) { d.TrustList[2].Deleted = true }, 2, []string{"deleted"}},
		{"unreadable", func(d *tng.Download) { d.TrustList[2].Err = tng.ErrMember }, 2, []string{"malformed-member"}},
		{"no certificate", func(d *tng.Download) {
			d.TrustList[2] = listEntry(t, tng.DSC, "XA", a.up, []byte("0\x03\x02\x01\x07"), true)
		}, 2, []string{"unreadable-certificate"}},
		{"a client that its owner alone signed", func(d *tng.Download) { d.TrustList[2].Type = tng.Authentication }, 2, []string{"not-by-the-anchor"}},
		{"of another use", func(d *tng.Download) { d.TrustList[2].Type = tng.DESC }, 2, []string{"not-a-signer"}},
		{"an uploader's own signer", func(d *tng.Download) { d.TrustList[0].Type = tng.DSC }, 1, []string{"not-by-its-uploader", "issuer-not-trusted", "issuer-not-trusted"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			d := network()
			tc.change(d)
			listed, drops := trust.CheckGateway("download", d, []crypto.PublicKey{impostor.up.Signer.Public(), anchor.Signer.Public()})
			var reasons []string
			for _, drop := range drops {
				reasons = append(reasons, drop.Reason)
			}
			signers := 0
			for _, l := range listed {
				if l.Type == tng.DSC {
					signers++
				}
			}
			if signers != tc.keys || !slices.Equal(reasons, tc.drops) {
				t.Errorf("%d keys, drops %+v; want %d, %q", signers, drops, tc.keys, tc.drops)
			}
		})
	}

	t.Run("as a source", func(t *testing.T) {
		data, err := network().Encode()
		if err != nil {
			t.Fatal(err)
		}
		list := new(trust.List)
		if err := list.Add(trust.Source{Name: "gateway.json", Data: data, Pins: []crypto.PublicKey{anchor.Signer.Public()}}); err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, k := range list.All() {
			got = append(got, fmt.Sprintf("%s %s %s %v", k.Domain, k.Participant, k.Country, k.Notes))
		}
		if want := []string{"DCC XXA XA []", "DCC XXB XB []", "PH4H XXA XA [kid-not-derived]"}; !slices.Equal(got, want) {
			t.Errorf("%q", got)
		}
		if len(list.Authorities()) != 0 {
			t.Error("an authority of the network became one of seals")
		}
		for name, pins := range map[string][]crypto.PublicKey{"no pin": nil, "another anchor": {other.Signer.Public()}} {
			empty := new(trust.List)
			if err := empty.Add(trust.Source{Name: "gateway.json", Data: data, Pins: pins}); err == nil || len(empty.All()) != 0 {
				t.Errorf("%s: %v, %d keys", name, err, len(empty.All()))
			}
		}
	})
}

// BenchmarkCheckGateway checks a list of 60 signers, beside the bare signature
// checks that it cannot do without: two of each signer, one of each authority and
// uploader.
func BenchmarkCheckGateway(b *testing.B) {
	const countries, signers = 6, 10
	anchor, err := keys.NewUP(keys.Participant{Country: "XW", Organization: "SPECIMEN gateway", Name: "SPECIMEN anchor"}, gatewayNow, nil)
	if err != nil {
		b.Fatal(err)
	}
	d := &tng.Download{}
	var one *keys.Key
	for n := range countries {
		m := newMember(b, "X"+string(rune('A'+n)))
		d.TrustList = append(d.TrustList,
			listEntry(b, tng.CSCA, m.country, anchor, m.sca.Key.Certificate().Raw, true),
			listEntry(b, tng.UploadType, m.country, anchor, m.up.Certificate().Raw, true))
		for range signers {
			if one, err = m.sca.IssueDSC(keys.DSCProfile{}, gatewayNow, nil); err != nil {
				b.Fatal(err)
			}
			d.TrustList = append(d.TrustList, listEntry(b, tng.DSC, m.country, m.up, one.Certificate().Raw, true))
		}
	}
	data, err := d.Encode()
	if err != nil {
		b.Fatal(err)
	}
	pins := []crypto.PublicKey{anchor.Signer.Public()}
	const checks = 2*countries + 2*countries*signers
	b.Run("list", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			list := new(trust.List)
			if err := list.Add(trust.Source{Name: "list", Data: data, Pins: pins}); err != nil || len(list.All()) != countries*signers {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/checks, "ns/signature")
	})
	c, err := pkix.ParseCertificate(one.Certificate().Raw)
	if err != nil {
		b.Fatal(err)
	}
	issuer, err := pkix.ParseCertificate(one.Chain[1].Raw)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("bare", func(b *testing.B) {
		for b.Loop() {
			for range checks {
				if err := c.CheckSignature(issuer.PublicKey); err != nil {
					b.Fatal(err)
				}
			}
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/checks, "ns/signature")
	})
}
