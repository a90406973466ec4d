package keys

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/cloudflare/circl/sign/mldsa/mldsa65"

	"ampoule/bundle"
	"ampoule/format/cose"
)

// BundleRoot is the private side of a root that signs bundles. Its file has both
// halves in PKCS #8, the classical one first: one without the other is of no
// use, and a thief of one would look for the other beside it. The public root
// follows, with its window.
type BundleRoot struct {
	classical   crypto.Signer
	lattice     *mldsa65.PrivateKey
	from, until time.Time
}

// NewBundleRoot makes a root whose classical half is for ES256 or Ed25519, and
// which counts in the given window; a zero time is no bound.
func NewBundleRoot(classical cose.Algorithm, from, until time.Time, random io.Reader) (*BundleRoot, error) {
	r := &BundleRoot{from: from, until: until}
	var err error
	switch classical {
	case cose.ES256:
		r.classical, err = ecdsa.GenerateKey(elliptic.P256(), random)
	case cose.Ed25519:
		_, r.classical, err = ed25519.GenerateKey(random)
	default:
		err = fmt.Errorf("%s: %w", classical, ErrKeyType)
	}
	if err != nil {
		return nil, fmt.Errorf("keys: bundle root: %w", err)
	}
	if _, r.lattice, err = mldsa65.GenerateKey(random); err != nil {
		return nil, fmt.Errorf("keys: bundle root: %w", err)
	}
	return r, nil
}

// Signer returns what bundles are signed with.
func (r *BundleRoot) Signer() bundle.Signer {
	return bundle.Signer{Classical: r.classical, PostQuantum: hedged{r.lattice}, From: r.from, Until: r.until}
}

// hedged signs with fresh randomness (FIPS 204 section 3.4): the key of a
// deterministic signature can be found from one in which the machine erred.
type hedged struct{ *mldsa65.PrivateKey }

func (h hedged) Sign(_ io.Reader, message []byte, opts crypto.SignerOpts) ([]byte, error) {
	if opts != nil && opts.HashFunc() != 0 {
		return nil, fmt.Errorf("keys: ML-DSA signs the message, not its hash: %w", ErrKeyType)
	}
	signature := make([]byte, mldsa65.SignatureSize)
	if err := mldsa65.SignTo(h.PrivateKey, message, nil, true, signature); err != nil {
		return nil, fmt.Errorf("keys: ML-DSA: %w", err)
	}
	return signature, nil
}

// SaveBundleRoot writes a root to a new file, as [Save] writes a key.
func SaveBundleRoot(path string, r *BundleRoot, lock Lock) error { return save(path, r.marshal, lock) }

// LoadBundleRoot reads the file of a root. The error is one of those of [Load].
func LoadBundleRoot(path string, lock Lock) (*BundleRoot, error) {
	return loadPlain(path, lock, parseBundleRoot)
}

// lattice65 is ML-DSA-65 (RFC 9881 section 2).
var lattice65 = asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 3, 18}

// pkcs8 is a OneAsymmetricKey without the parts that may be left out (RFC 5958
// section 2). For ML-DSA-65 the private key is its seed (RFC 9881 section 6):
//
//	ML-DSA-65-PrivateKey ::= CHOICE { seed [0] OCTET STRING (SIZE (32)), … }
type pkcs8 struct {
	Version    int
	Algorithm  pkix.AlgorithmIdentifier
	PrivateKey []byte
}

var seedHead = []byte{0x80, mldsa65.SeedSize}

func (r *BundleRoot) marshal() ([]byte, error) {
	classical, err := x509.MarshalPKCS8PrivateKey(r.classical)
	if err != nil {
		return nil, fmt.Errorf("%T: %w", r.classical, ErrNotExportable)
	}
	defer clear(classical)
	seed := r.lattice.Seed()
	if len(seed) != mldsa65.SeedSize {
		return nil, fmt.Errorf("the ML-DSA key has no seed: %w", ErrNotExportable)
	}
	choice := slices.Concat(seedHead, seed)
	defer clear(choice)
	lattice, err := asn1.Marshal(pkcs8{Algorithm: pkix.AlgorithmIdentifier{Algorithm: lattice65}, PrivateKey: choice})
	if err != nil {
		return nil, err
	}
	defer clear(lattice)
	first := pem.EncodeToMemory(&pem.Block{Type: privateBlock, Bytes: classical})
	defer clear(first)
	second := pem.EncodeToMemory(&pem.Block{Type: privateBlock, Bytes: lattice})
	defer clear(second)
	root, err := r.Signer().Root()
	if err != nil {
		return nil, err
	}
	public, err := bundle.EncodeRoots(root)
	if err != nil {
		return nil, err
	}
	return slices.Concat(first, second, public), nil
}

// parseBundleRoot is strict: two private keys of the right kinds, their public
// root and nothing else.
func parseBundleRoot(data []byte) (*BundleRoot, error) {
	var keys [][]byte
	rest := data
	for len(keys) < 2 && len(rest) > 0 {
		block, next := pem.Decode(rest)
		if block == nil || block.Type != privateBlock || len(block.Headers) > 0 || rest[0] != '-' {
			return nil, fmt.Errorf("a bundle root is two private keys, and here is something else: %w", ErrDamaged)
		}
		defer clear(block.Bytes)
		keys, rest = append(keys, block.Bytes), next
	}
	if len(keys) != 2 {
		return nil, fmt.Errorf("a bundle root is two private keys, and here are %d: %w", len(keys), ErrDamaged)
	}
	classical, err := x509.ParsePKCS8PrivateKey(keys[0])
	if err != nil {
		return nil, fmt.Errorf("classical key: %v: %w", err, ErrDamaged)
	}
	public, err := bundle.ParseRoots(rest)
	if err != nil || len(public) != 1 {
		return nil, fmt.Errorf("after the private keys there is no public root: %w", ErrDamaged)
	}
	var lattice pkcs8
	trailing, err := asn1.Unmarshal(keys[1], &lattice)
	if err != nil || len(trailing) > 0 || lattice.Version != 0 || !lattice.Algorithm.Algorithm.Equal(lattice65) || len(lattice.Algorithm.Parameters.FullBytes) > 0 {
		return nil, fmt.Errorf("the second key is no ML-DSA-65 key: %w", ErrDamaged)
	}
	defer clear(lattice.PrivateKey)
	seed, ok := bytes.CutPrefix(lattice.PrivateKey, seedHead)
	if !ok || len(seed) != mldsa65.SeedSize {
		return nil, fmt.Errorf("the ML-DSA key is not its seed: %w", ErrDamaged)
	}
	r := &BundleRoot{from: public[0].From, until: public[0].Until}
	if r.classical, ok = classical.(crypto.Signer); !ok {
		return nil, fmt.Errorf("%T cannot sign: %w", classical, ErrKeyType)
	}
	_, r.lattice = mldsa65.NewKeyFromSeed((*[mldsa65.SeedSize]byte)(seed))
	root, err := r.Signer().Root()
	if err != nil {
		return nil, fmt.Errorf("%v: %w", err, ErrKeyType)
	}
	if !root.Equal(public[0]) {
		return nil, fmt.Errorf("the public root is of other keys: %w", ErrDamaged)
	}
	return r, nil
}
