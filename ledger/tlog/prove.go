package tlog

import (
	"fmt"
	"math/bits"
)

// maxPath is the longest path in a tree of MaxSize leaves.
const maxPath = 63

// spanRoot is the root of the leaves from start to end, the end not included:
// MTH(D[start:end]). start must be a multiple of the largest power of two below
// end - start, as it is wherever RFC 6962 splits a tree.
func spanRoot(start, end uint64, nodes Nodes) (Hash, error) {
	if start == end {
		return EmptyRoot(), nil
	}
	// The complete subtrees from the right, smallest first.
	var root Hash
	for first := true; end > start; first = false {
		level := bits.TrailingZeros64(end - start)
		left := end - 1<<level
		node, err := nodes.Node(level, left>>level)
		if err != nil {
			return Hash{}, err
		}
		if first {
			root = node
		} else {
			root = NodeHash(node, root)
		}
		end = left
	}
	return root, nil
}

// split is the largest power of two below n, for n of two or more: RFC 6962
// section 2.1 splits a tree of n leaves there.
func split(n uint64) uint64 { return 1 << (bits.Len64(n-1) - 1) }

// TreeRoot is the root of the first size leaves.
func TreeRoot(size uint64, nodes Nodes) (Hash, error) {
	if size > MaxSize {
		return Hash{}, fmt.Errorf("tree of %d leaves: %w", size, ErrSize)
	}
	return spanRoot(0, size, nodes)
}

// ProveInclusion returns PATH(index, D[size]) of RFC 6962 section 2.1.1, the
// sibling of the leaf first.
func ProveInclusion(index, size uint64, nodes Nodes) ([]Hash, error) {
	if err := checkIndex(index, size); err != nil {
		return nil, err
	}
	// From the root down: on each step one half has the leaf, the other goes into
	// the path.
	var path []Hash
	start, end := uint64(0), size
	for end-start > 1 {
		middle := start + split(end-start)
		from, to := middle, end
		if index < middle {
			end = middle
		} else {
			from, to = start, middle
			start = middle
		}
		sibling, err := spanRoot(from, to, nodes)
		if err != nil {
			return nil, err
		}
		path = append(path, sibling)
	}
	reverse(path)
	return path, nil
}

// ProveConsistency returns PROOF(old, D[size]) of RFC 6962 section 2.1.2. It is
// empty where the trees are the same or the old one is empty.
func ProveConsistency(old, size uint64, nodes Nodes) ([]Hash, error) {
	if size > MaxSize || old > size {
		return nil, fmt.Errorf("from %d to %d leaves: %w", old, size, ErrSize)
	}
	if old == 0 || old == size {
		return nil, nil
	}
	var path []Hash
	start, end := uint64(0), size
	known := true // the verifier has MTH(D[start:old]) already: it is the whole old tree
	for old != end {
		middle := start + split(end-start)
		from, to := middle, end
		if old <= middle {
			end = middle
		} else {
			from, to = start, middle
			start, known = middle, false
		}
		sibling, err := spanRoot(from, to, nodes)
		if err != nil {
			return nil, err
		}
		path = append(path, sibling)
	}
	if !known {
		rest, err := spanRoot(start, old, nodes)
		if err != nil {
			return nil, err
		}
		path = append(path, rest)
	}
	reverse(path)
	return path, nil
}

func reverse(path []Hash) {
	for i, j := 0, len(path)-1; i < j; i, j = i+1, j-1 {
		path[i], path[j] = path[j], path[i]
	}
}

func checkIndex(index, size uint64) error {
	if size > MaxSize {
		return fmt.Errorf("tree of %d leaves: %w", size, ErrSize)
	}
	if index >= size {
		return fmt.Errorf("leaf %d of %d: %w", index, size, ErrIndex)
	}
	return nil
}

// shape tells how the path of a leaf climbs: on the first inner steps the sibling
// is left or right by the bits of the index, on the border steps above it is
// always left, where the way to the leaf runs along the right edge of the tree.
func shape(index, size uint64) (inner, border int) {
	inner = bits.Len64(index ^ (size - 1))
	return inner, bits.OnesCount64(index >> inner)
}

// InclusionLength is how many hashes the path of a leaf has.
func InclusionLength(index, size uint64) (int, error) {
	if err := checkIndex(index, size); err != nil {
		return 0, err
	}
	inner, border := shape(index, size)
	return inner + border, nil
}

// InclusionRoot returns the root under which the path puts the leaf. The path
// must be exactly as long as it is in a tree of that size.
func InclusionRoot(leaf Hash, index, size uint64, path []Hash) (Hash, error) {
	if err := checkIndex(index, size); err != nil {
		return Hash{}, err
	}
	inner, border := shape(index, size)
	if len(path) != inner+border {
		return Hash{}, fmt.Errorf("leaf %d of %d: %d hashes instead of %d: %w", index, size, len(path), inner+border, ErrPathLength)
	}
	var c climber
	c.start(leaf)
	for i := range path {
		if i < inner && index>>i&1 == 0 {
			c.right(&path[i])
		} else {
			c.left(&path[i])
		}
	}
	return c.hash, nil
}

// VerifyInclusion tells whether the path proves the leaf under the root (RFC 9162
// section 2.1.3.2).
func VerifyInclusion(leaf Hash, index, size uint64, path []Hash, root Hash) error {
	got, err := InclusionRoot(leaf, index, size, path)
	if err != nil {
		return err
	}
	if got != root {
		return fmt.Errorf("leaf %d of %d: %w", index, size, ErrRoot)
	}
	return nil
}

// ConsistencyLength is how many hashes the path from old to size leaves has.
func ConsistencyLength(old, size uint64) (int, error) {
	if size > MaxSize || old > size {
		return 0, fmt.Errorf("from %d to %d leaves: %w", old, size, ErrSize)
	}
	if old == 0 || old == size {
		return 0, nil
	}
	inner, border := shape(old-1, size)
	n := inner - bits.TrailingZeros64(old) + border
	if old&(old-1) != 0 { // the verifier lacks the subtree from which to climb
		n++
	}
	return n, nil
}

// ConsistencyRoot returns the root of the newer tree to which the path leads from
// the older one. It proves something only about an old root that the verifier
// has itself; of an empty old tree there is no path, so it is refused.
func ConsistencyRoot(old, size uint64, oldRoot Hash, path []Hash) (Hash, error) {
	n, err := ConsistencyLength(old, size)
	switch {
	case err != nil:
		return Hash{}, err
	case old == 0:
		return Hash{}, fmt.Errorf("from 0 to %d leaves: nothing to start from: %w", size, ErrSize)
	case len(path) != n:
		return Hash{}, fmt.Errorf("from %d to %d leaves: %d hashes instead of %d: %w", old, size, len(path), n, ErrPathLength)
	case old == size:
		return oldRoot, nil
	}
	// The climb begins at the largest complete subtree at the right end of the old
	// tree; what is left of it belongs to both trees, what is right only to the new.
	inner, _ := shape(old-1, size)
	shift := bits.TrailingZeros64(old)
	inner -= shift
	seed := oldRoot
	if old&(old-1) != 0 {
		seed, path = path[0], path[1:]
	}
	var older, newer climber
	older.start(seed)
	newer.start(seed)
	turns := (old - 1) >> shift
	for i := range path {
		if i < inner && turns>>i&1 == 0 {
			newer.right(&path[i])
		} else {
			older.left(&path[i])
			newer.left(&path[i])
		}
	}
	if older.hash != oldRoot {
		return Hash{}, fmt.Errorf("from %d to %d leaves: the older tree: %w", old, size, ErrRoot)
	}
	return newer.hash, nil
}

// VerifyConsistency tells whether the newer tree continues the older one (RFC
// 9162 section 2.1.4.2). The empty tree is continued by every one, and has one
// root.
func VerifyConsistency(old, size uint64, oldRoot, root Hash, path []Hash) error {
	if old == 0 && size <= MaxSize {
		switch {
		case len(path) != 0:
			return fmt.Errorf("from 0 to %d leaves: %d hashes: %w", size, len(path), ErrPathLength)
		case oldRoot != EmptyRoot(), size == 0 && root != oldRoot:
			return fmt.Errorf("from 0 to %d leaves: %w", size, ErrRoot)
		}
		return nil
	}
	got, err := ConsistencyRoot(old, size, oldRoot, path)
	if err != nil {
		return err
	}
	if got != root {
		return fmt.Errorf("from %d to %d leaves: the newer tree: %w", old, size, ErrRoot)
	}
	return nil
}
