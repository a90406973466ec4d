package pkix

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	name "crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ampoule/format/der"
)

var day = time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)

type party struct {
	key  *ecdsa.PrivateKey
	der  []byte
	cert *x509.Certificate
}

// issue makes a certificate; parent nil signs it with its own key.
func issue(t testing.TB, template x509.Certificate, parent *party) party {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if template.SerialNumber == nil {
		template.SerialNumber = big.NewInt(7)
	}
	if template.NotAfter.IsZero() {
		template.NotBefore, template.NotAfter = day.AddDate(-1, 0, 0), day.AddDate(9, 0, 0)
	}
	issuer, signer := &template, key
	if parent != nil {
		issuer, signer = parent.cert, parent.key
	}
	der, err := x509.CreateCertificate(rand.Reader, &template, issuer, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return party{key, der, c}
}

func authority(t testing.TB, country string) party {
	return issue(t, x509.Certificate{
		Subject: name.Name{Country: []string{country}, CommonName: "CSCA"},
		IsCA:    true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		SubjectKeyId: []byte(country + " key"),
	}, nil)
}

var listUsage = asn1.ObjectIdentifier{2, 23, 136, 1, 1, 3}

func integer(n byte) []byte { return der.Encode(der.TagInteger, []byte{n}) }

func TestParseCertificate(t *testing.T) {
	for _, tc := range []struct {
		file  string
		notes []string
		want  error // of its signature under its own key
		curve string
	}{
		{"brainpool-explicit.der", []string{"explicit-curve"}, nil, "brainpoolP256r1"},
		{"brainpool-p512.der", nil, nil, "brainpoolP512r1"},
		{"rsa-pss.der", nil, nil, ""},
		{"rsa-sha1.der", nil, ErrWeakAlgorithm, ""},
	} {
		t.Run(tc.file, func(t *testing.T) {
			der, err := os.ReadFile(filepath.Join("testdata", tc.file))
			if err != nil {
				t.Fatal(err)
			}
			c, err := ParseCertificate(der)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.notes, c.Notes); diff != "" {
				t.Error(diff)
			}
			if k, ok := c.PublicKey.(*ECKey); tc.curve != "" && (!ok || k.Curve.Name != tc.curve) {
				t.Errorf("key %T", c.PublicKey)
			}
			if err := c.CheckSignature(c.PublicKey); !errors.Is(err, tc.want) {
				t.Errorf("signature: %v, want %v", err, tc.want)
			}
			if !c.IsAuthority || c.Subject.Country != "UT" || !c.Subject.Equal(c.Issuer) || len(c.SubjectKeyID) != 20 {
				t.Errorf("%+v", c)
			}
			pub, err := ParsePublicKey(c.RawPublicKey)
			if err != nil || !pub.(interface{ Equal(crypto.PublicKey) bool }).Equal(c.PublicKey) {
				t.Errorf("key alone: %v", err)
			}
			// A changed content must not verify, on these curves neither.
			c.RawTBS = append(bytes.Clone(c.RawTBS[:len(c.RawTBS)-1]), c.RawTBS[len(c.RawTBS)-1]^1)
			if err := c.CheckSignature(c.PublicKey); err == nil || tc.want == nil && !errors.Is(err, ErrSignature) {
				t.Errorf("changed: %v", err)
			}
		})
	}
}

// TestLikeX509 holds our reading against crypto/x509's.
func TestLikeX509(t *testing.T) {
	root := authority(t, "UT")
	seal := issue(t, x509.Certificate{
		Subject: name.Name{Country: []string{"ut"}, CommonName: "Zoë  \u202eSigner", OrganizationalUnit: []string{"a", "b"}}, AuthorityKeyId: root.cert.SubjectKeyId,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageDecipherOnly, UnknownExtKeyUsage: []asn1.ObjectIdentifier{listUsage, {2, 23, 136, 1, 1, 14, 2}, {2, 999, 1 << 30}},
		ExtraExtensions: []name.Extension{
			{Id: asn1.ObjectIdentifier{2, 23, 136, 1, 1, 6, 2}, Value: der.Encode(der.TagSequence, integer(0), der.Encode(der.TagSet, der.Encode(0x13, []byte("NV")), der.Encode(0x13, []byte("P"))))},
			{Id: asn1.ObjectIdentifier{2, 5, 29, 17}, Value: der.Encode(der.TagSequence, der.Encode(der.TagContext4, der.Encode(der.TagSequence,
				der.Encode(der.TagSet, der.Encode(der.TagSequence, der.EncodeOID("2.5.4.7"), der.Encode(der.TagUTF8String, []byte("UTO")))))))},
		},
	}, &root)
	for _, p := range []party{root, seal} {
		c, err := ParseCertificate(p.der)
		if err != nil {
			t.Fatal(err)
		}
		if !c.NotBefore.Equal(p.cert.NotBefore) || !c.NotAfter.Equal(p.cert.NotAfter) || c.IsAuthority != p.cert.IsCA ||
			c.KeyUsage != uint16(p.cert.KeyUsage) || !bytes.Equal(c.SubjectKeyID, p.cert.SubjectKeyId) ||
			!bytes.Equal(c.AuthorityKeyID, p.cert.AuthorityKeyId) || !bytes.Equal(c.Serial, p.cert.SerialNumber.Bytes()) ||
			!p.cert.PublicKey.(*ecdsa.PublicKey).Equal(c.PublicKey) || c.CheckSignature(root.cert.PublicKey) != nil {
			t.Errorf("%+v", c)
		}
	}
	c, err := ParseCertificate(seal.der)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"NV", "P"}, c.DocumentTypes); diff != "" {
		t.Error(diff)
	}
	if !c.HasExtKeyUsage("2.23.136.1.1.14.2") || !c.HasExtKeyUsage("2.999.1073741824") || c.State != "UTO" || c.Subject.Country != "UT" {
		t.Errorf("usages %v, state %q, country %q", c.ExtKeyUsage, c.State, c.Subject.Country)
	}
	if want := `C=ut, OU=a, OU=b, CN=Zoë  \u202eSigner`; c.Subject.String() != want {
		t.Errorf("subject %s, want %s", c.Subject, want)
	}
}

// replaceOnce makes a certificate that differs in one place.
func replaceOnce(t *testing.T, der, old, new []byte) []byte {
	t.Helper()
	if len(old) != len(new) || bytes.Count(der, old) < 1 {
		t.Fatalf("%x is not there", old)
	}
	return bytes.Replace(bytes.Clone(der), old, new, 1)
}

func TestLenience(t *testing.T) {
	root := authority(t, "UT").der
	explicit, err := os.ReadFile("testdata/brainpool-explicit.der")
	if err != nil {
		t.Fatal(err)
	}
	rsa, err := os.ReadFile("testdata/rsa-sha1.der")
	if err != nil {
		t.Fatal(err)
	}
	twins := issue(t, x509.Certificate{ExtraExtensions: []name.Extension{
		{Id: asn1.ObjectIdentifier{2, 5, 29, 98}, Value: []byte{5, 0}}, {Id: asn1.ObjectIdentifier{2, 5, 29, 99}, Value: []byte{5, 0}},
	}}, nil)
	negative := replaceOnce(t, root, []byte{2, 1, 7}, []byte{2, 1, 0xf7})
	notFF := replaceOnce(t, root, []byte{0x30, 3, 1, 1, 0xff}, []byte{0x30, 3, 1, 1, 1})
	noNull := replaceOnce(t, rsa, append(der.EncodeOID(oidRSA), 5, 0), append(der.EncodeOID(oidRSA), 2, 0))
	order := curves()[1].N.Bytes()
	wrong := bytes.Clone(order)
	wrong[31] ^= 1
	parsed, err := ParseCertificate(explicit)
	if err != nil {
		t.Fatal(err)
	}
	point := parsed.RawPublicKey[len(parsed.RawPublicKey)-64:]
	beside := bytes.Clone(point)
	beside[63] ^= 1
	for _, tc := range []struct {
		name string
		der  []byte
		note string
		want error
	}{
		{"negative serial", negative, "negative-serial", nil},
		{"TRUE that is not FF", notFF, "odd-basic-constraints", nil},
		{"RSA without NULL", noNull, "rsa-parameters", nil},
		{"a curve of its own", replaceOnce(t, explicit, order, wrong), "", ErrPublicKey},
		{"a point beside the curve", replaceOnce(t, explicit, point, beside), "", ErrPublicKey},
		{"unknown critical extension", replaceOnce(t, root, der.EncodeOID(extKeyUsage), der.EncodeOID("2.5.29.99")), "", ErrCritical},
		{"extension twice", replaceOnce(t, twins.der, der.EncodeOID("2.5.29.98"), der.EncodeOID("2.5.29.99")), "", ErrDuplicate},
		{"trailing", append(bytes.Clone(root), 0), "", der.ErrMalformed},
		{"large", make([]byte, maxCertificate+1), "", der.ErrTooLarge},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c, err := ParseCertificate(tc.der)
			if !errors.Is(err, tc.want) {
				t.Fatalf("got %v, want %v", err, tc.want)
			}
			if err == nil && !slices.Contains(c.Notes, tc.note) {
				t.Errorf("notes %v, want %s", c.Notes, tc.note)
			}
		})
	}
}

// TestCurves holds the constants and the arithmetic against each other, and
// against the standard library where it has the curve.
func TestCurves(t *testing.T) {
	multiply := func(c *Curve, k *big.Int, p jacobian) (x, y *big.Int) {
		sum := jacobian{new(big.Int), new(big.Int), new(big.Int)}
		for i := k.BitLen() - 1; i >= 0; i-- {
			if sum = c.double(sum); k.Bit(i) == 1 {
				sum = c.add(sum, p)
			}
		}
		if sum.z.Sign() == 0 {
			return nil, nil
		}
		zi := new(big.Int).ModInverse(sum.z, c.P)
		zz := c.mul(zi, zi)
		return c.mul(sum.x, zz), c.mul(sum.y, c.mul(zz, zi))
	}
	for _, c := range curves() {
		t.Run(c.Name, func(t *testing.T) {
			g := c.affine(c.X, c.Y)
			if !c.contains(c.X, c.Y) || !c.P.ProbablyPrime(10) || !c.N.ProbablyPrime(10) {
				t.Fatal("constants")
			}
			if x, _ := multiply(c, c.N, g); x != nil {
				t.Fatal("the order is not the order")
			}
			secret, err := rand.Int(rand.Reader, c.N)
			if err != nil {
				t.Fatal(err)
			}
			x, y := multiply(c, secret, g)
			if !c.contains(x, y) {
				t.Fatal("left the curve")
			}
			k := &ECKey{c, x, y}
			if pub, err := c.newKey(k.Bytes()); err != nil {
				t.Fatalf("%v: %v", pub, err)
			}
			bad := k.Bytes()
			bad[len(bad)-1] ^= 1
			if _, err := c.newKey(bad); !errors.Is(err, ErrPublicKey) {
				t.Errorf("a point beside the curve: %v", err)
			}

			// A signature made by hand: s = (e + r d) / k.
			digest := sha256.Sum256([]byte(c.Name))
			e := new(big.Int).SetBytes(digest[:])
			if extra := 256 - c.N.BitLen(); extra > 0 {
				e.Rsh(e, uint(extra))
			}
			nonce := big.NewInt(0x1234567)
			r, _ := multiply(c, nonce, g)
			r.Mod(r, c.N)
			s := new(big.Int).Mul(r, secret)
			s.Mul(s.Add(s, e), new(big.Int).ModInverse(nonce, c.N)).Mod(s, c.N)
			if !k.verify(digest[:], r, s) {
				t.Error("a good signature is refused")
			}
			if c.std != nil {
				pub, err := ecdsa.ParseUncompressedPublicKey(c.std, k.Bytes())
				if err != nil || !ecdsa.Verify(pub, digest[:], r, s) {
					t.Errorf("the standard library differs: %v", err)
				}
			}
			zero, one := new(big.Int), big.NewInt(1)
			for _, bad := range [][2]*big.Int{
				{zero, s}, {r, zero}, {c.N, s}, {r, c.N}, {new(big.Int).Add(r, c.N), s}, {r, new(big.Int).Add(s, one)},
				{new(big.Int).Neg(r), s}, {s, r},
			} {
				if k.verify(digest[:], bad[0], bad[1]) {
					t.Errorf("verified r=%x s=%x", bad[0], bad[1])
				}
			}
		})
	}
}

func FuzzParseCertificate(f *testing.F) {
	files, err := filepath.Glob("testdata/*.der")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		der, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(der)
	}
	f.Add(authority(f, "UT").der)
	f.Fuzz(func(t *testing.T, der []byte) {
		c, err := ParseCertificate(der)
		if err != nil {
			return
		}
		if !bytes.Equal(c.Raw, der) || !bytes.Contains(der, c.RawTBS) || c.PublicKey == nil {
			t.Errorf("%+v", c)
		}
		// What the standard library reads, too, is the same certificate.
		std, err := x509.ParseCertificate(der)
		if err != nil {
			return
		}
		if !bytes.Equal(c.RawTBS, std.RawTBSCertificate) || c.IsAuthority != std.IsCA ||
			!bytes.Equal(c.SubjectKeyID, std.SubjectKeyId) || !bytes.Equal(c.AuthorityKeyID, std.AuthorityKeyId) {
			t.Error("read otherwise than by crypto/x509")
		}
	})
}
