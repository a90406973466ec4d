package device

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"net"
	"net/url"
	"slices"
	"testing"
	"time"
)

func request(t testing.TB, key crypto.Signer, template *x509.CertificateRequest) []byte {
	t.Helper()
	der, err := x509.CreateCertificateRequest(rand.Reader, template, key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func uri(t testing.TB, s string) *url.URL {
	u, err := url.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func TestParseRequest(t *testing.T) {
	device := id(t, specimenDevice)
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p521, err := ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	named := &x509.CertificateRequest{URIs: []*url.URL{URI(device)}, Subject: pkix.Name{SerialNumber: "7"}}
	for name, key := range map[string]crypto.Signer{"P-256": ecKey(t), "P-384": p384, "Ed25519": edKey(1)} {
		r, err := ParseRequest(request(t, key, named))
		if err != nil || r.Device != device || r.Serial != "7" {
			t.Errorf("%s: %+v, %v", name, r, err)
		}
	}
	if r, err := ParseRequest(request(t, edKey(1), &x509.CertificateRequest{})); err != nil || r.Device != "" {
		t.Errorf("without a name: %+v, %v", r, err)
	}
	touched := request(t, edKey(1), named)
	touched[len(touched)-1] ^= 1
	for name, c := range map[string]struct {
		der  []byte
		want error
	}{
		"nothing":             {nil, ErrRequest},
		"too large":           {make([]byte, maxRequest+1), ErrSize},
		"RSA":                 {request(t, rsaKey, named), ErrKeyKind},
		"P-521":               {request(t, p521, named), ErrKeyKind},
		"another's signature": {touched, ErrProof},
		"a host":              {request(t, edKey(1), &x509.CertificateRequest{DNSNames: []string{"device.invalid"}}), ErrIdentity},
		"an address":          {request(t, edKey(1), &x509.CertificateRequest{IPAddresses: []net.IP{{127, 0, 0, 1}}}), ErrIdentity},
		"two identifiers":     {request(t, edKey(1), &x509.CertificateRequest{URIs: []*url.URL{URI(device), URI(device)}}), ErrIdentity},
		"no identifier":       {request(t, edKey(1), &x509.CertificateRequest{URIs: []*url.URL{uri(t, "urn:oid:1.x")}}), ErrIdentity},
	} {
		t.Run(name, func(t *testing.T) {
			if r, err := ParseRequest(c.der); !errors.Is(err, c.want) {
				t.Errorf("%+v, %v; want %v", r, err, c.want)
			}
		})
	}
}

func TestTemplate(t *testing.T) {
	device := id(t, specimenDevice)
	ca := newAuthority(t, "Specimen device CA")
	r, err := ParseRequest(request(t, edKey(1), &x509.CertificateRequest{URIs: []*url.URL{URI(device)}, Subject: pkix.Name{SerialNumber: "7"}}))
	if err != nil {
		t.Fatal(err)
	}
	template, err := r.Template(device, "7", big.NewInt(99), newYear, newYear.AddDate(1, 0, 0))
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, ca.cert, r.PublicKey, ca.key)
	if err != nil {
		t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := CheckLDevID([]*x509.Certificate{c}, ca.pool(), newYear.AddDate(0, 1, 0)); err != nil || got != device {
		t.Errorf("%s, %v", got, err)
	}
	if SignsDocuments(c) || c.IsCA {
		t.Error("a device may sign for the service, or certify others")
	}
	for name, pool := range map[string]*x509.CertPool{"no authority": nil, "another": newAuthority(t, "Another").pool()} {
		if _, err := CheckLDevID([]*x509.Certificate{c}, pool, newYear.AddDate(0, 1, 0)); !errors.Is(err, ErrUntrusted) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := CheckLDevID([]*x509.Certificate{c}, ca.pool(), newYear.AddDate(2, 0, 0)); !errors.Is(err, ErrUntrusted) {
		t.Errorf("after its end: %v", err)
	}
	if _, err := CheckLDevID([]*x509.Certificate{ca.service(edKey(3).Public())}, ca.pool(), newYear); !errors.Is(err, ErrUntrusted) {
		t.Errorf("of the service: %v", err)
	}

	// The next one, under a new key.
	subject := pkix.Name{SerialNumber: "7"}
	for name, x := range map[string]struct {
		template *x509.CertificateRequest
		want     error
	}{
		"the same":        {&x509.CertificateRequest{URIs: []*url.URL{URI(device)}, Subject: subject}, nil},
		"another device":  {&x509.CertificateRequest{URIs: []*url.URL{URI(id(t, "2.25.1"))}, Subject: subject}, ErrRenewal},
		"no device":       {&x509.CertificateRequest{Subject: subject}, ErrRenewal},
		"another subject": {&x509.CertificateRequest{URIs: []*url.URL{URI(device)}, Subject: pkix.Name{SerialNumber: "8"}}, ErrRenewal},
		"a URI more":      {&x509.CertificateRequest{URIs: []*url.URL{URI(device), uri(t, "urn:uuid:1")}, Subject: subject}, ErrRenewal},
	} {
		r, err := ParseRequest(request(t, edKey(2), x.template))
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Renews(c); !errors.Is(err, x.want) {
			t.Errorf("%s: %v, want %v", name, err, x.want)
		}
	}
	for name, x := range map[string]struct {
		device ID
		serial string
		until  time.Time
		want   error
	}{
		"another device": {id(t, "2.25.1"), "7", newYear.AddDate(1, 0, 0), ErrIdentity},
		"another serial": {device, "8", newYear.AddDate(1, 0, 0), ErrIdentity},
		"backwards":      {device, "7", newYear, ErrValidity},
	} {
		if _, err := r.Template(x.device, x.serial, big.NewInt(1), newYear, x.until); !errors.Is(err, x.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestCheckIDevID(t *testing.T) {
	maker := newAuthority(t, "Specimen maker")
	good := maker.certify(&x509.Certificate{
		Subject: pkix.Name{SerialNumber: "0007", Organization: []string{"Specimen Ltd"}}, NotBefore: newYear, NotAfter: time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC),
	}, edKey(1).Public())
	d, err := CheckIDevID([]*x509.Certificate{good, maker.cert}, maker.pool(), newYear.AddDate(0, 1, 0))
	if err != nil || d.Maker != "Specimen Ltd" || d.Serial != "0007" {
		t.Errorf("%+v, %v", d, err)
	}
	nameless := maker.certify(&x509.Certificate{Subject: pkix.Name{CommonName: "x"}}, edKey(1).Public())
	for name, c := range map[string]struct {
		chain []*x509.Certificate
		pool  *x509.CertPool
		at    time.Time
		want  error
	}{
		"none":                 {nil, maker.pool(), newYear, ErrIDevID},
		"no maker is known":    {[]*x509.Certificate{good}, nil, newYear, ErrIDevID},
		"another maker":        {[]*x509.Certificate{good, maker.cert}, newAuthority(t, "Specimen maker").pool(), newYear, ErrIDevID},
		"before its beginning": {[]*x509.Certificate{good}, maker.pool(), newYear.AddDate(-1, 0, 0), ErrIDevID},
		"an authority":         {[]*x509.Certificate{maker.cert}, maker.pool(), newYear, ErrIDevID},
		"without a serial":     {[]*x509.Certificate{nameless}, maker.pool(), newYear, ErrIdentity},
	} {
		if _, err := CheckIDevID(c.chain, c.pool, c.at); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzParseRequest(f *testing.F) {
	f.Add(request(f, edKey(1), &x509.CertificateRequest{URIs: []*url.URL{URI(id(f, specimenDevice))}}))
	f.Fuzz(func(t *testing.T, der []byte) {
		if r, err := ParseRequest(slices.Clone(der)); err == nil && r.Device != "" && r.Device.Check() != nil {
			t.Errorf("%x", r.Device)
		}
	})
}
