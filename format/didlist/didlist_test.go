package didlist

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"math/big"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var testTime = time.Date(2026, 8, 22, 18, 0, 10, 0, time.UTC)

const testDID = "did:web:example.org:v2:trustlist"

var makeTestKey = sync.OnceValues(func() (*ecdsa.PrivateKey, error) {
	return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
})

func testKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := makeTestKey()
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func selfSigned(t testing.TB, key crypto.Signer) []byte {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(7),
		Subject:      pkix.Name{Country: []string{"XA"}, CommonName: "test"},
		NotBefore:    testTime, NotAfter: testTime.AddDate(1, 0, 0),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

var makeOtherKeys = sync.OnceValues(func() (keys [2]crypto.Signer, err error) {
	if keys[0], err = ecdsa.GenerateKey(elliptic.P384(), rand.Reader); err != nil {
		return keys, err
	}
	keys[1], err = rsa.GenerateKey(rand.Reader, 2048)
	return keys, err
})

// demoList has a certificate on P-256, one on P-384, one of RSA, and a bare key.
func demoList(t testing.TB, context Context) *Document {
	t.Helper()
	keys, err := makeOtherKeys()
	if err != nil {
		t.Fatal(err)
	}
	p384, rsaKey := keys[0], keys[1]
	dsc := selfSigned(t, testKey(t))
	d, err := New(context, testDID, testDID, "did:web:example.org:signing", []Entry{
		{Domain: "DCC", Participant: "XXA", KeyUsage: "DSC", Chain: [][]byte{dsc, dsc}},
		{Domain: "ICVP", Participant: "XXB", KeyUsage: "SCA", Chain: [][]byte{selfSigned(t, p384)}},
		{Domain: "ICVP", Participant: "XXB", KeyUsage: "DSC", Chain: [][]byte{selfSigned(t, rsaKey)}},
		{Domain: "PH4H", Participant: "XXC", Key: testKey(t).Public(), KID: []byte{0xFB, 0xFF, 1}},
	}, []string{"did:web:example.com:other", "did:web:example.org:v2:trustlist:DCC"})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestSignRoundTrip(t *testing.T) {
	for _, form := range []SignatureForm{FormDER, FormRS} {
		t.Run(string(form), func(t *testing.T) {
			made := demoList(t, ContextProduction)
			if err := made.VerifyProof(testKey(t).Public()); !errors.Is(err, ErrNoProof) {
				t.Errorf("before signing: %v", err)
			}
			data, err := made.Sign(testKey(t), rand.Reader, testTime, "n0nce", form)
			if err != nil {
				t.Fatal(err)
			}
			read, err := Parse(data)
			if err != nil {
				t.Fatal(err)
			}
			if err := read.VerifyProof(testKey(t).Public()); err != nil {
				t.Error(err)
			}
			other, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
			if err != nil {
				t.Fatal(err)
			}
			if err := read.VerifyProof(other.Public()); !errors.Is(err, ErrSignature) {
				t.Errorf("under another key: %v", err)
			}
			if read.Proof.SignatureForm != form || !read.Created.Equal(testTime) || read.Proof.Nonce != "n0nce" {
				t.Errorf("proof %+v created %s", read.Proof, read.Created)
			}
			if diff := cmp.Diff(made.References, read.References); diff != "" {
				t.Error(diff)
			}
			for i, e := range read.Entries {
				w := made.Entries[i]
				if e.Err != nil || e.ID != w.ID || e.Domain != w.Domain || e.KeyUsage != w.KeyUsage || !bytes.Equal(e.KID, w.KID) {
					t.Errorf("entry %d: %+v, want %+v", i, e, w)
				}
				if !e.Key.(interface{ Equal(crypto.PublicKey) bool }).Equal(w.Key) {
					t.Errorf("entry %d: another key", i)
				}
			}
			if got := read.Entries[3].Problems; !slices.Equal(got, []Problem{ProblemMissingCode, ProblemNoX5C}) {
				t.Errorf("bare key: %v", got)
			}
			if got := read.Entries[0].Problems; len(got) != 0 {
				t.Errorf("our own entry has %v", got)
			}
		})
	}
}

// edit signs the demonstration list, lets f change its JSON, and parses it.
func edit(t *testing.T, f func(root map[string]any)) (*Document, error) {
	t.Helper()
	data, err := demoList(t, ContextProduction).Sign(testKey(t), nil, testTime, "n", FormDER)
	if err != nil {
		t.Fatal(err)
	}
	var root map[string]any
	if err := json.Unmarshal(data, &root); err != nil {
		t.Fatal(err)
	}
	f(root)
	if data, err = json.Marshal(root); err != nil {
		t.Fatal(err)
	}
	return Parse(data)
}

func entry(root map[string]any, i int) map[string]any {
	return root["verificationMethod"].([]any)[i].(map[string]any)
}

func proofOf(root map[string]any) map[string]any { return root["proof"].(map[string]any) }

// withHeader replaces the JWS header and keeps the signature.
func withHeader(root map[string]any, header string) {
	jws := proofOf(root)["jws"].(string)
	_, signature, _ := strings.Cut(jws, "..")
	proofOf(root)["jws"] = base64.RawURLEncoding.EncodeToString([]byte(header)) + ".." + signature
}

func TestVerifyProofRefuses(t *testing.T) {
	for _, tc := range []struct {
		name string
		edit func(root map[string]any)
		want error
	}{
		{"untouched", func(map[string]any) {}, nil},
		{"unknown property", func(r map[string]any) { entry(r, 0)["note"] = "x" }, nil},
		{"order of entries", func(r map[string]any) { slices.Reverse(r["verificationMethod"].([]any)) }, nil},

		{"no proof", func(r map[string]any) { delete(r, "proof") }, ErrNoProof},
		{"two proofs", func(r map[string]any) { r["proof"] = []any{r["proof"], r["proof"]} }, ErrBadProof},
		{"no jws", func(r map[string]any) { delete(proofOf(r), "jws") }, ErrBadProof},
		{"jws with payload", func(r map[string]any) {
			proofOf(r)["jws"] = strings.Replace(proofOf(r)["jws"].(string), "..", ".e30.", 1)
		}, ErrBadProof},
		{"padded signature", func(r map[string]any) { proofOf(r)["jws"] = proofOf(r)["jws"].(string) + "==" }, ErrBadProof},
		{"empty signature", func(r map[string]any) {
			h, _, _ := strings.Cut(proofOf(r)["jws"].(string), "..")
			proofOf(r)["jws"] = h + ".."
		}, ErrBadProof},
		{"created no date", func(r map[string]any) { proofOf(r)["created"] = "yesterday" }, ErrBadProof},
		{"alg none", func(r map[string]any) { withHeader(r, `{"b64":false,"crit":["b64"],"alg":"none"}`) }, ErrAlgorithm},
		{"alg HS256", func(r map[string]any) { withHeader(r, `{"b64":false,"crit":["b64"],"alg":"HS256"}`) }, ErrAlgorithm},
		{"alg EC", func(r map[string]any) { withHeader(r, `{"b64":false,"crit":["b64"],"alg":"EC"}`) }, ErrAlgorithm},
		{"alg es256", func(r map[string]any) { withHeader(r, `{"b64":false,"crit":["b64"],"alg":"es256"}`) }, ErrAlgorithm},
		{"b64 true", func(r map[string]any) { withHeader(r, `{"b64":true,"crit":["b64"],"alg":"ES256"}`) }, ErrAlgorithm},
		{"no crit", func(r map[string]any) { withHeader(r, `{"b64":false,"alg":"ES256"}`) }, ErrAlgorithm},
		{"more crit", func(r map[string]any) { withHeader(r, `{"b64":false,"crit":["b64","x"],"alg":"ES256"}`) }, ErrAlgorithm},
		{"a jwk in the header", func(r map[string]any) { withHeader(r, `{"b64":false,"crit":["b64"],"alg":"ES256","jwk":{}}`) }, ErrAlgorithm},
		{"two algs", func(r map[string]any) {
			withHeader(r, `{"b64":false,"crit":["b64"],"alg":"none","alg":"ES256"}`)
		}, ErrBadProof},
		{"same header in another order", func(r map[string]any) { withHeader(r, `{"alg":"ES256","b64":false,"crit":["b64"]}`) }, ErrSignature},

		{"purpose", func(r map[string]any) { proofOf(r)["proofPurpose"] = "authentication" }, ErrShape},
		{"proof type", func(r map[string]any) { proofOf(r)["type"] = "Ed25519Signature2020" }, ErrShape},
		{"nonce", func(r map[string]any) { proofOf(r)["nonce"] = "m" }, ErrSignature},
		{"no nonce", func(r map[string]any) { delete(proofOf(r), "nonce") }, ErrSignature},
		{"nonce with a tab", func(r map[string]any) { proofOf(r)["nonce"] = "\t" }, ErrShape},
		{"expires added", func(r map[string]any) { proofOf(r)["expires"] = "2030-01-01T00:00:00Z" }, ErrSignature},
		{"proof id", func(r map[string]any) { proofOf(r)["id"] = "did:web:a" }, ErrShape},
		{"inline context in the proof", func(r map[string]any) { proofOf(r)["@context"] = map[string]any{} }, ErrShape},
		{"signer", func(r map[string]any) { proofOf(r)["verificationMethod"] = "did:web:a" }, ErrSignature},
		{"signer not absolute", func(r map[string]any) { proofOf(r)["verificationMethod"] = "a" }, ErrNotAbsolute},

		{"id", func(r map[string]any) { r["id"] = "did:web:a" }, ErrSignature},
		{"controller", func(r map[string]any) { r["controller"] = "did:web:a" }, ErrSignature},
		{"context", func(r map[string]any) { r["@context"].([]any)[2] = string(ContextUAT) }, ErrSignature},
		{"@graph", func(r map[string]any) { r["@graph"] = []any{} }, ErrShape},
		{"document type", func(r map[string]any) { r["type"] = typeKey }, ErrShape},
		{"assertionMethod", func(r map[string]any) { r["assertionMethod"] = []any{"did:web:a"} }, ErrShape},
		{"IRI as property", func(r map[string]any) { r["https://example.org/p"] = "x" }, ErrShape},
		{"reference removed", func(r map[string]any) { vm := r["verificationMethod"].([]any); r["verificationMethod"] = vm[:5] }, ErrSignature},
		{"reference added", func(r map[string]any) {
			r["verificationMethod"] = append(r["verificationMethod"].([]any), "did:web:evil")
		}, ErrSignature},
		{"relative reference added", func(r map[string]any) {
			r["verificationMethod"] = append(r["verificationMethod"].([]any), "evil")
		}, ErrShape},
		{"null entry added", func(r map[string]any) {
			r["verificationMethod"] = append(r["verificationMethod"].([]any), nil)
		}, ErrShape},
		{"usage", func(r map[string]any) { entry(r, 0)["keyusage"] = map[string]any{"code": "#SCA"} }, ErrSignature},
		{"usage without hash", func(r map[string]any) { entry(r, 0)["keyusage"] = map[string]any{"code": "DSC"} }, ErrSignature},
		{"plain usage of the same meaning", func(r map[string]any) { entry(r, 0)["keyusage"] = "#DSC" }, nil},
		{"usage as array", func(r map[string]any) { entry(r, 0)["keyusage"] = []any{"#DSC"} }, ErrShape},
		{"usage by id", func(r map[string]any) { entry(r, 0)["keyusage"] = map[string]any{"id": "#DSC"} }, ErrShape},
		{"usage with statements", func(r map[string]any) {
			entry(r, 0)["keyusage"] = map[string]any{"code": "#DSC", "controller": "did:web:a"}
		}, ErrShape},
		{"usage removed", func(r map[string]any) { delete(entry(r, 0), "keyusage") }, ErrSignature},
		{"entry type", func(r map[string]any) { entry(r, 0)["type"] = "JsonWebKey2021" }, ErrShape},
		{"number in the JWK", func(r map[string]any) { entry(r, 0)["publicKeyJwk"].(map[string]any)["n"] = 1 }, ErrShape},
	} {
		t.Run(tc.name, func(t *testing.T) {
			d, err := edit(t, tc.edit)
			if err != nil {
				t.Fatal(err)
			}
			if err := d.VerifyProof(testKey(t).Public()); !errors.Is(err, tc.want) {
				t.Errorf("VerifyProof = %v, want %v", err, tc.want)
			}
		})
	}
}

func TestVerifyProofKeyTypes(t *testing.T) {
	d, err := edit(t, func(map[string]any) {})
	if err != nil {
		t.Fatal(err)
	}
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []crypto.PublicKey{nil, []byte("secret"), p384.Public(), testKey(t)} {
		if err := d.VerifyProof(key); !errors.Is(err, ErrKeyType) {
			t.Errorf("%T: %v", key, err)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for _, tc := range []struct {
		name string
		edit func(root map[string]any)
		want error
	}{
		{"no context", func(r map[string]any) { delete(r, "@context") }, ErrUnknownContext},
		{"inline context", func(r map[string]any) { r["@context"].([]any)[2] = map[string]any{} }, ErrUnknownContext},
		{"fourth context", func(r map[string]any) { r["@context"] = append(r["@context"].([]any), "https://example.org") }, ErrUnknownContext},
		{"other version", func(r map[string]any) { r["@context"].([]any)[2] = "https://smart.who.int/trust/tng-context/v2.jsonld" }, ErrUnknownContext},
		{"no id", func(r map[string]any) { delete(r, "id") }, ErrNotDocument},
		{"relative id", func(r map[string]any) { r["id"] = "list" }, ErrNotAbsolute},
		{"blank id", func(r map[string]any) { r["id"] = "_:b0" }, ErrNotAbsolute},
		{"id with a bracket", func(r map[string]any) { r["id"] = "did:web:a> <b" }, ErrNotAbsolute},
		{"methods as object", func(r map[string]any) { r["verificationMethod"] = map[string]any{} }, ErrNotDocument},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if _, err := edit(t, tc.edit); !errors.Is(err, tc.want) {
				t.Errorf("Parse = %v, want %v", err, tc.want)
			}
		})
	}
	for _, in := range []string{``, `[]`, `null`, `{"id":"a","id":"a"}`} {
		if _, err := Parse([]byte(in)); err == nil {
			t.Errorf("Parse(%s) accepted", in)
		}
	}
}

// A bad entry must explain itself and leave the rest alone.
func TestEntries(t *testing.T) {
	jwk := func(r map[string]any, i int) map[string]any {
		return entry(r, i)["publicKeyJwk"].(map[string]any)
	}
	for _, tc := range []struct {
		name     string
		edit     func(root map[string]any)
		want     error
		problems []Problem
	}{
		{"good", func(map[string]any) {}, nil, nil},
		{"null", func(r map[string]any) { r["verificationMethod"].([]any)[0] = nil }, ErrEntry, nil},
		{"relative reference", func(r map[string]any) { r["verificationMethod"].([]any)[0] = "x" }, ErrNotAbsolute, nil},
		{"type", func(r map[string]any) { entry(r, 0)["type"] = "X" }, ErrEntryType, nil},
		{"relative id", func(r map[string]any) { entry(r, 0)["id"] = "#a" }, ErrNotAbsolute, []Problem{ProblemKIDDiffers}},
		{"id of the list", func(r map[string]any) { entry(r, 0)["id"] = testDID }, ErrAmbiguousID, nil},
		{"relative controller", func(r map[string]any) { entry(r, 0)["controller"] = "x" }, ErrNotAbsolute, nil},
		{"code", func(r map[string]any) { entry(r, 0)["domain"] = map[string]any{"code": "#A B"} }, ErrBadCode, nil},
		{"code path", func(r map[string]any) { entry(r, 0)["domain"] = "../x" }, ErrBadCode, nil},
		{"no JWK", func(r map[string]any) { delete(entry(r, 0), "publicKeyJwk") }, ErrNoKey, nil},
		{"x5c text", func(r map[string]any) { jwk(r, 0)["x5c"] = "AA==" }, ErrBadCertificate, nil},
		{"x5c base64url", func(r map[string]any) { jwk(r, 0)["x5c"] = []any{"-_8="} }, ErrBadCertificate, nil},
		{"x5c no certificate", func(r map[string]any) { jwk(r, 0)["x5c"] = []any{"AAAA"} }, ErrBadCertificate, nil},
		{"x5c too long", func(r map[string]any) { jwk(r, 0)["x5c"] = make([]any, MaxChain+1) }, ErrTooLong, nil},
		{"kid", func(r map[string]any) { jwk(r, 0)["kid"] = "*" }, ErrBadKID, nil},
		{"coordinate", func(r map[string]any) { jwk(r, 0)["x"] = "*" }, ErrEntry, nil},
		{"custom kid", func(r map[string]any) { jwk(r, 0)["kid"] = "ABCDEFGH" }, nil, []Problem{ProblemKIDDiffers, ProblemKIDNotDerived}},
		{"kid from the id", func(r map[string]any) { delete(jwk(r, 0), "kid") }, nil, nil},
		{"plain code", func(r map[string]any) { entry(r, 0)["domain"] = "DCC" }, nil, []Problem{ProblemPlainCode}},
		{"unknown curve", func(r map[string]any) { jwk(r, 0)["crv"] = "UNKNOWN CURVE" }, nil, []Problem{ProblemUnknownCurve}},
		{"other curve", func(r map[string]any) { jwk(r, 0)["crv"] = "P-384" }, nil, []Problem{ProblemJWKDiffers}},
		{"other key", func(r map[string]any) { jwk(r, 0)["x"] = jwk(r, 0)["y"] }, nil, []Problem{ProblemJWKDiffers}},
		{"leading zero", func(r map[string]any) {
			x, _ := base64.RawURLEncoding.DecodeString(jwk(r, 0)["x"].(string))
			jwk(r, 0)["x"] = base64.RawURLEncoding.EncodeToString(append([]byte{0}, x...))
		}, nil, []Problem{ProblemPaddedCoordinate}},
		{"bare JWK", func(r map[string]any) { delete(jwk(r, 0), "x5c") }, nil, []Problem{ProblemNoX5C}},
		{"bare JWK off the curve", func(r map[string]any) { delete(jwk(r, 0), "x5c"); jwk(r, 0)["x"] = "AQ" }, ErrUnsupportedKey, []Problem{ProblemNoX5C, ProblemShortCoordinate}},
		{"bare JWK of unknown curve", func(r map[string]any) { delete(jwk(r, 0), "x5c"); jwk(r, 0)["crv"] = "K" }, ErrUnsupportedKey, []Problem{ProblemUnknownCurve, ProblemNoX5C}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			d, err := edit(t, tc.edit)
			if err != nil {
				t.Fatal(err)
			}
			if got := d.Entries[0]; !errors.Is(got.Err, tc.want) || !slices.Equal(got.Problems, tc.problems) {
				t.Errorf("entry: %v %v, want %v %v", got.Err, got.Problems, tc.want, tc.problems)
			}
			if got := d.Entries[0]; (got.Err == nil) == (got.Key == nil) && tc.want != ErrAmbiguousID && tc.want != ErrBadCode && tc.want != ErrNotAbsolute {
				t.Errorf("key %T beside error %v", got.Key, got.Err)
			}
			for i, e := range d.Entries[1:4] {
				if e.Err != nil || e.Key == nil {
					t.Errorf("entry %d was lost: %v", i+1, e.Err)
				}
			}
		})
	}
}

// Two entries under one id are one node to the proof, so how the parts are
// dealt out between them is not signed: dangerous unless they are equal.
func TestRepeatedID(t *testing.T) {
	repeat := func(change bool) *Document {
		d, err := edit(t, func(r map[string]any) {
			raw, _ := json.Marshal(entry(r, 0))
			var again map[string]any
			_ = json.Unmarshal(raw, &again)
			if change {
				again["keyusage"] = map[string]any{"code": "#SCA"}
			}
			r["verificationMethod"] = append(r["verificationMethod"].([]any), again)
		})
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	d := repeat(false)
	if err := d.VerifyProof(testKey(t).Public()); err != nil {
		t.Errorf("an equal copy adds no statement: %v", err)
	}
	if d.Entries[0].Err != nil || !errors.Is(d.Entries[4].Err, ErrRepeated) {
		t.Errorf("equal: %v, %v", d.Entries[0].Err, d.Entries[4].Err)
	}
	d = repeat(true)
	if !errors.Is(d.Entries[0].Err, ErrAmbiguousID) || !errors.Is(d.Entries[4].Err, ErrAmbiguousID) {
		t.Errorf("different: %v, %v", d.Entries[0].Err, d.Entries[4].Err)
	}
}

// The statements of a whole small document, written out by hand.
func TestCanonicalDocument(t *testing.T) {
	root, err := decodeObject([]byte(`{"@context":[],"id":"did:web:a","controller":"did:web:b","undefined":{"id":"did:web:x"},
		"verificationMethod":["did:web:z","did:web:z",{"id":"did:web:a#k","type":"JsonWebKey2020","domain":{"code":"#D"},
		"participant":"P","publicKeyJwk":{"b":"\u0001\"\/","a":[null,true]}}]}`))
	if err != nil {
		t.Fatal(err)
	}
	got, err := canonicalDocument(root, ContextUAT)
	if err != nil {
		t.Fatal(err)
	}
	want := strings.Join([]string{
		`<did:web:a#k> <http://www.w3.org/1999/02/22-rdf-syntax-ns#type> <https://w3id.org/security#JsonWebKey2020> .`,
		`<did:web:a#k> <https://smart.who.int/trust/ValueSet-Domains-UAT.jsonld> <https://smart.who.int/trust/ValueSet-Domains-UAT.jsonld#D> .`,
		`<did:web:a#k> <https://smart.who.int/trust/ValueSet-Participants-UAT.jsonld> <https://smart.who.int/trust/P> .`,
		`<did:web:a#k> <https://w3id.org/security#publicKeyJwk> "{\"a\":[null,true],\"b\":\"\\u0001\\\"/\"}"^^<http://www.w3.org/1999/02/22-rdf-syntax-ns#JSON> .`,
		`<did:web:a> <https://w3id.org/security#controller> <did:web:b> .`,
		`<did:web:a> <https://w3id.org/security#verificationMethod> <did:web:a#k> .`,
		`<did:web:a> <https://w3id.org/security#verificationMethod> <did:web:z> .`,
		``,
	}, "\n")
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Error(diff)
	}
}

// RFC 8785 section 3.2.3: the order is that of UTF-16, where a surrogate pair
// comes before U+FB33.
func TestCanonicalJSONOrder(t *testing.T) {
	got, err := appendCanonicalJSON(nil, map[string]any{"\uFB33": "1", "\U0001F600": "2", "\r": "3", "1": "4", "\u0080": "5"})
	if err != nil {
		t.Fatal(err)
	}
	want := `{"\r":"3","1":"4","` + "\u0080" + `":"5","` + "\U0001F600" + `":"2","` + "\uFB33" + `":"1"}`
	if string(got) != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestIsAbsolute(t *testing.T) {
	for _, s := range []string{"did:web:a", "did:web:a.b%20c:d#e+/f=", "did:key:z6Mk", "https://example.org", "https://example.org/a?b#c"} {
		if !isAbsolute(s) {
			t.Errorf("%s refused", s)
		}
	}
	for _, s := range []string{
		"", "did:", "did:web", "did:web:", "a", "#a", "/a", "//a", "_:b", "@id", "http://example.org", "https://", "https:///a",
		"https://u@h/", "https://h:99999/", "did:web:a b", "did:web:a>", "did:web:a\n", "did:web:\u00e4", "did:web:%2", "did:web:%zz",
		"did:web:a#b#c", `did:web:a\u0041`, "DID:web:a",
	} {
		if isAbsolute(s) {
			t.Errorf("%q accepted", s)
		}
	}
}

// badSigner answers with something else than it was asked for.
type badSigner struct {
	*ecdsa.PrivateKey
	answer []byte
}

func (b badSigner) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) { return b.answer, nil }

func TestSignRefuses(t *testing.T) {
	d := demoList(t, ContextProduction)
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Sign(p384, nil, testTime, "", FormDER); !errors.Is(err, ErrSignerRefused) {
		t.Errorf("P-384: %v", err)
	}
	if _, err := d.Sign(testKey(t), nil, testTime, "", "pkcs1"); !errors.Is(err, ErrBadProof) {
		t.Errorf("form: %v", err)
	}
	if _, err := d.Sign(testKey(t), nil, testTime, "a\nb", FormDER); !errors.Is(err, ErrShape) {
		t.Errorf("nonce: %v", err)
	}
	for _, form := range []SignatureForm{FormDER, FormRS} {
		if out, err := d.Sign(badSigner{testKey(t), make([]byte, 64)}, nil, testTime, "", form); !errors.Is(err, ErrSignature) || out != nil {
			t.Errorf("a signer of zeros, %s: %v", form, err)
		}
	}
}

func TestNewRefuses(t *testing.T) {
	dsc := selfSigned(t, testKey(t))
	good := Entry{Domain: "DCC", Chain: [][]byte{dsc}}
	for _, tc := range []struct {
		name    string
		context Context
		id      string
		key     string
		entries []Entry
		refs    []string
		want    error
	}{
		{"context", "https://example.org", testDID, testDID, nil, nil, ErrUnknownContext},
		{"id", ContextUAT, "x", testDID, nil, nil, ErrNotAbsolute},
		{"key DID", ContextUAT, testDID, "x", nil, nil, ErrNotAbsolute},
		{"no key", ContextUAT, testDID, testDID, []Entry{{Domain: "DCC"}}, nil, ErrNoKey},
		{"bare key without kid", ContextUAT, testDID, testDID, []Entry{{Key: testKey(t).Public()}}, nil, ErrBadKID},
		{"certificate", ContextUAT, testDID, testDID, []Entry{{Chain: [][]byte{{1}}}}, nil, ErrBadCertificate},
		{"code", ContextUAT, testDID, testDID, []Entry{{Domain: "D C", ID: "did:web:a#b", Chain: [][]byte{dsc}}}, nil, ErrBadCode},
		{"twice", ContextUAT, testDID, testDID, []Entry{good, good}, nil, ErrRepeated},
		{"reference", ContextUAT, testDID, testDID, nil, []string{"x"}, ErrNotAbsolute},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if _, err := New(tc.context, tc.id, testDID, tc.key, tc.entries, tc.refs); !errors.Is(err, tc.want) {
				t.Errorf("New = %v, want %v", err, tc.want)
			}
		})
	}
}

func TestParseKeyDocument(t *testing.T) {
	const ok = `{"id":"did:web:a","verificationMethod":[{"id":"did:web:a#k","type":"JsonWebKey2020","controller":"did:web:a","publicKeyJwk":{"kty":"EC","crv":"P-256","x":"X","y":"Y"}}]}`
	jwk, err := newJWK(testKey(t).Public())
	if err != nil {
		t.Fatal(err)
	}
	good := strings.NewReplacer(`"X"`, `"`+base64.RawURLEncoding.EncodeToString(jwk.X)+`"`, `"Y"`, `"`+base64.RawURLEncoding.EncodeToString(jwk.Y)+`"`).Replace(ok)
	keys, err := ParseKeyDocument([]byte(good))
	if err != nil || len(keys) != 1 || !testKey(t).PublicKey.Equal(keys[0].Key) || keys[0].ID != "did:web:a#k" {
		t.Errorf("%+v, %v", keys, err)
	}
	for _, tc := range []struct {
		old, new string
		want     error
	}{
		{`"P-256"`, `"P-999"`, ErrUnsupportedKey},
		{`"EC"`, `"oct"`, ErrUnsupportedKey},
		{`"kty":"EC",`, ``, ErrNoKey},
		{`JsonWebKey2020`, `X`, ErrEntryType},
		{`[{`, `["did:web:b",{`, ErrNotDocument},
		{`"id":"did:web:a"`, `"id":7`, ErrNotDocument},
		{`"verificationMethod"`, `"verificationmethod"`, ErrNotDocument},
	} {
		in := strings.Replace(good, tc.old, tc.new, 1)
		if _, err := ParseKeyDocument([]byte(in)); in == good || !errors.Is(err, tc.want) {
			t.Errorf("%s for %s: %v, want %v", tc.new, tc.old, err, tc.want)
		}
	}
}

func FuzzParse(f *testing.F) {
	// Fuzzing runs in several processes: key and content must be the same in
	// all of them, or one would take the seed of another for a forgery.
	signer, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), bytes.Repeat([]byte{7}, 32))
	if err != nil {
		f.Fatal(err)
	}
	made, err := New(ContextProduction, testDID, testDID, "did:web:example.org:signing", []Entry{
		{Domain: "DCC", Participant: "XXA", KeyUsage: "DSC", Key: signer.Public(), KID: []byte{1, 2, 3}},
		{Domain: "DCC", Participant: "XXB", KeyUsage: "SCA", Key: signer.Public(), KID: []byte{4}},
	}, []string{"did:web:example.com:other"})
	if err != nil {
		f.Fatal(err)
	}
	signed, err := made.Sign(signer, nil, testTime, "n", FormDER)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(signed)
	f.Add([]byte(`{"@context":["` + contextDID + `","` + contextJWS + `","` + string(ContextUAT) + `"],"id":"did:web:a","controller":"did:web:a","verificationMethod":["did:web:b",{"id":"did:web:a#AA","type":"JsonWebKey2020","publicKeyJwk":{"kty":"RSA","n":"AA","e":"AQAB"}}],"proof":{"jws":".."}}`))
	want, _, err := ourCanonical(signed)
	if err != nil {
		f.Fatal(err)
	}
	wantSum := sha256.Sum256([]byte(want))
	key := signer.Public()
	f.Fuzz(func(t *testing.T, data []byte) {
		d, err := Parse(data)
		if err != nil {
			return
		}
		// Whatever verifies must say what was signed, however it is written.
		if d.VerifyProof(key) == nil {
			got, _, err := ourCanonical(data)
			if err != nil || sha256.Sum256([]byte(got)) != wantSum {
				t.Errorf("a forgery verifies: %s", data)
			}
		}
		for _, e := range d.Entries {
			if e.Err == nil && (e.Key == nil || len(e.KID) == 0 || e.Type != typeKey) {
				t.Errorf("a good entry without a key: %+v", e)
			}
		}
	})
}
