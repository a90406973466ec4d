package fleet

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"ampoule/device"
	"ampoule/format"
	"ampoule/format/cbor"
	"ampoule/ledger/state"
	"ampoule/ledger/tlog"
)

// Window is the segments that came, or were sealed, in a time: what is anchored in the
// ledger by one root (telemetry.anchor). Its leaves are the SHA-256 of each segment, in
// the order of their numbers, and the tree is that of RFC 6962.
type Window struct {
	N            int64 // from 1
	Since, Until time.Time
	After, Last  int64 // the numbers of its segments: above the one, up to the other
	Root         tlog.Hash
	Readings     int64
	Segments     int64
	Gap          bool // some equipment was silent at its end
}

// Key is what a window is called in an outbox of the ledger.
func (w *Window) Key() string { return fmt.Sprintf("readings/%d", w.N) }

// maxSegments bounds the segments of a window, so that its tree fits in memory.
const maxSegments = 1 << 18

// Close closes a window where the one before ended as long ago as every, and returns the
// newest; nil: there is none yet.
func (f *Fleet) Close(ctx context.Context, every time.Duration) (*Window, error) {
	f.start()
	f.round.Lock()
	defer f.round.Unlock()
	if err := f.load(ctx); err != nil {
		return nil, err
	}
	now := f.Now().UTC().Truncate(time.Second)
	before, err := f.Book.Windows(ctx, -1, 1)
	if err != nil {
		return nil, err
	}
	w := &Window{N: 1, Since: now.Add(-every)}
	var newest *Window
	if len(before) > 0 {
		newest = &before[0]
		w.N, w.Since, w.After = newest.N+1, newest.Until, newest.Last
	}
	if now.Sub(w.Since) < every {
		return newest, nil
	}
	hashes, readings, last, err := f.Book.Leaves(ctx, w.After, math.MaxInt64, maxSegments)
	if err != nil || len(hashes) == 0 {
		return newest, err
	}
	w.Until, w.Last, w.Root, w.Readings, w.Segments = now, last, treeOf(hashes).Root(), readings, int64(len(hashes))
	f.mu.Lock()
	for _, x := range f.streams {
		for id := range x.standing {
			w.Gap = w.Gap || id.rule == RuleSilent
		}
	}
	f.mu.Unlock()
	return w, f.Book.PutWindow(ctx, w)
}

func treeOf(hashes []device.Hash) *tlog.Tree {
	leaves := make([]tlog.Hash, len(hashes))
	for i := range hashes {
		leaves[i] = tlog.LeafHash(hashes[i][:])
	}
	return tlog.NewTree(leaves)
}

// anchorPaths is how many segments one anchor is of, at most: it is one item of evidence,
// of 64 KiB at most, and a path has up to 18 steps.
const anchorPaths = 60

// anchors are the proofs that segments of some hashes stand under a root in the log.
//
//	proof = [
//	    tlog-proof: tstr,              ;; C2SP tlog-proof of the transaction, which is its extra data
//	    paths: [* [segment: bstr .size 32, index: uint, size: uint, path: [* bstr .size 32]]]
//	]
//
// The leaf of the anchor is the transaction.
func (w *Window) anchors(hashes []device.Hash, of map[device.Hash]bool, message, proof []byte) (out []device.Anchor) {
	tree := treeOf(hashes)
	var paths [][]byte
	for i, h := range hashes {
		if !of[h] {
			continue
		}
		p := cbor.AppendInt(cbor.AppendInt(cbor.AppendBytes(cbor.AppendArray(nil, 4), h[:]), int64(i)), int64(len(hashes)))
		path, err := tlog.ProveInclusion(uint64(i), tree.Size(), tree)
		if err != nil {
			continue // the index is one of the tree's
		}
		p = cbor.AppendArray(p, len(path))
		for _, x := range path {
			p = cbor.AppendBytes(p, x[:])
		}
		paths = append(paths, p)
	}
	for some := range slices.Chunk(paths, anchorPaths) {
		item := cbor.AppendArray(cbor.AppendText(cbor.AppendArray(nil, 2), string(proof)), len(some))
		for _, p := range some {
			item = append(item, p...)
		}
		out = append(out, device.Anchor{Leaf: message, Proof: item})
	}
	return out
}

// Why an anchor proves nothing.
const (
	ErrAnchor format.Defect = "bad-anchor"
)

// Anchored is what an anchor proves.
type Anchored struct {
	Since, Until time.Time // of the window, as the gateway says
	Logged       time.Time // when the first of those who cosigned saw it there; zero: none says
	Index        uint64    // of the leaf in the log
	Segments     map[device.Hash]bool
}

// VerifyAnchor checks that the segments of an anchor stand under the root of its
// transaction, and that in a log that a policy believes.
func VerifyAnchor(a *device.Anchor, policy *tlog.Policy) (*Anchored, error) {
	fail := func(what string, err error) (*Anchored, error) {
		return nil, fmt.Errorf("anchor: %s: %w", what, errors.Join(ErrAnchor, err))
	}
	v, err := cbor.Parse(a.Proof, cbor.Limits{Depth: 5, Items: 1 << 22, Pairs: 1})
	if err != nil {
		return fail("proof", err)
	}
	text, ok := v.Index(0).Text()
	if v.Len() != 2 || !ok {
		return fail("proof", nil)
	}
	p, err := tlog.ParseLogProof([]byte(text))
	if err != nil {
		return fail("proof", err)
	}
	if string(p.Extra) != string(a.Leaf) {
		return fail("it is of another transaction", nil)
	}
	c, err := p.Verify(tlog.LeafHash(a.Leaf), policy)
	if err != nil {
		return fail("log", err)
	}
	tx, err := state.ParseTx(a.Leaf)
	if err != nil {
		return fail("transaction", err)
	}
	body, ok := tx.Body.(*state.TelemetryAnchor)
	if !ok {
		return fail("a transaction of another kind", nil)
	}
	out := &Anchored{
		Since: time.Unix(int64(body.From), 0).UTC(), Until: time.Unix(int64(body.Until), 0).UTC(), Index: p.Index, Segments: make(map[device.Hash]bool),
	}
	for _, x := range c.Witnesses {
		if at := time.Unix(x.Time, 0).UTC(); x.Time > 0 && (out.Logged.IsZero() || at.Before(out.Logged)) {
			out.Logged = at
		}
	}
	paths := v.Index(1)
	for i := range paths.Len() {
		one := paths.Index(i)
		segment, ok1 := one.Index(0).Bytes()
		index, ok2 := one.Index(1).Int()
		size, ok3 := one.Index(2).Int()
		if one.Len() != 4 || !ok1 || !ok2 || !ok3 || len(segment) != sha256.Size || index < 0 || size < 1 {
			return fail(fmt.Sprintf("path %d", i), nil)
		}
		steps := one.Index(3)
		path := make([]tlog.Hash, steps.Len())
		for j := range path {
			b, ok := steps.Index(j).Bytes()
			if !ok || len(b) != tlog.HashSize {
				return fail(fmt.Sprintf("path %d", i), nil)
			}
			path[j] = tlog.Hash(b)
		}
		if err := tlog.VerifyInclusion(tlog.LeafHash([]byte(segment)), uint64(index), uint64(size), path, body.Root); err != nil {
			return fail(fmt.Sprintf("path %d", i), err)
		}
		out.Segments[device.Hash([]byte(segment))] = true
	}
	return out, nil
}
