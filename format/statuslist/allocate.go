package statuslist

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math/bits"
)

// Allocator gives the indices of a list in an order that nobody can foresee and
// never one twice: neighbours in a list must not have been issued one after the
// other (section 12.4 and 13.1).
//
// The order is a permutation that a secret seed chooses, a Feistel network over
// the next power of four, walked until it meets the list again. What has to be
// kept is therefore the seed and a count, not a set of the indices that were
// given: an allocator that is made again from both goes on where it stopped.
type Allocator struct {
	seed  [32]byte
	size  uint64
	given uint64
}

// NewAllocator makes the allocator of a list of so many entries, of which the
// first given were given out already. The seed must be random and secret, and
// belong to this list alone.
func NewAllocator(seed [32]byte, entries, given int) (*Allocator, error) {
	if entries < 1 || entries > 8*MaxBytes || given < 0 || given > entries {
		return nil, fmt.Errorf("status list: %d of %d entries: %w", given, entries, ErrEntries)
	}
	return &Allocator{seed, uint64(entries), uint64(given)}, nil
}

// Given returns how many indices were given out: what the next NewAllocator needs.
func (a *Allocator) Given() int { return int(a.given) }

// Next returns an index that was never given before. A list that is full fails
// with ErrEntries: the next one is due.
func (a *Allocator) Next() (int64, error) {
	if a.given == a.size {
		return 0, fmt.Errorf("status list: all %d entries are given: %w", a.size, ErrEntries)
	}
	half := uint((bits.Len64(a.size-1) + 1) / 2) // bits of each half
	x := a.permute(a.given, half)
	for x >= a.size { // at most three in four are beyond the list
		x = a.permute(x, half)
	}
	a.given++
	return int64(x), nil
}

// permute is a Feistel network of eight rounds over 2*half bits.
func (a *Allocator) permute(x uint64, half uint) uint64 {
	mask := uint64(1)<<half - 1
	left, right := x>>half, x&mask
	for round := range byte(8) {
		var in [9]byte
		in[0] = round
		binary.BigEndian.PutUint64(in[1:], right)
		mac := hmac.New(sha256.New, a.seed[:])
		mac.Write(in[:])
		left, right = right, left^binary.BigEndian.Uint64(mac.Sum(nil))&mask
	}
	return left<<half | right
}
