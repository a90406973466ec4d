package trust

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"sync"
	"testing"
	"time"

	"ampoule/format/cose"

	"github.com/google/go-cmp/cmp"
)

var (
	from  = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	until = time.Date(2028, 1, 1, 0, 0, 0, 0, time.UTC)
)

func newECKey(t testing.TB, curve elliptic.Curve) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// RSA keys are slow to make, so each size has one.
var (
	rsa2048 = sync.OnceValues(func() (*rsa.PrivateKey, error) { return rsa.GenerateKey(rand.Reader, 2048) })
	rsa1024 = sync.OnceValues(func() (*rsa.PrivateKey, error) { return rsa.GenerateKey(rand.Reader, 1024) })
)

func newRSAKey(t testing.TB, make func() (*rsa.PrivateKey, error)) *rsa.PrivateKey {
	t.Helper()
	key, err := make()
	if err != nil {
		t.Skipf("this Go makes no such RSA key: %v", err)
	}
	return key
}

// certify makes a self-signed certificate of a country ("" for none).
func certify(t testing.TB, country string, key crypto.Signer, change func(c *x509.Certificate)) []byte {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(7), Subject: pkix.Name{CommonName: "Specimen signer"},
		NotBefore: from, NotAfter: until, KeyUsage: x509.KeyUsageDigitalSignature,
	}
	if country != "" {
		template.Subject.Country = []string{country}
	}
	if change != nil {
		change(template)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// dsc is a certificate of a fresh P-256 key.
func dsc(t testing.TB, country string) []byte {
	t.Helper()
	return certify(t, country, newECKey(t, elliptic.P256()), nil)
}

func authority(c *x509.Certificate) {
	c.IsCA, c.BasicConstraintsValid, c.KeyUsage = true, true, x509.KeyUsageCertSign
}

func TestUsages(t *testing.T) {
	arc := func(n ...int) asn1.ObjectIdentifier {
		return append(asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 1847, 2021, 1}, n...)
	}
	legacy := func(n int) asn1.ObjectIdentifier {
		return asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 0, 1847, 2021, 1, n}
	}
	key := newECKey(t, elliptic.P256())
	for _, tt := range []struct {
		name string
		oids []asn1.ObjectIdentifier
		want Usage
		word string
	}{
		{"none", nil, 0, "any"},
		{"test", []asn1.ObjectIdentifier{arc(1)}, UsageTest, "test"},
		{"vaccination", []asn1.ObjectIdentifier{arc(2)}, UsageVaccination, "vaccination"},
		{"recovery", []asn1.ObjectIdentifier{arc(3)}, UsageRecovery, "recovery"},
		{"test, legacy arc", []asn1.ObjectIdentifier{legacy(1)}, UsageTest, "test"},
		{"vaccination, legacy arc", []asn1.ObjectIdentifier{legacy(2)}, UsageVaccination, "vaccination"},
		{"recovery, legacy arc", []asn1.ObjectIdentifier{legacy(3)}, UsageRecovery, "recovery"},
		{"two of them, in both arcs", []asn1.ObjectIdentifier{arc(1), legacy(3), arc(1)}, UsageTest | UsageRecovery, "test+recovery"},
		{"beyond the three", []asn1.ObjectIdentifier{arc(4), arc(0)}, 0, "any"},
		{"below one of the three", []asn1.ObjectIdentifier{arc(2, 1)}, 0, "any"},
		{"unrelated", []asn1.ObjectIdentifier{{1, 3, 6, 1, 5, 5, 7, 3, 99}, {2, 2}}, 0, "any"},
		{"unrelated beside", []asn1.ObjectIdentifier{{1, 3, 6, 1, 5, 5, 7, 3, 99}, arc(2)}, UsageVaccination, "vaccination"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			k, err := NewKey(certify(t, "XA", key, func(c *x509.Certificate) { c.UnknownExtKeyUsage = tt.oids }))
			if err != nil {
				t.Fatal(err)
			}
			if k.Usages != tt.want || k.Usages.String() != tt.word {
				t.Errorf("%d %q, want %d %q", k.Usages, k.Usages, tt.want, tt.word)
			}
			for _, purpose := range []Usage{UsageTest, UsageVaccination, UsageRecovery} {
				if want := tt.want == 0 || tt.want&purpose != 0; k.Usages.Allows(purpose) != want {
					t.Errorf("allows %s: %v", purpose, !want)
				}
			}
		})
	}
}

func TestParseDomain(t *testing.T) {
	for _, tt := range []struct {
		code string
		want Domain
	}{
		{"DCC", DCC}, {"dcc", DCC}, {"DDCC", DDCC}, {"PH4H", PH4H}, {"ph4h", PH4H},
		{"ICVP", ICVP}, {"DICVP", ICVP}, {"dICVP", ICVP}, {"icvp", ICVP},
		{"IPS-PILGRIMAGE", Pilgrimage}, {"IPS", Pilgrimage}, {"ips", Pilgrimage},
		{"RACSEL-DDVC", "RACSEL-DDVC"}, {"DCCX", "DCCX"}, {"", AnyDomain},
	} {
		if got := ParseDomain(tt.code); got != tt.want {
			t.Errorf("%q: %q, want %q", tt.code, got, tt.want)
		}
	}
}

func TestNewKey(t *testing.T) {
	p256 := newECKey(t, elliptic.P256())
	_, edKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name    string
		key     crypto.Signer
		country string
		change  func(c *x509.Certificate)
		alg     cose.Algorithm
		weak    bool
		notes   []string
	}{
		{"P-256", p256, "XA", nil, cose.ES256, false, nil},
		{"RSA of 2,048 bits", newRSAKey(t, rsa2048), "XA", nil, cose.PS256, false, nil},
		{"RSA of 1,024 bits", newRSAKey(t, rsa1024), "XA", nil, cose.PS256, true, nil},
		{"P-384, which HCERT does not allow", newECKey(t, elliptic.P384()), "XA", nil, cose.NoAlgorithm, false, nil},
		{"Ed25519, which HCERT does not allow", edKey, "XA", nil, cose.NoAlgorithm, false, nil},
		{"without a country", p256, "", nil, cose.ES256, false, nil},
		{"an authority", p256, "XA", authority, cose.ES256, false, []string{"is-an-authority"}},
		{"two countries", p256, "XA", func(c *x509.Certificate) { c.Subject.Country = []string{"XA", "XB"} }, cose.ES256, false, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			der := certify(t, tt.country, tt.key, tt.change)
			k, err := NewKey(der)
			if err != nil {
				t.Fatal(err)
			}
			sum := sha256.Sum256(der)
			if k.ID != KeyID(sum[:8]) {
				t.Errorf("identifier %x", string(k.ID))
			}
			if k.Algorithm != tt.alg || k.Weak != tt.weak || k.Country != tt.country || !k.NotBefore.Equal(from) || !k.NotAfter.Equal(until) || k.Revoked {
				t.Errorf("%+v", k)
			}
			if diff := cmp.Diff(tt.notes, k.Notes); diff != "" {
				t.Error(diff)
			}
			if _, isECDSA := tt.key.(*ecdsa.PrivateKey); k.IsECDSA() != isECDSA {
				t.Errorf("IsECDSA %v", k.IsECDSA())
			}
		})
	}
	for _, data := range [][]byte{nil, []byte("no certificate"), dsc(t, "XA")[:100], append(dsc(t, "XA"), 0)} {
		if _, err := NewKey(data); !errors.Is(err, ErrCertificate) {
			t.Errorf("%.10q: %v", data, err)
		}
	}
	if _, err := NewKey(unknownAlgorithm(t)); !errors.Is(err, ErrPublicKey) {
		t.Errorf("a key of an unknown algorithm: %v", err)
	}
}

// unknownAlgorithm is a certificate whose key has an algorithm that nobody knows.
func unknownAlgorithm(t *testing.T) []byte {
	t.Helper()
	der := dsc(t, "XA")
	// id-ecPublicKey 1.2.840.10045.2.1 becomes 1.2.840.10045.2.99.
	old, changed := []byte{0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1}, []byte{0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 99}
	return bytes.Replace(der, old, changed, 1)
}

// key makes a key for Insert.
func key(t testing.TB, d Domain, participant string, id KeyID) *Key {
	t.Helper()
	k, err := NewKey(dsc(t, "XA"))
	if err != nil {
		t.Fatal(err)
	}
	k.Domain, k.Participant, k.ID, k.Source = d, participant, id, "specimen"
	return k
}

func TestInsert(t *testing.T) {
	one := key(t, DCC, "XXA", "kid-1")
	copyOf := func(change func(k *Key)) *Key {
		k := *one
		change(&k)
		return &k
	}
	for _, tt := range []struct {
		name string
		then *Key
		dup  bool
	}{
		{"the same again", copyOf(func(*Key) {}), true},
		{"the same from another source", copyOf(func(k *Key) { k.Source = "other" }), true},
		{"for another participant", copyOf(func(k *Key) { k.Participant = "XXB" }), false},
		{"in another domain", copyOf(func(k *Key) { k.Domain = DDCC }), false},
		{"under another identifier", copyOf(func(k *Key) { k.ID = "kid-2" }), false},
		{"revoked", copyOf(func(k *Key) { k.Revoked = true }), false},
		{"another key under the identifier", key(t, DCC, "XXA", "kid-1"), false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := new(List)
			l.Insert(one)
			l.Insert(tt.then)
			if tt.dup {
				want := []Drop{{Source: tt.then.Source, Entry: fmt.Sprintf("%x", "kid-1"), Participant: "XXA", Reason: "duplicate"}}
				if diff := cmp.Diff(want, l.Drops()); diff != "" || len(l.All()) != 1 {
					t.Errorf("%d keys, drops:\n%s", len(l.All()), diff)
				}
				return
			}
			if len(l.All()) != 2 || len(l.Drops()) != 0 {
				t.Errorf("%d keys, drops %v", len(l.All()), l.Drops())
			}
		})
	}
}

func TestKeys(t *testing.T) {
	l := new(List)
	dccA, dccB, ddcc := key(t, DCC, "XXA", "kid"), key(t, DCC, "XXB", "kid"), key(t, DDCC, "XXA", "kid")
	everywhere, other := key(t, AnyDomain, "XA", "kid"), key(t, DCC, "XXA", "kid-2")
	for _, k := range []*Key{dccA, everywhere, ddcc, dccB, other} {
		l.Insert(k)
	}
	for _, tt := range []struct {
		name   string
		domain Domain
		id     KeyID
		want   []*Key
	}{
		{"every key of the domain, and those for all", DCC, "kid", []*Key{everywhere, dccA, dccB}},
		{"another domain", DDCC, "kid", []*Key{everywhere, ddcc}},
		{"a domain without keys", ICVP, "kid", []*Key{everywhere}},
		{"keys for all are not those of every domain", AnyDomain, "kid", []*Key{everywhere}},
		{"another identifier", DCC, "kid-2", []*Key{other}},
		{"an unknown identifier", DCC, "kid-3", nil},
		{"no identifier", DCC, "", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for range 2 { // asking must not change the list
				got := l.Keys(Scope{Domain: tt.domain}, tt.id)
				if !slices.Equal(got, tt.want) {
					t.Errorf("%d keys, want %d", len(got), len(tt.want))
				}
			}
		})
	}
	for _, l := range []*List{nil, new(List)} {
		if got := l.Keys(Scope{Domain: DCC}, "kid"); got != nil {
			t.Errorf("an empty list has %v", got)
		}
	}
}

// TestCandidates: a flood of colliding identifiers is cut off.
func TestCandidates(t *testing.T) {
	for _, n := range []int{15, 16, 17, 40} {
		l := new(List)
		for i := range n {
			k := key(t, DCC, fmt.Sprint(i), "kid")
			l.Insert(k)
		}
		mine := key(t, AnyDomain, "the operator's own", "kid")
		l.Insert(mine)
		n++
		got := l.Keys(Scope{Domain: DCC}, "kid")
		if len(got) != min(n, 16) {
			t.Errorf("%d of %d keys", len(got), n)
		}
		if got[0] != mine || got[1].Participant != "0" {
			t.Error("not the operator's own first, and then the order of the sources")
		}
	}
}

func TestElsewhere(t *testing.T) {
	l := new(List)
	for _, k := range []*Key{key(t, DDCC, "XXA", "kid"), key(t, DDCC, "XXB", "kid"), key(t, PH4H, "XXA", "kid"), key(t, DCC, "XXA", "other")} {
		l.Insert(k)
	}
	if diff := cmp.Diff([]Domain{DDCC, PH4H}, l.Elsewhere("kid")); diff != "" {
		t.Error(diff)
	}
	if got := l.Elsewhere("nowhere"); got != nil {
		t.Errorf("nowhere is in %v", got)
	}
}

// TestDropReason: a drop says its word, and more only where there is more.
func TestDropReason(t *testing.T) {
	l := new(List)
	l.drop("s", "e", "p", ErrDeleted)
	l.drop("s", "e", "p", fmt.Errorf("its usage is TLS: %w", ErrNotSigner))
	l.drop("s", "e", "p", errors.New("something else"))
	want := []Drop{
		{"s", "e", "p", "deleted", ""},
		{"s", "e", "p", "not-a-signer", "its usage is TLS: not-a-signer"},
		{"s", "e", "p", "unreadable", "something else"},
	}
	if diff := cmp.Diff(want, l.Drops()); diff != "" {
		t.Error(diff)
	}
}
