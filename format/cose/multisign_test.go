package cose

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"io"
	"slices"
	"sync"
	"testing"

	"filippo.io/mldsa"
	"github.com/cloudflare/circl/sign/mldsa/mldsa65"
	gocose "github.com/veraison/go-cose"

	"ampoule/format/cbor"
)

// multiKeys are one key of each algorithm, and a second of the last.
var multiKeys = sync.OnceValue(func() (k struct {
	es256       *ecdsa.PrivateKey
	ed25519     ed25519.PrivateKey
	mldsa       *mldsa65.PrivateKey
	other       *mldsa65.PrivateKey
	mldsaSecond *mldsa.PrivateKey // the same key as mldsa, of another implementation
}) {
	k.es256 = keys().p256
	k.ed25519 = ed25519.NewKeyFromSeed(bytes.Repeat([]byte{1}, 32))
	_, k.mldsa = mldsa65.NewKeyFromSeed((*[32]byte)(bytes.Repeat([]byte{2}, 32)))
	_, k.other = mldsa65.NewKeyFromSeed((*[32]byte)(bytes.Repeat([]byte{3}, 32)))
	var err error
	if k.mldsaSecond, err = mldsa.NewPrivateKey(mldsa.MLDSA65(), bytes.Repeat([]byte{2}, 32)); err != nil {
		panic(err)
	}
	return k
})

func signMulti(t testing.TB, payload []byte, signers ...crypto.Signer) []byte {
	t.Helper()
	message, err := SignMulti(rand.Reader, payload, signers...)
	if err != nil {
		t.Fatal(err)
	}
	return message
}

func TestMultiSign(t *testing.T) {
	k := multiKeys()
	for _, c := range []struct {
		name      string
		payload   []byte
		classical crypto.Signer
	}{
		{"ES256", testPayload, k.es256},
		{"Ed25519", testPayload, k.ed25519},
		{"empty payload", nil, k.es256},
		{"a megabyte", make([]byte, 1<<20), k.es256},
	} {
		t.Run(c.name, func(t *testing.T) {
			message := signMulti(t, c.payload, c.classical, k.mldsa)
			m, err := ParseMultiSign(message)
			if err != nil {
				t.Fatal(err)
			}
			if m.Payload != string(c.payload) || len(m.Signatures) != 2 {
				t.Fatalf("payload of %d bytes, %d signatures", len(m.Payload), len(m.Signatures))
			}
			if err := m.Verify(c.classical.Public(), k.mldsa.Public()); err != nil {
				t.Error(err)
			}
			if err := m.Verify(c.classical.Public(), k.other.Public()); !errors.Is(err, ErrMissingSignature) {
				t.Errorf("another ML-DSA key: %v", err)
			}
		})
	}
}

// TestMultiSignSecond verifies ML-DSA signatures by another implementation, and
// that one's here.
func TestMultiSignSecond(t *testing.T) {
	k := multiKeys()
	if !bytes.Equal(k.mldsa.Public().(*mldsa65.PublicKey).Bytes(), k.mldsaSecond.PublicKey().Bytes()) {
		t.Fatal("the same seed gives two public keys")
	}
	m, err := ParseMultiSign(signMulti(t, testPayload, k.es256, k.mldsa))
	if err != nil {
		t.Fatal(err)
	}
	s := m.Signatures[1]
	structure := m.appendStructure(nil, s.protected)
	if err := mldsa.Verify(k.mldsaSecond.PublicKey(), structure, s.signature, nil); err != nil {
		t.Error("ours under theirs:", err)
	}
	theirs, err := k.mldsaSecond.Sign(nil, structure, nil)
	if err != nil {
		t.Fatal(err)
	}
	if !verifyRaw(k.mldsa.Public(), structure, theirs) {
		t.Error("theirs under ours does not verify")
	}
	// RFC 9964 section 5: the context is empty; another one is another signature.
	withContext, err := k.mldsaSecond.Sign(nil, structure, &mldsa.Options{Context: "ctx"})
	if err != nil {
		t.Fatal(err)
	}
	if verifyRaw(k.mldsa.Public(), structure, withContext) {
		t.Error("a signature with a context verifies")
	}
}

// oracle gives go-cose the keys that it does not know.
type oracle struct {
	alg Algorithm
	key crypto.Signer
}

func (o oracle) Algorithm() gocose.Algorithm { return gocose.Algorithm(o.alg) }

func (o oracle) Sign(_ io.Reader, content []byte) ([]byte, error) {
	return o.key.Sign(nil, content, crypto.Hash(0))
}

func (o oracle) Verify(content, signature []byte) error {
	switch pub := o.key.Public().(type) {
	case *mldsa.PublicKey:
		return mldsa.Verify(pub, content, signature, nil)
	case ed25519.PublicKey:
		if ed25519.Verify(pub, content, signature) {
			return nil
		}
	}
	return errors.New("bad signature")
}

// TestMultiSignGoCose has the messages read and made by go-cose.
func TestMultiSignGoCose(t *testing.T) {
	k := multiKeys()
	es256, err := gocose.NewSigner(gocose.AlgorithmES256, k.es256)
	if err != nil {
		t.Fatal(err)
	}
	es256Verifier, err := gocose.NewVerifier(gocose.AlgorithmES256, k.es256.Public())
	if err != nil {
		t.Fatal(err)
	}
	edwards, lattice := oracle{Ed25519, k.ed25519}, oracle{MLDSA65, k.mldsaSecond}

	var theirs gocose.SignMessage
	if err := theirs.UnmarshalCBOR(signMulti(t, testPayload, k.es256, k.ed25519, k.mldsa)); err != nil {
		t.Fatal(err)
	}
	if err := theirs.Verify(nil, es256Verifier, edwards, lattice); err != nil {
		t.Error("ours under go-cose:", err)
	}

	made := gocose.NewSignMessage()
	made.Payload = testPayload
	for _, pub := range []crypto.PublicKey{k.es256.Public(), k.ed25519.Public(), k.mldsa.Public()} {
		kid, err := Thumbprint(pub)
		if err != nil {
			t.Fatal(err)
		}
		s := gocose.NewSignature()
		s.Headers.Protected[gocose.HeaderLabelKeyID] = kid
		s.Headers.Protected.SetAlgorithm(gocose.Algorithm(SignerAlgorithm(pub)))
		made.Signatures = append(made.Signatures, s)
	}
	if err := made.Sign(rand.Reader, nil, es256, edwards, lattice); err != nil {
		t.Fatal(err)
	}
	encoded, err := made.MarshalCBOR()
	if err != nil {
		t.Fatal(err)
	}
	m, err := ParseMultiSign(encoded)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Verify(k.es256.Public(), k.ed25519.Public(), k.mldsa.Public()); err != nil {
		t.Error("go-cose's under ours:", err)
	}
}

// multiParts are the fields of a message, so that any of them can be something
// else.
type multiParts struct {
	tag                    uint64
	protected, unprotected []byte // encoded
	payload                []byte // encoded
	signatures             [][]byte
}

func (p multiParts) encode() []byte {
	b := cbor.AppendArray(cbor.AppendTag(nil, p.tag), 4)
	b = slices.Concat(b, p.protected, p.unprotected, p.payload)
	return append(cbor.AppendArray(b, len(p.signatures)), bytes.Join(p.signatures, nil)...)
}

func encodeSignature(protected, unprotected, signature []byte) []byte {
	b := cbor.AppendBytes(cbor.AppendArray(nil, 3), protected)
	return cbor.AppendBytes(append(b, unprotected...), signature)
}

func TestMultiSignRefuses(t *testing.T) {
	k := multiKeys()
	emptyMap := cbor.AppendMap(nil, 0)
	good, err := ParseMultiSign(signMulti(t, testPayload, k.es256, k.mldsa))
	if err != nil {
		t.Fatal(err)
	}
	classical, lattice := good.Signatures[0], good.Signatures[1]
	entry := func(s Signature) []byte { return encodeSignature(s.protected, emptyMap, s.signature) }
	base := multiParts{
		tag: TagSign, protected: cbor.AppendBytes(nil, nil), unprotected: emptyMap, payload: cbor.AppendBytes(nil, testPayload),
		signatures: [][]byte{entry(classical), entry(lattice)},
	}
	if m, err := ParseMultiSign(base.encode()); err != nil || m.Verify(k.es256.Public(), k.mldsa.Public()) != nil {
		t.Fatal("the parts make no good message:", err)
	}
	crit := header(1, ES256, 2, raw{0x81, 4}, 4, classical.KID)
	second := signMulti(t, testPayload, keys().other)
	twice, err := ParseMultiSign(second)
	if err != nil {
		t.Fatal(err)
	}
	long := append([]byte{0x58, byte(len(testPayload))}, testPayload...) // a two-byte head where one does
	chunked := slices.Concat([]byte{0x5f}, cbor.AppendBytes(nil, testPayload), []byte{0xff})

	for _, c := range []struct {
		name   string
		change func(p *multiParts)
		want   error
	}{
		{"one signer only, classical", func(p *multiParts) { p.signatures = p.signatures[:1] }, ErrMissingSignature},
		{"one signer only, ML-DSA", func(p *multiParts) { p.signatures = p.signatures[1:] }, ErrMissingSignature},
		{"twice classical", func(p *multiParts) { p.signatures[1] = entry(twice.Signatures[0]) }, ErrMissingSignature},
		{"no signer", func(p *multiParts) { p.signatures = nil }, ErrMissingSignature},
		{"two by one key", func(p *multiParts) { p.signatures = append(p.signatures, entry(classical)) }, ErrDuplicateSigner},
		{"crit of a signer", func(p *multiParts) { p.signatures[0] = encodeSignature(crit, emptyMap, classical.signature) }, ErrCritical},
		{"crit of the body", func(p *multiParts) { p.protected = cbor.AppendBytes(nil, header(2, raw{0x81, 1})) }, ErrCritical},
		{"crit unprotected", func(p *multiParts) { p.unprotected = header(2, raw{0x81, 1}) }, ErrCritical},
		{"detached payload", func(p *multiParts) { p.payload = cbor.AppendNull(nil) }, ErrDetached},
		{"unknown alg", func(p *multiParts) {
			p.signatures = append(p.signatures, encodeSignature(signerHeader(-7777, bytes.Repeat([]byte{9}, 32)), emptyMap, []byte{1}))
		}, ErrAlgNotAllowed},
		{"alg of HCERT alone", func(p *multiParts) {
			p.signatures[0] = encodeSignature(signerHeader(PS256, classical.KID), emptyMap, classical.signature)
		}, ErrAlgNotAllowed},
		{"alg of another key", func(p *multiParts) {
			p.signatures[0] = encodeSignature(signerHeader(MLDSA65, classical.KID), emptyMap, classical.signature)
		}, ErrAlgNotAllowed},
		{"alg missing", func(p *multiParts) {
			p.signatures[0] = encodeSignature(header(4, classical.KID), emptyMap, classical.signature)
		}, ErrHeader},
		{"kid missing", func(p *multiParts) {
			p.signatures[0] = encodeSignature(header(1, ES256), emptyMap, classical.signature)
		}, ErrHeader},
		{"kid short", func(p *multiParts) {
			p.signatures[0] = encodeSignature(signerHeader(ES256, classical.KID[:8]), emptyMap, classical.signature)
		}, ErrHeader},
		{"kid unprotected", func(p *multiParts) {
			p.signatures[0] = encodeSignature(header(1, ES256), header(4, classical.KID), classical.signature)
		}, ErrHeader},
		{"header in the body", func(p *multiParts) { p.protected = cbor.AppendBytes(nil, header(3, "text/plain")) }, ErrHeader},
		{"empty map for no header", func(p *multiParts) { p.protected = cbor.AppendBytes(nil, emptyMap) }, ErrHeader},
		{"classical signature cut", func(p *multiParts) {
			p.signatures[0] = encodeSignature(classical.protected, emptyMap, classical.signature[:63])
		}, ErrSignature},
		{"ML-DSA signature cut", func(p *multiParts) {
			p.signatures[1] = encodeSignature(lattice.protected, emptyMap, lattice.signature[:3308])
		}, ErrSignature},
		{"ML-DSA signature longer", func(p *multiParts) {
			p.signatures[1] = encodeSignature(lattice.protected, emptyMap, append(bytes.Clone(lattice.signature), 0))
		}, ErrSignature},
		{"signatures exchanged", func(p *multiParts) {
			p.signatures = [][]byte{encodeSignature(classical.protected, emptyMap, lattice.signature), encodeSignature(lattice.protected, emptyMap, classical.signature)}
		}, ErrSignature},
		{"another payload", func(p *multiParts) { p.payload = cbor.AppendBytes(nil, []byte("the payloaD")) }, ErrSignature},
		{"payload is text", func(p *multiParts) { p.payload = cbor.AppendText(nil, "the payload") }, ErrNotSign},
		{"tag of Sign1", func(p *multiParts) { p.tag = TagSign1 }, ErrWrongTag},
		{"longer head", func(p *multiParts) { p.payload = long }, ErrNotDeterministic},
		{"indefinite length", func(p *multiParts) { p.payload = chunked }, ErrNotDeterministic},
		{"nine signers", func(p *multiParts) {
			for i := range 7 {
				p.signatures = append(p.signatures, encodeSignature(signerHeader(ES256, bytes.Repeat([]byte{byte(i)}, 32)), emptyMap, []byte{1}))
			}
		}, ErrTooManySigners},
		{"a thousand signers", func(p *multiParts) {
			for range 1000 {
				p.signatures = append(p.signatures, entry(classical))
			}
		}, cbor.ErrTooManyItems},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := base
			p.signatures = slices.Clone(base.signatures)
			c.change(&p)
			m, err := ParseMultiSign(p.encode())
			if err == nil {
				err = m.Verify(k.es256.Public(), k.mldsa.Public())
			}
			if !errors.Is(err, c.want) {
				t.Errorf("%v, want %v", err, c.want)
			}
		})
	}

	t.Run("a stranger's signature more is passed over", func(t *testing.T) {
		p := base
		p.signatures = append(slices.Clone(base.signatures), entry(twice.Signatures[0]))
		m, err := ParseMultiSign(p.encode())
		if err != nil {
			t.Fatal(err)
		}
		if err := m.Verify(k.es256.Public(), k.mldsa.Public()); err != nil {
			t.Error(err)
		}
	})
	t.Run("no key", func(t *testing.T) {
		if err := good.Verify(); !errors.Is(err, ErrMissingSignature) {
			t.Error(err)
		}
	})
}

func TestMultiSignBitFlips(t *testing.T) {
	k := multiKeys()
	message := signMulti(t, testPayload, k.ed25519, k.mldsa)
	for i := range message {
		for bit := range 8 {
			message[i] ^= 1 << bit
			m, err := ParseMultiSign(message)
			if err == nil && m.Verify(k.ed25519.Public(), k.mldsa.Public()) == nil {
				t.Fatalf("byte %d, bit %d: still good", i, bit)
			}
			message[i] ^= 1 << bit
		}
	}
	for n := range message {
		if _, err := ParseMultiSign(message[:n]); err == nil {
			t.Fatalf("cut to %d bytes: still read", n)
		}
	}
}

func TestSignMultiRefuses(t *testing.T) {
	k := multiKeys()
	for _, c := range []struct {
		name    string
		signers []crypto.Signer
		want    error
	}{
		{"nobody", nil, ErrMissingSignature},
		{"one key twice", []crypto.Signer{k.mldsa, k.mldsa}, ErrDuplicateSigner},
		{"RSA", []crypto.Signer{keys().rsa}, ErrKey},
		{"P-384", []crypto.Signer{keys().p384}, ErrKey},
		{"another's signature", []crypto.Signer{impostor{k.mldsa, k.other}}, ErrSignature},
		{"too many", slices.Repeat([]crypto.Signer{k.mldsa}, 9), ErrTooManySigners},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := SignMulti(rand.Reader, testPayload, c.signers...); !errors.Is(err, c.want) {
				t.Errorf("%v, want %v", err, c.want)
			}
		})
	}
}

// impostor signs with another key than the one it shows.
type impostor struct{ shown, used crypto.Signer }

func (i impostor) Public() crypto.PublicKey { return i.shown.Public() }
func (i impostor) Sign(r io.Reader, m []byte, o crypto.SignerOpts) ([]byte, error) {
	return i.used.Sign(r, m, o)
}

// TestThumbprint has the key of RFC 9964 appendix A.2, whose seed is all zeros,
// and that of RFC 9679 section 6.
func TestThumbprint(t *testing.T) {
	lattice, _ := mldsa65.NewKeyFromSeed(new([32]byte))
	x, _ := hex.DecodeString("65eda5a12577c2bae829437fe338701a10aaa375e1bb5b5de108de439c08551d")
	y, _ := hex.DecodeString("1e52ed75701163f7f9e40ddf9f341b3dc9ba860af7e0ca7ca7e9eecd0084d19c")
	point, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), slices.Concat([]byte{4}, x, y))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, want string
		pub        crypto.PublicKey
	}{
		{"ML-DSA-65", "b788acf242f1f1d6532926d816e76e1636874267f2a48c84c4e65789ab80cc02", lattice},
		{"P-256", "496bd8afadf307e5b08c64b0421bf9dc01528a344a43bda88fadd1669da253ec", point},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := Thumbprint(c.pub)
			if err != nil {
				t.Fatal(err)
			}
			if hex.EncodeToString(got) != c.want {
				t.Errorf("%x, want %s", got, c.want)
			}
		})
	}
}

func TestReadKey(t *testing.T) {
	k := multiKeys()
	for _, signer := range []crypto.Signer{k.es256, k.ed25519, k.mldsa} {
		t.Run(SignerAlgorithm(signer.Public()).String(), func(t *testing.T) {
			encoded, err := AppendKey(nil, signer.Public())
			if err != nil {
				t.Fatal(err)
			}
			v, err := cbor.Parse(encoded, cbor.DefaultLimits)
			if err != nil {
				t.Fatal(err)
			}
			pub, err := ReadKey(v)
			if err != nil {
				t.Fatal(err)
			}
			if !pub.(interface{ Equal(crypto.PublicKey) bool }).Equal(signer.Public()) {
				t.Error("another key")
			}
		})
	}
	off := slices.Concat([]byte{4}, make([]byte, 63), []byte{1})
	for _, c := range []struct {
		name string
		key  []byte
	}{
		{"nothing", cbor.AppendMap(nil, 0)},
		{"an array", cbor.AppendArray(nil, 0)},
		{"type of symmetric keys", header(1, 4)},
		{"point not on the curve", header(1, 2, -1, 1, -2, off[1:33], -3, off[33:])},
		{"short Ed25519", header(1, 1, -1, 6, -2, make([]byte, 31))},
		{"short ML-DSA", header(1, 7, 3, -49, -1, make([]byte, 1951))},
		{"ML-DSA-44", header(1, 7, 3, -48, -1, make([]byte, 1312))},
		{"ML-DSA-65 called 44", header(1, 7, 3, -48, -1, make([]byte, 1952))},
		{"Ed25519 on another curve", header(1, 1, -1, 4, -2, make([]byte, 32))},
		{"with a private part", header(1, 1, -1, 6, -2, make([]byte, 32), -4, make([]byte, 32))},
	} {
		t.Run(c.name, func(t *testing.T) {
			v, err := cbor.Parse(c.key, cbor.DefaultLimits)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := ReadKey(v); !errors.Is(err, ErrKey) {
				t.Errorf("%v, want %v", err, ErrKey)
			}
		})
	}
}

// TestEd25519IsNoCertificateKey: the keys of certificates are those of HCERT.
func TestEd25519IsNoCertificateKey(t *testing.T) {
	k := multiKeys()
	for _, pub := range []crypto.PublicKey{k.ed25519.Public(), k.mldsa.Public()} {
		if alg := KeyAlgorithm(pub); alg != NoAlgorithm {
			t.Errorf("%T: %s", pub, alg)
		}
	}
}

func FuzzParseMultiSign(f *testing.F) {
	k := multiKeys()
	f.Add(signMulti(f, testPayload, k.es256))
	f.Add(signMulti(f, nil, k.es256, k.ed25519))
	f.Add(signMulti(f, testPayload, k.ed25519, k.mldsa))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := ParseMultiSign(data)
		if err != nil {
			return
		}
		if again := slices.Concat(m.head(), []byte(m.Payload), m.tail()); !bytes.Equal(again, data) {
			t.Errorf("%x is read and written as %x", data, again)
		}
		_ = m.Verify(k.es256.Public(), k.mldsa.Public())
	})
}
