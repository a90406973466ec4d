package print

import (
	"crypto/sha256"
	"fmt"
	"math/bits"
)

// Hash is a hash of a Merkle tree (RFC 6962 section 2.1).
type Hash [sha256.Size]byte

// leafHash is SHA-256(0x00 || leaf).
func leafHash(leaf []byte) Hash {
	var room [1 + sha256.Size]byte
	return sha256.Sum256(append(room[:1], leaf...))
}

// nodeHash is SHA-256(0x01 || left || right).
func nodeHash(left, right Hash) Hash {
	var node [1 + 2*sha256.Size]byte
	node[0] = 1
	copy(node[1:], left[:])
	copy(node[1+sha256.Size:], right[:])
	return sha256.Sum256(node[:])
}

// split is the largest power of two below n, for n > 1.
func split(n int) int { return 1 << (bits.Len(uint(n-1)) - 1) }

// root is MTH of RFC 6962 section 2.1, of at least one leaf hash.
func root(leaves []Hash) Hash {
	if len(leaves) == 1 {
		return leaves[0]
	}
	k := split(len(leaves))
	return nodeHash(root(leaves[:k]), root(leaves[k:]))
}

// path is PATH of RFC 6962 section 2.1.1.
func path(leaves []Hash, m int) []Hash {
	if len(leaves) == 1 {
		return nil
	}
	k := split(len(leaves))
	if m < k {
		return append(path(leaves[:k], m), root(leaves[k:]))
	}
	return append(path(leaves[k:], m-k), root(leaves[:k]))
}

// verify is RFC 9162 section 2.1.3.2.
func (p Path) verify(r, want Hash) error {
	if p.Index < 0 || p.Index >= p.Size {
		return fmt.Errorf("fingerprints: leaf %d of %d: %w", p.Index, p.Size, ErrPath)
	}
	fn, sn := p.Index, p.Size-1
	for _, h := range p.Hashes {
		if sn == 0 {
			return fmt.Errorf("fingerprints: %d hashes are too many: %w", len(p.Hashes), ErrPath)
		}
		if fn&1 == 1 || fn == sn {
			r = nodeHash(h, r)
			for fn&1 == 0 && fn != 0 {
				fn, sn = fn>>1, sn>>1
			}
		} else {
			r = nodeHash(r, h)
		}
		fn, sn = fn>>1, sn>>1
	}
	if sn != 0 || r != want {
		return fmt.Errorf("fingerprints: %w", ErrPath)
	}
	return nil
}
