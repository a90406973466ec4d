package jwks

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"math/big"
	"net/url"
	"slices"
	"strings"
	"testing"

	"ampoule/format"
	"ampoule/format/strictjson"
)

func newKey(t testing.TB, curve elliptic.Curve) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// jwk writes a key as an issuer does, with more members after it.
func jwk(t testing.TB, key *ecdsa.PrivateKey, more string) string {
	t.Helper()
	point, err := key.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	kid, err := KID(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf(`{"kty":"EC","kid":"%s","use":"sig","alg":"ES256","crv":"P-256","x":"%s","y":"%s"%s}`, kid, encode(point[1:33]), encode(point[33:]), more)
}

// x5c writes a certificate of a key that names addresses.
func x5c(t testing.TB, key *ecdsa.PrivateKey, addresses ...string) string {
	t.Helper()
	c := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"issuer.example"}}
	for _, a := range addresses {
		u, err := url.Parse(a)
		if err != nil {
			t.Fatal(err)
		}
		c.URIs = append(c.URIs, u)
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf(`,"x5c":["%s"]`, base64.StdEncoding.EncodeToString(der))
}

// The key of the specification's examples, and the thumbprint that stands there
// beside it.
func TestThumbprint(t *testing.T) {
	const set = `{"keys":[{"kty":"EC","kid":"3Kfdg-XwP-7gXyywtUfUADwBumDOPKMQx-iELL11W9s","use":"sig","alg":"ES256","crv":"P-256",
		"x":"11XvRWy1I2S0EyJlyf_bWfw_TQ5CJJNLw78bHXNxcgw","y":"eZXwxvO1hvCY0KucrPfKo7yAyMT6Ajc3N7OkAB6VYy8","crlVersion":1}]}`
	keys, err := Parse([]byte(set))
	if err != nil || len(keys) != 1 || keys[0].Err != nil {
		t.Fatalf("%v %v", keys, err)
	}
	k := keys[0]
	if kid, err := KID(k.Public); err != nil || kid != k.KID || k.CRLVersion != 1 || encode(k.ID()) != k.KID {
		t.Errorf("kid %s, %v", kid, err)
	}
	if string(ParseKID(k.KID)) != string(k.ID()) {
		t.Error("the kid does not lead to the key")
	}
	for _, odd := range []string{"", "short", k.KID + "A", k.KID[:42] + "\n", strings.ReplaceAll(k.KID, "-", "+")} {
		if string(ParseKID(odd)) != odd {
			t.Errorf("%q is no thumbprint", odd)
		}
	}
	for _, pub := range []crypto.PublicKey{nil, newKey(t, elliptic.P384()).Public(), (*ecdsa.PublicKey)(nil)} {
		if _, err := Thumbprint(pub); !errors.Is(err, ErrCurve) {
			t.Errorf("%T: %v", pub, err)
		}
	}
}

func TestParse(t *testing.T) {
	key, other := newKey(t, elliptic.P256()), newKey(t, elliptic.P256())
	good := jwk(t, key, "")
	swap := func(old, new string) string { return strings.Replace(good, old, new, 1) }
	chain := x5c(t, key, "https://issuer.example/shc")
	point, err := key.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	y := encode(point[33:])
	for _, tc := range []struct {
		name, key string
		want      error
	}{
		{"good", good, nil},
		{"a member more", jwk(t, key, `,"more":[1]`), nil},
		{"with a certificate", jwk(t, key, chain), nil},
		{"private", jwk(t, key, `,"d":"AA"`), ErrPrivate},
		{"RSA", swap(`"EC"`, `"RSA"`), ErrKeyType},
		{"kty of another case", swap(`"EC"`, `"ec"`), ErrKeyType},
		{"use enc", swap(`"sig"`, `"enc"`), ErrUse},
		{"no use", swap(`"use":"sig",`, ``), ErrUse},
		{"alg ES384", swap(`"ES256"`, `"ES384"`), ErrAlgorithm},
		{"curve P-384", swap(`"P-256"`, `"P-384"`), ErrCurve},
		{"another kid", swap(`"kid":"`, `"kid":"A`), ErrKID},
		{"no kid", swap(`"kid"`, `"id"`), ErrKID},
		{"no x", swap(`"x"`, `"z"`), ErrPoint},
		{"x short", swap(`"x":"`, `"x":"AAAA","zz":"`), ErrPoint},
		{"a point off the curve", swap(y, encode(make([]byte, 32))), ErrPoint},
		{"a version of 0", jwk(t, key, `,"crlVersion":0`), ErrCRLVersion},
		{"a version in text", jwk(t, key, `,"crlVersion":"1"`), ErrCRLVersion},
		{"a version of 1.5", jwk(t, key, `,"crlVersion":1.5`), ErrCRLVersion},
		{"x5c of another key", jwk(t, key, x5c(t, other)), ErrX5CKey},
		{"x5c empty", jwk(t, key, `,"x5c":[]`), ErrX5C},
		{"x5c no list", jwk(t, key, `,"x5c":"AA=="`), ErrX5C},
		{"x5c no base64", jwk(t, key, `,"x5c":["_-"]`), ErrX5C},
		{"x5c no certificate", jwk(t, key, `,"x5c":["AAAA"]`), ErrX5C},
		{"x5c long", jwk(t, key, `,"x5c":[`+strings.Repeat(`"",`, 8)+`""]`), ErrX5C},
		{"no object", `7`, ErrShape},
	} {
		// Beside a good one, which stays usable.
		keys, err := Parse([]byte(`{"keys":[` + tc.key + `,` + jwk(t, other, "") + `]}`))
		if err != nil || len(keys) != 2 || !errors.Is(keys[0].Err, tc.want) || keys[1].Err != nil {
			t.Errorf("%s: %v %v, want %v", tc.name, keys, err, tc.want)
		}
	}
	if keys, err := Parse([]byte(good)); err != nil || len(keys) != 1 || keys[0].Err != nil {
		t.Errorf("one key alone: %v", err)
	}
	for in, want := range map[string]error{
		`7`: ErrShape, `{}`: ErrShape, `{"keys":{}}`: ErrShape, `{"keys":[],"keys":[]}`: strictjson.ErrDuplicateName,
		`{"keys":[` + strings.Repeat("0,", 1024) + `0]}`: ErrTooMany, `{"keys":`: strictjson.ErrMalformed,
	} {
		if _, err := Parse([]byte(in)); !errors.Is(err, want) {
			t.Errorf("%.40s: %v, want %v", in, err, want)
		}
	}
}

func TestDuplicatesAndIssuers(t *testing.T) {
	key := newKey(t, elliptic.P256())
	here, there := x5c(t, key, "https://a.example"), x5c(t, key, "https://b.example", "https://c.example")
	keys, err := Parse([]byte(`{"keys":[` + strings.Join([]string{jwk(t, key, ""), jwk(t, key, here), jwk(t, key, there), jwk(t, key, here), jwk(t, key, "")}, ",") + `]}`))
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []error{nil, nil, nil, ErrDuplicate, ErrDuplicate} {
		if !errors.Is(keys[i].Err, want) {
			t.Errorf("keys[%d]: %v, want %v", i, keys[i].Err, want)
		}
	}
	if keys[0].Issuers() != nil || !slices.Equal(keys[2].Issuers(), []string{"https://b.example", "https://c.example"}) {
		t.Errorf("issuers %v", keys[2].Issuers())
	}
	for iss, want := range map[string]error{"https://c.example": nil, "https://c.example/": ErrX5CIssuer, "issuer.example": ErrX5CIssuer, "": ErrX5CIssuer} {
		if err := keys[2].CheckIssuer(iss); !errors.Is(err, want) {
			t.Errorf("%q: %v", iss, err)
		}
	}
	if err := keys[0].CheckIssuer("https://anybody.example"); err != nil {
		t.Errorf("a key without a certificate: %v", err)
	}
}

func FuzzParse(f *testing.F) {
	key := newKey(f, elliptic.P256())
	f.Add([]byte(`{"keys":[` + jwk(f, key, x5c(f, key, "https://a.example")) + `]}`))
	f.Add([]byte(jwk(f, key, `,"crlVersion":1`)))
	f.Fuzz(func(t *testing.T, data []byte) {
		keys, err := Parse(data)
		if err != nil && format.Reason(err, "") == "" {
			t.Errorf("no reason in %v", err)
		}
		for _, k := range keys {
			if k.Err == nil && (k.Public == nil || len(k.ID()) != 32 || encode(k.ID()) != k.KID) {
				t.Errorf("%+v", k)
			}
		}
	})
}
