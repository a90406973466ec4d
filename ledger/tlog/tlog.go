// Package tlog is the log of the ledger as those see it who verify: a Merkle
// tree, the files it lies in, the notes that are signed over it, and the proofs
// that are made of it. It orders nothing and stores nothing.
//
//	tlog.go       hashing, compact ranges, trees in memory     RFC 6962 section 2.1
//	prove.go      inclusion and consistency: made, verified    RFC 6962 sections 2.1.1, 2.1.2
//	tile.go       tiles and entry bundles, their paths         C2SP tlog-tiles
//	edge.go       a log that grows, tile by tile
//	note.go       signed notes and the keys of their signers   C2SP signed-note v1.0.0
//	checkpoint.go checkpoints and cosignatures                 C2SP tlog-checkpoint v1.0.0, tlog-cosignature
//	policy.go     whose signatures suffice                     C2SP tlog-policy
//	proof.go      a proof that is a file                       C2SP tlog-proof
//	landmark.go   the path of a batch                          docs/spec/landmark-path.md
//	receipt.go    COSE Receipts                                RFC 9942; docs/spec/receipt.md
//	registry.go   a tree of sorted rows; what is not in it
//	apphash.go    what validators agree on
//
// The C2SP documents are those of July 2026; the versions above are the tags that
// they name themselves, the others have none yet.
//
// Everything has one encoding and bounds. What is refused is refused with a
// [format.Defect]. A proof that verifies says that a leaf is under a root, and
// nothing of who vouches for the root: that is the business of [Policy], of a
// receipt's key, or of a list of landmarks.
package tlog

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math/bits"

	"ampoule/format"
)

// The kinds of defect of trees and proofs.
const (
	ErrIndex       = format.Defect("index-beyond-size")
	ErrSize        = format.Defect("bad-tree-size")
	ErrPathLength  = format.Defect("bad-path-length")
	ErrRoot        = format.Defect("root-mismatch")
	ErrRange       = format.Defect("bad-compact-range")
	ErrMissingNode = format.Defect("missing-node")
)

// HashSize is the length of every hash of the log, in bytes.
const HashSize = sha256.Size

// MaxSize bounds the size of a tree, so that sizes fit the signed numbers of
// other implementations.
const MaxSize = 1<<63 - 1

// Hash is the hash of a leaf, of a node or of a tree.
type Hash [HashSize]byte

// EmptyRoot is the root of the tree without leaves: SHA-256 of nothing (RFC 6962
// section 2.1).
func EmptyRoot() Hash { return sha256.Sum256(nil) }

// LeafHash is SHA-256(0x00 || entry), RFC 6962 section 2.1.
func LeafHash(entry []byte) Hash {
	var buf [256]byte
	return sha256.Sum256(append(append(buf[:0], 0), entry...))
}

// NodeHash is SHA-256(0x01 || left || right), RFC 6962 section 2.1.
func NodeHash(left, right Hash) Hash {
	var buf [1 + 2*HashSize]byte
	buf[0] = 1
	copy(buf[1:], left[:])
	copy(buf[1+HashSize:], right[:])
	return sha256.Sum256(buf[:])
}

// Range is a tree of which only the roots of its largest complete subtrees are
// kept, leftmost and largest first: one for each bit of the size. It is all that
// appending needs. The zero Range is the empty tree.
type Range struct {
	size   uint64
	hashes []Hash
}

// Size is the number of leaves.
func (r *Range) Size() uint64 { return r.size }

// Append adds a leaf by its hash.
func (r *Range) Append(leaf Hash) error {
	if r.size >= MaxSize {
		return fmt.Errorf("tree of %d leaves: %w", r.size, ErrSize)
	}
	// Each 1 at the end of the old size is a subtree that becomes complete.
	n := len(r.hashes)
	for rest := r.size; rest&1 == 1; rest >>= 1 {
		n--
		leaf = NodeHash(r.hashes[n], leaf)
	}
	r.hashes = append(r.hashes[:n], leaf)
	r.size++
	return nil
}

// Root is the root of the tree.
func (r *Range) Root() Hash {
	n := len(r.hashes)
	if n == 0 {
		return EmptyRoot()
	}
	root := r.hashes[n-1]
	for i := n - 2; i >= 0; i-- {
		root = NodeHash(r.hashes[i], root)
	}
	return root
}

// Clone returns a range that grows by itself.
func (r *Range) Clone() *Range {
	return &Range{r.size, append([]Hash(nil), r.hashes...)}
}

// AppendBinary appends the size in eight bytes, most significant first, and the
// hashes.
func (r *Range) AppendBinary(dst []byte) ([]byte, error) {
	dst = binary.BigEndian.AppendUint64(dst, r.size)
	for i := range r.hashes {
		dst = append(dst, r.hashes[i][:]...)
	}
	return dst, nil
}

// ParseRange reads what AppendBinary wrote.
func ParseRange(data []byte) (*Range, error) {
	if len(data) < 8 {
		return nil, fmt.Errorf("compact range: %d bytes: %w", len(data), ErrRange)
	}
	size := binary.BigEndian.Uint64(data)
	if size > MaxSize {
		return nil, fmt.Errorf("compact range: size %d: %w", size, ErrSize)
	}
	data = data[8:]
	if len(data) != HashSize*bits.OnesCount64(size) {
		return nil, fmt.Errorf("compact range: %d bytes of hashes for %d leaves: %w", len(data), size, ErrRange)
	}
	return &Range{size, splitHashes(data)}, nil
}

func splitHashes(data []byte) []Hash {
	hashes := make([]Hash, len(data)/HashSize)
	for i := range hashes {
		hashes[i] = Hash(data[i*HashSize:])
	}
	return hashes
}

// Nodes gives the roots of complete subtrees: that of height level over the
// leaves from index << level, of which there are 1 << level. It is asked for none
// that reaches beyond the size in question.
type Nodes interface {
	Node(level int, index uint64) (Hash, error)
}

// Tree keeps all its nodes in memory: for batches, for the registry, for tests. A
// leaf costs 64 bytes. The zero Tree is empty.
type Tree struct {
	levels [][]Hash
}

// NewTree makes a tree of leaf hashes.
func NewTree(leaves []Hash) *Tree {
	t := new(Tree)
	for row := append([]Hash(nil), leaves...); len(row) > 0; {
		t.levels = append(t.levels, row)
		next := make([]Hash, len(row)/2)
		for i := range next {
			next[i] = NodeHash(row[2*i], row[2*i+1])
		}
		row = next
	}
	return t
}

// Append adds a leaf by its hash.
func (t *Tree) Append(leaf Hash) {
	for level := 0; ; level++ {
		if level == len(t.levels) {
			t.levels = append(t.levels, nil)
		}
		t.levels[level] = append(t.levels[level], leaf)
		n := len(t.levels[level])
		if n&1 == 1 {
			return
		}
		leaf = NodeHash(t.levels[level][n-2], leaf)
	}
}

// Size is the number of leaves.
func (t *Tree) Size() uint64 {
	if len(t.levels) == 0 {
		return 0
	}
	return uint64(len(t.levels[0]))
}

// Node is the root of a complete subtree.
func (t *Tree) Node(level int, index uint64) (Hash, error) {
	if level < 0 || level >= len(t.levels) || index >= uint64(len(t.levels[level])) {
		return Hash{}, fmt.Errorf("node %d of level %d: %w", index, level, ErrMissingNode)
	}
	return t.levels[level][index], nil
}

// Root is the root of the tree.
func (t *Tree) Root() Hash {
	root, _ := TreeRoot(t.Size(), t) // no node of it is missing
	return root
}
