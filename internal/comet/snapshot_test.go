package comet

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"testing"
	"time"

	"ampoule/ledger/state"
)

// TestPruning: old blocks go, and neither those since the oldest snapshot nor what could
// be evidence; the node goes on over a restart, and says that it cannot be replayed.
func TestPruning(t *testing.T) {
	params := state.DefaultParams
	params.EpochBlocks = 5
	dirs, _, _ := folders(t, 1, 1, state.ConsensusEd25519, params)
	open := func(keep uint64) *Node {
		n, err := Start(context.Background(), Options{Dir: dirs[0], Keep: keep, Log: testLog(t)})
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	n := open(0)
	seq := numbers{}
	seq.issuer(t, n, 0, 1)
	grow := func(what string, count int) {
		for i := range count {
			seq.logged(t, n, seq.anchor(t, n, 1, fmt.Sprint(what, i)))
		}
	}
	grow("kept ", 20)
	if base := n.node.BlockStore().Base(); base != 1 {
		t.Fatalf("the blocks before %d are gone", base)
	}
	stop(t, n)
	n = open(3)
	grow("pruned ", 20)
	// A block is shown a moment before others go.
	var height, base uint64
	var snapshots []uint64
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		var err error
		if snapshots, err = n.Snapshots(); err != nil || len(snapshots) != snapshotsKept {
			t.Fatal(snapshots, err)
		}
		height, base = n.Head().Height, uint64(n.node.BlockStore().Base())
		if base == snapshots[0] && height >= 40 && base >= height-snapshotsKept*params.EpochBlocks {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("at height %d the blocks from %d on are kept; snapshots of %d", height, base, snapshots)
		}
	}
	for _, h := range []uint64{1, base - 1} {
		if n.node.BlockStore().LoadBlock(int64(h)) != nil {
			t.Errorf("block %d is there", h)
		}
		if _, err := n.Block(h); err != nil {
			t.Errorf("block %d could be evidence of: %v", h, err)
		}
	}
	for _, h := range []uint64{0, height + 100, 1 << 63} {
		if _, err := n.Block(h); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("block %d: %v", h, err)
		}
	}
	for _, h := range snapshots {
		data, err := n.Snapshot(h)
		if err != nil {
			t.Fatal(err)
		}
		if s, err := state.Restore(data); err != nil || s.Height() != h {
			t.Errorf("snapshot of %d: %v", h, err)
		}
	}
	if _, err := n.Snapshot(1); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	stop(t, n)
	n = open(1000) // what is gone is gone
	grow("again ", 3)
	if now := uint64(n.node.BlockStore().Base()); now != base {
		t.Errorf("with more kept the oldest block is %d, and was %d", now, base)
	}
	stop(t, n)
	if err := Blocks(dirs[0], nil); !errors.Is(err, ErrPruned) {
		t.Error(err)
	}
}
