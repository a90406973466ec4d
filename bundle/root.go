package bundle

import (
	"bytes"
	"crypto"
	"crypto/sha256"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"strings"
	"time"

	"ampoule/format/cbor"
	"ampoule/format/cose"
)

// Root is who may sign bundles: two keys, of which both must have signed. One is
// of a kind that has stood for decades, the other of one that a quantum computer
// does not break; whoever forges a bundle must break both.
//
// A root counts for bundles that are issued in its window, and for as long as the
// window is open: a key that was stolen afterwards signs nothing back into it.
type Root struct {
	Classical   crypto.PublicKey // P-256 or Ed25519
	PostQuantum crypto.PublicKey // ML-DSA-65
	From, Until time.Time        // whole seconds; zero: no bound. Until is the first moment after
}

// NewRoot makes a root of its keys.
func NewRoot(classical, postQuantum crypto.PublicKey) (Root, error) {
	if alg := cose.SignerAlgorithm(classical); alg != cose.ES256 && alg != cose.Ed25519 {
		return Root{}, fmt.Errorf("bundle root: the classical key is neither for ES256 nor for Ed25519: %w", ErrRoot)
	}
	if cose.SignerAlgorithm(postQuantum) != cose.MLDSA65 {
		return Root{}, fmt.Errorf("bundle root: the quantum-safe key is not for ML-DSA-65: %w", ErrRoot)
	}
	return Root{Classical: classical, PostQuantum: postQuantum}, nil
}

// During returns the root with a window, in whole seconds.
func (r Root) During(from, until time.Time) Root {
	r.From, r.Until = wholeSecond(from), wholeSecond(until)
	return r
}

func wholeSecond(t time.Time) time.Time {
	if t.IsZero() {
		return t
	}
	return t.UTC().Truncate(time.Second)
}

// check says what is wrong with the window.
func (r Root) check() error {
	for _, t := range [...]time.Time{r.From, r.Until} {
		if !t.IsZero() && (t.Unix() < 0 || t.Unix() > maxTime) {
			return fmt.Errorf("bundle root: a window out of range: %w", ErrRoot)
		}
	}
	if !r.From.IsZero() && !r.Until.IsZero() && !r.From.Before(r.Until) {
		return fmt.Errorf("bundle root: a window that ends before it begins: %w", ErrRoot)
	}
	return nil
}

// Counts says why a root does not count for a bundle of that issue now.
func (r Root) Counts(issued, now time.Time) error {
	switch {
	case !r.From.IsZero() && issued.Before(r.From):
		return fmt.Errorf("bundle: issued %s, and its root counts from %s: %w", stamp(issued), stamp(r.From), ErrRootWindow)
	case !r.Until.IsZero() && (!issued.Before(r.Until) || !now.Before(r.Until)):
		return fmt.Errorf("bundle: its root counted until %s: %w", stamp(r.Until), ErrRootWindow)
	}
	return nil
}

// append appends [COSE_Key, COSE_Key, from, until].
func (r Root) append(dst []byte) ([]byte, error) {
	dst, err := r.appendKeys(cbor.AppendArray(dst, 4))
	if err != nil {
		return nil, err
	}
	for _, t := range [...]time.Time{r.From, r.Until} {
		if t.IsZero() {
			dst = cbor.AppendNull(dst)
		} else {
			dst = cbor.AppendInt(dst, t.Unix())
		}
	}
	return dst, nil
}

func (r Root) appendKeys(dst []byte) ([]byte, error) {
	dst, err := cose.AppendKey(dst, r.Classical)
	if err != nil {
		return nil, err
	}
	return cose.AppendKey(dst, r.PostQuantum)
}

func readRoot(v cbor.Value) (Root, error) {
	if v.Kind() != cbor.Array || v.Len() != 4 {
		return Root{}, fmt.Errorf("bundle root: %s of %d elements: %w", v.Kind(), v.Len(), ErrRoot)
	}
	classical, err := cose.ReadKey(v.Index(0))
	if err != nil {
		return Root{}, fmt.Errorf("bundle root: %w", err)
	}
	postQuantum, err := cose.ReadKey(v.Index(1))
	if err != nil {
		return Root{}, fmt.Errorf("bundle root: %w", err)
	}
	root, err := NewRoot(classical, postQuantum)
	if err != nil {
		return Root{}, err
	}
	for i, t := range [...]*time.Time{&root.From, &root.Until} {
		e := v.Index(2 + i)
		if e.Kind() == cbor.Null {
			continue
		}
		n, ok := e.Int()
		if !ok || n < 0 || n > maxTime {
			return Root{}, fmt.Errorf("bundle root: a window out of range: %w", ErrRoot)
		}
		*t = time.Unix(n, 0).UTC()
	}
	return root, root.check()
}

// Fingerprint is the SHA-256 of the root's two keys in hexadecimal: what two
// people compare before one of them pins it.
func (r Root) Fingerprint() string {
	encoded, err := r.appendKeys(cbor.AppendArray(nil, 2))
	if err != nil {
		return "" // no root at all
	}
	sum := sha256.Sum256(encoded)
	return hex.EncodeToString(sum[:])
}

// Equal reports whether two roots have the same keys, whatever their windows.
func (r Root) Equal(other Root) bool {
	mine, err := r.appendKeys(nil)
	theirs, err2 := other.appendKeys(nil)
	return err == nil && err2 == nil && bytes.Equal(mine, theirs)
}

// rootBlock is the PEM block of a root file: the root in CBOR.
const rootBlock = "AMPOULE BUNDLE ROOT"

// EncodeRoots writes the public file that verifiers pin.
func EncodeRoots(roots ...Root) ([]byte, error) {
	var out []byte
	for _, r := range roots {
		if err := r.check(); err != nil {
			return nil, err
		}
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

// Signer is the private side of a root, with its window.
type Signer struct {
	Classical, PostQuantum crypto.Signer
	From, Until            time.Time
}

// Root returns the public side.
func (s Signer) Root() (Root, error) {
	r, err := NewRoot(s.Classical.Public(), s.PostQuantum.Public())
	if err != nil {
		return Root{}, err
	}
	r = r.During(s.From, s.Until)
	return r, r.check()
}

// contains reports whether a root is among others.
func contains(roots []Root, r Root) bool {
	for _, other := range roots {
		if r.Equal(other) {
			return true
		}
	}
	return false
}
