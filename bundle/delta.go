package bundle

import (
	"bytes"
	"crypto/sha256"
	"fmt"

	"ampoule/format"
	"ampoule/format/cbor"
)

// The kinds of defect of a delta.
const (
	ErrNotDelta  = format.Defect("not-a-delta")
	ErrDeltaBase = format.Defect("delta-of-another") // it starts from another file
	ErrDelta     = format.Defect("bad-delta")
)

const (
	deltaType    = "ampoule bundle delta"
	deltaVersion = 1

	// maxPieces bounds a delta: one piece for each 512 bytes of the largest bundle.
	maxPieces = MaxSize / 512
	// block is how many bytes must be alike at least before they are copied: a copy
	// takes up to 12.
	block = 32
)

var deltaLimits = cbor.Limits{Depth: 4, Items: 3*maxPieces + 16, Pairs: 8}

// Delta writes how to make one file from another: a file of a bundle, for a
// verifier that keeps an earlier one.
//
//	delta = [
//	    kind:    "ampoule bundle delta",
//	    version: 1,
//	    from:    bstr .size 32,              ;; SHA-256 of the file that is kept
//	    to:      bstr .size 32,              ;; SHA-256 of the file it makes
//	    size:    uint,                       ;; bytes of the file it makes
//	    pieces:  [* bstr / [offset: uint, length: uint]]  ;; new bytes, or bytes of the file that is kept
//	]
//
// Nobody signs it: what it makes is believed as any bundle is, by the signatures
// in it.
func Delta(from, to []byte) ([]byte, error) {
	if len(from) > MaxSize || len(to) > MaxSize {
		return nil, fmt.Errorf("bundle delta: %w", ErrTooLarge)
	}
	pieces := findPieces(from, to)
	if len(pieces) > maxPieces {
		pieces = []piece{{new: to}}
	}
	fromDigest, toDigest := sha256.Sum256(from), sha256.Sum256(to)
	dst := cbor.AppendText(cbor.AppendArray(nil, 6), deltaType)
	dst = cbor.AppendBytes(cbor.AppendInt(dst, deltaVersion), fromDigest[:])
	dst = cbor.AppendInt(cbor.AppendBytes(dst, toDigest[:]), int64(len(to)))
	dst = cbor.AppendArray(dst, len(pieces))
	for _, p := range pieces {
		if p.new != nil {
			dst = cbor.AppendBytes(dst, p.new)
		} else {
			dst = cbor.AppendInt(cbor.AppendInt(cbor.AppendArray(dst, 2), int64(p.offset)), int64(p.length))
		}
	}
	return dst, nil
}

// piece is new bytes, or where they are in the file that is kept.
type piece struct {
	new            []byte
	offset, length int
}

// findPieces walks over the new file with a rolling sum of a block, and looks each
// up among the blocks of the old one, as rsync does.
func findPieces(from, to []byte) (pieces []piece) {
	blocks := make(map[uint32]int, len(from)/block)
	for offset := 0; offset+block <= len(from); offset += block {
		sum := blockSum(from[offset : offset+block])
		if _, taken := blocks[sum]; !taken {
			blocks[sum] = offset
		}
	}
	emitted := 0 // how far the pieces go
	add := func(end int) {
		if end > emitted {
			pieces = append(pieces, piece{new: to[emitted:end]})
		}
	}
	var sum uint32
	fresh := true // the sum is of no block yet
	for at := 0; at+block <= len(to); {
		if fresh {
			sum, fresh = blockSum(to[at:at+block]), false
		}
		offset, found := blocks[sum]
		if !found || !bytes.Equal(from[offset:offset+block], to[at:at+block]) {
			if at+block < len(to) {
				sum = rollSum(sum, to[at], to[at+block])
			}
			at++
			continue
		}
		begin, end := at, at+block
		for begin > emitted && offset > 0 && from[offset-1] == to[begin-1] {
			begin, offset = begin-1, offset-1
		}
		for next := offset + end - begin; end < len(to) && next < len(from) && from[next] == to[end]; next++ {
			end++
		}
		add(begin)
		pieces = append(pieces, piece{offset: offset, length: end - begin})
		emitted, at, fresh = end, end, true
	}
	add(len(to))
	return pieces
}

// blockSum is a polynomial in an odd constant, modulo 2^32, of the bytes of a
// block: one byte is rolled out of it as another comes in.
func blockSum(b []byte) (sum uint32) {
	for _, c := range b {
		sum = sum*rollBase + uint32(c)
	}
	return sum
}

const rollBase = 0x08104225

// rollHigh is rollBase to the power of block.
var rollHigh = func() uint32 {
	high := uint32(1)
	for range block {
		high *= rollBase
	}
	return high
}()

func rollSum(sum uint32, out, in byte) uint32 {
	return sum*rollBase + uint32(in) - rollHigh*uint32(out)
}

// IsDelta reports whether a file is a delta by its first bytes.
func IsDelta(data []byte) bool {
	head := cbor.AppendText(cbor.AppendArray(nil, 6), deltaType)
	return bytes.HasPrefix(data, head)
}

// Apply makes the newer file from the one that is kept. What comes out is still to
// be opened: see [Accept].
func Apply(from, delta []byte) ([]byte, error) {
	if len(delta) > MaxSize+64<<10 {
		return nil, fmt.Errorf("bundle delta: %d bytes: %w", len(delta), ErrTooLarge)
	}
	if !IsDelta(delta) {
		return nil, fmt.Errorf("bundle delta: %w", ErrNotDelta)
	}
	v, err := cbor.Parse(delta, deltaLimits)
	if err != nil {
		return nil, fmt.Errorf("bundle delta: %w", err)
	}
	if version, ok := v.Index(1).Int(); !ok || version != deltaVersion {
		return nil, fmt.Errorf("bundle delta: %w", ErrVersion)
	}
	r := reader{}
	fromDigest, toDigest, size := r.bytes(v.Index(2)), r.bytes(v.Index(3)), r.integer(v.Index(4))
	list := r.list(v.Index(5), maxPieces)
	if r.failed || len(toDigest) != sha256.Size || size < 0 || size > MaxSize {
		return nil, fmt.Errorf("bundle delta: %w", ErrDelta)
	}
	if have := sha256.Sum256(from); !bytes.Equal(have[:], fromDigest) {
		return nil, fmt.Errorf("bundle delta: %w", ErrDeltaBase)
	}
	out := make([]byte, 0, size)
	for e := range list {
		piece, isNew := e.Bytes()
		if !isNew {
			r.array(e, 2)
			offset, length := r.integer(e.Index(0)), r.integer(e.Index(1))
			if r.failed || offset < 0 || length < 0 || offset > int64(len(from)) || length > int64(len(from))-offset {
				return nil, fmt.Errorf("bundle delta: a piece outside the file that is kept: %w", ErrDelta)
			}
			piece = from[offset : offset+length]
		}
		if len(out)+len(piece) > int(size) {
			return nil, fmt.Errorf("bundle delta: more than %d bytes: %w", size, ErrDelta)
		}
		out = append(out, piece...)
	}
	if got := sha256.Sum256(out); !bytes.Equal(got[:], toDigest) {
		return nil, fmt.Errorf("bundle delta: it makes another file than it says: %w", ErrDelta)
	}
	return out, nil
}
