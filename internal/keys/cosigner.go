package keys

import (
	"bytes"
	"crypto"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"fmt"
	"io"
	"slices"

	"github.com/cloudflare/circl/sign/mldsa/mldsa44"
)

// Cosigner is the key with which checkpoints of logs are cosigned: ML-DSA-44 (C2SP
// tlog-cosignature). Its file has the seed of the key and nothing else.
type Cosigner struct{ private *mldsa44.PrivateKey }

// lattice44 is ML-DSA-44 (RFC 9881 section 2).
var lattice44 = asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 3, 17}

// NewCosigner makes a key.
func NewCosigner(random io.Reader) (*Cosigner, error) {
	_, private, err := mldsa44.GenerateKey(random)
	if err != nil {
		return nil, fmt.Errorf("keys: ML-DSA: %w", err)
	}
	return &Cosigner{private}, nil
}

// Public returns a *mldsa44.PublicKey.
func (c *Cosigner) Public() crypto.PublicKey { return c.private.Public() }

// Sign signs with fresh randomness, see [BundleRoot].
func (c *Cosigner) Sign(_ io.Reader, message []byte, opts crypto.SignerOpts) ([]byte, error) {
	if opts != nil && opts.HashFunc() != 0 {
		return nil, fmt.Errorf("keys: ML-DSA signs the message, not its hash: %w", ErrKeyType)
	}
	signature := make([]byte, mldsa44.SignatureSize)
	if err := mldsa44.SignTo(c.private, message, nil, true, signature); err != nil {
		return nil, fmt.Errorf("keys: ML-DSA: %w", err)
	}
	return signature, nil
}

// SaveCosigner writes a key to a new file, as [Save] writes a key.
func SaveCosigner(path string, c *Cosigner, lock Lock) error { return save(path, c.marshal, lock) }

// LoadCosigner reads the file of a key. The error is one of those of [Load].
func LoadCosigner(path string, lock Lock) (*Cosigner, error) {
	return loadPlain(path, lock, parseCosigner)
}

func (c *Cosigner) marshal() ([]byte, error) {
	seed := c.private.Seed()
	if len(seed) != mldsa44.SeedSize {
		return nil, fmt.Errorf("the ML-DSA key has no seed: %w", ErrNotExportable)
	}
	choice := slices.Concat(seedHead, seed)
	defer clear(choice)
	der, err := asn1.Marshal(pkcs8{Algorithm: pkix.AlgorithmIdentifier{Algorithm: lattice44}, PrivateKey: choice})
	if err != nil {
		return nil, err
	}
	defer clear(der)
	return pem.EncodeToMemory(&pem.Block{Type: privateBlock, Bytes: der}), nil
}

func parseCosigner(data []byte) (*Cosigner, error) {
	bad := func() (*Cosigner, error) { return nil, fmt.Errorf("no ML-DSA-44 key: %w", ErrDamaged) }
	block, rest := pem.Decode(data)
	if block == nil || block.Type != privateBlock || len(block.Headers) > 0 || len(rest) > 0 || data[0] != '-' {
		return bad()
	}
	defer clear(block.Bytes)
	var k pkcs8
	trailing, err := asn1.Unmarshal(block.Bytes, &k)
	if err != nil || len(trailing) > 0 || k.Version != 0 || !k.Algorithm.Algorithm.Equal(lattice44) || len(k.Algorithm.Parameters.FullBytes) > 0 {
		return bad()
	}
	defer clear(k.PrivateKey)
	// The choice of a seed has the same head as that of ML-DSA-65: both seeds are 32
	// bytes.
	seed, ok := bytes.CutPrefix(k.PrivateKey, seedHead)
	if !ok || len(seed) != mldsa44.SeedSize {
		return bad()
	}
	_, private := mldsa44.NewKeyFromSeed((*[mldsa44.SeedSize]byte)(seed))
	return &Cosigner{private}, nil
}
