package trust

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"math/big"
	"os"
	"slices"
	"testing"
	"time"

	"ampoule/format"
	x509cert "ampoule/format/pkix"

	"github.com/google/go-cmp/cmp"
)

var sealDay = time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)

// issued is a certificate with its key, of the passport world.
type issued struct {
	key  crypto.Signer
	der  []byte
	cert *x509.Certificate
}

func issueCert(t testing.TB, template *x509.Certificate, key crypto.Signer, issuer *x509.Certificate, by crypto.Signer) issued {
	t.Helper()
	if key == nil {
		key = newECKey(t, elliptic.P256())
	}
	if template.SerialNumber == nil {
		template.SerialNumber = big.NewInt(1)
	}
	if template.NotAfter.IsZero() {
		template.NotBefore, template.NotAfter = sealDay.AddDate(-1, 0, 0), sealDay.AddDate(4, 0, 0)
	}
	if issuer == nil {
		issuer, by = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, issuer, key.Public(), by)
	if err != nil {
		t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return issued{key, der, c}
}

func csca(t testing.TB, country string, change ...func(*x509.Certificate)) issued {
	template := &x509.Certificate{
		Subject: pkix.Name{Country: []string{country}, CommonName: "CSCA " + country},
		IsCA:    true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign, SubjectKeyId: []byte("key of " + country),
		NotBefore: sealDay.AddDate(-4, 0, 0), NotAfter: sealDay.AddDate(9, 0, 0),
	}
	for _, f := range change {
		f(template)
	}
	return issueCert(t, template, nil, nil, nil)
}

var (
	sealUsageOID  = asn1.ObjectIdentifier{2, 23, 136, 1, 1, 14, 2}
	documentTypes = asn1.ObjectIdentifier{2, 23, 136, 1, 1, 6, 2}
)

// documentList is {version 0, SET OF PrintableString}.
func documentList(types ...string) pkix.Extension {
	var list struct {
		Version int
		Types   []string `asn1:"set"`
	}
	list.Types = types
	value, err := asn1.Marshal(list)
	if err != nil {
		panic(err)
	}
	return pkix.Extension{Id: documentTypes, Value: value}
}

func sealSigner(t testing.TB, by issued, country string, change ...func(*x509.Certificate)) issued {
	template := &x509.Certificate{
		Subject:  pkix.Name{Country: []string{country}, CommonName: "01"},
		KeyUsage: x509.KeyUsageDigitalSignature, UnknownExtKeyUsage: []asn1.ObjectIdentifier{sealUsageOID},
	}
	for _, f := range change {
		f(template)
	}
	return issueCert(t, template, nil, by.cert, by.key)
}

func authorityOf(t testing.TB, der []byte) *Authority {
	t.Helper()
	a, err := NewAuthority(der)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestVerifySigner(t *testing.T) {
	root, old := csca(t, "AU"), csca(t, "NZ", func(c *x509.Certificate) { c.NotAfter = sealDay.AddDate(0, -1, 0) })
	unknown := csca(t, "CA")
	early := csca(t, "FJ", func(c *x509.Certificate) { c.NotBefore = sealDay.AddDate(0, 1, 0) })
	noID := csca(t, "WS", func(c *x509.Certificate) { c.SubjectKeyId = nil })
	l := new(List)
	for _, a := range []issued{root, old, early, noID} {
		l.InsertAuthority(authorityOf(t, a.der))
	}

	// Made by hand: an attacker writes the authority's name and key identifier into
	// a certificate and signs it with a key of his own.
	spoof := func() []byte {
		impostor := csca(t, "AU")
		return sealSigner(t, impostor, "AU").der
	}()
	named := csca(t, "AU", func(c *x509.Certificate) { c.Subject.CommonName = "another name" })
	named.cert.PublicKey = root.key.Public()
	renamed := issueCert(t, &x509.Certificate{
		Subject: pkix.Name{Country: []string{"AU"}}, UnknownExtKeyUsage: []asn1.ObjectIdentifier{sealUsageOID},
	}, nil, named.cert, root.key)

	for _, tc := range []struct {
		name, state string
		der         []byte
		key         bool
		want        error
	}{
		{"good", "AUS", sealSigner(t, root, "AU").der, true, nil},
		{"named as a list of documents asks", "AUS", sealSigner(t, root, "AU", func(c *x509.Certificate) { c.ExtraExtensions = []pkix.Extension{documentList("NV")} }).der, true, nil},
		{"empty list of documents", "AUS", sealSigner(t, root, "AU", func(c *x509.Certificate) { c.ExtraExtensions = []pkix.Extension{{Id: documentTypes}} }).der, true, nil},
		{"authority without identifier", "WSM", sealSigner(t, noID, "WS").der, true, nil},

		{"not a certificate", "AUS", []byte{0x30, 0}, false, ErrCertificate},
		{"unknown authority", "CAN", sealSigner(t, unknown, "CA").der, false, ErrUnknownIssuer},
		{"copied name and identifier", "AUS", spoof, false, ErrChain},
		{"right key under another name", "AUS", renamed.der, false, ErrChain},
		{"self-made", "AUS", issueCert(t, &x509.Certificate{Subject: root.cert.Subject, UnknownExtKeyUsage: []asn1.ObjectIdentifier{sealUsageOID}}, nil, nil, nil).der, false, ErrChain},

		{"another state's name", "NZL", sealSigner(t, root, "AU").der, true, ErrSignerState},
		{"no state", "", sealSigner(t, root, "AU").der, true, ErrSignerState},
		{"signer of another country", "AUS", sealSigner(t, root, "NZ").der, true, ErrSignerState},
		{"expired", "AUS", sealSigner(t, root, "AU", func(c *x509.Certificate) {
			c.NotBefore, c.NotAfter = sealDay.AddDate(-2, 0, 0), sealDay.Add(-time.Second)
		}).der, true, ErrSignerExpired},
		{"not yet valid", "AUS", sealSigner(t, root, "AU", func(c *x509.Certificate) {
			c.NotBefore, c.NotAfter = sealDay.Add(time.Second), sealDay.AddDate(1, 0, 0)
		}).der, true, ErrSignerEarly},
		{"authority expired", "NZL", sealSigner(t, old, "NZ").der, true, ErrAuthorityExpired},
		{"authority not yet valid", "FJI", sealSigner(t, early, "FJ").der, true, ErrAuthorityEarly},
		{"passport signer", "AUS", sealSigner(t, root, "AU", func(c *x509.Certificate) { c.UnknownExtKeyUsage = nil }).der, true, ErrSignerUsage},
		{"web server", "AUS", sealSigner(t, root, "AU", func(c *x509.Certificate) {
			c.UnknownExtKeyUsage, c.ExtKeyUsage = nil, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageAny}
		}).der, true, ErrSignerUsage},
		{"for other documents", "AUS", sealSigner(t, root, "AU", func(c *x509.Certificate) { c.ExtraExtensions = []pkix.Extension{documentList("P", "ID")} }).der, true, ErrSignerUsage},
		{"may not sign", "AUS", sealSigner(t, root, "AU", func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageKeyAgreement }).der, true, ErrSignerUsage},
		{"an authority", "AUS", root.der, true, ErrSignerUsage},
	} {
		t.Run(tc.name, func(t *testing.T) {
			k, err := l.VerifySigner(tc.der, tc.state, sealDay)
			if (k != nil) != tc.key || !errors.Is(err, tc.want) {
				t.Fatalf("key %v, %v; want %v", k, err, tc.want)
			}
			if tc.want == nil {
				if k.Participant != tc.state || k.Domain != VDSNC || k.ID != DeriveKeyID(tc.der) || k.Country == "" || k.NotAfter.IsZero() {
					t.Errorf("%+v", k)
				}
			} else if format.Reason(err, "") != tc.want.Error() {
				t.Errorf("reason %s, want %s", format.Reason(err, ""), tc.want)
			}
		})
	}
	if k, err := (*List)(nil).VerifySigner(sealSigner(t, root, "AU").der, "AUS", sealDay); k != nil || !errors.Is(err, ErrUnknownIssuer) {
		t.Errorf("no list: %v, %v", k, err)
	}
}

// TestRenewedAuthority: one key in two certificates is valid while one of them is.
func TestRenewedAuthority(t *testing.T) {
	old := csca(t, "AU", func(c *x509.Certificate) { c.NotAfter = sealDay.AddDate(0, -1, 0) })
	renewed := *old.cert
	renewed.NotAfter = sealDay.AddDate(5, 0, 0)
	fresh := issueCert(t, &renewed, old.key, nil, nil)
	signer := sealSigner(t, old, "AU")
	for _, order := range [][]issued{{old, fresh}, {fresh, old}} {
		l := new(List)
		for _, a := range order {
			l.InsertAuthority(authorityOf(t, a.der))
		}
		if k, err := l.VerifySigner(signer.der, "AUS", sealDay); k == nil || err != nil {
			t.Errorf("%v, %v", k, err)
		}
	}
}

// TestWeakChain: a signer's certificate under SHA-1 could be made by a collision.
func TestWeakChain(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	root := issueCert(t, &x509.Certificate{
		Subject: pkix.Name{Country: []string{"AU"}}, IsCA: true, BasicConstraintsValid: true, SubjectKeyId: []byte("x"), NotBefore: sealDay.AddDate(-1, 0, 0), NotAfter: sealDay.AddDate(9, 0, 0),
	}, key, nil, nil)
	signer := sealSigner(t, root, "AU")
	l := new(List)
	l.InsertAuthority(authorityOf(t, root.der))
	if k, err := l.VerifySigner(resignSHA1(t, signer.der, key), "AUS", sealDay); k != nil || !errors.Is(err, ErrChain) || !errors.Is(err, x509cert.ErrWeakAlgorithm) {
		t.Errorf("%v, %v", k, err)
	}
	if k, err := l.VerifySigner(signer.der, "AUS", sealDay); k == nil || err != nil {
		t.Errorf("%v, %v", k, err)
	}
}

// resignSHA1 changes sha256WithRSAEncryption to sha1WithRSAEncryption, inside and
// outside, and signs again.
func resignSHA1(t *testing.T, der []byte, key *rsa.PrivateKey) []byte {
	t.Helper()
	var c struct {
		TBS       asn1.RawValue
		Algorithm pkix.AlgorithmIdentifier
		Signature asn1.BitString
	}
	if _, err := asn1.Unmarshal(der, &c); err != nil {
		t.Fatal(err)
	}
	tbs := slices.Clone(c.TBS.FullBytes)
	oid := []byte{0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 11}
	for i := range tbs {
		if i+len(oid) <= len(tbs) && slices.Equal(tbs[i:i+len(oid)], oid) {
			tbs[i+len(oid)-1] = 5
		}
	}
	sum := sha1.Sum(tbs)
	signature, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA1, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	c.TBS = asn1.RawValue{FullBytes: tbs}
	c.Algorithm.Algorithm = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 5}
	c.Signature = asn1.BitString{Bytes: signature, BitLength: 8 * len(signature)}
	out, err := asn1.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestPinnedSigner(t *testing.T) {
	root := csca(t, "AU")
	// ICAO's sample of 2021 has no extensions: no chain leads to it, a file may.
	signer := sealSigner(t, root, "AU", func(c *x509.Certificate) { c.KeyUsage, c.UnknownExtKeyUsage = 0, nil })
	l := new(List)
	if err := l.Add(Source{Name: "dsc.pem", Data: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: signer.der})}); err != nil {
		t.Fatal(err)
	}
	if len(l.Authorities()) != 0 {
		t.Error("a signer became an authority")
	}
	for _, tc := range []struct {
		state string
		now   time.Time
		want  error
	}{
		{"AUS", sealDay, nil},
		{"NZL", sealDay, ErrSignerState},
		{"AUS", sealDay.AddDate(20, 0, 0), ErrSignerExpired},
		{"AUS", sealDay.AddDate(-20, 0, 0), ErrSignerEarly},
	} {
		if k, err := l.VerifySigner(signer.der, tc.state, tc.now); k == nil || !errors.Is(err, tc.want) {
			t.Errorf("%s at %s: %v, want %v", tc.state, tc.now, err, tc.want)
		}
	}
	l.All()[0].Revoked = true
	if k, err := l.VerifySigner(signer.der, "AUS", sealDay); k == nil || !errors.Is(err, ErrSignerRevoked) {
		t.Errorf("revoked: %v", err)
	}
	if k, err := l.VerifySigner(sealSigner(t, root, "AU").der, "AUS", sealDay); k != nil || !errors.Is(err, ErrUnknownIssuer) {
		t.Errorf("another signer: %v, %v", k, err)
	}
}

// masterList makes a signed list of certificates.
func masterList(t testing.TB, signer issued, certificates ...[]byte) []byte {
	t.Helper()
	marshal := func(v any, params string) []byte {
		out, err := asn1.MarshalWithParams(v, params)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	list := struct {
		Version int
		List    []asn1.RawValue `asn1:"set"`
	}{}
	for _, der := range certificates {
		list.List = append(list.List, asn1.RawValue{FullBytes: der})
	}
	content := marshal(list, "")
	sum := sha256.Sum256(content)
	signature, err := ecdsa.SignASN1(rand.Reader, signer.key.(*ecdsa.PrivateKey), sum[:])
	if err != nil {
		t.Fatal(err)
	}
	sha := pkix.AlgorithmIdentifier{Algorithm: asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 1}}
	type encapsulated struct {
		Type    asn1.ObjectIdentifier
		Content []byte `asn1:"explicit,tag:0"`
	}
	type signerInfo struct {
		Version   int
		KeyID     []byte `asn1:"tag:0"`
		Digest    pkix.AlgorithmIdentifier
		Algorithm pkix.AlgorithmIdentifier
		Signature []byte
	}
	type signedData struct {
		Version int
		Digests []pkix.AlgorithmIdentifier `asn1:"set"`
		Encap   encapsulated
		Infos   []signerInfo `asn1:"set"`
	}
	return marshal(struct {
		Type    asn1.ObjectIdentifier
		Content signedData `asn1:"explicit,tag:0"`
	}{asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 2}, signedData{
		3, []pkix.AlgorithmIdentifier{sha}, encapsulated{asn1.ObjectIdentifier{2, 23, 136, 1, 1, 2}, content},
		[]signerInfo{{3, []byte("x"), sha, pkix.AlgorithmIdentifier{Algorithm: asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 2}}, signature}},
	}}, "")
}

func TestAddMasterList(t *testing.T) {
	root, signer := csca(t, "AU"), csca(t, "NZ")
	explicit, err := os.ReadFile("../format/pkix/testdata/brainpool-explicit.der")
	if err != nil {
		t.Fatal(err)
	}
	dsc := sealSigner(t, root, "AU")
	data := masterList(t, signer, root.der, explicit, dsc.der, []byte{0x30, 0}, root.der)
	l := new(List)
	if err := l.Add(Source{Name: "ml", Data: data}); !errors.Is(err, ErrNoPin) {
		t.Errorf("without a pin: %v", err)
	}
	if err := l.Add(Source{Name: "ml", Data: data, Pins: []crypto.PublicKey{root.cert.PublicKey}}); !errors.Is(err, ErrProof) {
		t.Errorf("under another key: %v", err)
	}
	if len(l.Authorities()) != 0 {
		t.Fatal("a refused list left authorities")
	}
	if err := l.Add(Source{Name: "ml", Data: data, Pins: []crypto.PublicKey{root.cert.PublicKey, signer.cert.PublicKey}}); err != nil {
		t.Fatal(err)
	}
	var got [][2]string
	for _, a := range l.Authorities() {
		got = append(got, [2]string{a.Participant, a.Source})
	}
	if diff := cmp.Diff([][2]string{{"AUS", "ml"}, {"UTO", "ml"}}, got); diff != "" {
		t.Error(diff)
	}
	var reasons []string
	for _, d := range l.Drops() {
		reasons = append(reasons, d.Reason)
	}
	slices.Sort(reasons)
	if diff := cmp.Diff([]string{"duplicate", "not-an-authority", "unreadable-certificate"}, reasons); diff != "" {
		t.Error(diff)
	}
	if k, err := l.VerifySigner(dsc.der, "AUS", sealDay); k == nil || err != nil {
		t.Errorf("%v, %v", k, err)
	}
	if len(l.All()) != 0 {
		t.Error("an authority of a list became a signer's key")
	}

	// The same authority from an operator's file, which crypto/x509 cannot read.
	l = new(List)
	if err := l.Add(Source{Name: "csca.pem", Data: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: explicit})}); err != nil || len(l.Authorities()) != 1 || len(l.Drops()) != 0 {
		t.Errorf("%v, %v, %v", err, l.Authorities(), l.Drops())
	}
	pins, err := ParsePin(explicit)
	if err != nil || len(pins) != 1 {
		t.Errorf("as a pin: %v", err)
	}
}

func TestSameState(t *testing.T) {
	for _, tc := range []struct {
		state, participant string
		want               bool
	}{
		{"AUS", "AUS", true}, {"AUS", "AU", true}, {"D", "DEU", true}, {"DEU", "DE", true}, {"RKS", "XKX", true},
		{"RKS", "KS", true}, {"UTO", "UTO", true}, {"UTO", "UT", true}, {"EUE", "EU", true}, {"UTP", "UTP", true},
		{"AUS", "AUT", false}, {"", "", false}, {"", "AUS", false}, {"UTO", "", false}, {"aus", "AUS", false}, {"UTP", "UP", false},
	} {
		if got := sameState(tc.state, tc.participant); got != tc.want {
			t.Errorf("%q, %q: %v", tc.state, tc.participant, got)
		}
	}
}

func TestBareAuthority(t *testing.T) {
	root := csca(t, "AU")
	l := new(List)
	l.InsertAuthority(NewBareAuthority("AUS", KeyID(root.cert.SubjectKeyId), root.key.Public()))
	if k, err := l.VerifySigner(sealSigner(t, root, "AU").der, "AUS", sealDay); k == nil || err != nil {
		t.Errorf("%v, %v", k, err)
	}
	if k, err := l.VerifySigner(sealSigner(t, csca(t, "AU"), "AU").der, "AUS", sealDay); k != nil || !errors.Is(err, ErrChain) {
		t.Errorf("%v, %v", k, err)
	}
}
