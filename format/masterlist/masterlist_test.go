package masterlist

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
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ampoule/format/cms"
	"ampoule/format/der"
	"ampoule/format/pkix"
)

// Object identifiers of RFC 5652.
const (
	oidSignedData    = "1.2.840.113549.1.7.2"
	oidContentType   = "1.2.840.113549.1.9.3"
	oidMessageDigest = "1.2.840.113549.1.9.4"
	oidSigningTime   = "1.2.840.113549.1.9.5"
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

func listSigner(t testing.TB, parent party, usages ...asn1.ObjectIdentifier) party {
	return issue(t, x509.Certificate{
		Subject:            name.Name{Country: []string{"UT"}, CommonName: "signer"},
		KeyUsage:           x509.KeyUsageDigitalSignature,
		UnknownExtKeyUsage: usages, SubjectKeyId: []byte("list signer"),
	}, &parent)
}

var listUsage = asn1.ObjectIdentifier{2, 23, 136, 1, 1, 3}

// message is a master list in the making.
type message struct {
	certificates, carried [][]byte
	signer                party
	bySerial              bool
	attributes            [][]byte // replaced where set
	signedAt              string
	content               string // object identifier
	ber                   bool
	noAttributes          bool
}

func integer(n byte) []byte { return der.Encode(der.TagInteger, []byte{n}) }

func attribute(oid string, value []byte) []byte {
	return der.Encode(der.TagSequence, der.EncodeOID(oid), der.Encode(der.TagSet, value))
}

func (m message) encode(t testing.TB) []byte {
	t.Helper()
	if m.content == "" {
		m.content = oidMasterList
	}
	if m.signedAt == "" {
		m.signedAt = "261101000000Z"
	}
	content := der.Encode(der.TagSequence, integer(0), der.Encode(der.TagSet, m.certificates...))
	sum := sha256.Sum256(content)
	attributes := m.attributes
	if attributes == nil {
		attributes = [][]byte{
			attribute(oidContentType, der.EncodeOID(m.content)),
			attribute(oidSigningTime, der.Encode(der.TagUTCTime, []byte(m.signedAt))),
			attribute(oidMessageDigest, der.Encode(der.TagOctetString, sum[:])),
		}
	}
	signed := der.Encode(der.TagSet, attributes...)
	tagged := der.Encode(der.TagContext0, attributes...)
	if m.noAttributes {
		signed, tagged = content, nil
	}
	digest := sha256.Sum256(signed)
	signature, err := ecdsa.SignASN1(rand.Reader, m.signer.key, digest[:])
	if err != nil {
		t.Fatal(err)
	}
	id := der.Encode(der.TagContext0Primitive, m.signer.cert.SubjectKeyId)
	if m.bySerial {
		id = der.Encode(der.TagSequence, m.signer.cert.RawIssuer, der.Encode(der.TagInteger, m.signer.cert.SerialNumber.Bytes()))
	}
	sha := der.Encode(der.TagSequence, der.EncodeOID(pkix.OIDSHA256))
	info := der.Encode(der.TagSequence, integer(3), id, sha, tagged,
		der.Encode(der.TagSequence, der.EncodeOID("1.2.840.10045.4.3.2")), der.Encode(der.TagOctetString, signature))
	octets := der.Encode(der.TagOctetString, content)
	if m.ber {
		half := len(content) / 2
		octets = indefinite(der.TagOctetString|der.Constructed, der.Encode(der.TagOctetString, content[:half]), der.Encode(der.TagOctetString, content[half:]))
	}
	wrap := der.Encode
	if m.ber {
		wrap = indefinite
	}
	return wrap(der.TagSequence, der.EncodeOID(oidSignedData), wrap(der.TagContext0, wrap(der.TagSequence,
		integer(3), der.Encode(der.TagSet, sha),
		wrap(der.TagSequence, der.EncodeOID(m.content), wrap(der.TagContext0, octets)),
		der.Encode(der.TagContext0, m.carried...), der.Encode(der.TagSet, info))))
}

// indefinite writes an element whose end is marked.
func indefinite(tag byte, parts ...[]byte) []byte {
	return slices.Concat([]byte{tag, 0x80}, slices.Concat(parts...), []byte{0, 0})
}

func TestVerify(t *testing.T) {
	root, other := authority(t, "UT"), authority(t, "XX")
	signer := listSigner(t, root, listUsage)
	plain := listSigner(t, root)
	base := message{certificates: [][]byte{root.der, other.der}, carried: [][]byte{signer.der}, signer: signer}
	with := func(change func(*message)) message { m := base; change(&m); return m }
	unsigned := []byte("another content")
	sum := sha256.Sum256(unsigned)

	for _, tc := range []struct {
		name string
		m    message
		pin  crypto.PublicKey
		want error
	}{
		{"signer pinned", base, signer.cert.PublicKey, nil},
		{"its authority pinned", base, root.cert.PublicKey, nil},
		{"another key pinned", base, other.cert.PublicKey, ErrNotPinned},
		{"by issuer and serial", with(func(m *message) { m.bySerial = true }), root.cert.PublicKey, nil},
		{"BER", with(func(m *message) { m.ber = true }), root.cert.PublicKey, nil},
		{"without attributes", with(func(m *message) { m.noAttributes = true }), signer.cert.PublicKey, nil},
		{"signer pinned, not carried", with(func(m *message) { m.carried = nil }), signer.cert.PublicKey, nil},
		{"authority pinned, signer not carried", with(func(m *message) { m.carried = nil }), root.cert.PublicKey, pkix.ErrSignature},
		{"not a list signer", with(func(m *message) { m.signer, m.carried = plain, [][]byte{plain.der} }), root.cert.PublicKey, ErrSignerUsage},
		{"signed after its validity", with(func(m *message) { m.signedAt = "491101000000Z" }), root.cert.PublicKey, ErrSignerValidity},
		{"attributes of another content", with(func(m *message) {
			m.attributes = [][]byte{attribute(oidContentType, der.EncodeOID(oidMasterList)), attribute(oidMessageDigest, der.Encode(der.TagOctetString, sum[:]))}
		}), signer.cert.PublicKey, cms.ErrDigest},
		{"no digest", with(func(m *message) {
			m.attributes = [][]byte{attribute(oidContentType, der.EncodeOID(oidMasterList))}
		}), signer.cert.PublicKey, cms.ErrDigest},
	} {
		t.Run(tc.name, func(t *testing.T) {
			data := tc.m.encode(t)
			if !Is(data) {
				t.Error("is not taken for a master list")
			}
			l, err := Parse(data)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := l.Verify(tc.pin); !errors.Is(err, tc.want) {
				t.Errorf("got %v, want %v", err, tc.want)
			}
			var raw [][]byte
			for _, e := range l.Entries {
				raw = append(raw, e.Raw)
			}
			if diff := cmp.Diff([][]byte{root.der, other.der}, raw); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestParseRefuses(t *testing.T) {
	root := authority(t, "UT")
	good := message{certificates: [][]byte{root.der}, signer: root}
	for _, tc := range []struct {
		name string
		data []byte
		want error
	}{
		{"empty", nil, der.ErrMalformed},
		{"certificate", root.der, der.ErrMalformed},
		{"another content", message{certificates: good.certificates, signer: root, content: "1.2.840.113549.1.7.1"}.encode(t), ErrNotMasterList},
		{"attribute twice", message{signer: root, attributes: [][]byte{
			attribute(oidContentType, der.EncodeOID(oidMasterList)), attribute(oidContentType, der.EncodeOID(oidMasterList)),
		}}.encode(t), der.ErrMalformed},
		{"trailing", append(good.encode(t), 0), der.ErrMalformed},
		{"truncated", good.encode(t)[:200], der.ErrMalformed},
		{"deep", bytes.Repeat([]byte{0x30, 0x80}, 100000), der.ErrTooDeep},
		{"no end", []byte{0x30, 0x80, 0x30, 0x80}, der.ErrMalformed},
		{"length of four gigabytes", []byte{0x30, 0x84, 0xff, 0xff, 0xff, 0xff, 0}, der.ErrMalformed},
		{"large", make([]byte, cms.MaxBytes+1), der.ErrTooLarge},
		{"many", message{certificates: slices.Repeat([][]byte{{0x30, 0}}, MaxCertificates+1), signer: root}.encode(t), der.ErrTooMany},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if _, err := Parse(tc.data); !errors.Is(err, tc.want) {
				t.Errorf("got %v, want %v", err, tc.want)
			}
		})
	}
}

// TestChanged flips every byte of a list: none may verify with other contents.
func TestChanged(t *testing.T) {
	root := authority(t, "UT")
	data := message{certificates: [][]byte{root.der}, signer: root}.encode(t)
	for i := range data {
		changed := bytes.Clone(data)
		changed[i] ^= 1
		l, err := Parse(changed)
		if err != nil {
			continue
		}
		if _, err := l.Verify(root.cert.PublicKey); err == nil && (len(l.Entries) != 1 || !bytes.Equal(l.Entries[0].Raw, root.der)) {
			t.Fatalf("byte %d: verified with another content", i)
		}
	}
}

func FuzzParse(f *testing.F) {
	root := authority(f, "UT")
	for _, ber := range []bool{false, true} {
		f.Add(message{certificates: [][]byte{root.der}, carried: [][]byte{root.der}, signer: root, ber: ber}.encode(f))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		l, err := Parse(data)
		if err != nil {
			return
		}
		if _, err := l.Verify(root.cert.PublicKey); err == nil {
			for _, e := range l.Entries {
				if !bytes.Equal(e.Raw, root.der) {
					t.Error("verified with another certificate")
				}
			}
		}
	})
}
