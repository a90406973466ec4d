package cms

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	_ "crypto/sha1"
	"crypto/x509"
	name "crypto/x509/pkix"
	"errors"
	"math/big"
	"slices"
	"sync"
	"testing"
	"time"

	"ampoule/format/der"
	"ampoule/format/pkix"
)

var day = time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)

type signer struct {
	key  crypto.Signer
	cert *pkix.Certificate
}

func newSigner(t testing.TB, key crypto.Signer) signer {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(7), Subject: name.Name{Country: []string{"XA"}, CommonName: "UP"}, SubjectKeyId: []byte("upload"),
		NotBefore: day.AddDate(-1, 0, 0), NotAfter: day.AddDate(1, 0, 0),
	}
	raw, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	c, err := pkix.ParseCertificate(raw)
	if err != nil {
		t.Fatal(err)
	}
	return signer{key, c}
}

func ec(t testing.TB, curve elliptic.Curve) crypto.Signer {
	t.Helper()
	k, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

var rsaKey = sync.OnceValue(func() *rsa.PrivateKey {
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return k
})

func TestSign(t *testing.T) {
	content := []byte("what is signed")
	for _, tc := range []struct {
		name string
		key  crypto.Signer
	}{
		{"P-256", ec(t, elliptic.P256())},
		{"P-384", ec(t, elliptic.P384())},
		{"P-521", ec(t, elliptic.P521())},
		{"RSA", rsaKey()},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := newSigner(t, tc.key)
			for _, detached := range []bool{false, true} {
				data, err := Sign(rand.Reader, content, s.cert, s.key, day, detached)
				if err != nil {
					t.Fatal(err)
				}
				var beside []byte
				if detached {
					if _, err := Open(data, nil); !errors.Is(err, ErrDetached) {
						t.Errorf("without its content: %v", err)
					}
					beside = content
				}
				o, err := Open(data, beside)
				if err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(o.Content, content) || !o.SigningTime.Equal(day) || !bytes.Equal(o.Certificate.Raw, s.cert.Raw) {
					t.Errorf("%+v", o)
				}
				want := error(ErrDigest)
				if !detached {
					want = ErrContent
				}
				if _, err := Open(data, []byte("something else")); !errors.Is(err, want) {
					t.Errorf("another content: %v", err)
				}
			}
		})
	}
	s := newSigner(t, ec(t, elliptic.P256()))
	if _, err := Sign(rand.Reader, content, s.cert, ec(t, elliptic.P256()), day, false); !errors.Is(err, ErrSigner) {
		t.Errorf("another key than the certificate's: %v", err)
	}
}

func TestCertificates(t *testing.T) {
	a, b := newSigner(t, ec(t, elliptic.P256())), newSigner(t, ec(t, elliptic.P384()))
	data, err := Certificates(b.cert.Raw, a.cert.Raw)
	if err != nil {
		t.Fatal(err)
	}
	other, err := Certificates(a.cert.Raw, b.cert.Raw)
	if err != nil || !bytes.Equal(data, other) {
		t.Errorf("the order counts: %v", err)
	}
	m, err := Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	if len(m.Signers) != 0 || m.Content != nil || m.ContentType != Data || m.Carried != 2 || len(m.Certificates) != 2 {
		t.Errorf("%+v", m)
	}
	for name, certificates := range map[string][][]byte{"none": nil, "too many": slices.Repeat([][]byte{a.cert.Raw}, maxCertificates+1)} {
		if _, err := Certificates(certificates...); !errors.Is(err, ErrCertificates) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := Certificates([]byte{0x30, 0}); err == nil {
		t.Error("what is no certificate is carried")
	}
}

// message is a message in the making: what Sign never writes, others do.
type message struct {
	signer
	content      []byte
	kind         string // type of the content
	stated       string // type that the attributes state
	hash         crypto.Hash
	hashOID      string
	algorithm    []byte
	options      crypto.SignerOpts
	ber          bool
	byKeyID      bool
	noAttributes bool
	digest       []byte
	twice        bool
	certificates [][]byte
	signers      int
}

func (m message) encode(t testing.TB) []byte {
	t.Helper()
	sum := func(b []byte) []byte { h := m.hash.New(); h.Write(b); return h.Sum(nil) }
	if m.digest == nil {
		m.digest = sum(m.content)
	}
	attributes := [][]byte{
		attribute(oidContentType, der.EncodeOID(m.stated)),
		attribute(oidMessageDigest, der.Encode(der.TagOctetString, m.digest)),
	}
	if m.twice {
		attributes = append(attributes, attributes[0])
	}
	signed, tagged := der.Encode(der.TagSet, attributes...), der.Encode(der.TagContext0, attributes...)
	if m.noAttributes {
		signed, tagged = m.content, nil
	}
	signature, err := m.key.Sign(rand.Reader, sum(signed), m.options)
	if err != nil {
		t.Fatal(err)
	}
	id := der.Encode(der.TagSequence, m.cert.Issuer.Raw, der.Encode(der.TagInteger, m.cert.Serial))
	if m.byKeyID {
		id = der.Encode(der.TagContext0Primitive, m.cert.SubjectKeyID)
	}
	hash := der.Encode(der.TagSequence, der.EncodeOID(m.hashOID))
	version := der.Encode(der.TagInteger, []byte{3})
	info := der.Encode(der.TagSequence, version, id, hash, tagged, m.algorithm, der.Encode(der.TagOctetString, signature))
	octets, wrap := der.Encode(der.TagOctetString, m.content), der.Encode
	if m.ber {
		half := len(m.content) / 2
		wrap = func(tag byte, parts ...[]byte) []byte {
			return slices.Concat([]byte{tag, 0x80}, slices.Concat(parts...), []byte{0, 0})
		}
		octets = wrap(der.TagOctetString|der.Constructed, der.Encode(der.TagOctetString, m.content[:half]), der.Encode(der.TagOctetString, m.content[half:]))
	}
	return wrap(der.TagSequence, der.EncodeOID(oidSignedData), wrap(der.TagContext0, wrap(der.TagSequence, version, der.Encode(der.TagSet, hash),
		wrap(der.TagSequence, der.EncodeOID(m.kind), wrap(der.TagContext0, octets)),
		wrap(der.TagContext0, m.certificates...), der.Encode(der.TagSet, slices.Repeat([][]byte{info}, m.signers)...))))
}

func TestOpen(t *testing.T) {
	p256, other := newSigner(t, ec(t, elliptic.P256())), newSigner(t, ec(t, elliptic.P256()))
	base := message{
		signer: p256, content: []byte("what is signed"), kind: Data, stated: Data, hash: crypto.SHA256, hashOID: pkix.OIDSHA256,
		algorithm: der.Encode(der.TagSequence, der.EncodeOID(oidECDSASHA256)), options: crypto.SHA256,
		certificates: [][]byte{p256.cert.Raw}, signers: 1,
	}
	ecdsaWith := func(oid string) []byte { return der.Encode(der.TagSequence, der.EncodeOID(oid)) }
	pss := func(salt byte) []byte {
		sha := der.Encode(der.TagSequence, der.EncodeOID(pkix.OIDSHA256))
		return der.Encode(der.TagSequence, der.EncodeOID("1.2.840.113549.1.1.10"), der.Encode(der.TagSequence,
			der.Encode(der.TagContext0, sha),
			der.Encode(der.TagContext1, der.Encode(der.TagSequence, der.EncodeOID("1.2.840.113549.1.1.8"), sha)),
			der.Encode(der.TagContext2, der.Encode(der.TagInteger, []byte{salt}))))
	}
	rsaSigner := newSigner(t, rsaKey())
	for _, tc := range []struct {
		name   string
		change func(*message)
		want   error
	}{
		{"plain", func(m *message) {}, nil},
		{"BER", func(m *message) { m.ber = true }, nil},
		{"by key identifier", func(m *message) { m.byKeyID = true }, nil},
		{"without attributes", func(m *message) { m.noAttributes = true }, nil},
		{"SHA-384", func(m *message) {
			m.hash, m.options, m.hashOID, m.algorithm = crypto.SHA384, crypto.SHA384, pkix.OIDSHA384, ecdsaWith("1.2.840.10045.4.3.3")
		}, nil},
		{"SHA-512", func(m *message) {
			m.hash, m.options, m.hashOID, m.algorithm = crypto.SHA512, crypto.SHA512, pkix.OIDSHA512, ecdsaWith("1.2.840.10045.4.3.4")
		}, nil},
		{"RSA, sha256WithRSAEncryption", func(m *message) {
			m.signer, m.certificates = rsaSigner, [][]byte{rsaSigner.cert.Raw}
			m.algorithm = der.Encode(der.TagSequence, der.EncodeOID("1.2.840.113549.1.1.11"), der.Encode(der.TagNull))
		}, nil},
		{"RSASSA-PSS", func(m *message) {
			m.signer, m.certificates = rsaSigner, [][]byte{rsaSigner.cert.Raw}
			m.algorithm, m.options = pss(32), &rsa.PSSOptions{SaltLength: 32, Hash: crypto.SHA256}
		}, nil},
		{"RSASSA-PSS of another salt", func(m *message) {
			m.signer, m.certificates = rsaSigner, [][]byte{rsaSigner.cert.Raw}
			m.algorithm, m.options = pss(20), &rsa.PSSOptions{SaltLength: 32, Hash: crypto.SHA256}
		}, pkix.ErrSignature},
		{"SHA-1", func(m *message) {
			m.hash, m.options, m.hashOID, m.algorithm = crypto.SHA1, crypto.SHA1, pkix.OIDSHA1, ecdsaWith("1.2.840.10045.4.1")
		}, pkix.ErrWeakAlgorithm},
		{"SHA-224", func(m *message) {
			m.hash, m.options, m.hashOID, m.algorithm = crypto.SHA224, crypto.SHA224, pkix.OIDSHA224, ecdsaWith("1.2.840.10045.4.3.1")
		}, pkix.ErrAlgorithm},
		{"two hash functions", func(m *message) { m.algorithm = ecdsaWith("1.2.840.10045.4.3.3") }, pkix.ErrAlgorithm},
		{"RSA with an EC key", func(m *message) { m.algorithm = ecdsaWith(oidRSA) }, pkix.ErrAlgorithm},
		{"another digest", func(m *message) { m.digest = make([]byte, 32) }, ErrDigest},
		{"no digest", func(m *message) { m.digest = []byte{} }, ErrDigest},
		{"attributes of another type of content", func(m *message) { m.stated = "2.23.136.1.1.2" }, ErrDigest},
		{"another type of content", func(m *message) { m.kind, m.stated = "2.23.136.1.1.2", "2.23.136.1.1.2" }, ErrContentType},
		{"an attribute twice", func(m *message) { m.twice = true }, der.ErrMalformed},
		{"no certificate", func(m *message) { m.certificates = nil }, ErrCertificates},
		{"two certificates", func(m *message) { m.certificates = [][]byte{p256.cert.Raw, other.cert.Raw} }, ErrCertificates},
		{"what is no certificate", func(m *message) { m.certificates = [][]byte{{0x30, 0}} }, ErrCertificates},
		{"too many certificates", func(m *message) { m.certificates = slices.Repeat([][]byte{{0x30, 0}}, maxCertificates+1) }, der.ErrTooMany},
		{"certificate of a namesake", func(m *message) { m.certificates = [][]byte{other.cert.Raw} }, pkix.ErrSignature},
		{"certificate of another", func(m *message) { m.certificates, m.byKeyID = [][]byte{rsaSigner.cert.Raw}, true }, pkix.ErrAlgorithm},
		{"no signer", func(m *message) { m.signers = 0 }, ErrSigners},
		{"two signers", func(m *message) { m.signers = 2 }, ErrSigners},
		{"too many signers", func(m *message) { m.signers = maxSigners + 1 }, der.ErrTooMany},
	} {
		t.Run(tc.name, func(t *testing.T) {
			m := base
			tc.change(&m)
			o, err := Open(m.encode(t), nil)
			if !errors.Is(err, tc.want) {
				t.Fatalf("got %v, want %v", err, tc.want)
			}
			if err != nil {
				return
			}
			detached, err := Detach(m.encode(t))
			if err != nil || bytes.Contains(detached, m.content) {
				t.Fatalf("detached with its content: %v", err)
			}
			if _, err := Open(detached, m.content); err != nil || !bytes.Equal(o.Content, m.content) {
				t.Errorf("content %q; detached: %v", o.Content, err)
			}
			attached, err := Attach(detached, m.content)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := Open(attached, nil); err != nil {
				t.Errorf("attached again: %v", err)
			}
		})
	}

	// Every byte changed in turn: what still opens has the same content.
	good := base.encode(t)
	for i := range good {
		for bit := range 8 {
			changed := bytes.Clone(good)
			changed[i] ^= 1 << bit
			if o, err := Open(changed, nil); err == nil && (!bytes.Equal(o.Content, base.content) || !p256.key.Public().(*ecdsa.PublicKey).Equal(o.Certificate.PublicKey)) {
				t.Fatalf("byte %d: opened as %q", i, o.Content)
			}
		}
	}
	for n := range good {
		if _, err := Open(good[:n], nil); err == nil {
			t.Fatalf("opened with %d of %d bytes", n, len(good))
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for _, tc := range []struct {
		name string
		data []byte
		want error
	}{
		{"empty", nil, der.ErrMalformed},
		{"deep", bytes.Repeat([]byte{0x30, 0x80}, 100000), der.ErrTooDeep},
		{"no end", []byte{0x30, 0x80, 0x30, 0x80}, der.ErrMalformed},
		{"large", make([]byte, MaxBytes+1), der.ErrTooLarge},
		{"enveloped", der.Encode(der.TagSequence, der.EncodeOID("1.2.840.113549.1.7.3")), ErrNotSigned},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if _, err := Parse(tc.data); !errors.Is(err, tc.want) {
				t.Errorf("got %v, want %v", err, tc.want)
			}
		})
	}
}

func FuzzOpen(f *testing.F) {
	s := newSigner(f, ec(f, elliptic.P256()))
	content := []byte("what is signed")
	for _, detached := range []bool{false, true} {
		data, err := Sign(rand.Reader, content, s.cert, s.key, day, detached)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := Parse(data)
		if err != nil {
			return
		}
		for _, one := range m.Signers {
			if one.Verify(s.key.Public(), m.ContentType, m.Content) == nil && !bytes.Equal(m.Content, content) {
				t.Errorf("verified with another content")
			}
		}
	})
}
