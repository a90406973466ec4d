package print

import (
	"bytes"
	"fmt"
	"slices"

	"ampoule/format"
	"ampoule/format/cbor"
	"ampoule/ledger/tlog"
)

// Landmarks are roots of closed batches that a verifier has at hand. Nobody signs
// them here: they are believed for who signed the bundle that carries them.
//
//	landmarks = [
//	    kind:    "ampoule landmarks",
//	    version: 1,
//	    roots:   bstr              ;; 32 bytes each, ascending, none twice, at least one
//	]
//
// The zero Landmarks has none.
type Landmarks struct{ roots map[tlog.Hash]bool }

// LandmarksType is the media type of a document of landmarks.
const LandmarksType = "application/vnd.ampoule.landmarks+cbor"

const (
	landmarksKind = "ampoule landmarks"
	// MaxLandmarks bounds a document: half a million batches, in 16 MiB.
	MaxLandmarks = 1 << 19
)

// ErrLandmarks is a document of landmarks that is malformed, or not in its one form.
const ErrLandmarks = format.Defect("malformed-landmarks")

// EncodeLandmarks writes roots, in any order.
func EncodeLandmarks(roots []tlog.Hash) ([]byte, error) {
	roots = slices.Clone(roots)
	slices.SortFunc(roots, compareHashes)
	roots = slices.Compact(roots)
	if len(roots) == 0 || len(roots) > MaxLandmarks {
		return nil, fmt.Errorf("landmarks: %d roots, from 1 to %d: %w", len(roots), MaxLandmarks, ErrLandmarks)
	}
	all := make([]byte, 0, len(roots)*tlog.HashSize)
	for _, r := range roots {
		all = append(all, r[:]...)
	}
	return appendLandmarks(nil, all), nil
}

func compareHashes(x, y tlog.Hash) int { return bytes.Compare(x[:], y[:]) }

func appendLandmarks(dst, roots []byte) []byte {
	dst = cbor.AppendText(cbor.AppendArray(dst, 3), landmarksKind)
	return cbor.AppendBytes(cbor.AppendInt(dst, 1), roots)
}

// Add reads a document. After an error nothing of it was taken.
func (l *Landmarks) Add(data []byte) error {
	refuse := func(why any) error { return fmt.Errorf("landmarks: %v: %w", why, ErrLandmarks) }
	if most := MaxLandmarks*tlog.HashSize + 64; len(data) > most {
		return refuse(fmt.Sprintf("%d bytes", len(data)))
	}
	v, err := cbor.Parse(data, cbor.Limits{Depth: 2, Items: 8, Pairs: 1})
	if err != nil {
		return refuse(err)
	}
	kind, _ := v.Index(0).Text()
	version, _ := v.Index(1).Int()
	all, ok := v.Index(2).Bytes()
	switch {
	case v.Kind() != cbor.Array || v.Len() != 3 || kind != landmarksKind || version != 1 || !ok:
		return refuse("another kind or version")
	case len(all) == 0 || len(all)%tlog.HashSize != 0:
		return refuse(fmt.Sprintf("%d bytes of roots", len(all)))
	case !bytes.Equal(appendLandmarks(nil, all), data):
		return refuse("not deterministic")
	}
	var roots []tlog.Hash
	for raw := range slices.Chunk(all, tlog.HashSize) {
		r := tlog.Hash(raw)
		if n := len(roots); n > 0 && compareHashes(roots[n-1], r) >= 0 {
			return refuse("roots out of order")
		}
		roots = append(roots, r)
	}
	if l.roots == nil {
		l.roots = make(map[tlog.Hash]bool, len(roots))
	}
	for _, r := range roots {
		l.roots[r] = true
	}
	return nil
}

// Has reports whether a root is among them.
func (l *Landmarks) Has(root tlog.Hash) bool { return l.roots[root] }

// Len is the number of roots.
func (l *Landmarks) Len() int { return len(l.roots) }
