package notary

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"ampoule/ledger/state"
	"ampoule/ledger/tlog"
)

// Actor tells what an actor must know to write its next transaction.
func (n *Notary) Actor(_ context.Context, oid state.OID) (*Actor, error) {
	var a *Actor
	n.Replica.Read(func(s *state.State) {
		e, ok := s.Entry(oid)
		if !ok {
			return
		}
		a = &Actor{Chain: s.Chain(), Height: s.Height(), MaxLife: s.Params().MaxLife, Seq: s.Seq(oid), Hybrid: e.Hybrid, Keys: slices.Clone(e.Keys)}
		a.Batch, a.Epoch = s.LastBatch(oid)
	})
	if a == nil {
		return nil, ErrNoActor
	}
	return a, nil
}

// Submit hands in a transaction.
func (n *Notary) Submit(ctx context.Context, tx []byte) error { return n.Replica.Submit(ctx, tx) }

// Standing tells what became of a transaction.
func (n *Notary) Standing(ctx context.Context, leaf tlog.Hash) (*Standing, error) {
	index, ok, err := n.Replica.Find(ctx, leaf)
	if err != nil {
		return nil, err
	}
	s := &Standing{Logged: ok, Index: index, Height: n.Replica.Head().Height}
	if p := n.published.Load(); ok && p != nil && index < p.cosigned.Checkpoint.Size {
		s.Cosigned, s.Time = true, Median(p.cosigned)
	}
	return s, nil
}

// Median is the time of a checkpoint: that of the middle one of its cosignatures,
// which a few clocks that are wrong cannot move far. Zero: none states a time.
func Median(c *tlog.Cosigned) time.Time {
	var times []int64
	for _, w := range c.Witnesses {
		if w.Time > 0 {
			times = append(times, w.Time)
		}
	}
	if len(times) == 0 {
		return time.Time{}
	}
	slices.Sort(times)
	return time.Unix(times[(len(times)-1)/2], 0).UTC()
}

// Prove returns the tlog-proof of an entry under the published checkpoint.
func (n *Notary) Prove(ctx context.Context, leaf tlog.Hash) ([]byte, error) {
	index, ok, err := n.Replica.Find(ctx, leaf)
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, ErrNotLogged
	}
	return n.prove(leaf, index)
}

// prove makes the proof of a leaf, and holds it against the checkpoint before it is
// handed out: files that were damaged since are found here and not by a verifier.
func (n *Notary) prove(leaf tlog.Hash, index uint64) ([]byte, error) {
	p := n.published.Load()
	if p == nil || index >= p.cosigned.Checkpoint.Size {
		return nil, ErrNotCosigned
	}
	cp := p.cosigned.Checkpoint
	path, err := tlog.ProveInclusion(index, cp.Size, n.nodes(n.Replica.Head().Size))
	if err == nil {
		err = tlog.VerifyInclusion(leaf, index, cp.Size, path, cp.Root)
	}
	if err != nil {
		return nil, fmt.Errorf("entry %d of %d: %v: %w", index, cp.Size, err, ErrTiles)
	}
	return (&tlog.LogProof{Index: index, Path: path, Checkpoint: p.note}).Encode()
}

// Entry returns an entry with its proof. Its leaf has no other place: what is not
// under the published checkpoint is not handed out.
func (n *Notary) Entry(index uint64) (entry, proof []byte, err error) {
	head := n.Replica.Head()
	if index >= head.Size {
		return nil, nil, ErrNoEntry
	}
	p := n.published.Load()
	if p == nil || index >= p.cosigned.Checkpoint.Size {
		return nil, nil, ErrNotCosigned
	}
	entry, err = n.files().Entry(index, head.Size)
	if err != nil {
		return nil, nil, fmt.Errorf("entry %d: %v: %w", index, err, ErrTiles)
	}
	proof, err = n.prove(tlog.LeafHash(entry), index)
	return entry, proof, err
}

// Newest returns up to most entries below an index, in their order, and the index of
// the first. They are as this node has them, and proven by nothing yet.
func (n *Notary) Newest(below uint64, most int) (first uint64, entries [][]byte, err error) {
	size := n.Replica.Head().Size
	below = min(below, size)
	first = below - min(below, uint64(most))
	for index := first; index < below; index++ {
		entry, err := n.files().Entry(index, size)
		if err != nil {
			return 0, nil, fmt.Errorf("entry %d: %v: %w", index, err, ErrTiles)
		}
		entries = append(entries, entry)
	}
	return first, entries, nil
}

// Receipt signs the root of a batch that was accepted and stands under the
// published checkpoint.
func (n *Notary) Receipt(_ context.Context, root tlog.Hash) (*tlog.RootSignature, error) {
	if n.Receipts == nil {
		return nil, fmt.Errorf("this notary makes no receipts: %w", ErrConfig)
	}
	index, ok, err := n.batches.find(root, n.Replica.Head().Size, n.files())
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, ErrNotLogged
	}
	// The entry was read from a file: what is signed for is what is under the root.
	entry, _, err := n.Entry(index)
	if err != nil {
		return nil, err
	}
	if tx, err := state.ParseTx(entry); err != nil || !isBatch(tx, root) {
		return nil, fmt.Errorf("entry %d: %w", index, ErrTiles)
	}
	return tlog.SignRoot(n.Random, n.Receipts, root)
}

func isBatch(tx *state.Tx, root tlog.Hash) bool {
	b, ok := tx.Body.(*state.Batch)
	return ok && b.Root == root
}

// batchIndex finds batches by their roots. The log is what it is made of: it goes
// through what is new when it is asked, and from the beginning after a start.
type batchIndex struct {
	mu    sync.Mutex
	size  uint64 // leaves that were looked at
	index map[tlog.Hash]uint64
}

func (b *batchIndex) find(root tlog.Hash, size uint64, files tlog.Files) (uint64, bool, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.index == nil {
		b.index = map[tlog.Hash]uint64{}
	}
	for b.size < size {
		t := tlog.Tile{Level: tlog.Entries, Index: b.size / tlog.TileWidth}
		t.Width = int(min(size-t.Index*tlog.TileWidth, tlog.TileWidth))
		data, err := files.Tile(t)
		if err != nil {
			return 0, false, fmt.Errorf("%s: %v: %w", t.Path(), err, ErrTiles)
		}
		entries, err := tlog.ParseEntries(data, t.Width)
		if err != nil {
			return 0, false, fmt.Errorf("%s: %v: %w", t.Path(), err, ErrTiles)
		}
		for _, entry := range entries[b.size%tlog.TileWidth:] {
			// Genesis and leaves of epochs are no transactions.
			if tx, err := state.ParseTx(entry); err == nil {
				if batch, ok := tx.Body.(*state.Batch); ok {
					b.index[batch.Root] = b.size
				}
			}
			b.size++
		}
	}
	index, ok := b.index[root]
	return index, ok, nil
}
