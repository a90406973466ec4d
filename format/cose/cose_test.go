package cose

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/asn1"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/big"
	"slices"
	"strings"
	"sync"
	"testing"

	"ampoule/format"
	"ampoule/format/cbor"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	gocose "github.com/veraison/go-cose"
)

// keys are made once for all tests.
var keys = sync.OnceValue(func() (k struct {
	p256, other, p384 *ecdsa.PrivateKey
	rsa               *rsa.PrivateKey
}) {
	var err error
	try := func(e error) {
		if e != nil {
			panic(e)
		}
	}
	k.p256, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	try(err)
	k.other, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	try(err)
	k.p384, err = ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	try(err)
	k.rsa, err = rsa.GenerateKey(rand.Reader, 2048)
	try(err)
	return k
})

// signers are one key for each algorithm.
func signers() map[Algorithm]crypto.Signer {
	return map[Algorithm]crypto.Signer{ES256: keys().p256, PS256: keys().rsa}
}

var (
	testKID     = []byte("\x01\x02\x03\x04\x05\x06\x07\x08")
	testPayload = []byte("the payload")
)

// parts are the fields of a message, each as encoded CBOR, so that any of them
// can be something else.
type parts struct {
	tags        []uint64
	protected   []byte // content of the byte string
	unprotected []byte // encoded
	payload     []byte // encoded
	signature   []byte // content
}

func (p parts) encode() []byte {
	var b []byte
	for _, tag := range p.tags {
		b = cbor.AppendTag(b, tag)
	}
	b = cbor.AppendBytes(cbor.AppendArray(b, 4), p.protected)
	return cbor.AppendBytes(slices.Concat(b, p.unprotected, p.payload), p.signature)
}

// header encodes a header map from pairs of label and encoded value.
func header(pairs ...any) []byte {
	b := cbor.AppendMap(nil, len(pairs)/2)
	for _, x := range pairs {
		switch x := x.(type) {
		case int:
			b = cbor.AppendInt(b, int64(x))
		case Algorithm:
			b = cbor.AppendInt(b, int64(x))
		case string:
			b = cbor.AppendText(b, x)
		case []byte:
			b = cbor.AppendBytes(b, x)
		case raw:
			b = append(b, x...)
		}
	}
	return b
}

type raw []byte // encoded CBOR

// signWith signs header bytes and payload without asking what they mean.
func signWith(t testing.TB, key crypto.Signer, protected, payload []byte) []byte {
	t.Helper()
	digest := sha256.Sum256(appendSigStructure(nil, protected, payload))
	var opts crypto.SignerOpts = crypto.SHA256
	if _, ok := key.(*rsa.PrivateKey); ok {
		opts = &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: crypto.SHA256}
	}
	sig, err := key.Sign(rand.Reader, digest[:], opts)
	if err != nil {
		t.Fatal(err)
	}
	if k, ok := key.(*ecdsa.PrivateKey); ok {
		var rs struct{ R, S *big.Int }
		if _, err := asn1.Unmarshal(sig, &rs); err != nil {
			t.Fatal(err)
		}
		size := (k.Curve.Params().N.BitLen() + 7) / 8
		sig = append(rs.R.FillBytes(make([]byte, size)), rs.S.FillBytes(make([]byte, size))...)
	}
	return sig
}

// message makes a tagged message with any headers, signed properly.
func message(t testing.TB, key crypto.Signer, protected, unprotected []byte) []byte {
	return parts{
		tags: []uint64{TagSign1}, protected: protected, unprotected: unprotected,
		payload: cbor.AppendBytes(nil, testPayload), signature: signWith(t, key, protected, testPayload),
	}.encode()
}

func parse(t testing.TB, data []byte) *Sign1 {
	t.Helper()
	m, err := Parse(data, cbor.DefaultLimits)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestSignVerify(t *testing.T) {
	for alg, key := range signers() {
		t.Run(alg.String(), func(t *testing.T) {
			tagged, err := Sign(rand.Reader, key, testKID, testPayload)
			if err != nil {
				t.Fatal(err)
			}
			for _, tt := range []struct {
				name string
				data []byte
				tags []uint64
			}{
				{"tag 18", tagged, []uint64{18}},
				{"no tag", tagged[1:], nil},
				{"tags 61 and 18", append(cbor.AppendTag(nil, TagCWT), tagged...), []uint64{61, 18}},
			} {
				t.Run(tt.name, func(t *testing.T) {
					m := parse(t, tt.data)
					if !slices.Equal(m.Tags, tt.tags) {
						t.Errorf("tags %v", m.Tags)
					}
					if m.Alg != alg || m.AlgUnprotected || !bytes.Equal(m.KID, testKID) || m.KIDUnprotected || !bytes.Equal(m.Payload, testPayload) {
						t.Errorf("message %+v", m)
					}
					if err := m.Verify(key.Public()); err != nil {
						t.Error(err)
					}
					for other, k := range signers() {
						if err := m.Verify(k.Public()); other != alg && !errors.Is(err, ErrAlgNotAllowed) {
							t.Errorf("under a key for %v: %v", other, err)
						}
					}
				})
			}
			if diff := cmp.Diff(header(1, alg, 4, testKID), parse(t, tagged).Protected); diff != "" {
				t.Errorf("protected header:\n%s", diff)
			}
			if parse(t, tagged).Unprotected.Len() != 0 {
				t.Error("something is unprotected")
			}
		})
	}
	m := parse(t, message(t, keys().p256, header(1, ES256), header()))
	if err := m.Verify(keys().other.Public()); !errors.Is(err, ErrSignature) {
		t.Errorf("under another key: %v", err)
	}
}

// TestSigStructure compares with the bytes written by hand after RFC 9052
// section 4.4.
func TestSigStructure(t *testing.T) {
	m := &Sign1{Protected: []byte{0xa1, 1, 0x26}, Payload: []byte("ab")}
	const want = "84" + "6a5369676e617475726531" + "43a10126" + "40" + "426162"
	if got := hex.EncodeToString(m.AppendSigStructure(nil)); got != want {
		t.Errorf("got %s", got)
	}
	bytes, _ := hex.DecodeString(want)
	if m.Digest() != sha256.Sum256(bytes) {
		t.Error("the digest is not that of the structure")
	}
}

func gocoseKey(t *testing.T, alg Algorithm) (gocose.Signer, gocose.Verifier) {
	t.Helper()
	key := signers()[alg]
	s, err := gocose.NewSigner(gocose.Algorithm(alg), key)
	if err != nil {
		t.Fatal(err)
	}
	v, err := gocose.NewVerifier(gocose.Algorithm(alg), key.Public())
	if err != nil {
		t.Fatal(err)
	}
	return s, v
}

// TestGoCose has another library read what Sign wrote, and reads what it wrote.
func TestGoCose(t *testing.T) {
	for alg, key := range signers() {
		signer, verifier := gocoseKey(t, alg)
		t.Run(alg.String()+" theirs", func(t *testing.T) {
			h := gocose.Headers{
				Protected:   gocose.ProtectedHeader{gocose.HeaderLabelAlgorithm: gocose.Algorithm(alg)},
				Unprotected: gocose.UnprotectedHeader{gocose.HeaderLabelKeyID: testKID},
			}
			for name, sign := range map[string]func(io.Reader, gocose.Signer, gocose.Headers, []byte, []byte) ([]byte, error){
				"tagged": gocose.Sign1, "untagged": gocose.Sign1Untagged,
			} {
				data, err := sign(rand.Reader, signer, h, testPayload, nil)
				if err != nil {
					t.Fatal(err)
				}
				m := parse(t, data)
				if err := m.Verify(key.Public()); err != nil {
					t.Errorf("%s: %v", name, err)
				}
				if m.Alg != alg || !bytes.Equal(m.KID, testKID) || !m.KIDUnprotected {
					t.Errorf("%s: %+v", name, m)
				}
			}
		})
		t.Run(alg.String()+" ours", func(t *testing.T) {
			data, err := Sign(rand.Reader, key, testKID, testPayload)
			if err != nil {
				t.Fatal(err)
			}
			var m gocose.Sign1Message
			if err := m.UnmarshalCBOR(data); err != nil {
				t.Fatal(err)
			}
			if err := m.Verify(nil, verifier); err != nil {
				t.Error(err)
			}
			if got, _ := m.Headers.Protected.Algorithm(); got != gocose.Algorithm(alg) || !bytes.Equal(m.Payload, testPayload) {
				t.Errorf("alg %v, payload %q", got, m.Payload)
			}
			again, err := m.MarshalCBOR()
			if err != nil || !bytes.Equal(again, data) {
				t.Errorf("re-encoded differently: %v", err)
			}
		})
	}
}

// TestEmptyProtected: both forms of no protected header are to be accepted (RFC
// 9052 section 3), and the bytes received are those signed.
func TestEmptyProtected(t *testing.T) {
	_, verifier := gocoseKey(t, ES256)
	for name, protected := range map[string][]byte{"empty": {}, "empty map": {0xa0}} {
		t.Run(name, func(t *testing.T) {
			data := message(t, keys().p256, protected, header(1, ES256, 4, testKID))
			m := parse(t, data)
			if m.Alg != ES256 || !m.AlgUnprotected || !m.KIDUnprotected || m.Header.Len() != 0 {
				t.Errorf("message %+v", m)
			}
			if err := m.Verify(keys().p256.Public()); err != nil {
				t.Error(err)
			}
			// The other library wants an algorithm in the protected header, so it is
			// asked about the bytes only.
			if err := verifier.Verify(m.AppendSigStructure(nil), m.Signature); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestHeaders(t *testing.T) {
	other := []byte("other")
	for _, tt := range []struct {
		name                   string
		protected, unprotected []byte
		alg                    Algorithm
		algUnprotected         bool
		kid                    []byte
		kidUnprotected         bool
	}{
		{"both protected", header(1, ES256, 4, testKID), header(), ES256, false, testKID, false},
		{"kid unprotected", header(1, ES256), header(4, testKID), ES256, false, testKID, true},
		{"kid twice, the protected wins", header(1, ES256, 4, testKID), header(4, other), ES256, false, testKID, false},
		{"alg twice, the protected wins", header(1, ES256), header(1, PS256), ES256, false, nil, false},
		{"alg unprotected", header(4, testKID), header(1, ES256), ES256, true, testKID, false},
		{"no kid", header(1, ES256), header(), ES256, false, nil, false},
		{"kid empty", header(1, ES256, 4, []byte{}), header(4, testKID), ES256, false, []byte{}, false},
		{"other labels", header(1, ES256, 33, "x", "y", 0), header(-70000, testKID), ES256, false, nil, false},
		{"crit names alg", header(1, ES256, 2, raw("\x81\x01")), header(), ES256, false, nil, false},
		{"crit names alg and kid", header(1, ES256, 2, raw("\x82\x01\x04"), 4, testKID), header(), ES256, false, testKID, false},
		{"crit indefinite", header(1, ES256, 2, raw("\x9f\x18\x01\xff")), header(), ES256, false, nil, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := parse(t, message(t, keys().p256, tt.protected, tt.unprotected))
			if m.Alg != tt.alg || m.AlgUnprotected != tt.algUnprotected {
				t.Errorf("alg %v, unprotected %v", m.Alg, m.AlgUnprotected)
			}
			if !cmp.Equal(m.KID, tt.kid) || m.KIDUnprotected != tt.kidUnprotected {
				t.Errorf("kid %q, unprotected %v", m.KID, m.KIDUnprotected)
			}
			if err := m.Verify(keys().p256.Public()); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestParseRefuses(t *testing.T) {
	good := parts{
		tags: []uint64{TagSign1}, protected: header(1, ES256), unprotected: header(),
		payload: cbor.AppendBytes(nil, testPayload), signature: make([]byte, 64),
	}
	tags := func(tags ...uint64) []byte { p := good; p.tags = tags; return p.encode() }
	protected := func(b []byte) []byte { p := good; p.protected = b; return p.encode() }
	unprotected := func(b []byte) []byte { p := good; p.unprotected = b; return p.encode() }
	array := func(n int) []byte {
		b := cbor.AppendBytes(cbor.AppendArray(nil, n), header(1, ES256))
		b = append(b, header()...)
		for range n - 2 {
			b = cbor.AppendBytes(b, testPayload)
		}
		return b
	}
	if _, err := Parse(good.encode(), cbor.DefaultLimits); err != nil {
		t.Fatalf("what the cases change: %v", err)
	}
	if _, err := Parse(array(4), cbor.DefaultLimits); err != nil {
		t.Fatalf("what the cases change: %v", err)
	}
	for _, tt := range []struct {
		name string
		data []byte
		want format.Defect
	}{
		{"nothing", nil, cbor.ErrMalformed},
		{"bytes after", append(good.encode(), 0), cbor.ErrTrailing},
		{"tag 98, several signatures", tags(98), ErrWrongTag},
		{"tag 17, MAC", tags(17), ErrWrongTag},
		{"tag 61 alone", tags(61), ErrWrongTag},
		{"tags 18 and 61", tags(18, 61), ErrWrongTag},
		{"tags 18 and 18", tags(18, 18), ErrWrongTag},
		{"tags 61, 61 and 18", tags(61, 61, 18), ErrWrongTag},
		{"tags 55799, 61 and 18", tags(55799, 61, 18), ErrWrongTag},
		{"3 elements", array(3), ErrNotSign1},
		{"5 elements", array(5), ErrNotSign1},
		{"no elements", []byte{0x80}, ErrNotSign1},
		{"a map of 4", []byte("\xa4\x00\x00\x01\x00\x02\x00\x03\x00"), ErrNotSign1},
		{"bytes", []byte{0x40}, ErrNotSign1},
		{"protected a map", []byte("\x84\xa0\xa0\x40\x40"), ErrNotSign1},
		{"protected text", []byte("\x84\x60\xa0\x40\x40"), ErrNotSign1},
		{"protected null", []byte("\x84\xf6\xa0\x40\x40"), ErrNotSign1},
		{"unprotected null", []byte("\x84\x40\xf6\x40\x40"), ErrNotSign1},
		{"unprotected bytes", []byte("\x84\x40\x41\xa0\x40\x40"), ErrNotSign1},
		{"unprotected tagged", []byte("\x84\x40\xc1\xa0\x40\x40"), ErrNotSign1},
		{"payload text", []byte("\x84\x40\xa0\x60\x40"), ErrNotSign1},
		{"payload tagged", []byte("\x84\x40\xa0\xd8\x18\x40\x40"), ErrNotSign1},
		{"signature null", []byte("\x84\x40\xa0\x40\xf6"), ErrNotSign1},
		{"signature an array", []byte("\x84\x40\xa0\x40\x80"), ErrNotSign1},
		{"protected not a map", protected([]byte{0x80}), ErrHeader},
		{"protected an integer", protected([]byte{0x01}), ErrHeader},
		{"protected wrapped twice", protected(cbor.AppendBytes(nil, header(1, ES256))), ErrHeader},
		{"bytes after the protected map", protected(append(header(1, ES256), 0)), cbor.ErrTrailing},
		{"protected cut", protected(header(1, ES256)[:2]), cbor.ErrMalformed},
		{"label twice", protected([]byte("\xa2\x01\x26\x18\x01\x26")), cbor.ErrDuplicateKey},
		{"label twice, unprotected", unprotected([]byte("\xa2\x04\x40\x18\x04\x40")), cbor.ErrDuplicateKey},
		{"alg text", protected(header(1, "ES256")), ErrAlgType},
		{"alg bytes", protected(header(1, []byte{0x26})), ErrAlgType},
		{"alg null", protected(header(1, raw("\xf6"))), ErrAlgType},
		{"alg a float", protected(header(1, raw("\xf9\xc7\x00"))), ErrAlgType},
		{"alg beyond int64", protected(header(1, raw("\x3b\xff\xff\xff\xff\xff\xff\xff\xff"))), ErrAlgType},
		{"alg text, unprotected", parts{protected: header(), unprotected: header(1, "ES256"), payload: []byte{0x40}}.encode(), ErrAlgType},
		{"kid text", protected(header(1, ES256, 4, "kid")), ErrHeader},
		{"kid an integer", unprotected(header(4, 7)), ErrHeader},
		{"kid null", unprotected(header(4, raw("\xf6"))), ErrHeader},
		{"crit unprotected", unprotected(header(2, raw("\x81\x01"))), ErrCritical},
		{"crit empty", protected(header(1, ES256, 2, raw("\x80"))), ErrCritical},
		{"crit not an array", protected(header(1, ES256, 2, 1)), ErrCritical},
		{"crit a map", protected(header(1, ES256, 2, raw("\xa1\x18\x63\x00"))), ErrCritical},
		{"crit null", protected(header(1, ES256, 2, raw("\xf6"))), ErrCritical},
		{"crit unknown", protected(header(1, ES256, 2, raw("\x81\x18\x63"), 99, 0)), ErrCritical},
		{"crit known and unknown", protected(header(1, ES256, 2, raw("\x82\x01\x18\x63"), 99, 0)), ErrCritical},
		{"crit names itself", protected(header(1, ES256, 2, raw("\x81\x02"))), ErrCritical},
		{"crit a text label", protected(header(1, ES256, 2, raw("\x81\x61x"), "x", 0)), ErrCritical},
		{"crit names an absent label", protected(header(1, ES256, 2, raw("\x81\x04"))), ErrCritical},
		{"crit names what is unprotected", parts{protected: header(1, ES256, 2, raw("\x81\x04")), unprotected: header(4, testKID), payload: []byte{0x40}}.encode(), ErrCritical},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m, err := Parse(tt.data, cbor.DefaultLimits)
			if !errors.Is(err, tt.want) {
				t.Errorf("Parse(%x) = %v, want %v", tt.data, err, tt.want)
			}
			if format.Reason(err, "") != string(tt.want) {
				t.Errorf("reason %q", format.Reason(err, ""))
			}
			if m != nil {
				t.Error("a message beside the error")
			}
		})
	}
}

// TestLimits: a header that nobody signed is bounded like all the rest.
func TestLimits(t *testing.T) {
	deep := append([]byte("\x84\x40\xa1\x18\x63"), bytes.Repeat([]byte{0x81}, 200_000)...)
	if _, err := Parse(deep, cbor.DefaultLimits); !errors.Is(err, cbor.ErrDepth) {
		t.Errorf("nested unprotected header: %v", err)
	}
	inner := append([]byte("\xa1\x18\x63"), append(bytes.Repeat([]byte{0x81}, 16), 0)...)
	if _, err := Parse(parts{protected: inner, unprotected: header(), payload: []byte{0x40}}.encode(), cbor.DefaultLimits); !errors.Is(err, cbor.ErrDepth) {
		t.Errorf("nested protected header: %v", err)
	}
}

// TestAlgorithms: a key takes signatures of its own algorithm and of no other,
// whatever the message says and whichever part of it says so.
func TestAlgorithms(t *testing.T) {
	for key, signer := range signers() {
		for alg := Algorithm(-65); alg <= 10; alg++ {
			m := parse(t, message(t, signer, header(1, alg), header()))
			err := m.Verify(signer.Public())
			if alg == key && err != nil {
				t.Errorf("%v with a key for %v: %v", alg, key, err)
			}
			if alg != key && !errors.Is(err, ErrAlgNotAllowed) {
				t.Errorf("%v with a key for %v: %v, want %v", alg, key, err, ErrAlgNotAllowed)
			}
			if known := !strings.HasPrefix(alg.String(), "alg "); known != (alg == ES256 || alg == PS256 || alg == Ed25519 || alg == MLDSA65) {
				t.Errorf("%d is called %v", int64(alg), alg)
			}
		}
	}
	public := elliptic.MarshalCompressed(elliptic.P256(), keys().p256.X, keys().p256.Y)
	_, edKey, _ := ed25519.GenerateKey(rand.Reader)
	small, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name    string
		message []byte
		public  crypto.PublicKey
	}{
		{"alg missing", message(t, keys().p256, header(4, testKID), header()), keys().p256.Public()},
		{"RS256", message(t, keys().rsa, header(1, Algorithm(-257)), header()), keys().rsa.Public()},
		{"PS512", message(t, keys().rsa, header(1, Algorithm(-39)), header()), keys().rsa.Public()},
		{"ES256K", message(t, keys().p256, header(1, Algorithm(-47)), header()), keys().p256.Public()},
		{"HS256 by the public key", message(t, keys().p256, header(1, Algorithm(5)), header()), public},
		{"ES256 with a P-384 key", message(t, keys().p384, header(1, ES256), header()), keys().p384.Public()},
		{"ES384 with a P-384 key", message(t, keys().p384, header(1, Algorithm(-35)), header()), keys().p384.Public()},
		{"ES256 with a P-224 key", message(t, small, header(1, ES256), header()), small.Public()},
		{"EdDSA", message(t, keys().p256, header(1, Algorithm(-8)), header()), edKey.Public()},
		{"no algorithm, no key for one", message(t, keys().p256, header(1, NoAlgorithm), header()), edKey.Public()},
		{"no key", message(t, keys().p256, header(1, ES256), header()), nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if err := parse(t, tt.message).Verify(tt.public); !errors.Is(err, ErrAlgNotAllowed) {
				t.Errorf("Verify = %v, want %v", err, ErrAlgNotAllowed)
			}
		})
	}
	for _, key := range []crypto.Signer{keys().p384, small, edKey} {
		if data, err := Sign(rand.Reader, key, nil, nil); !errors.Is(err, ErrAlgNotAllowed) || data != nil {
			t.Errorf("Sign with %T: %x, %v", key, data, err)
		}
	}
}

func TestVerifyRefuses(t *testing.T) {
	n := elliptic.P256().Params().N.FillBytes(make([]byte, 32))
	one := append(make([]byte, 31), 1)
	zero := make([]byte, 32)
	full := bytes.Repeat([]byte{0xff}, 32)
	good := map[Algorithm]*Sign1{}
	for alg, key := range signers() {
		good[alg] = parse(t, message(t, key, header(1, alg), header()))
	}
	r, s := good[ES256].Signature[:32], good[ES256].Signature[32:]
	var der []byte
	der = appendECDSASignature(der, good[ES256].Signature)
	for _, tt := range []struct {
		name string
		alg  Algorithm
		sig  []byte
	}{
		{"empty", ES256, nil},
		{"one byte short", ES256, good[ES256].Signature[:63]},
		{"one byte long", ES256, append(slices.Clone(good[ES256].Signature), 0)},
		{"r alone", ES256, r},
		{"96 bytes", ES256, append(slices.Clone(good[ES256].Signature), zero...)},
		{"in DER", ES256, der},
		{"zeros", ES256, make([]byte, 64)},
		{"r zero", ES256, slices.Concat(zero, s)},
		{"s zero", ES256, slices.Concat(r, zero)},
		{"r the order", ES256, slices.Concat(n, s)},
		{"s the order", ES256, slices.Concat(r, n)},
		{"both the order", ES256, slices.Concat(n, n)},
		{"both one", ES256, slices.Concat(one, one)},
		{"all ones", ES256, slices.Concat(full, full)},
		{"swapped", ES256, slices.Concat(s, r)},
		{"empty", PS256, nil},
		{"one byte short", PS256, good[PS256].Signature[:255]},
		{"one byte long", PS256, append([]byte{0}, good[PS256].Signature...)},
		{"zeros", PS256, make([]byte, 256)},
		{"one", PS256, append(make([]byte, 255), 1)},
		{"all ones", PS256, bytes.Repeat([]byte{0xff}, 256)},
		{"of ECDSA", PS256, good[ES256].Signature},
	} {
		t.Run(tt.alg.String()+" "+tt.name, func(t *testing.T) {
			m := *good[tt.alg]
			m.Signature = tt.sig
			if err := m.Verify(signers()[tt.alg].Public()); !errors.Is(err, ErrSignature) {
				t.Errorf("Verify = %v, want %v", err, ErrSignature)
			}
		})
	}
	for alg, m := range good {
		if err := m.Verify(signers()[alg].Public()); err != nil {
			t.Errorf("%v, unchanged: %v", alg, err)
		}
	}
}

// TestSaltLength: RFC 8230 fixes the length of the salt to that of the hash.
func TestSaltLength(t *testing.T) {
	m := parse(t, message(t, keys().rsa, header(1, PS256), header()))
	digest := m.Digest()
	for _, length := range []int{0, 20, 31, 33} {
		sig, err := rsa.SignPSS(rand.Reader, keys().rsa, crypto.SHA256, digest[:], &rsa.PSSOptions{SaltLength: length})
		if err != nil {
			t.Fatal(err)
		}
		m.Signature = sig
		if err := m.Verify(keys().rsa.Public()); !errors.Is(err, ErrSignature) {
			t.Errorf("salt of %d bytes: %v", length, err)
		}
	}
	sig, err := rsa.SignPKCS1v15(rand.Reader, keys().rsa, crypto.SHA256, digest[:])
	if err != nil {
		t.Fatal(err)
	}
	m.Signature = sig
	if err := m.Verify(keys().rsa.Public()); !errors.Is(err, ErrSignature) {
		t.Errorf("PKCS #1 v1.5: %v", err)
	}
}

// TestBitFlips changes every bit of protected header, payload and signature.
func TestBitFlips(t *testing.T) {
	for alg, key := range signers() {
		t.Run(alg.String(), func(t *testing.T) {
			good := parse(t, message(t, key, header(1, alg, 4, testKID), header()))
			for field, of := range map[string]func(*Sign1) *[]byte{
				"protected": func(m *Sign1) *[]byte { return &m.Protected },
				"payload":   func(m *Sign1) *[]byte { return &m.Payload },
				"signature": func(m *Sign1) *[]byte { return &m.Signature },
			} {
				for bit := range 8 * len(*of(good)) {
					m := *good
					changed := slices.Clone(*of(good))
					changed[bit/8] ^= 1 << (bit % 8)
					*of(&m) = changed
					if err := m.Verify(key.Public()); !errors.Is(err, ErrSignature) {
						t.Fatalf("%s, bit %d: %v", field, bit, err)
					}
				}
			}
			m := *good
			m.Protected = m.Protected[:len(m.Protected)-1]
			m.Payload = append([]byte{testKID[7]}, m.Payload...)
			if m.Verify(key.Public()) == nil {
				t.Error("a byte moved from header to payload")
			}
		})
	}
}

// TestTwin: whoever has (r, s) can make (r, n-s), which is as valid. That is
// why the revocation of a signature hashes r alone.
func TestTwin(t *testing.T) {
	m := parse(t, message(t, keys().p256, header(1, ES256), header()))
	s := new(big.Int).SetBytes(m.Signature[32:])
	s.Sub(elliptic.P256().Params().N, s)
	before := slices.Clone(m.Signature)
	s.FillBytes(m.Signature[32:])
	if bytes.Equal(before, m.Signature) {
		t.Fatal("s is its own twin")
	}
	if err := m.Verify(keys().p256.Public()); err != nil {
		t.Error(err)
	}
}

func TestPayload(t *testing.T) {
	protected := header(1, ES256)
	p := parts{protected: protected, unprotected: header(), signature: signWith(t, keys().p256, protected, nil)}

	p.payload = []byte{0x40}
	empty := parse(t, p.encode())
	if empty.Payload == nil || len(empty.Payload) != 0 {
		t.Errorf("an empty payload is %v", empty.Payload)
	}
	if err := empty.Verify(keys().p256.Public()); err != nil {
		t.Errorf("empty payload: %v", err)
	}

	p.payload = []byte{0xf6}
	detached := parse(t, p.encode())
	if detached.Payload != nil {
		t.Errorf("a detached payload is %v", detached.Payload)
	}
	// The signature fits the empty payload, but nobody said that it is meant.
	if err := detached.Verify(keys().p256.Public()); !errors.Is(err, ErrSignature) {
		t.Errorf("detached, not supplied: %v", err)
	}
	detached.Payload = []byte{}
	if err := detached.Verify(keys().p256.Public()); err != nil {
		t.Errorf("detached, supplied: %v", err)
	}

	p.payload, p.signature = []byte{0x5f, 0x41, 'a', 0x41, 'b', 0xff}, signWith(t, keys().p256, protected, []byte("ab"))
	if err := parse(t, p.encode()).Verify(keys().p256.Public()); err != nil {
		t.Errorf("payload in chunks: %v", err)
	}
}

// TestRSASizes: the profile leaves the size to whoever trusts the key, and one
// country signs with 1024 bits.
func TestRSASizes(t *testing.T) {
	if KeyAlgorithm(&rsa.PublicKey{N: new(big.Int).Lsh(big.NewInt(1), 1023), E: 65537}) != PS256 {
		t.Error("RSA-1024 is no key for PS256")
	}
	m := parse(t, message(t, keys().rsa, header(1, PS256), header()))
	broken := &rsa.PublicKey{N: big.NewInt(0), E: 0}
	if err := m.Verify(broken); !errors.Is(err, ErrSignature) {
		t.Errorf("a key of zeros: %v", err)
	}
}

// TestDER compares both conversions with encoding/asn1 at the edges: leading
// zeros, high bits, one.
func TestDER(t *testing.T) {
	numbers := map[string]*big.Int{
		"one": big.NewInt(1), "127": big.NewInt(127), "128": big.NewInt(128), "255": big.NewInt(255), "256": big.NewInt(256),
		"high bit":        new(big.Int).Lsh(big.NewInt(1), 255),
		"31 bytes":        new(big.Int).Lsh(big.NewInt(1), 240),
		"31 bytes, high":  new(big.Int).Lsh(big.NewInt(1), 247),
		"all ones":        new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 256), big.NewInt(1)),
		"below the order": new(big.Int).Sub(elliptic.P256().Params().N, big.NewInt(1)),
		"zero":            big.NewInt(0),
	}
	for rName, r := range numbers {
		for sName, s := range numbers {
			t.Run(rName+", "+sName, func(t *testing.T) {
				want, err := asn1.Marshal(struct{ R, S *big.Int }{r, s})
				if err != nil {
					t.Fatal(err)
				}
				rs := append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...)
				if got := appendECDSASignature([]byte("before"), rs); !bytes.Equal(got[6:], want) {
					t.Errorf("DER %x, want %x", got[6:], want)
				}
				back, err := splitECDSASignature(want)
				if err != nil || !bytes.Equal(back, rs) {
					t.Errorf("split: %x, %v", back, err)
				}
			})
		}
	}
}

// TestDERManySignatures runs the conversions over many real signatures: one in
// 256 numbers begins with a zero byte.
func TestDERManySignatures(t *testing.T) {
	digest := sha256.Sum256(testPayload)
	short := 0
	for range 600 {
		der, err := ecdsa.SignASN1(rand.Reader, keys().p256, digest[:])
		if err != nil {
			t.Fatal(err)
		}
		rs, err := splitECDSASignature(der)
		if err != nil {
			t.Fatal(err)
		}
		if rs[0] == 0 || rs[32] == 0 {
			short++
		}
		if got := appendECDSASignature(nil, rs); !bytes.Equal(got, der) {
			t.Fatalf("DER %x, want %x", got, der)
		}
	}
	if short == 0 { // less likely than 1 in 100
		t.Log("no number was short")
	}
}

// badSigner returns what a broken token might.
type badSigner struct {
	der []byte
	err error
}

func (b badSigner) Public() crypto.PublicKey { return keys().p256.Public() }
func (b badSigner) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) {
	return b.der, b.err
}

func TestBadSigner(t *testing.T) {
	long := append([]byte{2, 33}, bytes.Repeat([]byte{1}, 33)...)
	one := []byte{2, 1, 1}
	sequence := func(parts ...[]byte) []byte {
		content := slices.Concat(parts...)
		return append([]byte{0x30, byte(len(content))}, content...)
	}
	if _, err := Sign(rand.Reader, badSigner{der: sequence(one, one)}, nil, nil); err != nil {
		t.Fatalf("what the cases change: %v", err)
	}
	for _, tt := range []struct {
		name string
		der  []byte
	}{
		{"nothing", nil},
		{"a byte", []byte{0x30}},
		{"r || s", make([]byte, 64)},
		{"no sequence", append([]byte{0x31}, sequence(one, one)[1:]...)},
		{"length wrong", append(sequence(one, one), 0)},
		{"empty sequence", sequence()},
		{"one number", sequence(one)},
		{"no integer", sequence(one, []byte{3, 1, 1})},
		{"number cut", sequence(one, []byte{2, 2, 1})},
		{"number of 255 bytes", sequence([]byte{2, 255, 1}, one)},
		{"r too long", sequence(long, one)},
		{"s too long", sequence(one, long)},
		{"three numbers", sequence(one, one, one)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			data, err := Sign(rand.Reader, badSigner{der: tt.der}, nil, nil)
			if !errors.Is(err, ErrSignature) || data != nil {
				t.Errorf("Sign = %x, %v; want %v", data, err, ErrSignature)
			}
		})
	}
	broken := errors.New("the token is gone")
	if _, err := Sign(rand.Reader, badSigner{err: broken}, nil, nil); !errors.Is(err, broken) {
		t.Errorf("Sign = %v", err)
	}
}

// FuzzParse: no input panics, none verifies under a key that signed nothing, and
// the parts of a message make the same message again.
func FuzzParse(f *testing.F) {
	for _, p := range []parts{
		{protected: header(1, ES256, 4, testKID), unprotected: header(), payload: []byte{0x41, 'a'}, signature: make([]byte, 64)},
		{tags: []uint64{18}, protected: header(1, ES256), unprotected: header(4, testKID), payload: []byte{0xf6}, signature: make([]byte, 64)},
		{tags: []uint64{61, 18}, protected: header(), unprotected: header(1, PS256), payload: []byte{0x40}},
		{tags: []uint64{18}, protected: header(1, ES256, 2, raw("\x81\x01")), unprotected: header(), payload: []byte{0x40}},
		{tags: []uint64{18}, protected: header(1, ES256, 2, raw("\xa1\x18\x63\x00")), unprotected: header(), payload: []byte{0x40}},
	} {
		f.Add(p.encode())
	}
	public := keys().p256.Public()
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := Parse(data, cbor.DefaultLimits)
		if err != nil {
			if m != nil {
				t.Error("a message beside the error")
			}
			return
		}
		if m.Verify(public) == nil {
			t.Error("forged")
		}
		// What Parse took apart makes the same message again.
		p := parts{tags: m.Tags, protected: m.Protected, unprotected: m.Unprotected.Encoded(), payload: []byte{0xf6}, signature: m.Signature}
		if m.Payload != nil {
			p.payload = cbor.AppendBytes(nil, m.Payload)
		}
		again := parse(t, p.encode())
		diff := cmp.Diff(m, again, cmpopts.IgnoreUnexported(Sign1{}),
			cmp.Comparer(func(a, b cbor.Value) bool { return bytes.Equal(a.Encoded(), b.Encoded()) }))
		if diff != "" {
			t.Errorf("put together again:\n%s", diff)
		}
		if !m.Header.Exists() != (len(m.Protected) == 0) {
			t.Error("protected header lost")
		}
	})
}

// FuzzSignParse signs any payload under any key identifier and reads it back.
func FuzzSignParse(f *testing.F) {
	f.Add(testKID, testPayload, byte(0))
	f.Add([]byte{}, []byte{}, byte(1))
	f.Add(bytes.Repeat([]byte{1}, 300), bytes.Repeat([]byte{2}, 70000), byte(2))
	f.Fuzz(func(t *testing.T, kid, payload []byte, flip byte) {
		data, err := Sign(rand.Reader, keys().p256, kid, payload)
		if err != nil {
			t.Fatal(err)
		}
		m := parse(t, data)
		if !bytes.Equal(m.KID, kid) || !bytes.Equal(m.Payload, payload) || m.Alg != ES256 {
			t.Errorf("read back %v, kid %x, payload %x", m.Alg, m.KID, m.Payload)
		}
		if err := m.Verify(keys().p256.Public()); err != nil {
			t.Error(err)
		}
		if flip != 0 {
			i := (len(kid) + len(payload) + int(flip)) % len(data)
			data[i] ^= flip
			if m, err := Parse(data, cbor.DefaultLimits); err == nil && m.Verify(keys().p256.Public()) == nil {
				t.Errorf("byte %d changed by %02x: still valid", i, flip)
			}
		}
	})
}

func TestAlgorithmString(t *testing.T) {
	for alg, want := range map[Algorithm]string{ES256: "ES256", PS256: "PS256", Ed25519: "Ed25519", MLDSA65: "ML-DSA-65", NoAlgorithm: "alg 0", -257: "alg -257"} {
		if got := fmt.Sprint(alg); got != want {
			t.Errorf("%d is %q, want %q", int64(alg), got, want)
		}
	}
}
