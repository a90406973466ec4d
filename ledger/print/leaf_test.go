package print

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"errors"
	"math/big"
	"strings"
	"testing"
	"time"

	"ampoule/cert"
	"ampoule/format/cbor"
	"ampoule/format/cose"
	"ampoule/format/shc"
	"ampoule/format/vdsnc"
)

var limits = cbor.Limits{Depth: 16, Items: 4096, Pairs: 64}

func newKey(t testing.TB, curve elliptic.Curve) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func sign1(t testing.TB, key crypto.Signer, payload string) *cose.Sign1 {
	t.Helper()
	data, err := cose.Sign(rand.Reader, key, []byte("kid-8--x"), []byte(payload))
	if err != nil {
		t.Fatal(err)
	}
	m, err := cose.Parse(data, limits)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Verify(key.Public()); err != nil {
		t.Fatal(err)
	}
	return m
}

// hmacOf is the definition, written once more.
func hmacOf(key, message []byte) Leaf {
	h := hmac.New(sha256.New, key)
	h.Write(message)
	return Leaf(h.Sum(nil))
}

// TestOfSign1: r, or the whole of an RSA signature, over the Sig_structure.
func TestOfSign1(t *testing.T) {
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		key    crypto.Signer
		secret int
	}{"ES256": {newKey(t, elliptic.P256()), 32}, "PS256": {rsaKey, 256}} {
		t.Run(name, func(t *testing.T) {
			m := sign1(t, tt.key, "SPECIMEN DEMO")
			got, err := OfSign1(m)
			// RFC 9052 section 4.4: ["Signature1", protected, h'', payload]
			structure := cbor.AppendArray(nil, 4)
			structure = cbor.AppendText(structure, "Signature1")
			for _, b := range [][]byte{m.Protected, nil, m.Payload} {
				structure = cbor.AppendBytes(structure, b)
			}
			if want := hmacOf(m.Signature[:tt.secret], structure); err != nil || got != want {
				t.Errorf("%x, %v; want %x", got, err, want)
			}
			again, err := OfSign1(sign1(t, tt.key, "SPECIMEN DEMO"))
			if err != nil || again == got {
				t.Errorf("the same content, signed again, has the same leaf: %v", err)
			}
		})
	}
}

// TestTwins: the other signature of each pair (r, s), (r, n-s) verifies, and has the
// leaf of the first.
func TestTwins(t *testing.T) {
	key := newKey(t, elliptic.P256())
	m := sign1(t, key, "SPECIMEN DEMO")
	want, err := OfSign1(m)
	if err != nil {
		t.Fatal(err)
	}
	twin := *m
	twin.Signature = otherHalf(key.Curve, m.Signature)
	if err := twin.Verify(key.Public()); err != nil || bytes.Equal(twin.Signature, m.Signature) {
		t.Fatalf("it is no twin: %v", err)
	}
	if got, err := OfSign1(&twin); err != nil || got != want {
		t.Errorf("HCERT: %x, %v; want %x", got, err, want)
	}

	card, err := shc.Parse(shc.Strict, signCard(t, key))
	if err != nil {
		t.Fatal(err)
	}
	wantCard, err := OfJWS(card)
	if err != nil || wantCard != hmacOf(card.Signature[:32], []byte(card.Text[:strings.LastIndexByte(card.Text, '.')])) {
		t.Errorf("SHC: %x, %v", wantCard, err)
	}
	card.Signature = otherHalf(key.Curve, card.Signature)
	if err := card.Verify(key.Public()); err != nil {
		t.Fatal(err)
	}
	if got, err := OfJWS(card); err != nil || got != wantCard {
		t.Errorf("SHC: %x, %v; want %x", got, err, wantCard)
	}

	for _, curve := range []elliptic.Curve{elliptic.P256(), elliptic.P384(), elliptic.P521()} {
		key := newKey(t, curve)
		seal := signSeal(t, key)
		wantSeal, err := OfSeal(seal)
		if err != nil || wantSeal != hmacOf(seal.Signature[:len(seal.Signature)/2], seal.Signed()) {
			t.Errorf("VDS-NC: %x, %v", wantSeal, err)
		}
		seal.Signature = otherHalf(curve, seal.Signature)
		if err := seal.Verify(key.Public()); err != nil {
			t.Fatal(err)
		}
		if got, err := OfSeal(seal); err != nil || got != wantSeal {
			t.Errorf("VDS-NC: %x, %v; want %x", got, err, wantSeal)
		}
	}
}

// otherHalf returns (r, n-s).
func otherHalf(curve elliptic.Curve, signature []byte) []byte {
	half := len(signature) / 2
	s := new(big.Int).Sub(curve.Params().N, new(big.Int).SetBytes(signature[half:]))
	return append(bytes.Clone(signature[:half]), s.FillBytes(make([]byte, half))...)
}

func signCard(t testing.TB, key crypto.Signer) string {
	t.Helper()
	record := &cert.Certificate{
		Kind: cert.KindVaccination, Authority: "Specimen authority", Issued: time.Unix(1_800_000_000, 0),
		Person: cert.Person{Name: cert.Name{Family: "Specimen", Given: "Demo"}, BirthDate: "1990-02-03"},
		Vaccination: &cert.Vaccination{
			Disease: cert.Code{Code: "840539006", System: "http://snomed.info/sct"}, Vaccine: cert.Code{Code: "1119349007", System: "http://snomed.info/sct"},
			Lot: "SPEC-LOT-7", Date: "2026-10-01", Dose: 1, Doses: 2, Country: "AT",
		},
	}
	card, err := record.ToSHC()
	if err != nil {
		t.Fatal(err)
	}
	card.Issuer = "https://issuer.example/cards"
	jws, err := shc.Encode(rand.Reader, key, card)
	if err != nil {
		t.Fatal(err)
	}
	return jws
}

func sealText(t testing.TB, key crypto.Signer) string {
	t.Helper()
	data := []byte(`{"hdr":{"is":"XXA","t":"icao.vacc","v":1},"msg":{"pid":{"n":"SPECIMEN DEMO"},"uvci":"SPEC0001","ve":[]}}`)
	text, err := vdsnc.Sign(rand.Reader, key, []byte{0x30, 0}, data)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func signSeal(t testing.TB, key crypto.Signer) *vdsnc.Seal {
	t.Helper()
	seal, _, err := vdsnc.Decode(sealText(t, key), vdsnc.Field)
	if err != nil {
		t.Fatal(err)
	}
	return seal
}

// TestUnprotected: what is not signed changes nothing.
func TestUnprotected(t *testing.T) {
	key := newKey(t, elliptic.P256())
	m := sign1(t, key, "SPECIMEN DEMO")
	want, err := OfSign1(m)
	if err != nil {
		t.Fatal(err)
	}
	// Another identifier of the key, and a receipt (RFC 9942 section 4, header 394).
	data := cbor.AppendArray([]byte{0xd2}, 4) // tag 18
	data = cbor.AppendBytes(data, m.Protected)
	data = append(data, 0xa2, 0x04, 0x41, 'x', 0x19, 0x01, 0x8a, 0x81, 0x41, 0x00) // {4: 'x', 394: [h'00']}
	data = cbor.AppendBytes(data, m.Payload)
	data = cbor.AppendBytes(data, otherHalf(key.Curve, m.Signature))
	changed, err := cose.Parse(data, limits)
	if err != nil {
		t.Fatal(err)
	}
	if err := changed.Verify(key.Public()); err != nil {
		t.Fatal(err)
	}
	if got, err := OfSign1(changed); err != nil || got != want {
		t.Errorf("%x, %v; want %x", got, err, want)
	}

	// Members beside the signed ones of a seal, and its certificate.
	seal := signSeal(t, key)
	wantSeal, err := OfSeal(seal)
	if err != nil {
		t.Fatal(err)
	}
	seal.Certificate = []byte("another")
	if got, err := OfSeal(seal); err != nil || got != wantSeal {
		t.Errorf("VDS-NC: %x, %v; want %x", got, err, wantSeal)
	}
}

// TestNoSecret: a signature that is too short to keep a secret makes no leaf.
func TestNoSecret(t *testing.T) {
	m := sign1(t, newKey(t, elliptic.P256()), "SPECIMEN DEMO")
	for name, change := range map[string]func(*cose.Sign1){
		"half a signature": func(m *cose.Sign1) { m.Signature = m.Signature[:32] },
		"an odd one":       func(m *cose.Sign1) { m.Signature = append(m.Signature, 0) },
		"none":             func(m *cose.Sign1) { m.Signature = nil },
		"short, of RSA":    func(m *cose.Sign1) { m.Alg, m.Signature = cose.PS256, m.Signature[:31] },
		"no payload":       func(m *cose.Sign1) { m.Payload = nil },
	} {
		t.Run(name, func(t *testing.T) {
			changed := *m
			changed.Signature = bytes.Clone(m.Signature)
			change(&changed)
			if leaf, err := OfSign1(&changed); !errors.Is(err, ErrNoSecret) || leaf != (Leaf{}) {
				t.Errorf("%x, %v", leaf, err)
			}
		})
	}
}
