package verifier

import (
	"bytes"
	"compress/zlib"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/binary"
	"math"
	"math/big"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"ampoule/cert"
	"ampoule/format/cbor"
	"ampoule/format/cose"
	"ampoule/trust"
)

// The clock of the tests, and the life of ordinary keys around it.
var (
	noon   = time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	issued = time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	ends   = time.Date(2027, 3, 1, 0, 0, 0, 0, time.UTC)
	born   = time.Date(2025, 10, 1, 0, 0, 0, 0, time.UTC)
	dies   = time.Date(2028, 10, 1, 0, 0, 0, 0, time.UTC)
)

// secret stands in every name and identifier of the tests, so that its
// appearance anywhere else is a leak.
const secret = "SPECIMENMARK"

// uvci is upper case, as its specification wants.
const uvci = "URN:UVCI:01:XA:" + secret + "01#7"

// The OIDs of the key usages, in the arc and in the one with the stray zero.
var (
	usageArc       = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 1847, 2021, 1}
	legacyUsageArc = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 0, 1847, 2021, 1}
)

func usage(arc asn1.ObjectIdentifier, n int) asn1.ObjectIdentifier {
	return append(slices.Clone(arc), n)
}

// ecKey makes a key from a name, the same in every process: the workers of a
// fuzz run must know each other's signatures.
func ecKey(t testing.TB, curve elliptic.Curve, name string) *ecdsa.PrivateKey {
	t.Helper()
	scalar := make([]byte, (curve.Params().BitSize+7)/8)
	sum := sha256.Sum256([]byte("scalar of " + name))
	copy(scalar[len(scalar)-len(sum):], sum[:])
	key, err := ecdsa.ParseRawPrivateKey(curve, scalar)
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

func rsaKey(t testing.TB, make func() (*rsa.PrivateKey, error)) *rsa.PrivateKey {
	t.Helper()
	key, err := make()
	if err != nil {
		t.Skipf("this Go makes no such RSA key: %v", err)
	}
	return key
}

// signer is a key with its certificate.
type signer struct {
	key crypto.Signer
	der []byte
	kid []byte
}

// mintSCA makes a signing authority of a country.
func mintSCA(t testing.TB, country string) (*x509.Certificate, crypto.Signer) {
	t.Helper()
	key := ecKey(t, elliptic.P256(), "SCA of "+country)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{Country: []string{country}, CommonName: "Specimen authority"},
		NotBefore: born, NotAfter: dies, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return c, key
}

// mint makes a document signer of a country, valid from born to dies.
func mint(t testing.TB, country string, key crypto.Signer, usages ...asn1.ObjectIdentifier) signer {
	t.Helper()
	return mintDated(t, country, key, born, dies, usages...)
}

func mintDated(t testing.TB, country string, key crypto.Signer, from, until time.Time, usages ...asn1.ObjectIdentifier) signer {
	t.Helper()
	sca, scaKey := mintSCA(t, country)
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{Country: []string{country}, CommonName: "Specimen signer"},
		NotBefore: from, NotAfter: until, KeyUsage: x509.KeyUsageDigitalSignature, UnknownExtKeyUsage: usages,
	}, sca, key.Public(), scaKey)
	if err != nil {
		t.Fatal(err)
	}
	id := trust.DeriveKeyID(der)
	return signer{key, der, []byte(id)}
}

// net is a network of participants, made by the test.
type net struct {
	*Verifier
	t    testing.TB
	list *trust.List
	dsc  signer // of participant XXA, P-256, for any usage
}

// newNet makes a verifier that trusts one key of participant XXA for vaccination,
// test and every other certificate of the domains under test.
func newNet(t testing.TB) *net {
	t.Helper()
	catalogue, err := cert.ReadCatalogue([]byte(`{"source": "specimen list", "codes": [
		{"id": "YF-1", "display": "Specimen yellow fever vaccine", "disease": "yellow-fever"},
		{"id": "PV-1", "display": "Specimen polio vaccine", "disease": "polio"},
		{"id": "NN-1", "display": "Specimen vaccine of no disease"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	n := &net{t: t, list: new(trust.List)}
	n.Verifier = &Verifier{Trust: n.list, Catalogue: catalogue, Now: func() time.Time { return noon }}
	n.dsc = mint(t, "XA", ecKey(t, elliptic.P256(), "DSC of XXA"))
	// Not the derived identifier, which a random signature changes with every run.
	n.dsc.kid = []byte("XXA-dsc1")
	for _, d := range []trust.Domain{trust.DCC, trust.ICVP, trust.DDCC, trust.PH4H} {
		n.enlist(d, "XXA", n.dsc)
	}
	return n
}

// enlist inserts a signer's key under its identifier.
func (n *net) enlist(d trust.Domain, participant string, s signer) *trust.Key {
	n.t.Helper()
	k, err := trust.NewKey(s.der)
	if err != nil {
		n.t.Fatal(err)
	}
	k.Domain, k.Participant, k.Source, k.ID = d, participant, "specimen list", trust.KeyID(s.kid)
	n.list.Insert(k)
	return k
}

// only forgets all keys and trusts this one.
func (n *net) only(d trust.Domain, participant string, s signer) *trust.Key {
	n.t.Helper()
	n.list = new(trust.List)
	n.Trust = n.list
	return n.enlist(d, participant, s)
}

func (n *net) at(t time.Time) { n.Now = func() time.Time { return t } }

// alter changes the policy of a domain.
func (n *net) alter(d trust.Domain, f func(p *Policy)) {
	p := n.policy(d)
	f(&p)
	if n.Policies == nil {
		n.Policies = map[trust.Domain]Policy{}
	}
	n.Policies[d] = p
}

// m is a CBOR map as a list of keys and values: order and duplicates are the
// case's own.
type m []any

// list is a CBOR array, tag a tagged item, raw an encoding as it stands.
type (
	list []any
	tag  struct {
		number uint64
		of     any
	}
	raw []byte
)

func encode(v any) []byte { return appendItem(nil, v) }

func appendItem(dst []byte, v any) []byte {
	switch v := v.(type) {
	case nil:
		return cbor.AppendNull(dst)
	case raw:
		return append(dst, v...)
	case []byte:
		return cbor.AppendBytes(dst, v)
	case string:
		return cbor.AppendText(dst, v)
	case int:
		return cbor.AppendInt(dst, int64(v))
	case int64:
		return cbor.AppendInt(dst, v)
	case time.Time:
		return cbor.AppendInt(dst, v.Unix())
	case bool:
		if v {
			return append(dst, 0xf5)
		}
		return append(dst, 0xf4)
	case float64:
		return binary.BigEndian.AppendUint64(append(dst, 0xfb), math.Float64bits(v))
	case list:
		dst = cbor.AppendArray(dst, len(v))
		for _, e := range v {
			dst = appendItem(dst, e)
		}
		return dst
	case m:
		dst = cbor.AppendMap(dst, len(v)/2)
		for _, e := range v {
			dst = appendItem(dst, e)
		}
		return dst
	case tag:
		return appendItem(cbor.AppendTag(dst, v.number), v.of)
	}
	panic("the kit writes no such type")
}

// with returns the map with a value replaced, or added at the end; without
// leaves a key out.
func (p m) with(key, value any) m {
	out := slices.Clone(p)
	for i := 0; i < len(out); i += 2 {
		if out[i] == key {
			out[i+1] = value
			return out
		}
	}
	return append(out, key, value)
}

func (p m) without(key any) m {
	for i := 0; i < len(p); i += 2 {
		if p[i] == key {
			return slices.Delete(slices.Clone(p), i, i+2)
		}
	}
	return slices.Clone(p)
}

// The ordinary payloads. Every name and identifier holds the secret.

func icvp3() m {
	return m{"n", "Specimen " + secret, "s", "female", "v", "1.0.0", "id", secret + "99", "gn", secret + " Parent", "nt", "XXA",
		"vx", m{"bo", secret + "-LOT", "cn", secret + " Clinician", "dv", "2026-02-20", "is", "XXA", "vp", "YF-1"}, "dob", "1990-02-03"}
}

func icvp2() m {
	return m{"n", "Specimen " + secret, "dob", "1990-02-03", "s", "female", "ntl", "XXA", "nid", secret,
		"v", m{"vp", "YF-1", "dt", "2026-02-20", "cn", secret, "is", "XXA", "bo", secret, "vls", "2026-03-02", "vle", "2036-03-02"}}
}

func icvp1() m {
	return m{"n", "Specimen " + secret, "dob", "1990-02-03", "s", "F", "ntl", "XXA", "nid", secret, "gn", secret,
		"v", m{"dn", "Primary", "tg", "1D47", "vp", "XM0N24", "mp", "Specimen", "ma", "Maker", "mid", "1", "dt", "2026-02-20",
			"bo", secret, "vls", "2026-03-02", "vle", "2036-03-02", "cn", secret, "is", "XXA"}}
}

// dose changes the one dose of an ICVP.
func dose(p m, key string, value any) m {
	for _, at := range []string{"vx", "v"} {
		for i := 0; i < len(p); i += 2 {
			if d, ok := p[i+1].(m); ok && p[i] == at {
				return p.with(at, d.with(key, value))
			}
		}
	}
	panic("no dose")
}

func nam() m {
	return m{"fn", secret, "gn", "Specimen", "fnt", secret, "gnt", "SPECIMEN"}
}

func entryV() m {
	return m{"ci", uvci, "co", "AT", "dn", 2, "dt", "2026-02-20", "is", "Specimen authority", "ma", "ORG-100030215",
		"mp", "EU/1/20/1528", "sd", 2, "tg", "840539006", "vp", "1119349007"}
}

func entryT() m {
	return m{"tg", "840539006", "tt", "LP6464-4", "nm", "Specimen PCR", "sc", "2026-02-20T10:00:00Z", "tr", "260415000",
		"tc", "Specimen centre", "co", "AT", "is", "Specimen authority", "ci", uvci}
}

func entryR() m {
	return m{"tg", "840539006", "fr", "2026-01-01", "co", "AT", "is", "Specimen authority", "df", "2026-02-01", "du", "2027-01-01", "ci", uvci}
}

func dcc(group string, entries ...any) m {
	return m{group, list(entries), "dob", "1990-02-03", "nam", nam(), "ver", "1.3.2"}
}

func ddccV() m {
	return m{"name", "Specimen " + secret, "birthDate", "1990-02-03", "identifier", secret,
		"certificate", m{"issuer", "XXA", "hcid", secret, "version", "1", "period", m{"start", "2026-03-01", "end", "2027-03-01"}},
		"vaccination", m{"vaccine", m{"code", "XM68M6", "system", "specimen"}, "brand", m{"code", "B"}, "lot", secret,
			"date", "2026-02-20", "dose", 1, "country", m{"code", "XXA"}}}
}

// code is one HCERT in the making. The zero value of a part means the ordinary
// one.
type code struct {
	signer    signer
	alg       any // in the protected header: default the key's own; noHeader for none
	kid       any // in the protected header: default the signer's; noHeader for none
	protected any // the whole protected header, instead of alg and kid
	open      m   // the unprotected header
	subclaim  int
	payload   any
	claims    any // the whole claims set, instead of the default around payload
	exp       any // default ends for a DCC, none for others
	sign      func(toSign []byte) []byte
	message   func(protected, payload, signature []byte) []byte // instead of tag 18
}

type none struct{}

var noHeader none

// claimsOf returns the ordinary claims around a payload.
func claimsOf(subclaim int, payload any) m {
	c := m{1, "XXA", 4, ends, 6, issued, -260, m{subclaim, payload}}
	if subclaim == -6 {
		return c.without(4)
	}
	return c
}

// toSign is the Sig_structure of RFC 9052 section 4.4, made by hand.
func toSign(protected, payload []byte) []byte {
	return encode(list{"Signature1", protected, []byte{}, payload})
}

// signature makes what the key makes: r || s for ECDSA, PSS for RSA.
func (s signer) signature(t testing.TB, message []byte) []byte {
	t.Helper()
	digest := sha256.Sum256(message)
	switch k := s.key.(type) {
	case *ecdsa.PrivateKey:
		r, sv, err := ecdsa.Sign(rand.Reader, k, digest[:])
		if err != nil {
			t.Fatal(err)
		}
		size := (k.Curve.Params().BitSize + 7) / 8
		out := make([]byte, 2*size)
		r.FillBytes(out[:size])
		sv.FillBytes(out[size:])
		return out
	case *rsa.PrivateKey:
		out, err := rsa.SignPSS(rand.Reader, k, crypto.SHA256, digest[:], &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash})
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	t.Fatalf("no signature with %T", s.key)
	return nil
}

// cose returns the signed message.
func (n *net) cose(c code) []byte {
	n.t.Helper()
	if c.signer.key == nil {
		c.signer = n.dsc
	}
	if c.protected == nil {
		header := m{}
		if c.alg == nil {
			c.alg = int(cose.KeyAlgorithm(c.signer.key.Public()))
		}
		if c.alg != noHeader {
			header = append(header, 1, c.alg)
		}
		if c.kid == nil {
			c.kid = c.signer.kid
		}
		if c.kid != noHeader {
			header = append(header, 4, c.kid)
		}
		c.protected = header
	}
	if c.claims == nil {
		if c.payload == nil {
			c.subclaim, c.payload = -6, icvp3()
		}
		claims := claimsOf(c.subclaim, c.payload)
		if c.exp != nil {
			claims = claims.with(4, c.exp)
		}
		c.claims = claims
	}
	protected, payload := encode(c.protected), encode(c.claims)
	if c.sign == nil {
		c.sign = func(message []byte) []byte { return c.signer.signature(n.t, message) }
	}
	signature := c.sign(toSign(protected, payload))
	if c.message != nil {
		return c.message(protected, payload, signature)
	}
	if c.open == nil {
		c.open = m{}
	}
	return encode(tag{18, list{protected, c.open, payload, signature}})
}

// text returns the text of the code.
func (n *net) text(c code) string {
	n.t.Helper()
	return pack(n.t, n.cose(c))
}

// pack compresses and writes as text, without any of the writer's limits.
func pack(t testing.TB, message []byte) string {
	t.Helper()
	var b bytes.Buffer
	w, err := zlib.NewWriterLevel(&b, zlib.BestCompression)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(message); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return "HC1:" + base45(b.Bytes())
}

// base45 is written here a second time, after RFC 9285.
func base45(data []byte) string {
	const alphabet = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ $%*+-./:"
	var b strings.Builder
	for len(data) > 0 {
		n, digits := int(data[0]), 2
		if len(data) > 1 {
			n, digits = n<<8|int(data[1]), 3
		}
		for range digits {
			b.WriteByte(alphabet[n%45])
			n /= 45
		}
		data = data[min(len(data), 2):]
	}
	return b.String()
}

// outcomeOrder is the order of design section 3, written here a second time.
var outcomeOrder = []Outcome{Malformed, Unsupported, BadSignature, UnknownIssuer, UntrustedKey, Revoked, Superseded, Expired,
	NotYetValid, SchemaInvalid, ProofInvalid, NotHolder, RuleFailed, Unknown, Valid}

var checkNames = []string{"read", "decode", "keys", "signature", "key-validity", "period", "schema", "status", "dose", "proof", "rules", "binding"}

// checkVerdict holds what every verdict must have, whatever was judged.
func checkVerdict(t testing.TB, v *Verdict) {
	t.Helper()
	if len(v.Checks) != len(checkNames) {
		t.Fatalf("%d checks", len(v.Checks))
	}
	for i, c := range v.Checks {
		if c.Name != checkNames[i] {
			t.Errorf("check %d is %q, want %q", i, c.Name, checkNames[i])
		}
		switch c.Result {
		case Pass, Fail, CannotTell, NotApplicable, NotChecked:
		default:
			t.Errorf("%s: result %q", c.Name, c.Result)
		}
		if (c.Result == Fail || c.Result == CannotTell) && c.Reason == "" {
			t.Errorf("%s: %s without a reason", c.Name, c.Result)
		}
		if strings.ContainsAny(c.Reason, " \n\"") {
			t.Errorf("%s: reason %q is no word", c.Name, c.Reason)
		}
		if text := strings.ToUpper(c.Reason + " " + c.Detail); strings.Contains(text, secret) {
			t.Errorf("%s: personal data in %q, %q", c.Name, c.Reason, c.Detail)
		}
	}
	if !slices.Contains(outcomeOrder, v.Outcome) {
		t.Errorf("outcome %q", v.Outcome)
	}
	dose := v.Check(StepDose)
	if v.Advice.Reason == "" || dose.Reason != "" && v.Advice.Reason != dose.Reason || dose.Result == NotChecked && v.Advice.Value != NotKnown {
		t.Errorf("advice %v, check %v", v.Advice, dose)
	}
	switch v.Outcome {
	case Valid:
		if v.Reason != "all-required-checks-passed" {
			t.Errorf("valid for the reason %q", v.Reason)
		}
		// Read, decode, keys, signature and key validity may be waived by no policy of
		// these tests.
		for _, c := range v.Checks[:StepPeriod] {
			if c.Result != Pass {
				t.Errorf("valid, and %s: %s", c.Name, c.Result)
			}
		}
		if v.Issuer.Participant == "" {
			t.Error("valid, and nobody signed")
		}
	default:
		d := v.Check(v.Decided)
		if d.Result == Pass || d.Result == NotApplicable || d.Reason != v.Reason {
			t.Errorf("%s (%s) decided by %s: %s (%s)", v.Outcome, v.Reason, d.Name, d.Result, d.Reason)
		}
		if (v.Outcome == Unknown) == (d.Result == Fail) {
			t.Errorf("%s by a check that is %s", v.Outcome, d.Result)
		}
	}
	if v.Issuer.Participant != "" && v.Check(StepSignature).Result != Pass {
		t.Error("a participant is named for a signature that did not verify")
	}
	quiet := v.Report(false)
	if (quiet.Certificate != nil) != (v.Outcome == Valid) {
		t.Errorf("%s: content shown: %v", v.Outcome, quiet.Certificate != nil)
	}
	if asked := v.Report(true); asked.Certificate != v.Certificate {
		t.Error("content that was asked for is not shown")
	}
}
