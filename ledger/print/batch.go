package print

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"slices"

	"ampoule/format"
	"ampoule/ledger/tlog"
)

// A Batch is a closed batch: the leaves of its tree in their order, decoys among
// them.
//
// The leaves stand in the order of their bytes. They are outputs of a keyed function
// and random numbers, so that this order tells as little of who came before whom as
// a drawn one; it needs no lots, it is the same for the same leaves, and a leaf is
// found in it by halving.
type Batch struct{ leaves []Leaf }

// Classes are the sizes that a batch can have: a batch tells that it has no more
// certificates than its size, and nothing else of their number. The largest keeps
// a path at fourteen hashes.
var Classes = []int{64, 256, 1024, 4096, 16384}

// MaxBatch is the size of the largest class.
const MaxBatch = 16384

// The defects of a batch.
const (
	ErrSize   = format.Defect("batch-size")
	ErrOrder  = format.Defect("batch-order") // leaves out of order, or one twice
	ErrNoLeaf = format.Defect("not-in-batch")
)

// Close makes batches of leaves, as many as it takes, each of them filled up to its
// class. random gives the decoys, and must be as hard to guess as a key: who knows
// the decoys knows which leaves are certificates. The same leaves and the same
// random bytes make the same batches.
func Close(leaves []Leaf, random io.Reader) ([]*Batch, error) {
	leaves = slices.Clone(leaves) // they are put in order
	var batches []*Batch
	for part := range slices.Chunk(leaves, MaxBatch) {
		slices.SortFunc(part, compare)
		part = slices.Compact(part) // a certificate comes twice where an older backup was restored
		size := Classes[slices.IndexFunc(Classes, func(size int) bool { return size >= len(part) })]
		b := &Batch{append(make([]Leaf, 0, size), part...)}
		for len(b.leaves) < size {
			var decoy Leaf
			if _, err := io.ReadFull(random, decoy[:]); err != nil {
				return nil, fmt.Errorf("fingerprints: decoys: %w", err)
			}
			b.leaves = append(b.leaves, decoy)
		}
		slices.SortFunc(b.leaves, compare)
		if err := b.check(); err != nil {
			return nil, err // the random bytes repeat themselves
		}
		batches = append(batches, b)
	}
	return batches, nil
}

func compare(x, y Leaf) int { return bytes.Compare(x[:], y[:]) }

// Open reads a batch from its leaves as [Batch.Bytes] wrote them.
func Open(data []byte) (*Batch, error) {
	if len(data)%sha256.Size != 0 {
		return nil, fmt.Errorf("fingerprints: %d bytes: %w", len(data), ErrSize)
	}
	b := &Batch{make([]Leaf, 0, len(data)/sha256.Size)}
	for raw := range slices.Chunk(data, sha256.Size) {
		b.leaves = append(b.leaves, Leaf(raw))
	}
	return b, b.check()
}

// check holds a batch to its size and its order.
func (b *Batch) check() error {
	if !slices.Contains(Classes, len(b.leaves)) {
		return fmt.Errorf("fingerprints: a batch of %d: %w", len(b.leaves), ErrSize)
	}
	for i := 1; i < len(b.leaves); i++ {
		if compare(b.leaves[i-1], b.leaves[i]) >= 0 {
			return fmt.Errorf("fingerprints: leaf %d: %w", i, ErrOrder)
		}
	}
	return nil
}

// Bytes returns the leaves, 32 bytes each.
func (b *Batch) Bytes() []byte {
	out := make([]byte, 0, len(b.leaves)*sha256.Size)
	for _, l := range b.leaves {
		out = append(out, l[:]...)
	}
	return out
}

// Size returns the class of the batch.
func (b *Batch) Size() int { return len(b.leaves) }

// Root returns the root of the batch's tree: what can be published of it.
func (b *Batch) Root() tlog.Hash { return b.tree().Root() }

func (b *Batch) tree() *tlog.Tree {
	hashes := make([]tlog.Hash, len(b.leaves))
	for i, l := range b.leaves {
		hashes[i] = l.Hash()
	}
	return tlog.NewTree(hashes)
}

// Find returns the place of a leaf in the batch.
func (b *Batch) Find(l Leaf) (index int, found bool) {
	return slices.BinarySearchFunc(b.leaves, l, compare)
}

// Path returns the way from a leaf to the root of its batch.
func (b *Batch) Path(l Leaf) (*tlog.BatchPath, error) {
	index, found := b.Find(l)
	if !found {
		return nil, fmt.Errorf("fingerprints: %w", ErrNoLeaf)
	}
	return tlog.NewBatchPath(uint64(index), b.tree())
}
