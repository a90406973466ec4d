package trust_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"slices"
	"testing"
	"time"

	"ampoule/internal/keys"
	"ampoule/trust"
)

func pemOf(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// odd makes a self-signed certificate after a change to that of a good TLS client.
func odd(t *testing.T, curve elliptic.Curve, change func(*x509.Certificate)) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{Country: []string{"XA"}, CommonName: "SPECIMEN"},
		NotBefore: gatewayNow, NotAfter: gatewayNow.AddDate(1, 0, 0), KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	change(c)
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func TestCheckMaterial(t *testing.T) {
	p := keys.Participant{Country: "XA", Organization: "SPECIMEN", Name: "SPECIMEN SCA"}
	a := newMember(t, "XA")
	tls, err := keys.NewTLS(p, gatewayNow, nil)
	if err != nil {
		t.Fatal(err)
	}
	foreign, err := keys.NewTLS(keys.Participant{Country: "XB", Organization: "SPECIMEN", Name: "SPECIMEN"}, gatewayNow, nil)
	if err != nil {
		t.Fatal(err)
	}
	const scaPath, upPath, tlsPath = "onboarding/DCC/SCA/SCA.pem", "onboarding/DCC/UP/UP.pem", "onboarding/DCC/TLS/TLS.pem"
	good := func() map[string][]byte {
		return map[string][]byte{
			scaPath: pemOf(a.sca.Key.Certificate().Raw), upPath: pemOf(a.up.Certificate().Raw), tlsPath: pemOf(tls.Certificate().Raw),
			// One certificate may serve in several domains.
			"onboarding/PH4H/SCA/SCA.pem": pemOf(a.sca.Key.Certificate().Raw), "onboarding/PH4H/UP/UP.pem": pemOf(a.up.Certificate().Raw),
			"onboarding/PH4H/TLS/TLS.pem": pemOf(tls.Certificate().Raw), "onboarding/PH4H/ISSUER/issuer.json": []byte("{}"),
		}
	}
	known := []trust.Known{{Participant: "XXC", Certificate: foreign.Certificate().Raw}, {Participant: "XXA", Environment: "UAT", Certificate: a.dsc.Certificate().Raw}}
	tlsOf := func(change func(*x509.Certificate)) func(map[string][]byte) {
		return func(files map[string][]byte) { files[tlsPath] = pemOf(odd(t, elliptic.P256(), change)) }
	}

	for _, tc := range []struct {
		name        string
		participant string
		change      func(map[string][]byte)
		now         time.Time
		want        []string
	}{
		{name: "good"},
		{name: "another's folder", participant: "XXB", want: []string{"country-mismatch", "country-mismatch", "country-mismatch", "country-mismatch", "country-mismatch", "country-mismatch"}},
		{name: "no participant", participant: "XA", want: []string{"bad-participant"}},
		{name: "no country", change: tlsOf(func(c *x509.Certificate) { c.Subject.Country = nil }), want: []string{"country"}},
		{name: "two countries", change: tlsOf(func(c *x509.Certificate) { c.Subject.Country = []string{"XA", "XB"} }), want: []string{"country"}},
		{name: "small letters", change: tlsOf(func(c *x509.Certificate) { c.Subject.Country = []string{"xa"} }), want: []string{"country", "country-mismatch"}},
		{name: "short curve", change: func(f map[string][]byte) {
			f[tlsPath] = pemOf(odd(t, elliptic.P224(), func(*x509.Certificate) {}))
		}, want: []string{"weak-key"}},
		{name: "algorithm", change: tlsOf(func(c *x509.Certificate) { c.SignatureAlgorithm = x509.ECDSAWithSHA512 }), want: []string{"signature-algorithm"}},
		{name: "too long", change: tlsOf(func(c *x509.Certificate) { c.NotAfter = c.NotBefore.AddDate(3, 0, 0) }), want: []string{"validity"}},
		{name: "too short", change: tlsOf(func(c *x509.Certificate) { c.NotAfter = c.NotBefore.AddDate(0, 6, 0) }), want: []string{"validity"}},
		{name: "authority", change: tlsOf(func(c *x509.Certificate) { c.BasicConstraintsValid, c.IsCA = true, true }), want: []string{"basic-constraints"}},
		{name: "cannot sign", change: tlsOf(func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageKeyAgreement }), want: []string{"key-usage"}},
		{name: "no client", change: tlsOf(func(c *x509.Certificate) { c.ExtKeyUsage = nil }), want: []string{"ext-key-usage"}},
		{name: "uploader as authority", change: func(f map[string][]byte) { f[scaPath] = f[upPath] }, want: []string{"validity", "basic-constraints", "path-length", "key-usage", "not-unique", "not-unique"}},
		{name: "another's key", change: func(f map[string][]byte) { f[tlsPath] = pemOf(foreign.Certificate().Raw) }, want: []string{"country-mismatch", "not-unique"}},
		{name: "key of another environment", change: func(f map[string][]byte) { f[upPath] = pemOf(a.dsc.Certificate().Raw) }, want: []string{"no-authority", "not-unique"}},
		{name: "issued by the authority beside it", change: func(f map[string][]byte) {
			f[upPath] = pemOf(newDSC(t, a))
			f["onboarding/DCC/UP/CA.pem"] = f[scaPath]
		}},
		{name: "private key", change: func(f map[string][]byte) {
			f[tlsPath] = append(f[tlsPath], "-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----\n"...)
		}, want: []string{"private-key", "role-missing"}},
		{name: "two certificates", change: func(f map[string][]byte) { f[tlsPath] = append(f[tlsPath], f[upPath]...) }, want: []string{"unreadable-certificate", "role-missing"}},
		{name: "no certificate", change: func(f map[string][]byte) { f[tlsPath] = pemOf([]byte("0\x03\x02\x01\x07")) }, want: []string{"unreadable-certificate", "role-missing"}},
		{name: "no uploader", change: func(f map[string][]byte) { delete(f, upPath) }, want: []string{"role-missing"}},
		{name: "elsewhere", change: func(f map[string][]byte) { f["notes.txt"] = nil; f["onboarding/DCC/XYZ/a.pem"] = f[tlsPath] }, want: []string{"unexpected-file", "unexpected-file"}},
		{name: "nothing", change: func(f map[string][]byte) { clear(f) }, want: []string{"role-missing"}},
		{name: "expired", now: gatewayNow.AddDate(1, 6, 0), want: []string{"not-in-force", "not-in-force", "not-in-force", "not-in-force"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			files := good()
			if tc.change != nil {
				tc.change(files)
			}
			if tc.participant == "" {
				tc.participant = "XXA"
			}
			if tc.now.IsZero() {
				tc.now = gatewayNow
			}
			var material []trust.Material
			for name, data := range files {
				material = append(material, trust.Material{Path: name, Data: data})
			}
			findings := trust.CheckMaterial(tc.participant, material, known, tc.now)
			var got []string
			for _, f := range findings {
				got = append(got, string(f.Reason))
			}
			if !slices.Equal(got, tc.want) {
				t.Errorf("%q, want %q: %+v", got, tc.want, findings)
			}
		})
	}
}

func newDSC(t *testing.T, m *member) []byte {
	t.Helper()
	k, err := m.sca.IssueDSC(keys.DSCProfile{}, gatewayNow, nil)
	if err != nil {
		t.Fatal(err)
	}
	return k.Certificate().Raw
}

func TestParticipantCountry(t *testing.T) {
	for participant, country := range map[string]string{"XXA": "XA", "XCL": "XL", "XJA": "JA", "AUT": "AT", "XA": "", "AT": "", "XYA": "", "xxa": "", "": ""} {
		got, ok := trust.ParticipantCountry(participant)
		if got != country || ok != (country != "") {
			t.Errorf("%q: %q, %v", participant, got, ok)
		}
		if ok && trust.CountryParticipant(country) != participant {
			t.Errorf("%q came back as %q", participant, trust.CountryParticipant(country))
		}
	}
	if got := trust.CountryParticipant("??"); got != "??" {
		t.Error(got)
	}
}
