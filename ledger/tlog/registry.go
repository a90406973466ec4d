package tlog

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"iter"
	"slices"

	"ampoule/format"
	"ampoule/format/cbor"
)

// The kinds of defect of the registry tree and its proofs.
const (
	ErrRowOrder  = format.Defect("rows-out-of-order")
	ErrRowKey    = format.Defect("bad-row-key")
	ErrNoRow     = format.Defect("no-such-row")
	ErrRowExists = format.Defect("row-exists")
	ErrRowProof  = format.Defect("malformed-row-proof")
	ErrAdjacent  = format.Defect("rows-not-adjacent")
)

const (
	// MaxRowKey is the longest key of a row, in bytes.
	MaxRowKey = 512

	maxRowProof = 128 + 2*(MaxRowKey+HashSize+16+maxPath*(2+HashSize))
)

// RowHash is the leaf hash of a row of the registry:
//
//	leaf = [key: bstr .size (1..512), SHA-256 of the value: bstr .size 32]
//
// The value stands in it by its hash, so that a proof that a key is not there shows
// the keys beside it and not their values.
func RowHash(key, value []byte) Hash { return rowHash(key, sha256.Sum256(value)) }

func rowHash(key []byte, value Hash) Hash {
	b := cbor.AppendArray(make([]byte, 0, 64+len(key)), 2)
	return LeafHash(cbor.AppendBytes(cbor.AppendBytes(b, key), value[:]))
}

func checkKey(key []byte) error {
	if len(key) < 1 || len(key) > MaxRowKey {
		return fmt.Errorf("row key of %d bytes: %w", len(key), ErrRowKey)
	}
	return nil
}

// Registry is a tree over rows in ascending order of their keys, byte by byte: what
// is in it can be proven, and what is not.
type Registry struct {
	keys   [][]byte
	values []Hash
	tree   *Tree
}

// NewRegistry makes the tree of rows, which must come in order, no key twice.
func NewRegistry(rows iter.Seq2[[]byte, []byte]) (*Registry, error) {
	r := new(Registry)
	var leaves []Hash
	for key, value := range rows {
		if err := checkKey(key); err != nil {
			return nil, err
		}
		if n := len(r.keys); n > 0 && bytes.Compare(r.keys[n-1], key) >= 0 {
			return nil, fmt.Errorf("row %d: %w", n, ErrRowOrder)
		}
		hash := Hash(sha256.Sum256(value))
		r.keys = append(r.keys, bytes.Clone(key))
		r.values = append(r.values, hash)
		leaves = append(leaves, rowHash(key, hash))
	}
	r.tree = NewTree(leaves)
	return r, nil
}

// Size is the number of rows.
func (r *Registry) Size() uint64 { return r.tree.Size() }

// Root is the root of the tree.
func (r *Registry) Root() Hash { return r.tree.Root() }

// RowProof proves that a row is in a registry:
//
//	row-proof = [
//	    rows:  uint,               ;; how many there are
//	    index: uint,               ;; which of them it is
//	    path:  [*63 bstr .size 32]
//	]
type RowProof struct {
	Size, Index uint64
	Path        []Hash
}

// Prove makes the proof of a row that is there.
func (r *Registry) Prove(key []byte) (*RowProof, error) {
	i, found := r.find(key)
	if !found {
		return nil, fmt.Errorf("registry of %d rows: %w", r.Size(), ErrNoRow)
	}
	path, err := ProveInclusion(uint64(i), r.Size(), r.tree)
	return &RowProof{r.Size(), uint64(i), path}, err
}

func (r *Registry) find(key []byte) (int, bool) {
	return slices.BinarySearchFunc(r.keys, key, bytes.Compare)
}

// Verify tells whether the row is in the registry of that root.
func (p *RowProof) Verify(key, value []byte, root Hash) error {
	if err := checkKey(key); err != nil {
		return err
	}
	return VerifyInclusion(RowHash(key, value), p.Index, p.Size, p.Path, root)
}

// Encode writes the proof.
func (p *RowProof) Encode() ([]byte, error) {
	n, err := InclusionLength(p.Index, p.Size)
	if err != nil {
		return nil, err
	}
	if n != len(p.Path) {
		return nil, fmt.Errorf("row proof: %d hashes instead of %d: %w", len(p.Path), n, ErrPathLength)
	}
	return appendProof(nil, p.Size, p.Index, p.Path), nil
}

// ParseRowProof reads a proof. What it takes encodes to the same bytes again.
func ParseRowProof(data []byte) (*RowProof, error) {
	size, index, path, err := parseProof(data, ErrRowProof)
	if err != nil {
		return nil, err
	}
	p := &RowProof{size, index, path}
	_, err = p.Encode()
	return p, err
}

// AbsenceProof proves that a key is in no row of a registry, by the two rows between
// which it would stand:
//
//	absence-proof = [
//	    rows:   uint,
//	    index:  uint,             ;; where the row would be put in
//	    before: neighbour / null, ;; null: it would be the first
//	    after:  neighbour / null  ;; null: it would be the last
//	]
//	neighbour = [key: bstr, value-hash: bstr .size 32, path: [*63 bstr .size 32]]
//
// It does not rest on the number of rows, which the root does not tell. Where two
// paths are those of neighbours in a tree of any size, they part at one node, one
// going on left and then right to the end, the other right and then left to the end.
// An end is a leaf, since leaves and nodes hash apart; so the two leaves stand side
// by side in the tree of the root, whatever its size. In the same way only the first
// row is reached by going left all the way, and only the last by going right.
type AbsenceProof struct {
	Size, Index   uint64
	Before, After *Neighbour
}

// Neighbour is a row next to which another one would stand.
type Neighbour struct {
	Key       []byte
	ValueHash Hash
	Path      []Hash
}

// ProveAbsence makes the proof that a key is not there.
func (r *Registry) ProveAbsence(key []byte) (*AbsenceProof, error) {
	if err := checkKey(key); err != nil {
		return nil, err
	}
	i, found := r.find(key)
	if found {
		return nil, fmt.Errorf("row %d: %w", i, ErrRowExists)
	}
	p := &AbsenceProof{Size: r.Size(), Index: uint64(i)}
	var err error
	if i > 0 {
		if p.Before, err = r.neighbour(i - 1); err != nil {
			return nil, err
		}
	}
	if i < len(r.keys) {
		if p.After, err = r.neighbour(i); err != nil {
			return nil, err
		}
	}
	return p, nil
}

func (r *Registry) neighbour(i int) (*Neighbour, error) {
	path, err := ProveInclusion(uint64(i), r.Size(), r.tree)
	return &Neighbour{r.keys[i], r.values[i], path}, err
}

// Verify tells whether the key is in no row of the registry of that root.
func (p *AbsenceProof) Verify(key []byte, root Hash) error {
	if err := checkKey(key); err != nil {
		return err
	}
	if err := p.check(); err != nil {
		return err
	}
	if p.Size == 0 {
		if root != EmptyRoot() {
			return fmt.Errorf("registry without rows: %w", ErrRoot)
		}
		return nil
	}
	if b := p.Before; b != nil {
		if bytes.Compare(b.Key, key) >= 0 {
			return fmt.Errorf("row %d: %w", p.Index-1, ErrAdjacent)
		}
		if err := VerifyInclusion(rowHash(b.Key, b.ValueHash), p.Index-1, p.Size, b.Path, root); err != nil {
			return err
		}
	}
	if a := p.After; a != nil {
		if bytes.Compare(key, a.Key) >= 0 {
			return fmt.Errorf("row %d: %w", p.Index, ErrAdjacent)
		}
		if err := VerifyInclusion(rowHash(a.Key, a.ValueHash), p.Index, p.Size, a.Path, root); err != nil {
			return err
		}
	}
	return nil
}

// check holds the proof to its form: a neighbour on each side where there is one.
func (p *AbsenceProof) check() error {
	if p.Size > MaxSize || p.Index > p.Size || (p.Before != nil) != (p.Index > 0) || (p.After != nil) != (p.Index < p.Size) {
		return fmt.Errorf("absence proof: between rows %d and %d of %d: %w", p.Index-1, p.Index, p.Size, ErrRowProof)
	}
	if err := p.Before.check(p.Index-1, p.Size); err != nil {
		return err
	}
	return p.After.check(p.Index, p.Size)
}

func (n *Neighbour) check(index, size uint64) error {
	if n == nil {
		return nil
	}
	if err := checkKey(n.Key); err != nil {
		return err
	}
	length, err := InclusionLength(index, size)
	if err != nil {
		return err
	}
	if length != len(n.Path) {
		return fmt.Errorf("absence proof: row %d of %d: %d hashes instead of %d: %w", index, size, len(n.Path), length, ErrPathLength)
	}
	return nil
}

// Encode writes the proof: some 1.2 KB of 10^5 rows.
func (p *AbsenceProof) Encode() ([]byte, error) {
	if err := p.check(); err != nil {
		return nil, err
	}
	return p.appendTo(nil), nil
}

func (p *AbsenceProof) appendTo(dst []byte) []byte {
	dst = cbor.AppendInt(cbor.AppendInt(cbor.AppendArray(dst, 4), int64(p.Size)), int64(p.Index))
	for _, n := range []*Neighbour{p.Before, p.After} {
		if n == nil {
			dst = cbor.AppendNull(dst)
			continue
		}
		dst = cbor.AppendBytes(cbor.AppendArray(dst, 3), n.Key)
		dst = cbor.AppendBytes(dst, n.ValueHash[:])
		dst = cbor.AppendArray(dst, len(n.Path))
		for i := range n.Path {
			dst = cbor.AppendBytes(dst, n.Path[i][:])
		}
	}
	return dst
}

var absenceLimits = cbor.Limits{Depth: 3, Items: 16 + 2*maxPath, Pairs: 1}

// ParseAbsenceProof reads a proof. What it takes encodes to the same bytes again.
func ParseAbsenceProof(data []byte) (*AbsenceProof, error) {
	if len(data) > maxRowProof {
		return nil, fmt.Errorf("absence proof of %d bytes: %w", len(data), ErrRowProof)
	}
	v, err := cbor.Parse(data, absenceLimits)
	if err != nil {
		return nil, fmt.Errorf("absence proof: %v: %w", err, ErrRowProof)
	}
	size, ok0 := v.Index(0).Int()
	index, ok1 := v.Index(1).Int()
	before, ok2 := readNeighbour(v.Index(2))
	after, ok3 := readNeighbour(v.Index(3))
	if v.Kind() != cbor.Array || !ok0 || !ok1 || !ok2 || !ok3 || size < 0 || index < 0 {
		return nil, fmt.Errorf("absence proof: fields: %w", ErrRowProof)
	}
	p := &AbsenceProof{uint64(size), uint64(index), before, after}
	if !bytes.Equal(p.appendTo(nil), data) {
		return nil, fmt.Errorf("absence proof: not deterministic: %w", ErrRowProof)
	}
	return p, p.check()
}

func readNeighbour(v cbor.Value) (*Neighbour, bool) {
	if v.Kind() == cbor.Null {
		return nil, true
	}
	key, ok0 := v.Index(0).Bytes()
	value, ok1 := v.Index(1).ByteString()
	if !ok0 || !ok1 || len(value) != HashSize {
		return nil, false
	}
	n := &Neighbour{Key: key, ValueHash: Hash([]byte(value))}
	for e := range v.Index(2).Elements() {
		h, ok := e.ByteString()
		if !ok || len(h) != HashSize {
			return nil, false
		}
		n.Path = append(n.Path, Hash([]byte(h)))
	}
	return n, true
}
