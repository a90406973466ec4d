package tlog

import (
	"bytes"
	"fmt"

	"ampoule/format"
	"ampoule/format/cbor"
)

// ErrBatchPath is a path of a batch that is malformed, or not in its one form.
const ErrBatchPath = format.Defect("malformed-batch-path")

// MaxBatchDepth bounds the batches whose paths are read: 65,536 leaves, four times
// the largest that is made.
const MaxBatchDepth = 16

// BatchPath is the way from a leaf to the root of its batch, and nothing else: no
// signature and no name of the batch. Whoever has the root already, as a landmark,
// needs no more (docs/spec/landmark-path.md). It is the inclusion proof of RFC 9942
// section 5.2 with one thing more:
//
//	batch-path = [
//	    tree-size:      uint,           ;; 2 to the length of the path
//	    leaf-index:     uint,           ;; below tree-size
//	    inclusion-path: [1*16 bstr .size 32]  ;; the sibling of the leaf first
//	]
//
// A batch is padded to a power of two, so each step is left or right by one bit of
// the index, and every bit of the path and the index counts. In other trees a path
// fits more than one size and index, and neither is covered by the root.
type BatchPath struct {
	Index uint64
	Path  []Hash
}

// Size is the number of leaves of the batch, decoys among them.
func (p *BatchPath) Size() uint64 { return 1 << len(p.Path) }

// NewBatchPath makes the path of a leaf in a batch.
func NewBatchPath(index uint64, batch *Tree) (*BatchPath, error) {
	path, err := ProveInclusion(index, batch.Size(), batch)
	if err != nil {
		return nil, err
	}
	p := &BatchPath{index, path}
	if p.Size() != batch.Size() {
		return nil, fmt.Errorf("batch of %d leaves: %w", batch.Size(), ErrSize)
	}
	return p, p.check()
}

func (p *BatchPath) check() error {
	if n := len(p.Path); n < 1 || n > MaxBatchDepth || p.Index >= p.Size() {
		return fmt.Errorf("batch path: leaf %d, %d hashes: %w", p.Index, n, ErrBatchPath)
	}
	return nil
}

// Encode writes the path: 484 bytes for the last of 2^14 leaves.
func (p *BatchPath) Encode() ([]byte, error) {
	if err := p.check(); err != nil {
		return nil, err
	}
	return appendProof(nil, p.Size(), p.Index, p.Path), nil
}

// appendProof writes a proof of RFC 9942 sections 5.2 and 5.3.
func appendProof(dst []byte, a, b uint64, path []Hash) []byte {
	dst = cbor.AppendInt(cbor.AppendInt(cbor.AppendArray(dst, 3), int64(a)), int64(b))
	dst = cbor.AppendArray(dst, len(path))
	for i := range path {
		dst = cbor.AppendBytes(dst, path[i][:])
	}
	return dst
}

// proofLimits hold the longest path there is: one of consistency has a hash more
// than one of inclusion.
var proofLimits = cbor.Limits{Depth: 2, Items: 4 + maxPath + 1, Pairs: 1}

const maxProof = 32 + (maxPath+1)*(2+HashSize)

// parseProof reads what appendProof wrote, and nothing else.
func parseProof(data []byte, defect error) (a, b uint64, path []Hash, err error) {
	bad := func(what any) (uint64, uint64, []Hash, error) {
		return 0, 0, nil, fmt.Errorf("proof: %v: %w", what, defect)
	}
	if len(data) > maxProof {
		return bad(fmt.Sprintf("%d bytes", len(data)))
	}
	v, err := cbor.Parse(data, proofLimits)
	if err != nil {
		return bad(err)
	}
	first, ok0 := v.Index(0).Int()
	second, ok1 := v.Index(1).Int()
	list := v.Index(2)
	if v.Len() != 3 || v.Kind() != cbor.Array || !ok0 || !ok1 || first < 0 || second < 0 || list.Kind() != cbor.Array {
		return bad("not two numbers and a path")
	}
	path = make([]Hash, 0, list.Len())
	for e := range list.Elements() {
		h, ok := e.ByteString()
		if !ok || len(h) != HashSize {
			return bad("not a hash")
		}
		path = append(path, Hash([]byte(h)))
	}
	a, b = uint64(first), uint64(second)
	if !bytes.Equal(appendProof(nil, a, b, path), data) {
		return bad("not deterministic")
	}
	return a, b, path, nil
}

// ParseBatchPath reads a path. What it takes encodes to the same bytes again.
func ParseBatchPath(data []byte) (*BatchPath, error) {
	size, index, path, err := parseProof(data, ErrBatchPath)
	if err != nil {
		return nil, err
	}
	p := &BatchPath{index, path}
	if err := p.check(); err != nil {
		return nil, err
	}
	if size != p.Size() {
		return nil, fmt.Errorf("batch path: %d leaves, %d hashes: %w", size, len(path), ErrBatchPath)
	}
	return p, nil
}

// Root is the root of the batch in which the leaf stands where the path says.
func (p *BatchPath) Root(leaf Hash) (Hash, error) {
	if err := p.check(); err != nil {
		return Hash{}, err
	}
	return InclusionRoot(leaf, p.Index, p.Size(), p.Path)
}

// Verify tells whether the leaf is in the batch of that root.
func (p *BatchPath) Verify(leaf, root Hash) error {
	got, err := p.Root(leaf)
	if err != nil {
		return err
	}
	if got != root {
		return fmt.Errorf("batch path: leaf %d of %d: %w", p.Index, p.Size(), ErrRoot)
	}
	return nil
}
