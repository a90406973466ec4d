package cose

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"errors"
	"slices"
	"testing"

	gocose "github.com/veraison/go-cose"

	"ampoule/format/cbor"
)

func TestSingle(t *testing.T) {
	k := multiKeys()
	for _, c := range []struct {
		name   string
		signer crypto.Signer
	}{{"ES256", k.es256}, {"Ed25519", k.ed25519}, {"ML-DSA-65", k.mldsa}} {
		t.Run(c.name, func(t *testing.T) {
			data, err := SignSingle(rand.Reader, testPayload, c.signer)
			if err != nil {
				t.Fatal(err)
			}
			m, err := ParseSingle(data)
			if err != nil {
				t.Fatal(err)
			}
			if err := m.Verify(c.signer.Public()); err != nil || m.Payload != string(testPayload) {
				t.Fatalf("%v", err)
			}
			if err := m.Verify(k.other.Public()); err == nil {
				t.Fatal("another's key verifies it")
			}
			for _, i := range []int{len(data) - 1, len(data) - 40, bytes.Index(data, testPayload)} {
				bad := slices.Clone(data)
				bad[i] ^= 1
				if m, err := ParseSingle(bad); err != nil {
					continue
				} else if err := m.Verify(c.signer.Public()); !errors.Is(err, ErrSignature) {
					t.Errorf("byte %d changed: %v", i, err)
				}
			}
			// Other readers take it too.
			if c.name == "ES256" {
				var theirs gocose.Sign1Message
				if err := theirs.UnmarshalCBOR(data); err != nil {
					t.Fatal(err)
				}
				v, err := gocose.NewVerifier(gocose.AlgorithmES256, c.signer.Public())
				if err != nil {
					t.Fatal(err)
				}
				if err := theirs.Verify(nil, v); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

func TestSingleStrict(t *testing.T) {
	k := multiKeys()
	good, err := SignSingle(rand.Reader, testPayload, k.ed25519)
	if err != nil {
		t.Fatal(err)
	}
	kid, err := Thumbprint(k.ed25519.Public())
	if err != nil {
		t.Fatal(err)
	}
	build := func(tag uint64, protected []byte, unprotected int, payload func([]byte) []byte) []byte {
		b := cbor.AppendArray(cbor.AppendTag(nil, tag), 4)
		b = cbor.AppendMap(cbor.AppendBytes(b, protected), unprotected)
		for range unprotected {
			b = cbor.AppendInt(cbor.AppendInt(b, 99), 1)
		}
		return cbor.AppendBytes(payload(b), make([]byte, 64))
	}
	some := func(b []byte) []byte { return cbor.AppendBytes(b, testPayload) }
	header := signerHeader(Ed25519, kid)
	for _, c := range []struct {
		name string
		data []byte
		want error
	}{
		{"cut off", good[:len(good)-1], cbor.ErrMalformed},
		{"a byte more", append(slices.Clone(good), 0), cbor.ErrTrailing},
		{"no tag", good[1:], ErrWrongTag},
		{"another tag", build(TagSign, header, 0, some), ErrWrongTag},
		{"detached", build(TagSign1, header, 0, cbor.AppendNull), ErrDetached},
		{"payload as text", build(TagSign1, header, 0, func(b []byte) []byte { return cbor.AppendText(b, "x") }), ErrNotSign1},
		{"unprotected header", build(TagSign1, header, 1, some), ErrHeader},
		{"no protected header", build(TagSign1, nil, 0, some), cbor.ErrMalformed},
		{"short kid", build(TagSign1, signerHeader(Ed25519, kid[:31]), 0, some), ErrHeader},
		{"an algorithm of certificates", build(TagSign1, signerHeader(PS256, kid), 0, some), ErrAlgNotAllowed},
		{"a long head", append([]byte{0xd8, TagSign1}, good[1:]...), ErrNotDeterministic},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := ParseSingle(c.data); !errors.Is(err, c.want) {
				t.Fatalf("got %v, want %v", err, c.want)
			}
		})
	}
}

func FuzzSingle(f *testing.F) {
	data, err := SignSingle(rand.Reader, testPayload, multiKeys().ed25519)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := ParseSingle(data)
		if err == nil && !bytes.Equal(m.Append(nil), data) {
			t.Fatal("another encoding")
		}
	})
}
