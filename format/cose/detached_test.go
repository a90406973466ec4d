package cose

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"testing"

	"github.com/cloudflare/circl/sign/mldsa/mldsa65"
	"github.com/veraison/go-cose"
)

// otherKey signs with a key that is not the one it shows.
type otherKey struct{ crypto.Signer }

func (o otherKey) Public() crypto.PublicKey {
	return ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)).Public()
}

func TestDetached(t *testing.T) {
	p256, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	_, edwards, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	_, lattice, err := mldsa65.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	protected, payload := []byte{0xa1, 1, 0x26}, []byte("payload")
	for _, signer := range []crypto.Signer{p256, edwards, lattice} {
		alg := SignerAlgorithm(signer.Public())
		t.Run(alg.String(), func(t *testing.T) {
			signature, err := SignDetached(rand.Reader, signer, protected, payload)
			if err != nil {
				t.Fatal(err)
			}
			flipped := append([]byte{signature[0] ^ 1}, signature[1:]...)
			for _, c := range []struct {
				name string
				got  error
				want error
			}{
				{"good", VerifyDetached(signer.Public(), alg, protected, payload, signature), nil},
				{"another payload", VerifyDetached(signer.Public(), alg, protected, nil, signature), ErrSignature},
				{"another header", VerifyDetached(signer.Public(), alg, nil, payload, signature), ErrSignature},
				{"another signature", VerifyDetached(signer.Public(), alg, protected, payload, flipped), ErrSignature},
				{"no signature", VerifyDetached(signer.Public(), alg, protected, payload, nil), ErrSignature},
				{"another algorithm", VerifyDetached(signer.Public(), PS256, protected, payload, signature), ErrAlgNotAllowed},
				{"no key", VerifyDetached(nil, NoAlgorithm, protected, payload, signature), ErrAlgNotAllowed},
			} {
				if !errors.Is(c.got, c.want) {
					t.Errorf("%s: %v, want %v", c.name, c.got, c.want)
				}
			}
			if alg != ES256 {
				return
			}
			m := cose.Sign1Message{Headers: cose.Headers{RawProtected: append([]byte{0x43}, protected...)}, Payload: payload, Signature: signature}
			m.Headers.Protected = cose.ProtectedHeader{cose.HeaderLabelAlgorithm: cose.AlgorithmES256}
			verifier, err := cose.NewVerifier(cose.AlgorithmES256, signer.Public())
			if err != nil {
				t.Fatal(err)
			}
			if err := m.Verify(nil, verifier); err != nil {
				t.Error("another library:", err)
			}
		})
	}
	if _, err := SignDetached(rand.Reader, p384, protected, payload); !errors.Is(err, ErrAlgNotAllowed) {
		t.Error(err)
	}
	if _, err := SignDetached(rand.Reader, otherKey{edwards}, protected, payload); !errors.Is(err, ErrSignature) {
		t.Error(err)
	}
}
