package tlog

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
	"math/rand/v2"
	"testing"

	"github.com/transparency-dev/merkle/compact"
	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"
	oracle "golang.org/x/mod/sumdb/tlog"
)

// entry is the entry that all tests have at an index.
func entry(index uint64) []byte { return fmt.Appendf(nil, "entry %d", index) }

// newTestTree makes a tree of the first entries.
func newTestTree(size uint64) *Tree {
	t := new(Tree)
	for i := range size {
		t.Append(LeafHash(entry(i)))
	}
	return t
}

// slices turns hashes into what transparency-dev/merkle takes.
func slicesOf(path []Hash) [][]byte {
	out := make([][]byte, len(path))
	for i := range path {
		out[i] = path[i][:]
	}
	return out
}

func hashesOf(path [][]byte) []Hash {
	out := make([]Hash, len(path))
	for i := range path {
		out[i] = Hash(path[i])
	}
	return out
}

// theirProof makes a proof by the library's own list of nodes.
func theirProof(t *testing.T, nodes proof.Nodes, tree *Tree) []Hash {
	t.Helper()
	var all [][]byte
	for _, id := range nodes.IDs {
		h, err := tree.Node(int(id.Level), id.Index)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, h[:])
	}
	path, err := nodes.Rehash(all, rfc6962.DefaultHasher.HashChildren)
	if err != nil {
		t.Fatal(err)
	}
	return hashesOf(path)
}

// TestAgainstOracle makes and verifies every proof of all trees up to 300 leaves,
// ours by theirs and theirs by ours: two other implementations.
func TestAgainstOracle(t *testing.T) {
	limit := uint64(300)
	if testing.Short() {
		limit = 70
	}
	tree := newTestTree(limit)
	hasher := rfc6962.DefaultHasher
	var stored []oracle.Hash
	reader := oracle.HashReaderFunc(func(indexes []int64) ([]oracle.Hash, error) {
		var out []oracle.Hash
		for _, i := range indexes {
			out = append(out, stored[i])
		}
		return out, nil
	})
	factory := compact.RangeFactory{Hash: hasher.HashChildren}
	theirs := factory.NewEmptyRange(0)
	var ours Range
	roots := []Hash{EmptyRoot()}
	if !bytes.Equal(roots[0][:], hasher.EmptyRoot()) {
		t.Fatal("the empty tree has another root")
	}
	for size := uint64(1); size <= limit; size++ {
		leaf := LeafHash(entry(size - 1))
		if !bytes.Equal(leaf[:], hasher.HashLeaf(entry(size-1))) || oracle.Hash(leaf) != oracle.RecordHash(entry(size-1)) {
			t.Fatal("the leaf hash is another one")
		}
		hashes, err := oracle.StoredHashes(int64(size-1), entry(size-1), reader)
		if err != nil {
			t.Fatal(err)
		}
		stored = append(stored, hashes...)
		if err := theirs.Append(leaf[:], nil); err != nil {
			t.Fatal(err)
		}
		if err := ours.Append(leaf); err != nil {
			t.Fatal(err)
		}
		root, err := TreeRoot(size, tree)
		if err != nil {
			t.Fatal(err)
		}
		want, err := theirs.GetRootHash(nil)
		if err != nil {
			t.Fatal(err)
		}
		other, err := oracle.TreeHash(int64(size), reader)
		if err != nil {
			t.Fatal(err)
		}
		if ours.Root() != root || !bytes.Equal(root[:], want) || Hash(other) != root || newTestTree(size).Root() != root {
			t.Fatalf("%d leaves: the roots differ", size)
		}
		roots = append(roots, root)
		for index := range size {
			path, err := ProveInclusion(index, size, tree)
			if err != nil {
				t.Fatal(err)
			}
			nodes, err := proof.Inclusion(index, size)
			if err != nil {
				t.Fatal(err)
			}
			record, err := oracle.ProveRecord(int64(size), int64(index), reader)
			if err != nil {
				t.Fatal(err)
			}
			compare(t, path, theirProof(t, nodes, tree), record)
			leaf := LeafHash(entry(index))
			if err := proof.VerifyInclusion(hasher, index, size, leaf[:], slicesOf(path), root[:]); err != nil {
				t.Fatalf("leaf %d of %d: %v", index, size, err)
			}
			if err := VerifyInclusion(leaf, index, size, path, root); err != nil {
				t.Fatal(err)
			}
			if n, err := InclusionLength(index, size); err != nil || n != len(path) {
				t.Fatalf("leaf %d of %d: %d hashes instead of %d, %v", index, size, len(path), n, err)
			}
		}
		for old := range size + 1 {
			path, err := ProveConsistency(old, size, tree)
			if err != nil {
				t.Fatal(err)
			}
			nodes, err := proof.Consistency(old, size)
			if err != nil {
				t.Fatal(err)
			}
			if old > 0 {
				record, err := oracle.ProveTree(int64(size), int64(old), reader)
				if err != nil {
					t.Fatal(err)
				}
				compare(t, path, theirProof(t, nodes, tree), record)
			} else if len(path) != 0 {
				t.Fatal("a path from nothing")
			}
			if err := proof.VerifyConsistency(hasher, old, size, slicesOf(path), roots[old][:], root[:]); err != nil {
				t.Fatalf("%d to %d: %v", old, size, err)
			}
			if err := VerifyConsistency(old, size, roots[old], root, path); err != nil {
				t.Fatal(err)
			}
			if n, err := ConsistencyLength(old, size); err != nil || n != len(path) {
				t.Fatalf("%d to %d: %d hashes instead of %d, %v", old, size, len(path), n, err)
			}
		}
	}
}

func compare(t *testing.T, ours, theirs []Hash, others []oracle.Hash) {
	t.Helper()
	same := len(ours) == len(theirs) && len(ours) == len(others)
	for i := 0; same && i < len(ours); i++ {
		same = ours[i] == theirs[i] && ours[i] == Hash(others[i])
	}
	if !same {
		t.Fatalf("the proofs differ:\n%x\n%x\n%x", ours, theirs, others)
	}
}

// TestAgainstOracleLarge draws leaves and sizes up to a million.
func TestAgainstOracleLarge(t *testing.T) {
	limit := uint64(1_000_000)
	if testing.Short() {
		limit = 20_000
	}
	leaves := make([]Hash, limit)
	for i := range leaves {
		leaves[i] = LeafHash(binary.BigEndian.AppendUint64(nil, uint64(i)))
	}
	tree := NewTree(leaves)
	hasher := rfc6962.DefaultHasher
	draw := rand.New(rand.NewPCG(1, 2))
	for range 3000 {
		size := 1 + draw.Uint64N(limit)
		index, old := draw.Uint64N(size), 1+draw.Uint64N(size)
		root, err := TreeRoot(size, tree)
		if err != nil {
			t.Fatal(err)
		}
		oldRoot, err := TreeRoot(old, tree)
		if err != nil {
			t.Fatal(err)
		}
		path, err := ProveInclusion(index, size, tree)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(proof.VerifyInclusion(hasher, index, size, leaves[index][:], slicesOf(path), root[:]),
			VerifyInclusion(leaves[index], index, size, path, root)); err != nil {
			t.Fatalf("leaf %d of %d: %v", index, size, err)
		}
		if path, err = ProveConsistency(old, size, tree); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(proof.VerifyConsistency(hasher, old, size, slicesOf(path), oldRoot[:], root[:]),
			VerifyConsistency(old, size, oldRoot, root, path)); err != nil {
			t.Fatalf("%d to %d: %v", old, size, err)
		}
	}
}

// TestMutatedProofs flips every bit of every proof of small trees, and lengthens,
// shortens and moves them. What is still accepted must be the same statement: the
// verifiers must agree about all of them, and a changed hash is never accepted.
func TestMutatedProofs(t *testing.T) {
	tree := newTestTree(20)
	hasher := rfc6962.DefaultHasher
	refused := 0
	for size := uint64(1); size <= 20; size++ {
		root, _ := TreeRoot(size, tree)
		for index := range size {
			path, _ := ProveInclusion(index, size, tree)
			leaf := LeafHash(entry(index))
			eachFlip(path, func(path []Hash) {
				refused++
				if VerifyInclusion(leaf, index, size, path, root) == nil {
					t.Fatalf("leaf %d of %d: a flipped bit is accepted", index, size)
				}
			})
			for _, changed := range reshaped(path) {
				refused++
				if VerifyInclusion(leaf, index, size, changed, root) == nil {
					t.Fatalf("leaf %d of %d: another path is accepted", index, size)
				}
			}
			for other := range uint64(24) {
				for otherSize := range uint64(24) {
					ours := VerifyInclusion(leaf, other, otherSize, path, root) == nil
					theirs := proof.VerifyInclusion(hasher, other, otherSize, leaf[:], slicesOf(path), root[:]) == nil
					if ours != theirs {
						t.Fatalf("leaf %d of %d as %d of %d: ours %v, theirs %v", index, size, other, otherSize, ours, theirs)
					}
					if ours && otherSize == size && other != index {
						t.Fatalf("leaf %d of %d is taken for %d", index, size, other)
					}
				}
			}
		}
		for old := uint64(1); old < size; old++ {
			path, _ := ProveConsistency(old, size, tree)
			oldRoot, _ := TreeRoot(old, tree)
			eachFlip(path, func(path []Hash) {
				refused++
				if VerifyConsistency(old, size, oldRoot, root, path) == nil {
					t.Fatalf("%d to %d: a flipped bit is accepted", old, size)
				}
			})
			for _, changed := range reshaped(path) {
				refused++
				if VerifyConsistency(old, size, oldRoot, root, changed) == nil {
					t.Fatalf("%d to %d: another path is accepted", old, size)
				}
			}
			for a := uint64(1); a < 24; a++ {
				for b := uint64(1); b < 24; b++ {
					ours := VerifyConsistency(a, b, oldRoot, root, path) == nil
					theirs := proof.VerifyConsistency(hasher, a, b, slicesOf(path), oldRoot[:], root[:]) == nil
					if ours != theirs {
						t.Fatalf("%d to %d as %d to %d: ours %v, theirs %v", old, size, a, b, ours, theirs)
					}
				}
			}
		}
	}
	if refused < 100_000 {
		t.Errorf("only %d mutations", refused)
	}
}

func eachFlip(path []Hash, try func([]Hash)) {
	for i := range path {
		for bit := range 8 * HashSize {
			path[i][bit/8] ^= 1 << (bit % 8)
			try(path)
			path[i][bit/8] ^= 1 << (bit % 8)
		}
	}
}

// reshaped returns the path with a hash more, a hash fewer, and two hashes
// exchanged.
func reshaped(path []Hash) (all [][]Hash) {
	all = append(all, append(append([]Hash(nil), path...), Hash{}), append([]Hash{{}}, path...))
	if len(path) > 0 {
		all = append(all, path[1:], path[:len(path)-1])
	}
	if len(path) > 1 {
		turned := append([]Hash(nil), path...)
		turned[0], turned[1] = turned[1], turned[0]
		all = append(all, turned)
	}
	return all
}

func TestProofDefects(t *testing.T) {
	tree := newTestTree(7)
	root := tree.Root()
	leaf := LeafHash(entry(0))
	path, _ := ProveInclusion(0, 7, tree)
	_, errIndex := ProveInclusion(7, 7, tree)
	_, errNode := ProveInclusion(0, 8, tree)
	_, errOld := ProveConsistency(8, 7, tree)
	_, errZero := ConsistencyRoot(0, 7, EmptyRoot(), nil)
	for _, c := range []struct {
		name string
		got  error
		want error
	}{
		{"index beyond size, made", errIndex, ErrIndex},
		{"a node that is not there", errNode, ErrMissingNode},
		{"older tree larger, made", errOld, ErrSize},
		{"from nothing", errZero, ErrSize},
		{"index beyond size", VerifyInclusion(leaf, 7, 7, path, root), ErrIndex},
		{"no leaves", VerifyInclusion(leaf, 0, 0, nil, EmptyRoot()), ErrIndex},
		{"size beyond the largest", VerifyInclusion(leaf, 0, 1<<63, path, root), ErrSize},
		{"too short", VerifyInclusion(leaf, 0, 7, path[:2], root), ErrPathLength},
		{"another root", VerifyInclusion(leaf, 0, 7, path, Hash{}), ErrRoot},
		{"older tree larger", VerifyConsistency(8, 7, root, root, nil), ErrSize},
		{"same size, other root", VerifyConsistency(7, 7, root, Hash{}, nil), ErrRoot},
		{"same size, a path", VerifyConsistency(7, 7, root, root, path), ErrPathLength},
		{"from nothing, another root", VerifyConsistency(0, 7, Hash{}, root, nil), ErrRoot},
		{"from nothing, a path", VerifyConsistency(0, 7, EmptyRoot(), root, path), ErrPathLength},
		{"nothing to nothing, another root", VerifyConsistency(0, 0, EmptyRoot(), root, nil), ErrRoot},
		{"empty path", VerifyConsistency(3, 7, root, root, nil), ErrPathLength},
	} {
		t.Run(c.name, func(t *testing.T) {
			if !errors.Is(c.got, c.want) {
				t.Errorf("%v, want %v", c.got, c.want)
			}
		})
	}
	if err := VerifyConsistency(0, 0, EmptyRoot(), EmptyRoot(), nil); err != nil {
		t.Error(err)
	}
}

// TestVerifyAllocates: a proof is verified without an allocation.
func TestVerifyAllocates(t *testing.T) {
	tree := newTestTree(1000)
	root, leaf := tree.Root(), LeafHash(entry(500))
	path, _ := ProveInclusion(500, 1000, tree)
	if n := testing.AllocsPerRun(100, func() { _ = VerifyInclusion(leaf, 500, 1000, path, root) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestRange(t *testing.T) {
	var r Range
	for size := range uint64(70) {
		data, err := r.AppendBinary(nil)
		if err != nil {
			t.Fatal(err)
		}
		again, err := ParseRange(data)
		if err != nil || again.Root() != r.Root() || again.Size() != size {
			t.Fatalf("%d leaves: %v", size, err)
		}
		c := again.Clone()
		_ = c.Append(Hash{})
		if again.Root() != r.Root() {
			t.Fatal("a clone changes what it was made of")
		}
		if err := r.Append(LeafHash(entry(size))); err != nil {
			t.Fatal(err)
		}
		if r.Root() != newTestTree(size+1).Root() {
			t.Fatalf("%d leaves: another root", size+1)
		}
	}
	full := &Range{MaxSize, make([]Hash, 63)}
	for _, c := range []struct {
		name string
		got  error
		want error
	}{
		{"append to the largest", full.Append(Hash{}), ErrSize},
		{"short", parseRange(make([]byte, 7)), ErrRange},
		{"a hash missing", parseRange(binary.BigEndian.AppendUint64(nil, 1)), ErrRange},
		{"a hash more", parseRange(make([]byte, 8+HashSize)), ErrRange},
		{"too large", parseRange(append(binary.BigEndian.AppendUint64(nil, 1<<63), make([]byte, HashSize)...)), ErrSize},
	} {
		t.Run(c.name, func(t *testing.T) {
			if !errors.Is(c.got, c.want) {
				t.Errorf("%v, want %v", c.got, c.want)
			}
		})
	}
}

func parseRange(data []byte) error { _, err := ParseRange(data); return err }

func FuzzParseRange(f *testing.F) {
	var r Range
	for i := range uint64(5) {
		_ = r.Append(LeafHash(entry(i)))
	}
	data, _ := r.AppendBinary(nil)
	f.Add(data)
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := ParseRange(data)
		if err != nil {
			return
		}
		if again, _ := r.AppendBinary(nil); !bytes.Equal(again, data) || len(r.hashes) != bits.OnesCount64(r.size) {
			t.Errorf("%x becomes %x", data, again)
		}
		r.Root()
	})
}

// FuzzVerify: the verifiers agree with others about whatever is claimed.
func FuzzVerify(f *testing.F) {
	tree := newTestTree(6)
	path, _ := ProveInclusion(3, 6, tree)
	f.Add(uint64(3), uint64(6), joinHashes(path))
	path, _ = ProveConsistency(3, 6, tree)
	f.Add(uint64(3), uint64(6), joinHashes(path))
	f.Fuzz(func(t *testing.T, a, b uint64, data []byte) {
		path := splitHashes(data)
		leaf := Hash(sha256.Sum256(data))
		want, err := proof.RootFromInclusionProof(rfc6962.DefaultHasher, a, b, leaf[:], slicesOf(path))
		got, ourErr := InclusionRoot(leaf, a, b, path)
		if b <= MaxSize && ((err == nil) != (ourErr == nil) || err == nil && !bytes.Equal(got[:], want)) {
			t.Errorf("inclusion %d of %d: %v, %v", a, b, ourErr, err)
		}
		if root, err := ConsistencyRoot(a, b, leaf, path); err == nil {
			if proof.VerifyConsistency(rfc6962.DefaultHasher, a, b, slicesOf(path), leaf[:], root[:]) != nil {
				t.Errorf("consistency %d to %d", a, b)
			}
		}
	})
}

func BenchmarkVerifyInclusion(b *testing.B) {
	leaves := make([]Hash, 1_000_000)
	tree := NewTree(leaves)
	path, _ := ProveInclusion(333_333, 1_000_000, tree)
	root := tree.Root()
	b.Run("ours", func(b *testing.B) {
		for b.Loop() {
			_ = VerifyInclusion(leaves[0], 333_333, 1_000_000, path, root)
		}
	})
	slices := slicesOf(path)
	b.Run("merkle", func(b *testing.B) {
		for b.Loop() {
			_ = proof.VerifyInclusion(rfc6962.DefaultHasher, 333_333, 1_000_000, leaves[0][:], slices, root[:])
		}
	})
}
