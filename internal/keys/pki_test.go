package keys

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"math/big"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestSCA(t *testing.T) {
	sca := newSCA(t)
	c := sca.Key.Certificate()
	if got := Lint(c, RoleSCA); got != nil {
		t.Errorf("lint: %q", got)
	}
	if got, want := c.Subject.String(), "CN=XA SCA,O=Ministry of Health,C=XA"; got != want {
		t.Errorf("subject %s, want %s", got, want)
	}
	if want := now.Truncate(time.Second); !c.NotBefore.Equal(want) || !c.NotAfter.Equal(want.AddDate(4, 0, 0)) {
		t.Errorf("valid from %v to %v, want 4 years from %v", c.NotBefore, c.NotAfter, want)
	}
	if !c.IsCA || c.MaxPathLen != 0 || !c.MaxPathLenZero || c.KeyUsage != x509.KeyUsageCertSign|x509.KeyUsageCRLSign {
		t.Errorf("CA %v, path length %d, key usage %b", c.IsCA, c.MaxPathLen, c.KeyUsage)
	}
	if len(c.SubjectKeyId) != 20 || c.SignatureAlgorithm != x509.ECDSAWithSHA256 {
		t.Errorf("key identifier %x, algorithm %v", c.SubjectKeyId, c.SignatureAlgorithm)
	}
	for _, e := range c.Extensions {
		if e.Id.Equal(asn1.ObjectIdentifier{2, 5, 29, 19}) && !e.Critical {
			t.Error("the basic constraints are not critical")
		}
	}
	if err := c.CheckSignatureFrom(c); err != nil {
		t.Error(err)
	}
}

func TestIssueDSC(t *testing.T) {
	sca := newSCA(t)
	for _, test := range []struct {
		name    string
		profile DSCProfile
		eku     []string
		years   int
		subject string
	}{
		{"plain", DSCProfile{}, nil, 2, "CN=XA SCA DSC,O=Ministry of Health,C=XA"},
		{"vaccination, one year", DSCProfile{Usages: []Usage{UsageVaccination}, Years: 1, Name: "Signer 1"}, []string{"1.3.6.1.4.1.1847.2021.1.2"}, 1, "CN=Signer 1,O=Ministry of Health,C=XA"},
		{"all usages", DSCProfile{Usages: []Usage{UsageTest, UsageVaccination, UsageRecovery}}, []string{"1.3.6.1.4.1.1847.2021.1.1", "1.3.6.1.4.1.1847.2021.1.2", "1.3.6.1.4.1.1847.2021.1.3"}, 2, "CN=XA SCA DSC,O=Ministry of Health,C=XA"},
		{"RSA", DSCProfile{Algorithm: PS256}, nil, 2, "CN=XA SCA DSC,O=Ministry of Health,C=XA"},
		{"longer RSA", DSCProfile{Algorithm: PS256Long}, nil, 2, "CN=XA SCA DSC,O=Ministry of Health,C=XA"},
		{"as long as the authority", DSCProfile{Years: 4}, nil, 4, "CN=XA SCA DSC,O=Ministry of Health,C=XA"},
	} {
		t.Run(test.name, func(t *testing.T) {
			key, err := sca.IssueDSC(test.profile, now, nil)
			if err != nil {
				t.Fatal(err)
			}
			c := key.Certificate()
			if got := Lint(c, RoleDSC); got != nil {
				t.Errorf("lint: %q", got)
			}
			if got := c.Subject.String(); got != test.subject {
				t.Errorf("subject %s, want %s", got, test.subject)
			}
			if want := now.Truncate(time.Second); !c.NotBefore.Equal(want) || !c.NotAfter.Equal(want.AddDate(test.years, 0, 0)) {
				t.Errorf("valid from %v to %v, want %d years from %v", c.NotBefore, c.NotAfter, test.years, want)
			}
			var eku []string
			for _, oid := range c.UnknownExtKeyUsage {
				eku = append(eku, oid.String())
			}
			if d := cmp.Diff(test.eku, eku); d != "" {
				t.Errorf("extended key usages (-want +got):\n%s", d)
			}
			if c.KeyUsage != x509.KeyUsageDigitalSignature || c.IsCA || !bytes.Equal(c.AuthorityKeyId, sca.Key.Certificate().SubjectKeyId) {
				t.Errorf("key usage %b, CA %v, authority %x", c.KeyUsage, c.IsCA, c.AuthorityKeyId)
			}
			if n := c.SerialNumber; n.Sign() <= 0 || n.BitLen() != 127 {
				t.Errorf("serial number %x has %d bits, want 16 positive bytes", n, n.BitLen())
			}
			switch p := c.PublicKey.(type) {
			case *rsa.PublicKey:
				want := map[Algorithm]int{PS256: 2048, PS256Long: 3072}[test.profile.Algorithm]
				if p.N.BitLen() != want {
					t.Errorf("RSA of %d bits, want %d", p.N.BitLen(), want)
				}
			case *ecdsa.PublicKey:
				if p.Curve != elliptic.P256() || test.profile.Algorithm != "" {
					t.Errorf("%s key for %q", p.Curve.Params().Name, test.profile.Algorithm)
				}
			}
			if len(key.Chain) != 2 {
				t.Errorf("%d certificates in the chain, want 2", len(key.Chain))
			}

			roots := x509.NewCertPool()
			roots.AddCert(sca.Key.Certificate())
			verify := func(at time.Time, roots *x509.CertPool) error {
				_, err := c.Verify(x509.VerifyOptions{Roots: roots, CurrentTime: at, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}})
				return err
			}
			if err := verify(now.AddDate(0, 6, 0), roots); err != nil {
				t.Errorf("half a year later: %v", err)
			}
			if verify(now.AddDate(0, 0, -1), roots) == nil || verify(now.AddDate(test.years, 0, 1), roots) == nil {
				t.Error("it verifies outside its period")
			}
			stranger := x509.NewCertPool()
			stranger.AddCert(newSCA(t).Key.Certificate()) // same name, other key
			if verify(now.AddDate(0, 6, 0), stranger) == nil {
				t.Error("it verifies under another authority of the same name")
			}
		})
	}
}

func TestPKIRefuses(t *testing.T) {
	sca := newSCA(t)
	for _, test := range []struct {
		name string
		do   func() (any, error)
		want error
	}{
		{"outlives its authority", func() (any, error) { return sca.IssueDSC(DSCProfile{Years: 2}, now.AddDate(2, 0, 1), nil) }, ErrValidity},
		{"five years", func() (any, error) { return sca.IssueDSC(DSCProfile{Years: 5}, now, nil) }, ErrValidity},
		{"before its authority", func() (any, error) { return sca.IssueDSC(DSCProfile{}, now.AddDate(0, 0, -1), nil) }, ErrValidity},
		{"negative period", func() (any, error) { return sca.IssueDSC(DSCProfile{Years: -1}, now, nil) }, ErrValidity},
		{"unknown algorithm", func() (any, error) { return sca.IssueDSC(DSCProfile{Algorithm: "RS256"}, now, nil) }, ErrAlgorithm},
		{"unknown usage", func() (any, error) { return sca.IssueDSC(DSCProfile{Usages: []Usage{4}}, now, nil) }, ErrUsage},
		{"no serial number to be had", func() (any, error) { return sca.IssueDSC(DSCProfile{}, now, strings.NewReader("short")) }, nil},
		{"three letters", func() (any, error) { return NewSCA(Participant{"XXA", "O", "N"}, now, nil) }, ErrParticipant},
		{"small letters", func() (any, error) { return NewUP(Participant{"xa", "O", "N"}, now, nil) }, ErrParticipant},
		{"no name", func() (any, error) { return NewTLS(Participant{"XA", "O", ""}, now, nil) }, ErrParticipant},
		{"no organization", func() (any, error) { return NewSCA(Participant{"XA", "", "N"}, now, nil) }, ErrParticipant},
		{"a signer as authority", func() (any, error) { return OpenSCA(newDSC(t)) }, ErrNotCA},
		{"a key without certificate as authority", func() (any, error) { return OpenSCA(&Key{Signer: sca.Key.Signer}) }, ErrNotCA},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := test.do()
			if err == nil || test.want != nil && !errors.Is(err, test.want) {
				t.Errorf("got %v, want %v", err, test.want)
			}
		})
	}
}

// Serial numbers come from the reader that the caller gives.
func TestSerial(t *testing.T) {
	sca, err := NewSCA(ministry, now, bytes.NewReader([]byte("\xff123456789abcdef")))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := sca.Key.Certificate().SerialNumber.Bytes(), []byte("\x7f123456789abcdef"); !bytes.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestOpenSCA(t *testing.T) {
	opened, err := OpenSCA(newSCA(t).Key)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := opened.IssueDSC(DSCProfile{}, now, nil); err != nil {
		t.Error(err)
	}
}

func TestUPAndTLS(t *testing.T) {
	up, err := NewUP(ministry, now, nil)
	if err != nil {
		t.Fatal(err)
	}
	tls, err := NewTLS(ministry, now, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := Lint(up.Certificate(), RoleUP); got != nil {
		t.Errorf("UP: %q", got)
	}
	if got := Lint(tls.Certificate(), RoleTLS); got != nil {
		t.Errorf("TLS: %q", got)
	}
	if got := up.Certificate().Subject.CommonName; got != "XA SCA UP" {
		t.Errorf("UP is named %q", got)
	}
	if up.Certificate().NotAfter.Year() != 2027 || tls.Certificate().NotAfter.Year() != 2027 {
		t.Error("want a year")
	}
	roots := x509.NewCertPool()
	roots.AddCert(tls.Certificate())
	if _, err := tls.Certificate().Verify(x509.VerifyOptions{Roots: roots, CurrentTime: now.AddDate(0, 1, 0), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}); err != nil {
		t.Errorf("TLS as a client certificate: %v", err)
	}
}

// Each rule objects to a certificate that breaks just it.
func TestLint(t *testing.T) {
	p256, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p224, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	rsa2048, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	type change func(*x509.Certificate)
	template := map[Role]func() *x509.Certificate{
		RoleSCA: func() *x509.Certificate {
			return &x509.Certificate{NotAfter: now.AddDate(4, 0, 0), KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign, BasicConstraintsValid: true, IsCA: true, MaxPathLenZero: true}
		},
		RoleUP: func() *x509.Certificate {
			return &x509.Certificate{NotAfter: now.AddDate(1, 0, 0), KeyUsage: x509.KeyUsageDigitalSignature}
		},
		RoleTLS: func() *x509.Certificate {
			return &x509.Certificate{NotAfter: now.AddDate(2, 0, 0), KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
		},
		RoleDSC: func() *x509.Certificate {
			return &x509.Certificate{NotAfter: now.AddDate(2, 0, 0), KeyUsage: x509.KeyUsageDigitalSignature, AuthorityKeyId: []byte{1}}
		},
	}
	for _, test := range []struct {
		name   string
		role   Role
		change change
		public any
		signer any
		want   string
	}{
		{"good SCA", RoleSCA, nil, nil, nil, ""},
		{"good UP", RoleUP, nil, nil, nil, ""},
		{"good TLS", RoleTLS, nil, nil, nil, ""},
		{"good DSC", RoleDSC, nil, nil, nil, ""},
		{"SCA of 2 years", RoleSCA, func(c *x509.Certificate) { c.NotAfter = now.AddDate(2, 0, 0) }, nil, nil, ""},
		{"DSC of RSA 2048", RoleDSC, nil, &rsa2048.PublicKey, nil, ""},
		{"UP of P-384 signed with SHA-256", RoleUP, nil, &p384.PublicKey, nil, ""},
		{"UP of RSA 2048", RoleUP, nil, &rsa2048.PublicKey, nil, "RSA key has 2048 bits"},
		{"TLS of P-224", RoleTLS, nil, &p224.PublicKey, nil, "EC key has 224 bits"},
		{"no country", RoleUP, func(c *x509.Certificate) { c.Subject.Country = nil }, nil, nil, "0 country attributes"},
		{"two countries", RoleUP, func(c *x509.Certificate) { c.Subject.Country = []string{"XA", "XB"} }, nil, nil, "2 country attributes"},
		{"three letters", RoleUP, func(c *x509.Certificate) { c.Subject.Country = []string{"XXA"} }, nil, nil, `country is "XXA"`},
		{"SHA-384", RoleUP, func(c *x509.Certificate) { c.SignatureAlgorithm = x509.ECDSAWithSHA384 }, nil, nil, "signature algorithm ECDSA-SHA384"},
		{"RSASSA-PSS", RoleDSC, func(c *x509.Certificate) { c.SignatureAlgorithm = x509.SHA256WithRSAPSS }, nil, rsa2048, ""},
		{"PKCS #1 v1.5 with SHA-512", RoleDSC, func(c *x509.Certificate) { c.SignatureAlgorithm = x509.SHA512WithRSA }, nil, rsa2048, "signature algorithm SHA512-RSA"},
		{"SCA of 1 year", RoleSCA, func(c *x509.Certificate) { c.NotAfter = now.AddDate(1, 0, 0) }, nil, nil, "want 2 to 4 years"},
		{"SCA of 5 years", RoleSCA, func(c *x509.Certificate) { c.NotAfter = now.AddDate(5, 0, 0) }, nil, nil, "want 2 to 4 years"},
		{"UP of 3 months", RoleUP, func(c *x509.Certificate) { c.NotAfter = now.AddDate(0, 3, 0) }, nil, nil, "want 1 to 2 years"},
		{"TLS of 3 years", RoleTLS, func(c *x509.Certificate) { c.NotAfter = now.AddDate(3, 0, 0) }, nil, nil, "want 1 to 2 years"},
		{"SCA with path length 1", RoleSCA, func(c *x509.Certificate) { c.MaxPathLen, c.MaxPathLenZero = 1, false }, nil, nil, "path length 0"},
		{"SCA without path length", RoleSCA, func(c *x509.Certificate) { c.MaxPathLenZero = false }, nil, nil, "path length 0"},
		{"SCA without cRLSign", RoleSCA, func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageCertSign }, nil, nil, "keyCertSign and cRLSign"},
		{"UP as authority", RoleUP, func(c *x509.Certificate) { c.BasicConstraintsValid, c.IsCA, c.SubjectKeyId = true, true, []byte{1} }, nil, nil, "CA:TRUE"},
		{"UP that signs lists", RoleUP, func(c *x509.Certificate) { c.KeyUsage |= x509.KeyUsageCRLSign }, nil, nil, "usage of an authority"},
		{"UP without key usage", RoleUP, func(c *x509.Certificate) { c.KeyUsage = 0 }, nil, nil, "digitalSignature"},
		{"TLS for servers", RoleTLS, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} }, nil, nil, "clientAuth"},
		{"DSC without authority key", RoleDSC, func(c *x509.Certificate) { c.AuthorityKeyId = nil }, nil, nil, "authority key identifier"},
		{"DSC for clients", RoleDSC, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} }, nil, nil, "not of health certificates"},
		{"DSC with another usage", RoleDSC, func(c *x509.Certificate) {
			c.UnknownExtKeyUsage = []asn1.ObjectIdentifier{{1, 3, 6, 1, 4, 1, 1847, 2021, 1, 9}}
		}, nil, nil, "unknown extended key usage"},
		{"unknown role", "CSCA", nil, nil, nil, "unknown role"},
	} {
		t.Run(test.name, func(t *testing.T) {
			make := template[test.role]
			if make == nil {
				make = template[RoleUP]
			}
			c := make()
			c.SerialNumber, c.NotBefore = big.NewInt(1), now
			c.Subject = pkix.Name{Country: []string{"XA"}, CommonName: "test"}
			c.SignatureAlgorithm = x509.ECDSAWithSHA256
			if test.change != nil {
				test.change(c)
			}
			var public, signer any = &p256.PublicKey, p256
			if test.public != nil {
				public = test.public
			}
			if test.signer != nil {
				signer = test.signer
			}
			// A parent of another name, so that the authority key is not left out.
			parent := &x509.Certificate{Subject: pkix.Name{CommonName: "parent"}, SubjectKeyId: c.AuthorityKeyId}
			der, err := x509.CreateCertificate(rand.Reader, c, parent, public, signer)
			if err != nil {
				t.Fatal(err)
			}
			parsed, err := x509.ParseCertificate(der)
			if err != nil {
				t.Fatal(err)
			}
			got := Lint(parsed, test.role)
			if test.want == "" && got != nil {
				t.Errorf("objections to a good certificate: %q", got)
			}
			if test.want != "" && (len(got) != 1 || !strings.Contains(got[0], test.want)) {
				t.Errorf("got %q, want one about %q", got, test.want)
			}
		})
	}
}

// OpenSSL, where there is one, reads the certificates the same way.
func TestOpenSSL(t *testing.T) {
	path, err := exec.LookPath("openssl")
	if err != nil {
		t.Skip("no openssl here")
	}
	key := newDSC(t)
	cmd := exec.Command(path, "x509", "-inform", "DER", "-noout", "-text")
	cmd.Stdin = bytes.NewReader(key.Chain[1].Raw)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, want := range []string{"CA:TRUE, pathlen:0", "Certificate Sign, CRL Sign", "C = XA, O = Ministry of Health, CN = XA SCA", "NIST CURVE: P-256", "Subject Key Identifier"} {
		if !strings.Contains(string(out), want) && !strings.Contains(strings.ReplaceAll(string(out), "=", " = "), want) {
			t.Errorf("no %q in:\n%s", want, out)
		}
	}
}

func TestNewMember(t *testing.T) {
	p := Participant{Country: "XA", Organization: "SPECIMEN", Name: "SPECIMEN SCA"}
	m, err := NewMember(p, MaterialProfile{SCAYears: 2, UPYears: 2}, now, nil)
	if err != nil {
		t.Fatal(err)
	}
	for role, k := range map[Role]*Key{RoleSCA: m.SCA.Key, RoleUP: m.UP, RoleTLS: m.TLS, RoleDSC: m.DSC} {
		if got := Lint(k.Certificate(), role); got != nil {
			t.Errorf("%s: %q", role, got)
		}
	}
	for name, tc := range map[string]struct {
		c      *x509.Certificate
		months int
	}{"SCA": {m.SCA.Key.Certificate(), 12}, "DSC": {m.DSC.Certificate(), 6}} {
		var period struct {
			NotBefore time.Time `asn1:"tag:0,generalized"`
			NotAfter  time.Time `asn1:"tag:1,generalized"`
		}
		for _, e := range tc.c.Extensions {
			if e.Id.Equal(oidPrivateKeyUsage) {
				if rest, err := asn1.Unmarshal(e.Value, &period); err != nil || len(rest) > 0 || e.Critical {
					t.Errorf("%s: %x: %v", name, e.Value, err)
				}
			}
		}
		if !period.NotBefore.Equal(tc.c.NotBefore) || !period.NotAfter.Equal(tc.c.NotBefore.AddDate(0, tc.months, 0)) {
			t.Errorf("%s signs from %v to %v", name, period.NotBefore, period.NotAfter)
		}
	}
	for _, profile := range []MaterialProfile{{SCAYears: 1}, {SCAYears: 5}, {UPYears: 3}, {TLSYears: -1}} {
		if _, err := NewMember(p, profile, now, nil); !errors.Is(err, ErrValidity) {
			t.Errorf("%+v: %v", profile, err)
		}
	}
}
