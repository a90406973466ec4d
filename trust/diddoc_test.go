package trust

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"math/big"
	"testing"

	"ampoule/format/didlist"
	"ampoule/format/strictjson"

	"github.com/google/go-cmp/cmp"
)

const testDID = "did:example:utopia"

type members = map[string]any

func pemText(t *testing.T, pub crypto.PublicKey) string {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(pub)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
}

func encodeBase58(data []byte) string {
	var text []byte
	for n := new(big.Int).SetBytes(data); n.Sign() > 0; {
		digit := new(big.Int)
		n.DivMod(n, big.NewInt(58), digit)
		text = append([]byte{base58Digits[digit.Int64()]}, text...)
	}
	for _, b := range data {
		if b != 0 {
			break
		}
		text = append([]byte{'1'}, text...)
	}
	return string(text)
}

func didDocument(t *testing.T, methods ...any) []byte {
	t.Helper()
	data, err := json.Marshal(members{"@context": "https://www.w3.org/ns/did/v1", "id": testDID, "verificationMethod": methods})
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestAddDIDDocument(t *testing.T) {
	rsaKey := newRSAKey(t, rsa2048).Public().(*rsa.PublicKey)
	edKey, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	zeroes := ed25519.PublicKey(append([]byte{0, 0}, edKey[2:]...))
	b64 := base64.RawURLEncoding.EncodeToString
	data := didDocument(t,
		members{"id": testDID, "type": "RsaVerificationKey2018", "publicKeyPem": pemText(t, rsaKey)},
		members{"id": "#jwk-rsa", "publicKeyJwk": members{"kty": "RSA", "n": b64(rsaKey.N.Bytes()), "e": "AQAB"}},
		members{"id": testDID + "#jwk-ed", "publicKeyJwk": members{"kty": "OKP", "crv": "Ed25519", "x": b64(edKey)}},
		members{"id": "#58", "publicKeyBase58": encodeBase58(edKey)},
		members{"id": "#zeroes", "publicKeyBase58": encodeBase58(zeroes)},
		members{"id": "#multi", "publicKeyMultibase": "z" + encodeBase58(append([]byte{0xed, 1}, edKey...))},
		members{"id": "#weak", "publicKeyPem": pemText(t, newRSAKey(t, rsa1024).Public())},

		members{"id": "#ec", "publicKeyPem": pemText(t, newECKey(t, elliptic.P256()).Public())},
		members{"id": "#ec-jwk", "publicKeyJwk": members{"kty": "EC", "crv": "P-256"}},
		members{"id": "did:example:other", "publicKeyPem": pemText(t, rsaKey)},
		members{"id": testDID + "x", "publicKeyPem": pemText(t, rsaKey)},
		members{"publicKeyPem": pemText(t, rsaKey)},
		"did:example:reference",
		members{"id": "#none"},
		members{"id": "#two", "publicKeyBase58": encodeBase58(edKey), "publicKeyPem": pemText(t, edKey)},
		members{"id": "#number", "publicKeyPem": 1},
		members{"id": "#private", "publicKeyJwk": members{"kty": "OKP", "crv": "Ed25519", "x": b64(edKey), "d": b64(edKey)}},
		members{"id": "#short", "publicKeyJwk": members{"kty": "OKP", "crv": "Ed25519", "x": "AQ"}},
		members{"id": "#no-e", "publicKeyJwk": members{"kty": "RSA", "n": b64(rsaKey.N.Bytes())}},
		members{"id": "#huge", "publicKeyJwk": members{"kty": "RSA", "n": b64(bytes.Repeat([]byte{1}, 3000)), "e": "AQAB"}},
		members{"id": "#text", "publicKeyPem": "key"},
		members{"id": "#58-bad", "publicKeyBase58": "0OIl"},
		members{"id": "#58-long", "publicKeyBase58": encodeBase58(make([]byte, 100))},
		members{"id": "#multi-bad", "publicKeyMultibase": "z" + encodeBase58(edKey)},
		members{"id": "#multi-hex", "publicKeyMultibase": "f00"},
	)
	l := new(List)
	if err := l.Add(Source{Name: "did.json", Data: data}); err != nil {
		t.Fatal(err)
	}
	want := map[KeyID]crypto.PublicKey{
		testDID: rsaKey, testDID + "#jwk-rsa": rsaKey, testDID + "#jwk-ed": edKey, testDID + "#58": edKey,
		testDID + "#zeroes": zeroes, testDID + "#multi": edKey, testDID + "#weak": newRSAKey(t, rsa1024).Public(),
	}
	for id, key := range want {
		got := l.Keys(Scope{Domain: DIVOC}, id)
		if len(got) != 1 || !got[0].Public.(interface{ Equal(crypto.PublicKey) bool }).Equal(key) || got[0].Participant != testDID || got[0].Source != "did.json" {
			t.Errorf("%s: %+v", id, got)
			continue
		}
		if got[0].Weak != (id == testDID+"#weak") {
			t.Errorf("%s: weak %v", id, got[0].Weak)
		}
		if elsewhere := l.Keys(Scope{Domain: DCC}, id); len(elsewhere) > 0 {
			t.Errorf("%s counts for DCC", id)
		}
	}
	if len(l.All()) != len(want) {
		t.Errorf("%d keys", len(l.All()))
	}
	if diff := cmp.Diff(map[string]int{"unsupported-key": 3, "reference": 4, "bad-key": 11}, reasons(l)); diff != "" {
		t.Error(diff)
	}
}

func TestAddDIDDocumentRefuses(t *testing.T) {
	method := members{"id": "#a", "publicKeyBase58": encodeBase58(make([]byte, 32))}
	for name, tc := range map[string]struct {
		edit func(doc members)
		want error
	}{
		"no id":               {func(d members) { delete(d, "id") }, ErrDIDDocument},
		"id with a fragment":  {func(d members) { d["id"] = testDID + "#a" }, ErrDIDDocument},
		"id that is no DID":   {func(d members) { d["id"] = "https://a.example" }, ErrDIDDocument},
		"no methods":          {func(d members) { d["verificationMethod"] = []any{} }, ErrDIDDocument},
		"methods as object":   {func(d members) { d["verificationMethod"] = method }, ErrDIDDocument},
		"too many methods":    {func(d members) { d["verificationMethod"] = make([]any, maxDIDMethods+1) }, ErrDIDDocument},
		"a proof":             {func(d members) { d["proof"] = members{} }, ErrNoPin},
		"an unknown context":  {func(d members) { d["@context"] = "https://a.example/v1" }, ErrNoPin},
		"the network's":       {func(d members) { d["@context"] = []any{didContexts[0], string(didlist.ContextProduction)} }, ErrNoPin},
		"an inline context":   {func(d members) { d["@context"] = []any{didContexts[0], members{}} }, ErrNoPin},
		"an empty context":    {func(d members) { d["@context"] = []any{} }, ErrNoPin},
		"no method member":    {func(d members) { delete(d, "verificationMethod") }, ErrNoPin},
		"a context as number": {func(d members) { d["@context"] = 1 }, ErrNoPin},
	} {
		doc := members{"@context": didContexts[0], "id": testDID, "verificationMethod": []any{method}}
		tc.edit(doc)
		data, err := json.Marshal(doc)
		if err != nil {
			t.Fatal(err)
		}
		l := new(List)
		if err := l.Add(Source{Name: "did.json", Data: data}); !errors.Is(err, tc.want) || len(l.All())+len(l.Drops()) > 0 {
			t.Errorf("%s: %v, want %v", name, err, tc.want)
		}
	}
	twice := []byte(`{"@context":"https://www.w3.org/ns/did/v1","id":"did:a:b","id":"did:a:c","verificationMethod":[]}`)
	if err := new(List).AddDIDDocument(Source{Data: twice}); !errors.Is(err, strictjson.ErrDuplicateName) {
		t.Error(err)
	}
}
