package verifier

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math"
	"math/big"
	"strings"
	"testing"
	"time"

	"ampoule/format/dccfilter"
	"ampoule/format/dccrevocation"
	"ampoule/format/hcert"
	"ampoule/trust"
	"ampoule/trust/hotkeys"

	"github.com/google/go-cmp/cmp"
)

// attack is one code that a forger, a careless issuer or a curious holder may
// show, and what a verifier must say to it.
type attack struct {
	name string
	text func(n *net) string // may change the network first
	// What must come out. step and reason are those of the deciding check; for a
	// valid outcome, of a check that must have passed with this reason.
	outcome Outcome
	step    Step
	reason  string
	also    func(t *testing.T, n *net, v *Verdict)
}

// plain makes an attack's text from one code.
func plain(c code) func(n *net) string { return func(n *net) string { return n.text(c) } }

// wire makes an attack's text from bytes that stand for the whole message.
func wire(message []byte) func(n *net) string {
	return func(n *net) string { return pack(n.t, message) }
}

// strict makes the text under the strict profile of every domain.
func strict(text func(n *net) string) func(n *net) string {
	return func(n *net) string {
		for _, d := range []trust.Domain{trust.DCC, trust.ICVP, trust.DDCC, trust.PH4H} {
			n.alter(d, func(p *Policy) { p.Profile = hcert.Strict })
		}
		return text(n)
	}
}

// swapped makes the twin of a signature: (r, n-s) verifies as (r, s) does.
func swapped(signature []byte) []byte {
	s := new(big.Int).SetBytes(signature[32:])
	s.Sub(elliptic.P256().Params().N, s)
	return append(bytes.Clone(signature[:32]), s.FillBytes(make([]byte, 32))...)
}

var attacks = func() []attack {
	var all []attack
	for _, group := range [][]attack{ordinary, decompression, cborAttacks, algorithms, keyInjection, times, identities, revocations, coseAttacks, contents, prefixes} {
		all = append(all, group...)
	}
	return all
}()

// TestAttacks runs every attack and holds the verdict to what every verdict
// must have.
func TestAttacks(t *testing.T) {
	seen := map[string]bool{}
	for _, a := range attacks {
		if seen[a.name] {
			t.Errorf("%s stands here twice", a.name)
		}
		seen[a.name] = true
		t.Run(a.name, func(t *testing.T) {
			n := newNet(t)
			v := n.Verify(a.text(n))
			checkVerdict(t, v)
			step := v.Check(a.step)
			if v.Outcome != a.outcome || step.Reason != a.reason || v.Outcome != Valid && v.Decided != a.step {
				t.Errorf("%s by %s: %s %q; want %s by %s: %s", v.Outcome, v.Decided, v.Reason, v.Check(v.Decided).Detail, a.outcome, a.step, a.reason)
			}
			if v.Outcome == Valid && step.Result != Pass {
				t.Errorf("%s: %s", step.Name, step.Result)
			}
			if a.also != nil {
				a.also(t, n, v)
			}
		})
	}
}

// TestHotKeys: with tables of the issuers' keys every attack meets the same
// verdict, before a key is hot and after.
func TestHotKeys(t *testing.T) {
	for _, a := range attacks {
		n := newNet(t)
		text := a.text(n)
		want := n.Verify(text)
		n.HotKeys = hotkeys.NewCache(8)
		for range 12 {
			if diff := cmp.Diff(want, n.Verify(text)); diff != "" {
				t.Fatalf("%s:\n%s", a.name, diff)
			}
		}
	}
}

// ordinary codes show that the kit makes what verifies: an attack that fails
// for the kit's own mistake would prove nothing.
var ordinary = []attack{
	{name: "ICVP generation 3", text: plain(code{}), outcome: Valid, step: StepPeriod, reason: "no-expiry",
		also: func(t *testing.T, _ *net, v *Verdict) {
			got := []string{v.Format, v.Issuer.Participant, v.Issuer.KID, v.Certificate.Person.Name.Full, v.Certificate.Vaccination.Disease.Display}
			if diff := cmp.Diff([]string{"icvp", "XXA", fmt.Sprintf("%x", "XXA-dsc1"), "Specimen " + secret, "Yellow fever"}, got); diff != "" {
				t.Error(diff)
			}
		}},
	{name: "ICVP generation 2", text: plain(code{subclaim: -6, payload: icvp2()}), outcome: Valid, step: StepPeriod, reason: "in-force"},
	{name: "ICVP generation 1", text: plain(code{subclaim: -6, payload: icvp1()}), outcome: Valid, step: StepPeriod, reason: "in-force"},
	{name: "DCC vaccination", text: plain(code{subclaim: 1, payload: dcc("v", entryV())}), outcome: Valid, step: StepSchema, reason: "conforms"},
	{name: "DCC test", text: plain(code{subclaim: 1, payload: dcc("t", entryT())}), outcome: Valid, step: StepSchema, reason: "conforms"},
	{name: "DCC recovery", text: plain(code{subclaim: 1, payload: dcc("r", entryR())}), outcome: Valid, step: StepSchema, reason: "conforms"},
	{name: "DCC recovery whose own period is over is the destination's rule", outcome: Valid, step: StepPeriod, reason: "in-force",
		text: plain(code{subclaim: 1, payload: dcc("r", m(entryR()).with("du", "2026-10-31"))}),
		also: wantDetail(StepPeriod, "recovery-period-over")},
	{name: "DDCC vaccination", text: plain(code{subclaim: 3, payload: ddccV()}), outcome: Valid, step: StepSchema, reason: "conforms"},
	{name: "DDCC vaccination, flat", outcome: Valid, step: StepDecode, reason: "conforms",
		text: plain(code{subclaim: 3, payload: m{"name", secret, "vaccine", m{"code", "XM68M6"}, "date", "2026-02-20", "hcid", secret}})},
	{name: "DDCC test", outcome: Valid, step: StepDecode, reason: "conforms",
		text: plain(code{subclaim: 4, payload: m{"name", secret, "test", m{"pathogen", m{"code", "XN109"}, "type", m{"code", "T"}, "date", "2026-02-20T10:00:00Z", "result", m{"code", "260415000"}, "country", m{"code", "XXA"}}}})},
	{name: "VHL", text: plain(code{subclaim: 5, payload: vhlink(``)}), outcome: Valid, step: StepPeriod, reason: "in-force",
		also: func(t *testing.T, _ *net, v *Verdict) {
			record, err := json.Marshal(v.Certificate)
			if err != nil {
				t.Fatal(err)
			}
			if bytes.Contains(record, []byte(linkKey)) {
				t.Error("the record holds the key of the link")
			}
		}},
	{name: "VHL in an array", text: plain(code{subclaim: 5, payload: list{m{"u", vhlink(``)}}}), outcome: Valid, step: StepDecode, reason: "conforms"},
	{name: "a code signed with RSA", outcome: Valid, step: StepSignature, reason: "verified", text: func(n *net) string {
		s := mint(n.t, "XA", rsaKey(n.t, rsa2048))
		n.enlist(trust.ICVP, "XXA", s)
		return n.text(code{signer: s})
	}},
	{name: "a key for vaccinations, arc of the specification", outcome: Valid, step: StepKeyValidity, reason: "within-validity",
		text: usageKey(code{subclaim: 1, payload: dcc("v", entryV())}, usageArc, 2)},
	{name: "a key for vaccinations, arc with a stray zero", outcome: Valid, step: StepKeyValidity, reason: "within-validity",
		text: usageKey(code{subclaim: 1, payload: dcc("v", entryV())}, legacyUsageArc, 2)},
	{name: "a key for vaccinations signs a test", outcome: UntrustedKey, step: StepKeyValidity, reason: "key-usage",
		text: usageKey(code{subclaim: 1, payload: dcc("t", entryT())}, usageArc, 2)},
	{name: "a key for tests signs an ICVP", outcome: UntrustedKey, step: StepKeyValidity, reason: "key-usage",
		text: usageKey(code{}, usageArc, 1)},
	{name: "a key for recoveries signs a DDCC test", outcome: UntrustedKey, step: StepKeyValidity, reason: "key-usage",
		text: usageKey(code{subclaim: 4, payload: m{"name", secret, "test", m{"date", "2026-02-20", "result", "x"}}}, legacyUsageArc, 3)},
}

// wantDetail checks the detail of a step.
func wantDetail(s Step, part string) func(t *testing.T, n *net, v *Verdict) {
	return func(t *testing.T, _ *net, v *Verdict) {
		if detail := v.Check(s).Detail; !strings.Contains(detail, part) {
			t.Errorf("%s: detail %q, want %q", s, detail, part)
		}
	}
}

const linkKey = "rxTgYlOaKJPFtcEd0qcceN8wEU4p94SqAwIWQe6uX7Q"

// vhlink makes a link with more members.
func vhlink(more string) string {
	return "vhlink:/" + base64.RawURLEncoding.EncodeToString([]byte(
		`{"url":"https://sharer.example/List?_id=`+secret+`","key":"`+linkKey+`","label":"`+secret+`"`+more+`}`))
}

// usageKey signs with a key of one usage.
func usageKey(c code, arc []int, number int) func(n *net) string {
	return func(n *net) string {
		c.signer = mint(n.t, "XA", ecKey(n.t, elliptic.P256(), "usage"), usage(arc, number))
		for _, d := range []trust.Domain{trust.DCC, trust.ICVP, trust.DDCC} {
			n.enlist(d, "XXA", c.signer)
		}
		return n.text(c)
	}
}

var decompression = []attack{
	// 4,000 characters hold a megabyte of one byte.
	{name: "a bomb in one QR code", text: wire(make([]byte, 2<<20)), outcome: Malformed, step: StepDecode, reason: "inflated-too-large"},
	{name: "a bomb of a signed message", text: plain(code{payload: dose(icvp3(), "cn", strings.Repeat("A", 1<<20)), subclaim: -6}),
		outcome: Malformed, step: StepDecode, reason: "inflated-too-large"},
	{name: "one byte more than may come out", text: wire(make([]byte, 64<<10+1)), outcome: Malformed, step: StepDecode, reason: "inflated-too-large"},
	{name: "a text of 100 MB", outcome: Malformed, step: StepDecode, reason: "text-too-long",
		text: func(*net) string { return "HC1:" + strings.Repeat("6BF", 100<<20/3) }},
	{name: "a text of 100 MB that is no HCERT", outcome: Unsupported, step: StepRead, reason: "unknown-format",
		text: func(*net) string { return strings.Repeat("x", 100<<20) }},
	{name: "one character more than a QR code holds", outcome: Malformed, step: StepDecode, reason: "text-too-long",
		text: func(*net) string { return "HC1:" + strings.Repeat("6BF", 4292/3) + "000" }},
	{name: "a stream that is cut", outcome: Malformed, step: StepDecode, reason: "truncated", text: func(n *net) string {
		raw, err := hcert.DecodeBase45(n.text(code{})[4:])
		if err != nil {
			n.t.Fatal(err)
		}
		return "HC1:" + base45(raw[:len(raw)-40])
	}},
	{name: "a stream cut within its checksum", outcome: Malformed, step: StepDecode, reason: "truncated", text: func(n *net) string {
		raw, err := hcert.DecodeBase45(n.text(code{})[4:])
		if err != nil {
			n.t.Fatal(err)
		}
		return "HC1:" + base45(raw[:len(raw)-2])
	}},
	{name: "bytes after the stream", outcome: Malformed, step: StepDecode, reason: "trailing-bytes", text: func(n *net) string {
		raw, err := hcert.DecodeBase45(n.text(code{})[4:])
		if err != nil {
			n.t.Fatal(err)
		}
		return "HC1:" + base45(append(raw, 0))
	}},
	{name: "raw deflate", outcome: Malformed, step: StepDecode, reason: "not-zlib", text: func(n *net) string {
		raw, err := hcert.DecodeBase45(n.text(code{})[4:])
		if err != nil {
			n.t.Fatal(err)
		}
		return "HC1:" + base45(raw[2:])
	}},
	{name: "a preset dictionary", text: func(*net) string { return "HC1:" + base45([]byte{0x78, 0xbb, 1, 2, 3, 4}) },
		outcome: Malformed, step: StepDecode, reason: "preset-dictionary"},
	{name: "nothing after the prefix", text: func(*net) string { return "HC1:" }, outcome: Malformed, step: StepDecode, reason: "empty"},
}

// deep is n arrays, or tags, inside each other around a null.
func deep(head byte, n int) raw {
	return append(bytes.Repeat([]byte{head}, n), 0xf6)
}

var cborAttacks = []attack{
	{name: "200,000 nested arrays in the unprotected header", text: plain(code{open: m{99, deep(0x81, 200_000)}}),
		outcome: Malformed, step: StepDecode, reason: "inflated-too-large"},
	{name: "60,000 nested arrays in the unprotected header", text: plain(code{open: m{99, deep(0x81, 60_000)}}),
		outcome: Malformed, step: StepDecode, reason: "nesting-too-deep"},
	{name: "60,000 nested maps in the claims", text: plain(code{claims: m{1, "XXA", 99, raw(append(bytes.Repeat([]byte{0xa1, 0x00}, 30_000), 0xf6))}}),
		outcome: Malformed, step: StepDecode, reason: "nesting-too-deep"},
	{name: "nested arrays in the payload", text: plain(code{subclaim: -6, payload: icvp3().with("zz", deep(0x81, 20))}),
		outcome: Malformed, step: StepDecode, reason: "nesting-too-deep"},
	{name: "nested arrays without end", text: wire(bytes.Repeat([]byte{0x9f}, 60_000)), outcome: Malformed, step: StepDecode, reason: "nesting-too-deep"},
	{name: "a tag chain", text: wire(deep(0xd2, 60_000)), outcome: Malformed, step: StepDecode, reason: "nesting-too-deep"},
	{name: "a tag chain in the claims", text: plain(code{claims: m{1, "XXA", 6, deep(0xc1, 30)}}), outcome: Malformed, step: StepDecode, reason: "nesting-too-deep"},
	{name: "an array of 2^62", text: wire([]byte{0xd2, 0x9b, 0x40, 0, 0, 0, 0, 0, 0, 0}), outcome: Malformed, step: StepDecode, reason: "malformed"},
	{name: "a map of 2^62", text: wire([]byte{0xd2, 0x84, 0x40, 0xbb, 0x40, 0, 0, 0, 0, 0, 0, 0, 0x40, 0x40}), outcome: Malformed, step: StepDecode, reason: "malformed"},
	{name: "a byte string of 2^62", text: wire([]byte{0xd2, 0x84, 0x5b, 0x40, 0, 0, 0, 0, 0, 0, 0}), outcome: Malformed, step: StepDecode, reason: "malformed"},
	{name: "a text of 2^62", text: plain(code{claims: raw{0xa1, 0x01, 0x7b, 0x40, 0, 0, 0, 0, 0, 0, 0}}), outcome: Malformed, step: StepDecode, reason: "malformed"},
	{name: "a text of 2^64-1", text: plain(code{claims: raw{0xa1, 0x01, 0x7b, 255, 255, 255, 255, 255, 255, 255, 255}}), outcome: Malformed, step: StepDecode, reason: "malformed"},
	{name: "300 pairs in one map", outcome: Malformed, step: StepDecode, reason: "too-many-items", text: func(n *net) string {
		claims := claimsOf(-6, icvp3())
		for i := range 300 {
			claims = append(claims, 1000+i, 0)
		}
		return n.text(code{claims: claims})
	}},
	{name: "10,000 items", text: plain(code{open: m{99, list(make([]any, 10_000))}}), outcome: Malformed, step: StepDecode, reason: "too-many-items"},
	{name: "the algorithm twice in the protected header", text: plain(code{protected: m{1, -7, 4, []byte("XXA-dsc1"), 1, -37}}),
		outcome: Malformed, step: StepDecode, reason: "duplicate-key"},
	{name: "the kid twice in the unprotected header", text: plain(code{kid: noHeader, open: m{4, []byte("XXA-dsc1"), 4, []byte("other")}}),
		outcome: Malformed, step: StepDecode, reason: "duplicate-key"},
	{name: "exp twice in the claims", text: plain(code{claims: append(claimsOf(1, dcc("v", entryV())), 4, noon.Add(-time.Hour))}),
		outcome: Malformed, step: StepDecode, reason: "duplicate-key"},
	{name: "exp twice, once in a longer form", text: plain(code{claims: append(claimsOf(1, dcc("v", entryV())), raw{0x18, 4}, 1)}),
		outcome: Malformed, step: StepDecode, reason: "duplicate-key"},
	{name: "the certificate twice", text: plain(code{claims: append(claimsOf(-6, icvp3()), -260, m{-6, icvp3()})}),
		outcome: Malformed, step: StepDecode, reason: "duplicate-key"},
	{name: "the name twice in the payload", text: plain(code{subclaim: -6, payload: append(icvp3(), "n", secret+" B")}),
		outcome: Malformed, step: StepDecode, reason: "duplicate-key"},
	{name: "the name twice in an EU payload", text: plain(code{subclaim: 1, payload: dcc("v", entryV()).with("nam", append(nam(), "fn", secret+"B"))}),
		outcome: Malformed, step: StepDecode, reason: "duplicate-key"},
	{name: "bytes after the message", outcome: Malformed, step: StepDecode, reason: "trailing-bytes",
		text: func(n *net) string { return pack(n.t, append(n.cose(code{}), 0)) }},
	{name: "a second message", outcome: Malformed, step: StepDecode, reason: "trailing-bytes",
		text: func(n *net) string { return pack(n.t, append(n.cose(code{}), n.cose(code{})...)) }},
	{name: "bytes after the claims", text: plain(code{claims: raw(append(encode(claimsOf(-6, icvp3())), 0))}),
		outcome: Malformed, step: StepDecode, reason: "trailing-bytes"},
	{name: "bytes after the protected header", text: plain(code{protected: raw(append(encode(m{1, -7, 4, []byte("XXA-dsc1")}), 0))}),
		outcome: Malformed, step: StepDecode, reason: "trailing-bytes"},
	{name: "a name that is not UTF-8", text: plain(code{subclaim: -6, payload: icvp3().with("n", "Specimen \xff\xfe"+secret)}),
		outcome: Malformed, step: StepDecode, reason: "invalid-utf8"},
	{name: "a name that is half a surrogate pair", text: plain(code{subclaim: -6, payload: icvp3().with("n", "\xed\xa0\x80"+secret)}),
		outcome: Malformed, step: StepDecode, reason: "invalid-utf8"},
	{name: "claims that are an array", text: plain(code{claims: list{1, "XXA"}}), outcome: Malformed, step: StepDecode, reason: "bad-claims"},
	{name: "iss that is a number", text: plain(code{claims: claimsOf(-6, icvp3()).with(1, 5)}), outcome: Malformed, step: StepDecode, reason: "bad-claims"},
	{name: "no certificate claim", text: plain(code{claims: m{1, "XXA", 6, issued}}), outcome: Unsupported, step: StepDecode, reason: "no-hcert"},
	{name: "a certificate claim that is text", text: plain(code{claims: m{1, "XXA", 6, issued, -260, secret}}), outcome: Malformed, step: StepDecode, reason: "bad-claims"},
	{name: "an unknown subclaim", text: plain(code{subclaim: 9, payload: m{"n", secret}}), outcome: Unsupported, step: StepDecode, reason: "unknown-subclaim"},
}

// toldAlg signs properly and names another algorithm.
func toldAlg(name string, alg any) attack {
	return attack{name: name, text: plain(code{alg: alg}), outcome: BadSignature, step: StepSignature, reason: "alg-not-allowed"}
}

// keyed makes an attack with a listed key of its own kind.
func keyed(name string, key func(t testing.TB) crypto.Signer, alg any, sign func(t testing.TB, s signer, message []byte) []byte, reason string) attack {
	return attack{name: name, outcome: BadSignature, step: StepSignature, reason: reason, text: func(n *net) string {
		s := mint(n.t, "XA", key(n.t))
		n.enlist(trust.ICVP, "XXA", s)
		c := code{signer: s, alg: alg}
		if sign != nil {
			c.sign = func(message []byte) []byte { return sign(n.t, s, message) }
		}
		return n.text(c)
	}}
}

func keyRSA(t testing.TB) crypto.Signer  { return rsaKey(t, rsa2048) }
func keyP384(t testing.TB) crypto.Signer { return ecKey(t, elliptic.P384(), "DSC on P-384") }

// hmacUnderPublicKey is the forgery of whoever has the trust list: the public
// key is no secret.
func hmacUnderPublicKey(t testing.TB, s signer, message []byte) []byte {
	spki, err := x509.MarshalPKIXPublicKey(s.key.Public())
	if err != nil {
		t.Fatal(err)
	}
	mac := hmac.New(sha256.New, spki)
	mac.Write(message)
	return mac.Sum(nil)
}

func pkcs1(t testing.TB, s signer, message []byte) []byte {
	digest := sha256.Sum256(message)
	out, err := rsa.SignPKCS1v15(rand.Reader, s.key.(*rsa.PrivateKey), crypto.SHA256, digest[:])
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func pss(salt int) func(t testing.TB, s signer, message []byte) []byte {
	return func(t testing.TB, s signer, message []byte) []byte {
		digest := sha256.Sum256(message)
		out, err := rsa.SignPSS(rand.Reader, s.key.(*rsa.PrivateKey), crypto.SHA256, digest[:], &rsa.PSSOptions{SaltLength: salt})
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
}

// fixed replaces the signature.
func fixed(signature []byte) code {
	return code{sign: func([]byte) []byte { return signature }}
}

var algorithms = []attack{
	keyed("ES256 named with an RSA key", keyRSA, -7, nil, "alg-not-allowed"),
	toldAlg("PS256 named with an EC key", -37),
	keyed("HS256 keyed by the public key", func(t testing.TB) crypto.Signer { return ecKey(t, elliptic.P256(), "mac") }, 5, hmacUnderPublicKey, "alg-not-allowed"),
	keyed("HS256 keyed by the public RSA key", keyRSA, 5, hmacUnderPublicKey, "alg-not-allowed"),
	keyed("RS256, as IHE's JWS would", keyRSA, -257, pkcs1, "alg-not-allowed"),
	keyed("PS256 that is RS256", keyRSA, -37, pkcs1, "bad-signature"),
	keyed("PS256 with an empty salt", keyRSA, -37, pss(0), "bad-signature"),
	keyed("ES384 with a P-384 key", keyP384, -35, nil, "alg-not-allowed"),
	keyed("ES256 with a P-384 key", keyP384, -7, nil, "alg-not-allowed"),
	toldAlg("ESP256, the later name of ES256", -9), // not of the HCERT profile
	toldAlg("ES384", -35), toldAlg("ES512", -36), toldAlg("PS384", -38), toldAlg("PS512", -39),
	toldAlg("EdDSA", -8), toldAlg("Ed25519", -19), toldAlg("ES256K", -47), toldAlg("ML-DSA-44", -48),
	toldAlg("RS256 named with an EC key", -257), toldAlg("HMAC 256/64", 4), toldAlg("A128GCM", 1), toldAlg("a far number", math.MinInt64),
	{name: "the reserved algorithm 0, no signature", outcome: BadSignature, step: StepSignature, reason: "alg-not-allowed",
		text: plain(code{alg: 0, sign: func([]byte) []byte { return nil }})},
	{name: "no algorithm at all", text: plain(code{alg: noHeader}), outcome: BadSignature, step: StepSignature, reason: "alg-not-allowed"},
	{name: "no protected header at all", outcome: BadSignature, step: StepSignature, reason: "alg-not-allowed",
		text: plain(code{protected: raw{}, open: m{4, []byte("XXA-dsc1")}})},
	{name: "algorithm as text", text: plain(code{alg: "ES256"}), outcome: Malformed, step: StepDecode, reason: "alg-type"},
	{name: "algorithm none as text", text: plain(code{alg: "none"}), outcome: Malformed, step: StepDecode, reason: "alg-type"},
	{name: "algorithm null", text: plain(code{alg: raw{0xf6}}), outcome: Malformed, step: StepDecode, reason: "alg-type"},
	{name: "algorithm only unprotected", text: plain(code{alg: noHeader, open: m{1, -7}}), outcome: Valid, step: StepDecode, reason: "tolerated",
		also: wantDetail(StepDecode, "alg-unprotected")},
	{name: "algorithm only unprotected, strict", text: strict(plain(code{alg: noHeader, open: m{1, -7}})), outcome: Malformed, step: StepDecode, reason: "alg-unprotected"},
	{name: "an unprotected algorithm that does not fit", text: plain(code{alg: noHeader, open: m{1, -37}}), outcome: BadSignature, step: StepSignature, reason: "alg-not-allowed"},
	{name: "an unprotected algorithm beside the protected one", text: plain(code{open: m{1, 5}}), outcome: Valid, step: StepSignature, reason: "verified"},
	{name: "a protected algorithm that does not fit, beside the right one", text: plain(code{alg: 5, open: m{1, -7}}), outcome: BadSignature, step: StepSignature, reason: "alg-not-allowed"},
	{name: "no signature", text: plain(fixed(nil)), outcome: BadSignature, step: StepSignature, reason: "bad-signature"},
	{name: "a signature of zeros", text: plain(fixed(make([]byte, 64))), outcome: BadSignature, step: StepSignature, reason: "bad-signature"},
	{name: "a signature of r and s as the order", outcome: BadSignature, step: StepSignature, reason: "bad-signature",
		text: plain(fixed(bytes.Repeat(elliptic.P256().Params().N.Bytes(), 2)))},
	{name: "a signature in DER", outcome: BadSignature, step: StepSignature, reason: "bad-signature", text: func(n *net) string {
		return n.text(code{sign: func(message []byte) []byte {
			digest := sha256.Sum256(message)
			der, err := ecdsa.SignASN1(rand.Reader, n.dsc.key.(*ecdsa.PrivateKey), digest[:])
			if err != nil {
				n.t.Fatal(err)
			}
			return der
		}})
	}},
	{name: "a signature with one bit changed", outcome: BadSignature, step: StepSignature, reason: "bad-signature", text: func(n *net) string {
		return n.text(code{sign: func(message []byte) []byte {
			s := n.dsc.signature(n.t, message)
			s[63] ^= 1
			return s
		}})
	}},
	{name: "content changed after signing", outcome: BadSignature, step: StepSignature, reason: "bad-signature", text: func(n *net) string {
		return n.text(code{message: func(protected, payload, signature []byte) []byte {
			return encode(tag{18, list{protected, m{}, bytes.Replace(payload, []byte("1990"), []byte("1991"), 1), signature}})
		}})
	}},
	{name: "protected header changed after signing", outcome: BadSignature, step: StepSignature, reason: "bad-signature", text: func(n *net) string {
		return n.text(code{message: func(protected, payload, signature []byte) []byte {
			return encode(tag{18, list{encode(m{4, n.dsc.kid, 1, -7}), m{}, payload, signature}})
		}})
	}},
	{name: "a signature over the bare payload", outcome: BadSignature, step: StepSignature, reason: "bad-signature", text: func(n *net) string {
		return n.text(code{sign: func([]byte) []byte { return n.dsc.signature(n.t, encode(claimsOf(-6, icvp3()))) }})
	}},
	{name: "RSA of 1,024 bits", outcome: UntrustedKey, step: StepKeyValidity, reason: "weak-key", text: func(n *net) string {
		s := mint(n.t, "XA", rsaKey(n.t, rsa1024))
		n.enlist(trust.ICVP, "XXA", s)
		return n.text(code{signer: s})
	}},
}

// rogue is a signer that no list names, with a certificate that copies subject
// and issuer of a listed one.
func rogue(t testing.TB) signer {
	s := mint(t, "XA", ecKey(t, elliptic.P256(), "rogue"))
	return s
}

var keyInjection = []attack{
	{name: "x5chain unprotected, its own kid", outcome: UnknownIssuer, step: StepKeys, reason: "unknown-kid", text: func(n *net) string {
		s := rogue(n.t)
		return n.text(code{signer: s, open: m{33, s.der}})
	}},
	{name: "x5chain protected, its own kid", outcome: UnknownIssuer, step: StepKeys, reason: "unknown-kid", text: func(n *net) string {
		s := rogue(n.t)
		return n.text(code{signer: s, protected: m{1, -7, 4, s.kid, 33, list{s.der}}})
	}},
	{name: "x5chain with the kid of a listed key", outcome: BadSignature, step: StepSignature, reason: "bad-signature", text: func(n *net) string {
		s := rogue(n.t)
		return n.text(code{signer: s, kid: n.dsc.kid, open: m{33, s.der}})
	}},
	{name: "headers like x5c, jwk and jku", outcome: BadSignature, step: StepSignature, reason: "bad-signature", text: func(n *net) string {
		s := rogue(n.t)
		return n.text(code{signer: s, kid: n.dsc.kid, open: m{
			"x5c", list{base64.StdEncoding.EncodeToString(s.der)}, "jwk", m{"kty", "EC", "crv", "P-256"}, "jku", "https://rogue.example/jwks.json", 35, "https://rogue.example/chain.pem"}})
	}},
	{name: "a COSE key in the header", outcome: BadSignature, step: StepSignature, reason: "bad-signature", text: func(n *net) string {
		s := rogue(n.t)
		p := s.key.Public().(*ecdsa.PublicKey)
		point, err := p.Bytes()
		if err != nil {
			n.t.Fatal(err)
		}
		return n.text(code{signer: s, kid: n.dsc.kid, open: m{-1, m{1, 2, -1, 1, -2, point[1:33], -3, point[33:]}}})
	}},
	{name: "a self-made signer that copies the issuer", text: func(n *net) string { return n.text(code{signer: rogue(n.t)}) },
		outcome: UnknownIssuer, step: StepKeys, reason: "unknown-kid"},
	{name: "the kid of a listed key with a rogue key", outcome: BadSignature, step: StepSignature, reason: "bad-signature",
		text: func(n *net) string { return n.text(code{signer: rogue(n.t), kid: n.dsc.kid}) }},
	{name: "an issuer that is an address", outcome: UnknownIssuer, step: StepKeys, reason: "unknown-kid", text: func(n *net) string {
		return n.text(code{signer: rogue(n.t), claims: claimsOf(-6, icvp3()).with(1, "https://rogue.example/")})
	}},
	{name: "no trusted key at all", outcome: UnknownIssuer, step: StepKeys, reason: "unknown-kid", text: func(n *net) string {
		n.Trust = new(trust.List)
		return n.text(code{})
	}},
}

// vaccination is an EU certificate with changed claims.
func vaccination(claims ...any) code {
	c := claimsOf(1, dcc("v", entryV()))
	for i := 0; i < len(claims); i += 2 {
		c = c.with(claims[i], claims[i+1])
	}
	return code{claims: c}
}

func withoutClaim(subclaim int, payload any, key int) code {
	return code{claims: claimsOf(subclaim, payload).without(key)}
}

// dated signs with a key of another life, in one domain.
func dated(d trust.Domain, from, until time.Time, c code, change func(p *Policy)) func(n *net) string {
	return func(n *net) string {
		c.signer = mintDated(n.t, "XA", ecKey(n.t, elliptic.P256(), "dated"), from, until)
		n.enlist(d, "XXA", c.signer)
		if change != nil {
			n.alter(d, change)
		}
		return n.text(c)
	}
}

func acceptIssuedAt(p *Policy) { p.AcceptIssuedAt = true }

// at sets the clock before the text is made.
func at(clock time.Time, text func(n *net) string) func(n *net) string {
	return func(n *net) string {
		n.at(clock)
		return text(n)
	}
}

var (
	icvpAt = func(iat any) code { return code{claims: claimsOf(-6, icvp3()).with(6, iat)} }
	// A key that lived before the clock of the tests.
	past = [2]time.Time{born, noon.AddDate(0, -1, 0)}
)

var times = []attack{
	{name: "exp absent in an EU certificate", text: plain(withoutClaim(1, dcc("v", entryV()), 4)), outcome: Expired, step: StepPeriod, reason: "exp-missing"},
	{name: "exp absent in an EU certificate, allowed", outcome: Valid, step: StepPeriod, reason: "no-expiry", text: func(n *net) string {
		n.alter(trust.DCC, func(p *Policy) { p.RequireExpiry = false })
		return n.text(withoutClaim(1, dcc("v", entryV()), 4))
	}},
	{name: "exp absent in an ICVP: for life", text: plain(code{}), outcome: Valid, step: StepPeriod, reason: "no-expiry",
		also: func(t *testing.T, _ *net, v *Verdict) {
			if !v.Certificate.Expires.IsZero() {
				t.Errorf("expires %s", v.Certificate.Expires)
			}
		}},
	{name: "exp absent in an ICVP, and the policy wants one", outcome: Expired, step: StepPeriod, reason: "exp-missing", text: func(n *net) string {
		n.alter(trust.ICVP, func(p *Policy) { p.RequireExpiry = true })
		return n.text(code{})
	}},
	{name: "exp as text", text: plain(vaccination(4, "2027-03-01")), outcome: Malformed, step: StepDecode, reason: "bad-numericdate"},
	{name: "exp null", text: plain(vaccination(4, nil)), outcome: Malformed, step: StepDecode, reason: "bad-numericdate"},
	{name: "exp NaN", text: plain(vaccination(4, math.NaN())), outcome: Malformed, step: StepDecode, reason: "bad-numericdate"},
	{name: "exp infinite", text: plain(vaccination(4, math.Inf(1))), outcome: Malformed, step: StepDecode, reason: "bad-numericdate"},
	{name: "exp 1e300", text: plain(vaccination(4, 1e300)), outcome: Malformed, step: StepDecode, reason: "bad-numericdate"},
	{name: "exp negative", text: plain(vaccination(4, -1)), outcome: Malformed, step: StepDecode, reason: "bad-numericdate"},
	{name: "exp of 2^64-1", text: plain(vaccination(4, raw{0x1b, 255, 255, 255, 255, 255, 255, 255, 255})), outcome: Malformed, step: StepDecode, reason: "bad-numericdate"},
	{name: "exp in milliseconds", text: plain(vaccination(4, ends.UnixMilli())), outcome: Malformed, step: StepDecode, reason: "bad-numericdate"},
	{name: "exp at second zero", text: plain(vaccination(4, 0)), outcome: Expired, step: StepPeriod, reason: "expired"},
	{name: "exp as a float", text: plain(vaccination(4, float64(ends.Unix())+0.5)), outcome: Valid, step: StepDecode, reason: "tolerated", also: wantDetail(StepDecode, "exp-float")},
	{name: "exp as a float, strict", text: strict(plain(vaccination(4, float64(ends.Unix())))), outcome: Malformed, step: StepDecode, reason: "exp-float"},
	{name: "exp under tag 1", text: plain(vaccination(4, tag{1, ends})), outcome: Valid, step: StepDecode, reason: "tolerated", also: wantDetail(StepDecode, "exp-tagged")},
	{name: "nbf in milliseconds", text: plain(vaccination(5, issued.UnixMilli())), outcome: Malformed, step: StepDecode, reason: "bad-numericdate"},
	{name: "iat NaN", text: plain(vaccination(6, math.NaN())), outcome: Malformed, step: StepDecode, reason: "bad-numericdate"},
	{name: "iat absent", text: plain(withoutClaim(1, dcc("v", entryV()), 6)), outcome: Valid, step: StepDecode, reason: "tolerated", also: wantDetail(StepDecode, "iat-missing")},
	{name: "iat absent, strict", text: strict(plain(withoutClaim(1, dcc("v", entryV()), 6))), outcome: Malformed, step: StepDecode, reason: "iat-missing"},

	{name: "exp in this second", text: plain(vaccination(4, noon)), outcome: Valid, step: StepPeriod, reason: "in-force"},
	{name: "exp a second ago", text: plain(vaccination(4, noon.Add(-time.Second))), outcome: Expired, step: StepPeriod, reason: "expired"},
	{name: "exp half a second ago", text: at(noon.Add(500*time.Millisecond), plain(vaccination(4, noon))), outcome: Expired, step: StepPeriod, reason: "expired"},
	{name: "nbf in this second", text: plain(vaccination(5, noon)), outcome: Valid, step: StepPeriod, reason: "in-force"},
	{name: "nbf a second ahead", text: plain(vaccination(5, noon.Add(time.Second))), outcome: NotYetValid, step: StepPeriod, reason: "not-yet-valid"},
	{name: "nbf a year ahead", text: plain(vaccination(5, noon.AddDate(1, 0, 0))), outcome: NotYetValid, step: StepPeriod, reason: "not-yet-valid"},
	{name: "iat in this second", text: plain(vaccination(6, noon)), outcome: Valid, step: StepPeriod, reason: "in-force"},
	{name: "iat a second ahead", text: plain(vaccination(6, noon.Add(time.Second))), outcome: NotYetValid, step: StepPeriod, reason: "not-yet-issued", also: wantDetail(StepPeriod, "clock")},
	{name: "iat a year ahead", text: plain(vaccination(6, noon.AddDate(1, 0, 0))), outcome: NotYetValid, step: StepPeriod, reason: "not-yet-issued"},
	{name: "iat within the clock's skew", outcome: Valid, step: StepPeriod, reason: "in-force", text: func(n *net) string {
		n.alter(trust.DCC, func(p *Policy) { p.ClockSkew = time.Minute })
		return n.text(vaccination(6, noon.Add(time.Minute)))
	}},
	{name: "iat beyond the clock's skew", outcome: NotYetValid, step: StepPeriod, reason: "not-yet-issued", text: func(n *net) string {
		n.alter(trust.DCC, func(p *Policy) { p.ClockSkew = time.Minute })
		return n.text(vaccination(6, noon.Add(time.Minute+time.Second)))
	}},
	{name: "the skew does not prolong", outcome: Expired, step: StepPeriod, reason: "expired", text: func(n *net) string {
		n.alter(trust.DCC, func(p *Policy) { p.ClockSkew = time.Minute })
		return n.text(vaccination(4, noon.Add(-time.Second)))
	}},
	{name: "exp after the key's end", text: plain(vaccination(4, dies.AddDate(1, 0, 0))), outcome: Valid, step: StepPeriod, reason: "in-force", also: wantDetail(StepPeriod, "exp-exceeds-dsc")},

	{name: "key expired, shell model", text: dated(trust.DCC, past[0], past[1], vaccination(), nil), outcome: UntrustedKey, step: StepKeyValidity, reason: "dsc-expired"},
	{name: "key not yet valid, shell model", text: dated(trust.DCC, noon.Add(time.Hour), dies, vaccination(), nil), outcome: UntrustedKey, step: StepKeyValidity, reason: "dsc-not-yet-valid"},
	{name: "key expired, and the shell model takes no issuer's word", text: dated(trust.DCC, past[0], past[1], vaccination(), acceptIssuedAt), outcome: UntrustedKey, step: StepKeyValidity, reason: "dsc-expired"},
	{name: "key at its last second", text: dated(trust.DCC, born, noon, vaccination(), nil), outcome: Valid, step: StepKeyValidity, reason: "within-validity"},
	{name: "key a second after its last", text: at(noon.Add(time.Second), dated(trust.DCC, born, noon, vaccination(), nil)), outcome: UntrustedKey, step: StepKeyValidity, reason: "dsc-expired"},
	{name: "key at its first second", text: dated(trust.DCC, noon, dies, vaccination(), nil), outcome: Valid, step: StepKeyValidity, reason: "within-validity"},
	{name: "key a second before its first", text: dated(trust.DCC, noon.Add(time.Second), dies, vaccination(), nil), outcome: UntrustedKey, step: StepKeyValidity, reason: "dsc-not-yet-valid"},
	{name: "key expired, chain model without proof", text: dated(trust.ICVP, past[0], past[1], code{}, nil), outcome: UntrustedKey, step: StepKeyValidity, reason: "dsc-expired",
		also: wantDetail(StepKeyValidity, "nothing but the certificate's own date")},
	{name: "key expired, chain model, issuer's word accepted", text: dated(trust.ICVP, past[0], past[1], code{}, acceptIssuedAt), outcome: Valid, step: StepKeyValidity, reason: "signed-in-time",
		also: wantDetail(StepKeyValidity, "the policy accepts the issuer's own date")},
	{name: "key expired, iat at its last second", text: dated(trust.ICVP, past[0], past[1], icvpAt(past[1]), acceptIssuedAt), outcome: Valid, step: StepKeyValidity, reason: "signed-in-time"},
	{name: "key expired, iat after its end", text: dated(trust.ICVP, past[0], past[1], icvpAt(past[1].Add(time.Second)), acceptIssuedAt), outcome: UntrustedKey, step: StepKeyValidity, reason: "dsc-expired"},
	{name: "key expired, iat before its start", text: dated(trust.ICVP, issued.AddDate(0, 0, 1), past[1], code{}, acceptIssuedAt), outcome: UntrustedKey, step: StepKeyValidity, reason: "dsc-expired"},
	{name: "key expired, iat absent", text: dated(trust.ICVP, past[0], past[1], withoutClaim(-6, icvp3(), 6), acceptIssuedAt), outcome: UntrustedKey, step: StepKeyValidity, reason: "dsc-expired"},
	{name: "key not yet valid, chain model", text: dated(trust.ICVP, noon.Add(time.Hour), dies, code{}, acceptIssuedAt), outcome: UntrustedKey, step: StepKeyValidity, reason: "dsc-not-yet-valid"},
}

// collision lists a second key under the identifier of the first.
func collision(otherFirst bool, signedBy string) func(n *net) string {
	return func(n *net) string {
		own := n.dsc
		other := mint(n.t, "XB", ecKey(n.t, elliptic.P256(), "DSC of XXB"))
		other.kid = own.kid
		n.list = new(trust.List)
		n.Trust = n.list
		if otherFirst {
			n.enlist(trust.ICVP, "XXB", other)
			n.enlist(trust.ICVP, "XXA", own)
		} else {
			n.enlist(trust.ICVP, "XXA", own)
			n.enlist(trust.ICVP, "XXB", other)
		}
		if signedBy == "XXB" {
			return n.text(code{signer: other})
		}
		return n.text(code{signer: own})
	}
}

// signedBy checks whose certificate it is.
func signedBy(participant string) func(t *testing.T, n *net, v *Verdict) {
	return func(t *testing.T, _ *net, v *Verdict) {
		if v.Issuer.Participant != participant {
			t.Errorf("participant %q, want %q", v.Issuer.Participant, participant)
		}
	}
}

// listing is one entry of a key that stands in several.
type listing struct {
	participant string
	revoked     bool
	until       time.Time // zero: the key's own
}

// listedAs lists one key under several names.
func listedAs(entries ...listing) func(n *net) string {
	return func(n *net) string {
		n.list = new(trust.List)
		n.Trust = n.list
		for _, e := range entries {
			k, err := trust.NewKey(n.dsc.der)
			if err != nil {
				n.t.Fatal(err)
			}
			k.Domain, k.Participant, k.Source, k.ID, k.Revoked = trust.ICVP, e.participant, "specimen list", trust.KeyID(n.dsc.kid), e.revoked
			if !e.until.IsZero() {
				k.NotAfter = e.until
			}
			n.list.Insert(k)
		}
		return n.text(code{})
	}
}

var (
	good    = listing{participant: "XXA"}
	revoked = listing{participant: "XXA", revoked: true}
	bGood   = listing{participant: "XXB"}
	bPast   = listing{participant: "XXB", until: past[1]}
	bGone   = listing{participant: "XXB", revoked: true}
)

var identities = []attack{
	{name: "iss of another country", text: plain(code{claims: claimsOf(-6, icvp3()).with(1, "XXB")}), outcome: Valid, step: StepSignature, reason: "verified", also: signedBy("XXA")},
	{name: "iss missing", text: plain(withoutClaim(-6, icvp3(), 1)), outcome: Valid, step: StepSignature, reason: "verified", also: signedBy("XXA")},
	{name: "kid collision, own key first", text: collision(false, "XXA"), outcome: Valid, step: StepSignature, reason: "verified", also: signedBy("XXA")},
	{name: "kid collision, own key second", text: collision(true, "XXA"), outcome: Valid, step: StepSignature, reason: "verified", also: signedBy("XXA")},
	{name: "kid collision, the other's certificate, listed second", text: collision(false, "XXB"), outcome: Valid, step: StepSignature, reason: "verified", also: signedBy("XXB")},
	{name: "kid collision, the other's certificate, listed first", text: collision(true, "XXB"), outcome: Valid, step: StepSignature, reason: "verified", also: signedBy("XXB")},
	{name: "kid collision with a key of another kind", outcome: Valid, step: StepSignature, reason: "verified", also: signedBy("XXA"), text: func(n *net) string {
		other := mint(n.t, "XB", rsaKey(n.t, rsa2048))
		other.kid = n.dsc.kid
		n.only(trust.ICVP, "XXB", other)
		n.enlist(trust.ICVP, "XXA", n.dsc)
		return n.text(code{})
	}},
	{name: "a forgery under a kid of two keys", outcome: BadSignature, step: StepSignature, reason: "bad-signature", text: func(n *net) string {
		other := mint(n.t, "XB", rsaKey(n.t, rsa2048))
		other.kid = n.dsc.kid
		n.enlist(trust.ICVP, "XXB", other)
		return n.text(code{signer: rogue(n.t), kid: n.dsc.kid})
	}},
	{name: "a key of another domain only", outcome: UnknownIssuer, step: StepKeys, reason: "other-domain", also: wantDetail(StepKeys, "[DCC DDCC]"), text: func(n *net) string {
		n.only(trust.DCC, "XXA", n.dsc)
		n.enlist(trust.DDCC, "XXA", n.dsc)
		n.enlist(trust.DDCC, "XXB", n.dsc)
		return n.text(code{})
	}},
	{name: "a key that an operator trusts everywhere", outcome: Valid, step: StepKeys, reason: "found", text: func(n *net) string {
		n.only(trust.AnyDomain, "XA", n.dsc)
		return n.text(code{})
	}},
	{name: "a bare key, of which no list says how long it lives", outcome: Valid, step: StepKeyValidity, reason: "within-validity", also: signedBy("XXA"), text: func(n *net) string {
		n.list = new(trust.List)
		n.Trust = n.list
		n.list.Insert(&trust.Key{Domain: trust.ICVP, Participant: "XXA", ID: trust.KeyID(n.dsc.kid), Public: n.dsc.key.Public()})
		return n.text(code{})
	}},
	{name: "a revoked key", text: listedAs(revoked), outcome: UntrustedKey, step: StepKeyValidity, reason: "dsc-revoked"},
	{name: "one key under two names, the first revoked", text: listedAs(revoked, bGood), outcome: Valid, step: StepKeyValidity, reason: "within-validity", also: signedBy("XXB")},
	{name: "one key under two names, the second revoked", text: listedAs(good, bGone), outcome: Valid, step: StepKeyValidity, reason: "within-validity", also: signedBy("XXA")},
	{name: "one key under two names, both revoked", text: listedAs(revoked, bGone), outcome: UntrustedKey, step: StepKeyValidity, reason: "dsc-revoked"},
	{name: "one key under one name, revoked in the later list", text: listedAs(good, revoked), outcome: UntrustedKey, step: StepKeyValidity, reason: "dsc-revoked", also: signedBy("XXA")},
	{name: "one key under one name, revoked in the earlier list", text: listedAs(revoked, good), outcome: UntrustedKey, step: StepKeyValidity, reason: "dsc-revoked"},
	{name: "one key, revoked under one name, good under another", text: listedAs(good, bGood, revoked), outcome: Valid, step: StepKeyValidity, reason: "within-validity", also: signedBy("XXB")},
	{name: "one key, revoked under one name, expired under another", text: listedAs(bPast, revoked, good), outcome: UntrustedKey, step: StepKeyValidity, reason: "dsc-expired"},
}

// revoke lists one hash of the ordinary code and returns the code.
func revoke(c code, country string, kid []byte, kind dccrevocation.HashType, hash func(signature []byte) dccrevocation.Hash128, twin bool) func(n *net) string {
	return func(n *net) string {
		if n.Status == nil {
			n.Status = new(trust.Status)
		}
		sign := func(message []byte) []byte {
			signature := n.dsc.signature(n.t, message)
			n.Status.Revoke("specimen batch", country, trust.KeyID(kid), kind, hash(signature))
			if twin {
				signature = swapped(signature)
			}
			return signature
		}
		c.sign = sign
		return n.text(c)
	}
}

// listedFor lists the signature of the code in a snapshot.
func listedFor(purpose trust.Purpose, c code) func(n *net) string {
	return func(n *net) string {
		n.Status = new(trust.Status)
		c.sign = func(message []byte) []byte {
			signature := n.dsc.signature(n.t, message)
			s := new(trust.Snapshot)
			s.Add(trust.SnapshotGroup{Scheme: trust.SchemeSignature, Country: "XA", KID: trust.KeyID(listedKID), Purpose: purpose, Hashes: []dccrevocation.Hash128{hashR(signature)}})
			data, err := s.Encode()
			if err == nil {
				err = n.Status.Add("specimen snapshot", data)
			}
			if err != nil {
				n.t.Fatal(err)
			}
			return signature
		}
		return n.text(c)
	}
}

func hashR(signature []byte) dccrevocation.Hash128 {
	sum := sha256.Sum256(signature[:len(signature)/2])
	return dccrevocation.Hash128(sum[:16])
}

// hashOf hashes texts, whatever the signature is.
func hashOf(parts ...string) func([]byte) dccrevocation.Hash128 {
	return func([]byte) dccrevocation.Hash128 {
		sum := sha256.Sum256([]byte(strings.Join(parts, "")))
		return dccrevocation.Hash128(sum[:16])
	}
}

// vaccinationOf is an EU certificate with this identifier.
func vaccinationOf(id string) code {
	return code{subclaim: 1, payload: dcc("v", entryV().with("ci", id))}
}

var (
	listedKID = []byte("XXA-dsc1")
	bySig     = dccrevocation.TypeSignature
	byUCI     = dccrevocation.TypeUCI
	byCountry = dccrevocation.TypeCountryUCI
)

var revocations = []attack{
	{name: "revoked by signature", text: revoke(vaccination(), "XA", listedKID, bySig, hashR, false), outcome: Revoked, step: StepStatus, reason: "revoked"},
	{name: "revoked by signature, shown as its twin", text: revoke(vaccination(), "XA", listedKID, bySig, hashR, true), outcome: Revoked, step: StepStatus, reason: "revoked"},
	{name: "the twin of a certificate is as good", text: revoke(vaccination(), "XA", listedKID, bySig, hashOf("another"), true), outcome: Valid, step: StepStatus, reason: "not-listed"},
	{name: "an ICVP revoked by signature", text: revoke(code{}, "XA", listedKID, bySig, hashR, false), outcome: Revoked, step: StepStatus, reason: "revoked"},
	{name: "an ICVP of an RSA key revoked by its whole signature", outcome: Revoked, step: StepStatus, reason: "revoked", text: func(n *net) string {
		s := mint(n.t, "XA", rsaKey(n.t, rsa2048))
		n.enlist(trust.ICVP, "XXA", s)
		n.Status = new(trust.Status)
		return n.text(code{signer: s, sign: func(message []byte) []byte {
			signature := s.signature(n.t, message)
			n.Status.Revoke("specimen batch", "XA", trust.KeyID(s.kid), bySig, hashOf(string(signature))(nil))
			return signature
		}})
	}},
	{name: "revoked by identifier", text: revoke(vaccination(), "XA", listedKID, byUCI, hashOf(uvci), false), outcome: Revoked, step: StepStatus, reason: "revoked"},
	{name: "an identifier printed in lower case, listed in upper", text: revoke(vaccinationOf(strings.ToLower(uvci)), "XA", listedKID, byUCI, hashOf(uvci), false), outcome: Revoked, step: StepStatus, reason: "revoked"},
	{name: "an identifier printed in upper case, listed in lower", text: revoke(vaccination(), "XA", listedKID, byUCI, hashOf(strings.ToLower(uvci)), false), outcome: Revoked, step: StepStatus, reason: "revoked"},
	{name: "an identifier in mixed case, listed as it stands", text: revoke(vaccinationOf("Urn:"+uvci), "XA", listedKID, byUCI, hashOf("Urn:"+uvci), false), outcome: Revoked, step: StepStatus, reason: "revoked"},
	{name: "revoked by iss and identifier", text: revoke(vaccination(), "XA", listedKID, byCountry, hashOf("XXA", uvci), false), outcome: Revoked, step: StepStatus, reason: "revoked"},
	{name: "revoked by country of the event and identifier", text: revoke(vaccination(), "XA", listedKID, byCountry, hashOf("AT", uvci), false), outcome: Revoked, step: StepStatus, reason: "revoked"},
	{name: "revoked by country and identifier in the other case", text: revoke(vaccinationOf(strings.ToLower(uvci)), "XA", listedKID, byCountry, hashOf("AT", uvci), false), outcome: Revoked, step: StepStatus, reason: "revoked"},
	{name: "the identifier's hash under another type", text: revoke(vaccination(), "XA", listedKID, byCountry, hashOf(uvci), false), outcome: Valid, step: StepStatus, reason: "not-listed"},
	{name: "revoked by a batch of unknown kid", text: revoke(vaccination(), "XA", nil, byUCI, hashOf(uvci), false), outcome: Revoked, step: StepStatus, reason: "revoked"},
	{name: "a batch of unknown kid of another country", text: revoke(vaccination(), "XB", nil, byUCI, hashOf(uvci), false), outcome: Valid, step: StepStatus, reason: "not-listed"},
	{name: "a batch of another country with the same kid", text: revoke(vaccination(), "XB", listedKID, byUCI, hashOf(uvci), false), outcome: Valid, step: StepStatus, reason: "not-listed"},
	{name: "a batch of another kid", text: revoke(vaccination(), "XA", []byte("XXA-dsc2"), byUCI, hashOf(uvci), false), outcome: Valid, step: StepStatus, reason: "not-listed"},
	{name: "a batch of the participant's own code", text: revoke(vaccination(), "XXA", listedKID, byUCI, hashOf(uvci), false), outcome: Revoked, step: StepStatus, reason: "revoked"},
	// Hashes are public: another country may publish a copy to hide the first.
	{name: "a copy of the batch by another country, later", outcome: Revoked, step: StepStatus, reason: "revoked", text: func(n *net) string {
		revoke(vaccination(), "XA", listedKID, byUCI, hashOf(uvci), false)(n)
		return revoke(vaccination(), "XB", listedKID, byUCI, hashOf(uvci), false)(n)
	}},
	{name: "a copy of the batch by another country, earlier", outcome: Revoked, step: StepStatus, reason: "revoked", text: func(n *net) string {
		revoke(vaccination(), "XB", listedKID, byUCI, hashOf(uvci), false)(n)
		return revoke(vaccination(), "XA", listedKID, byUCI, hashOf(uvci), false)(n)
	}},
	{name: "corrected, as a snapshot says", text: listedFor(trust.PurposeSuperseded, code{}), outcome: Superseded, step: StepStatus, reason: "superseded"},
	{name: "revoked, as a snapshot says", text: listedFor(trust.PurposeRevoked, code{}), outcome: Revoked, step: StepStatus, reason: "revoked"},
	{name: "a dose that is listed", text: listedFor(trust.PurposeDose, code{}), outcome: Valid, step: StepStatus, reason: "not-listed", also: func(t *testing.T, _ *net, v *Verdict) {
		if c := v.Check(StepDose); v.Advice != (Advice{Concern, "dose-listed"}) || c.Result != Fail {
			t.Errorf("advice %v, %v", v.Advice, c)
		}
	}},
	{name: "listed by a filter, and by nothing that confirms it", outcome: Unknown, step: StepStatus, reason: "listed-by-filter", text: func(n *net) string {
		n.Status = new(trust.Status)
		return n.text(code{sign: func(message []byte) []byte {
			signature := n.dsc.signature(n.t, message)
			f, err := dccfilter.New(dccfilter.Bloom, 1e-12, []dccrevocation.Hash128{hashR(signature)})
			if err != nil {
				n.t.Fatal(err)
			}
			n.Status.AddFilter("specimen filter", "", trust.KeyID(listedKID), f)
			return signature
		}})
	}},
	{name: "revoked and expired", text: revoke(vaccination(4, noon.Add(-time.Hour)), "XA", listedKID, byUCI, hashOf(uvci), false), outcome: Revoked, step: StepStatus, reason: "revoked"},
}

var coseAttacks = []attack{
	{name: "an unknown critical header", text: plain(code{protected: m{1, -7, 2, list{99}, 4, listedKID, 99, true}}), outcome: Unsupported, step: StepDecode, reason: "critical-header"},
	{name: "an unknown critical header that is text", text: plain(code{protected: m{1, -7, 2, list{"reserved"}, 4, listedKID, "reserved", 1}}), outcome: Unsupported, step: StepDecode, reason: "critical-header"},
	{name: "a critical header that is not there", text: plain(code{protected: m{1, -7, 2, list{4}}, open: m{4, listedKID}}), outcome: Unsupported, step: StepDecode, reason: "critical-header"},
	{name: "crit that names nothing", text: plain(code{protected: m{1, -7, 2, list{}, 4, listedKID}}), outcome: Unsupported, step: StepDecode, reason: "critical-header"},
	{name: "crit that is a map", text: plain(code{protected: m{1, -7, 2, m{1, 1}, 4, listedKID}}), outcome: Unsupported, step: StepDecode, reason: "critical-header"},
	{name: "crit in the unprotected header", text: plain(code{open: m{2, list{99}, 99, 1}}), outcome: Unsupported, step: StepDecode, reason: "critical-header"},
	{name: "a critical header that is known", text: plain(code{protected: m{1, -7, 2, list{1, 4}, 4, listedKID}}), outcome: Valid, step: StepDecode, reason: "conforms"},
	{name: "kid missing", text: plain(code{kid: noHeader}), outcome: UnknownIssuer, step: StepKeys, reason: "kid-missing"},
	{name: "kid empty", text: plain(code{kid: []byte{}}), outcome: UnknownIssuer, step: StepKeys, reason: "kid-missing"},
	{name: "kid as text", text: plain(code{kid: "XXA-dsc1"}), outcome: Malformed, step: StepDecode, reason: "bad-header"},
	{name: "kid only unprotected", text: plain(code{kid: noHeader, open: m{4, listedKID}}), outcome: Valid, step: StepDecode, reason: "tolerated"},
	{name: "kid only unprotected, strict", text: strict(plain(code{kid: noHeader, open: m{4, listedKID}})), outcome: Valid, step: StepDecode, reason: "tolerated"},
	{name: "kid in both headers, the protected one right", text: plain(code{open: m{4, []byte("elsewise")}}), outcome: Valid, step: StepKeys, reason: "found"},
	{name: "kid in both headers, the protected one wrong", text: plain(code{kid: []byte("elsewise"), open: m{4, listedKID}}), outcome: UnknownIssuer, step: StepKeys, reason: "unknown-kid"},
	{name: "tags 61 and 18", text: tagged(61, 18), outcome: Valid, step: StepDecode, reason: "conforms"},
	{name: "no tag", text: tagged(), outcome: Valid, step: StepDecode, reason: "conforms"},
	{name: "tag 98", text: tagged(98), outcome: Unsupported, step: StepDecode, reason: "wrong-tag"},
	{name: "tag 61 alone", text: tagged(61), outcome: Unsupported, step: StepDecode, reason: "wrong-tag"},
	{name: "tags 18 and 61", text: tagged(18, 61), outcome: Unsupported, step: StepDecode, reason: "wrong-tag"},
	{name: "tag 18 twice", text: tagged(18, 18), outcome: Unsupported, step: StepDecode, reason: "wrong-tag"},
	{name: "five elements", outcome: Malformed, step: StepDecode, reason: "not-sign1", text: plain(code{message: func(p, payload, s []byte) []byte {
		return encode(tag{18, list{p, m{}, payload, s, nil}})
	}})},
	{name: "a detached payload", outcome: Malformed, step: StepDecode, reason: "no-payload", text: plain(code{message: func(p, _, s []byte) []byte {
		return encode(tag{18, list{p, m{}, nil, s}})
	}})},
	{name: "several certificates", text: plain(code{claims: m{1, "XXA", 4, ends, 6, issued, -260, m{1, dcc("v", entryV()), -6, icvp3()}}}), outcome: Unsupported, step: StepDecode, reason: "several-certificates"},
	{name: "another subclaim beside", text: plain(code{claims: m{1, "XXA", 6, issued, -260, m{-6, icvp3(), 77, secret}}}), outcome: Valid, step: StepDecode, reason: "tolerated"},
	{name: "another subclaim beside, strict", text: strict(plain(code{claims: m{1, "XXA", 6, issued, -260, m{-6, icvp3(), 77, secret}}})), outcome: Valid, step: StepDecode, reason: "tolerated"},
}

// tagged wraps the message in tags, outermost first.
func tagged(tags ...uint64) func(n *net) string {
	return plain(code{message: func(p, payload, s []byte) []byte {
		var v any = list{p, m{}, payload, s}
		for i := len(tags) - 1; i >= 0; i-- {
			v = tag{tags[i], v}
		}
		return encode(v)
	}})
}

// named is an ICVP of somebody with this name.
func named(name string) code { return code{subclaim: -6, payload: icvp3().with("n", name)} }

// wantName checks that the name came through untouched.
func wantName(name string) func(t *testing.T, n *net, v *Verdict) {
	return func(t *testing.T, _ *net, v *Verdict) {
		if got := v.Certificate.Person.Name.Full; got != name {
			t.Errorf("name %+q, want %+q", got, name)
		}
	}
}

// onDay is an ICVP generation 3 of a product given on a day.
func onDay(product, day string) code {
	return code{subclaim: -6, payload: dose(dose(icvp3(), "vp", product), "dv", day)}
}

func noCatalogue(text func(n *net) string) func(n *net) string {
	return func(n *net) string {
		n.Catalogue = nil
		return text(n)
	}
}

// contents are what a proper key has signed and a reader must still refuse,
// flag, or be able to show unharmed.
var contents = []attack{
	{name: "two groups", text: plain(code{subclaim: 1, payload: dcc("v", entryV()).with("t", list{entryT()})}), outcome: SchemaInvalid, step: StepSchema, reason: "several-certificates"},
	{name: "two doses in one group", text: plain(code{subclaim: 1, payload: dcc("v", entryV(), entryV())}), outcome: SchemaInvalid, step: StepSchema, reason: "several-certificates"},
	{name: "no group", text: plain(code{subclaim: 1, payload: dcc("v", entryV()).without("v")}), outcome: SchemaInvalid, step: StepSchema, reason: "required-missing"},
	{name: "an empty group", text: plain(code{subclaim: 1, payload: dcc("v")}), outcome: SchemaInvalid, step: StepSchema, reason: "bad-type"},
	{name: "null groups beside", text: plain(code{subclaim: 1, payload: dcc("v", entryV()).with("t", nil).with("r", nil)}), outcome: Valid, step: StepSchema, reason: "tolerated"},
	{name: "null groups beside, strict", text: strict(plain(code{subclaim: 1, payload: dcc("v", entryV()).with("t", nil)})), outcome: SchemaInvalid, step: StepSchema, reason: "null-value"},
	{name: "several doses in an ICVP", text: plain(code{subclaim: -6, payload: icvp3().with("vx", list{m{"vp", "YF-1"}, m{"vp", "PV-1"}})}), outcome: SchemaInvalid, step: StepSchema, reason: "several-doses"},
	{name: "an ICVP without its lot", text: plain(code{subclaim: -6, payload: dose(icvp3(), "bo", "")}), outcome: SchemaInvalid, step: StepSchema, reason: "required-missing"},
	{name: "an ICVP that names its disease", text: plain(code{subclaim: -6, payload: dose(icvp3(), "tg", "1D47")}), outcome: Valid, step: StepSchema, reason: "tolerated"},
	{name: "an ICVP that names its disease, strict", text: strict(plain(code{subclaim: -6, payload: dose(icvp3(), "tg", "1D47")})), outcome: SchemaInvalid, step: StepSchema, reason: "not-to-be-carried"},
	{name: "an ICVP element named after the holder", text: plain(code{subclaim: -6, payload: icvp3().with(secret, 1)}), outcome: Valid, step: StepSchema, reason: "tolerated"},
	{name: "an ICVP that is a list", text: plain(code{subclaim: -6, payload: list{icvp3()}}), outcome: SchemaInvalid, step: StepSchema, reason: "bad-type"},
	{name: "a DCC that is text", text: plain(code{subclaim: 1, payload: secret}), outcome: SchemaInvalid, step: StepSchema, reason: "bad-type"},
	{name: "a code outside its value set", text: plain(code{subclaim: 1, payload: dcc("v", entryV().with("mp", secret))}), outcome: Valid, step: StepSchema, reason: "tolerated", also: wantDetail(StepSchema, "v[0].mp: not in its value set")},
	{name: "more departures than anybody reads", outcome: Valid, step: StepSchema, reason: "tolerated", also: wantDetail(StepSchema, "more"), text: func(n *net) string {
		p := icvp3()
		for i := range 40 {
			p = append(p, fmt.Sprintf("x%d", i), 0)
		}
		return n.text(code{subclaim: -6, payload: p})
	}},

	{name: "a name turned round by bidirectional controls", text: plain(named("SPECIMEN \u202e" + secret + "\u202c")), outcome: Valid, step: StepSchema, reason: "suspicious-text",
		also: wantName("SPECIMEN \u202e" + secret + "\u202c")},
	{name: "a name with a bidirectional isolate", text: plain(named("SPECIMEN \u2067" + secret)), outcome: Valid, step: StepSchema, reason: "suspicious-text"},
	{name: "a name with a zero-width space", text: plain(named("SPECI\u200bMEN")), outcome: Valid, step: StepSchema, reason: "suspicious-text", also: wantName("SPECI\u200bMEN")},
	{name: "a name with a line break", text: plain(named("SPECIMEN\nVALID")), outcome: Valid, step: StepSchema, reason: "suspicious-text"},
	{name: "a name with a terminal's escape", text: plain(named("SPECIMEN \x1b[2J")), outcome: Valid, step: StepSchema, reason: "suspicious-text"},
	{name: "a name with a joiner", text: plain(named("SPECIMEN\u200cX")), outcome: Valid, step: StepSchema, reason: "conforms", also: wantName("SPECIMEN\u200cX")},
	{name: "hidden characters, strict", text: strict(plain(named("SPECI\u200bMEN"))), outcome: SchemaInvalid, step: StepSchema, reason: "suspicious-text"},
	{name: "a name with HTML", text: plain(named(`<script>alert("` + secret + `")</script>`)), outcome: Valid, step: StepSchema, reason: "conforms",
		also: wantName(`<script>alert("` + secret + `")</script>`)},
	{name: "an EU name with hidden characters", text: plain(code{subclaim: 1, payload: dcc("v", entryV()).with("nam", nam().with("fn", "SPECI\u202eMEN"))}), outcome: Valid, step: StepSchema, reason: "suspicious-text"},
	{name: "a name in another normal form", text: plain(named("Spe\u0301cimen")), outcome: Valid, step: StepSchema, reason: "conforms", also: wantName("Sp\u00e9cimen")},
	{name: "a partial birth date in an ICVP", text: plain(code{subclaim: -6, payload: icvp3().with("dob", "1990")}), outcome: SchemaInvalid, step: StepSchema, reason: "bad-date"},
	{name: "a partial birth date in a DCC", text: plain(code{subclaim: 1, payload: dcc("v", entryV()).with("dob", "1990-02")}), outcome: Valid, step: StepSchema, reason: "conforms",
		also: func(t *testing.T, _ *net, v *Verdict) {
			if got := v.Certificate.Person.BirthDate; got != "1990-02" {
				t.Errorf("born %q", got)
			}
		}},
	{name: "a birth date with a time", text: plain(code{subclaim: 1, payload: dcc("v", entryV()).with("dob", "1990-02-03T00:00:00")}), outcome: Valid, step: StepSchema, reason: "tolerated"},
	{name: "a birth date with a time, strict", text: strict(plain(code{subclaim: 1, payload: dcc("v", entryV()).with("dob", "1990-02-03T00:00:00")})), outcome: SchemaInvalid, step: StepSchema, reason: "bad-date"},
	{name: "a birth date that does not exist", text: plain(code{subclaim: 1, payload: dcc("v", entryV()).with("dob", "1990-02-30")}), outcome: SchemaInvalid, step: StepSchema, reason: "bad-date"},

	{name: "no catalogue", text: noCatalogue(plain(code{})), outcome: Unknown, step: StepRules, reason: "no-catalogue"},
	{name: "no catalogue, generation 2", text: noCatalogue(plain(code{subclaim: -6, payload: icvp2()})), outcome: Unknown, step: StepRules, reason: "no-catalogue"},
	{name: "no catalogue, generation 1 names its disease", text: noCatalogue(plain(code{subclaim: -6, payload: icvp1()})), outcome: Valid, step: StepRules, reason: "satisfied"},
	{name: "a product that is not listed", text: plain(onDay("ZZ-1", "2026-02-20")), outcome: RuleFailed, step: StepRules, reason: "product-not-approved"},
	{name: "a product of generation 2 that is not listed", text: plain(code{subclaim: -6, payload: dose(icvp2(), "vp", "ZZ-1")}), outcome: RuleFailed, step: StepRules, reason: "product-not-approved"},
	{name: "a product without a disease", text: plain(onDay("NN-1", "2026-02-20")), outcome: Unknown, step: StepRules, reason: "no-decision-table"},
	{name: "a disease of generation 1 without a table", text: plain(code{subclaim: -6, payload: dose(icvp1(), "tg", "1A00")}), outcome: Unknown, step: StepRules, reason: "no-decision-table"},
	{name: "yellow fever, nine days ago", text: plain(newly(onDay("YF-1", "2026-10-23"))), outcome: RuleFailed, step: StepRules, reason: "less-than-10-days", also: wantDetail(StepRules, "9 days")},
	{name: "yellow fever, ten days ago", text: plain(newly(onDay("YF-1", "2026-10-22"))), outcome: Valid, step: StepRules, reason: "satisfied", also: wantDetail(StepRules, "ICVP.DT.1 rule 3")},
	{name: "yellow fever, nine days ago to the last second", text: at(time.Date(2026, 11, 1, 23, 59, 59, 0, time.UTC), plain(newly(onDay("YF-1", "2026-10-23")))),
		outcome: RuleFailed, step: StepRules, reason: "less-than-10-days"},
	{name: "yellow fever of generation 1, nine days ago", text: plain(newly(code{subclaim: -6, payload: dose(dose(icvp1(), "dt", "2026-10-23"), "vls", "2026-10-23")})), outcome: RuleFailed, step: StepRules, reason: "less-than-10-days"},
	{name: "polio, today", text: plain(newly(onDay("PV-1", "2026-11-01"))), outcome: Valid, step: StepRules, reason: "satisfied", also: wantDetail(StepRules, "ICVP.DT.2 rule 2")},
	{name: "polio, dated tomorrow where it is tomorrow already", text: plain(newly(onDay("PV-1", "2026-11-02"))), outcome: Valid, step: StepRules, reason: "satisfied"},
	{name: "a vaccination two days after issuance", text: plain(onDay("PV-1", "2026-03-03")), outcome: RuleFailed, step: StepRules, reason: "vaccination-after-issuance"},
	{name: "a vaccination in the future", text: plain(code{claims: claimsOf(-6, dose(icvp3(), "dv", "2026-11-03")).without(6)}), outcome: RuleFailed, step: StepRules, reason: "vaccination-in-future"},
	{name: "the rules waived", outcome: Valid, step: StepSchema, reason: "conforms", text: func(n *net) string {
		n.alter(trust.ICVP, func(p *Policy) { p.Required[StepRules] = false })
		return n.text(onDay("ZZ-1", "2026-02-20"))
	}, also: func(t *testing.T, _ *net, v *Verdict) {
		if c := v.Check(StepRules); c.Result != Fail || c.Reason != "product-not-approved" {
			t.Errorf("the waived check says %s (%s)", c.Result, c.Reason)
		}
	}},

	{name: "vle yesterday", text: plain(code{subclaim: -6, payload: dose(icvp2(), "vle", "2026-10-31")}), outcome: Expired, step: StepPeriod, reason: "expired"},
	{name: "vle today", text: plain(code{subclaim: -6, payload: dose(icvp2(), "vle", "2026-11-01")}), outcome: Valid, step: StepPeriod, reason: "in-force"},
	{name: "vle today, in its last half second", text: at(time.Date(2026, 11, 1, 23, 59, 59, 5e8, time.UTC), plain(code{subclaim: -6, payload: dose(icvp2(), "vle", "2026-11-01")})), outcome: Valid, step: StepPeriod, reason: "in-force"},
	{name: "vle at the midnight that ends it", text: at(time.Date(2026, 11, 2, 0, 0, 0, 0, time.UTC), plain(code{subclaim: -6, payload: dose(icvp2(), "vle", "2026-11-01")})), outcome: Expired, step: StepPeriod, reason: "expired"},
	{name: "vle of generation 1 yesterday", text: plain(code{subclaim: -6, payload: dose(icvp1(), "vle", "2026-10-31")}), outcome: Expired, step: StepPeriod, reason: "expired"},
	{name: "vle before exp", text: plain(code{subclaim: -6, payload: dose(icvp2(), "vle", "2026-10-31"), exp: ends}), outcome: Expired, step: StepPeriod, reason: "expired"},
	{name: "exp before vle", text: plain(code{subclaim: -6, payload: icvp2(), exp: noon.Add(-time.Second)}), outcome: Expired, step: StepPeriod, reason: "expired"},
	{name: "vle with a time", text: plain(code{subclaim: -6, payload: dose(icvp2(), "vle", "2026-10-31T00:00:00Z")}), outcome: Expired, step: StepPeriod, reason: "expired"},
	{name: "vle that is for life", text: plain(code{subclaim: -6, payload: dose(icvp2(), "vle", "life of person vaccinated")}), outcome: Valid, step: StepPeriod, reason: "no-expiry"},
	{name: "vle that nobody can read", text: plain(code{subclaim: -6, payload: dose(icvp2(), "vle", "31/10/2026")}), outcome: Unknown, step: StepPeriod, reason: "bad-date"},
	{name: "vle that is a year", text: plain(code{subclaim: -6, payload: dose(icvp2(), "vle", "2024")}), outcome: Unknown, step: StepPeriod, reason: "bad-date"},
	{name: "vle absent", text: plain(code{subclaim: -6, payload: dose(icvp2(), "vle", nil)}), outcome: Valid, step: StepPeriod, reason: "no-expiry"},
	{name: "vls tomorrow", text: plain(code{subclaim: -6, payload: dose(icvp2(), "vls", "2026-11-02")}), outcome: NotYetValid, step: StepPeriod, reason: "not-yet-valid"},
	{name: "vls today", text: plain(code{subclaim: -6, payload: dose(icvp2(), "vls", "2026-11-01")}), outcome: Valid, step: StepPeriod, reason: "in-force"},
	{name: "vls that nobody can read", text: plain(code{subclaim: -6, payload: dose(icvp2(), "vls", secret)}), outcome: Unknown, step: StepPeriod, reason: "bad-date"},
	{name: "a DDCC whose period is over", text: plain(code{subclaim: 3, payload: ddccV().with("certificate", m{"period", m{"start", "2026-03-01", "end", "2026-10-31"}})}), outcome: Expired, step: StepPeriod, reason: "expired"},
	{name: "a DDCC whose period has not begun", text: plain(code{subclaim: 3, payload: ddccV().with("certificate", m{"period", m{"start", "2026-11-02T00:00:00Z"}})}), outcome: NotYetValid, step: StepPeriod, reason: "not-yet-valid"},

	{name: "a link that has ended", text: plain(code{subclaim: 5, payload: vhlink(fmt.Sprintf(`,"exp":%d`, noon.Unix()-1))}), outcome: Expired, step: StepPeriod, reason: "link-expired"},
	{name: "a link that ends later than its container", text: plain(code{subclaim: 5, payload: vhlink(fmt.Sprintf(`,"exp":%d`, noon.Unix()+1)), exp: noon.Add(-time.Second)}), outcome: Expired, step: StepPeriod, reason: "expired"},
	{name: "a link with two urls", text: plain(code{subclaim: 5, payload: vhlink(`,"url":"https://rogue.example/` + secret + `"`)}), outcome: Malformed, step: StepDecode, reason: "duplicate-key"},
	{name: "a link to a plain address", text: plain(code{subclaim: 5, payload: "vhlink:/" + base64.RawURLEncoding.EncodeToString([]byte(`{"url":"http://`+secret+`/","key":"`+linkKey+`"}`))}),
		outcome: Malformed, step: StepDecode, reason: "malformed-url"},
	{name: "a link that is none", text: plain(code{subclaim: 5, payload: "https://" + secret + "/"}), outcome: Malformed, step: StepDecode, reason: "not-a-health-link"},
	{name: "a link that is a number", text: plain(code{subclaim: 5, payload: 5}), outcome: Malformed, step: StepDecode, reason: "bad-claims"},
}

// newly is a code issued now.
func newly(c code) code {
	c.claims = claimsOf(c.subclaim, c.payload).with(6, noon)
	return c
}

// shown is a text that stands as it is, with the format it must be taken for.
func shown(name, text, format string, outcome Outcome, reason string) attack {
	return attack{name: name, text: func(*net) string { return text }, outcome: outcome, step: StepRead, reason: reason,
		also: func(t *testing.T, _ *net, v *Verdict) {
			if v.Format != format || v.Certificate != nil {
				t.Errorf("format %q, want %q; content %v", v.Format, format, v.Certificate != nil)
			}
		}}
}

// around puts text around an ordinary code.
func around(before, after string) func(n *net) string {
	return func(n *net) string { return before + n.text(code{}) + after }
}

var prefixes = []attack{
	{name: "a prefix in lower case", text: func(n *net) string { return "hc1" + n.text(code{})[3:] }, outcome: Valid, step: StepDecode, reason: "tolerated", also: wantDetail(StepDecode, "lowercase-prefix")},
	{name: "a prefix in lower case, strict", text: strict(func(n *net) string { return "hc1" + n.text(code{})[3:] }), outcome: Malformed, step: StepRead, reason: "lowercase-prefix"},
	{name: "no prefix", text: func(n *net) string { return n.text(code{})[4:] }, outcome: Unsupported, step: StepRead, reason: "unknown-format"},
	{name: "version 2", text: func(n *net) string { return "HC2" + n.text(code{})[3:] }, outcome: Unsupported, step: StepRead, reason: "unsupported-version"},
	{name: "a version that is a letter", text: func(n *net) string { return "HCX" + n.text(code{})[3:] }, outcome: Unsupported, step: StepRead, reason: "unsupported-version"},
	{name: "blanks, breaks and a byte order mark around", text: around("\ufeff \t\r\n", " \r\n\t "), outcome: Valid, step: StepDecode, reason: "conforms"},
	{name: "a character outside base45", text: around("", "ü"), outcome: Malformed, step: StepDecode, reason: "invalid-character"},
	{name: "a base45 text in lower case", text: func(n *net) string { return "HC1:" + strings.ToLower(n.text(code{})[4:]) }, outcome: Malformed, step: StepDecode, reason: "invalid-character"},
	{name: "a SMART Health Card that is cut", text: func(*net) string { return "shc:/5676295953265460346029254077" }, outcome: Malformed, step: StepDecode, reason: "not-jws"},
	{name: "a SMART Health Card in upper case, cut", text: func(*net) string { return "SHC:/5676" }, outcome: Malformed, step: StepDecode, reason: "not-jws"},
	shown("a SMART Health Link", "shlink:/eyJ1cmwi", "shl", Unsupported, "unsupported-format"),
	shown("a bare Verifiable Health Link", "vhlink:/eyJ1cmwi", "vhl", Unsupported, "unsupported-format"),
	shown("a Dutch domestic code", "NL2:ABC", "nl2", Unsupported, "unsupported-format"),
	{name: "a DIVOC archive that is cut", text: func(*net) string { return "PK\x03\x04\x14\x00certificate.json" }, outcome: Malformed, step: StepDecode, reason: "malformed-zip"},
	{name: "a DIVOC archive in base64, cut", text: func(*net) string { return "B64:UEsDBA==" }, outcome: Malformed, step: StepDecode, reason: "malformed-zip"},
	shown("JSON", `{"data":{"msg":{"pid":{"n":"`+secret+`"}}}}`, "vds-nc", Unsupported, "not-a-seal"),
	shown("a text about a person", "BEGIN:VCARD "+secret, "", Unsupported, "unknown-format"),
	shown("nothing", "", "", Malformed, "empty"),
	shown("nothing but blanks", " \ufeff\r\n\t", "", Malformed, "empty"),
	shown("a beginning", "HC1", "", Unsupported, "unknown-format"),
	shown("bytes that are not UTF-8", "\xff\xfe\x00", "", Unsupported, "unknown-format"),
}
