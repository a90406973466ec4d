package bundle

import (
	"bytes"
	"crypto"
	"crypto/sha256"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"strings"

	"ampoule/format/cbor"
	"ampoule/format/cose"
)

// Root is who may sign bundles: two keys, of which both must have signed. One is
// of a kind that has stood for decades, the other of one that a quantum computer
// does not break; whoever forges a bundle must break both.
type Root struct {
	Classical   crypto.PublicKey // P-256 or Ed25519
	PostQuantum crypto.PublicKey // ML-DSA-65
}

// NewRoot makes a root of its keys.
func NewRoot(classical, postQuantum crypto.PublicKey) (Root, error) {
	if alg := cose.SignerAlgorithm(classical); alg != cose.ES256 && alg != cose.Ed25519 {
		return Root{}, fmt.Errorf("bundle root: the classical key is neither for ES256 nor for Ed25519: %w", ErrRoot)
	}
	if cose.SignerAlgorithm(postQuantum) != cose.MLDSA65 {
		return Root{}, fmt.Errorf("bundle root: the quantum-safe key is not for ML-DSA-65: %w", ErrRoot)
	}
	return Root{classical, postQuantum}, nil
}

// append appends [COSE_Key, COSE_Key].
func (r Root) append(dst []byte) ([]byte, error) {
	dst, err := cose.AppendKey(cbor.AppendArray(dst, 2), r.Classical)
	if err != nil {
		return nil, err
	}
	return cose.AppendKey(dst, r.PostQuantum)
}

func readRoot(v cbor.Value) (Root, error) {
	if v.Kind() != cbor.Array || v.Len() != 2 {
		return Root{}, fmt.Errorf("bundle root: %s of %d keys: %w", v.Kind(), v.Len(), ErrRoot)
	}
	classical, err := cose.ReadKey(v.Index(0))
	if err != nil {
		return Root{}, fmt.Errorf("bundle root: %w", err)
	}
	postQuantum, err := cose.ReadKey(v.Index(1))
	if err != nil {
		return Root{}, fmt.Errorf("bundle root: %w", err)
	}
	return NewRoot(classical, postQuantum)
}

// Fingerprint is the SHA-256 of the root in hexadecimal: what two people compare
// before one of them pins it.
func (r Root) Fingerprint() string {
	encoded, err := r.append(nil)
	if err != nil {
		return "" // no root at all
	}
	sum := sha256.Sum256(encoded)
	return hex.EncodeToString(sum[:])
}

// Equal reports whether two roots have the same keys.
func (r Root) Equal(other Root) bool {
	mine, err := r.append(nil)
	theirs, err2 := other.append(nil)
	return err == nil && err2 == nil && bytes.Equal(mine, theirs)
}

// rootBlock is the PEM block of a root file: the root in CBOR.
const rootBlock = "AMPOULE BUNDLE ROOT"

// EncodeRoots writes the public file that verifiers pin.
func EncodeRoots(roots ...Root) ([]byte, error) {
	var out []byte
	for _, r := range roots {
		encoded, err := r.append(nil)
		if err != nil {
			return nil, err
		}
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: rootBlock, Bytes: encoded})...)
	}
	return out, nil
}

// maxRootFile is ample: a root takes 2.8 KB in PEM.
const maxRootFile = 64 << 10

// ParseRoots reads a root file: its blocks and nothing else.
func ParseRoots(data []byte) ([]Root, error) {
	if len(data) > maxRootFile {
		return nil, fmt.Errorf("bundle root: %d bytes: %w", len(data), ErrTooLarge)
	}
	var roots []Root
	for rest := data; strings.TrimSpace(string(rest)) != ""; {
		block, next := pem.Decode(rest)
		if block == nil || block.Type != rootBlock {
			return nil, fmt.Errorf("bundle root: the file has something else than blocks of %s: %w", rootBlock, ErrRoot)
		}
		v, err := cbor.Parse(block.Bytes, payloadLimits)
		if err != nil {
			return nil, fmt.Errorf("bundle root: %w", err)
		}
		root, err := readRoot(v)
		if err != nil {
			return nil, err
		}
		roots, rest = append(roots, root), next
	}
	if len(roots) == 0 || len(roots) > maxRoots {
		return nil, fmt.Errorf("bundle root: %d in the file, there must be 1 to %d: %w", len(roots), maxRoots, ErrRoot)
	}
	return roots, nil
}

// Signer is the private side of a root.
type Signer struct{ Classical, PostQuantum crypto.Signer }

// Root returns the public side.
func (s Signer) Root() (Root, error) { return NewRoot(s.Classical.Public(), s.PostQuantum.Public()) }

// contains reports whether a root is among others.
func contains(roots []Root, r Root) bool {
	for _, other := range roots {
		if r.Equal(other) {
			return true
		}
	}
	return false
}
