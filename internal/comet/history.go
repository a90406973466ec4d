package comet

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	dbm "github.com/cometbft/cometbft-db"
	"github.com/cometbft/cometbft/store"

	"ampoule/internal/tiles"
	"ampoule/ledger/state"
	"ampoule/ledger/tlog"
)

// Blocks reads the blocks that the engine of a node has kept, in their order, and
// applies them to the state at the genesis. Each is given to f with what it has done,
// before the next one. The node must not run. The last block that the engine has may
// be one that the node has yet to apply.
func Blocks(dir string, f func(*state.Block, *state.State) error) error {
	genesis, err := ReadGenesis(dir)
	if err != nil {
		return err
	}
	s, err := state.New(genesis)
	if err != nil {
		return err
	}
	db, err := dbm.NewDB("blockstore", dbm.GoLevelDBBackend, filepath.Join(dir, cometFolder, "data"))
	if err != nil {
		return fmt.Errorf("blocks: %w", err)
	}
	blocks := store.NewBlockStore(db)
	defer blocks.Close()
	if base := blocks.Base(); base > 1 {
		return fmt.Errorf("the blocks before %d are gone: %w", base, ErrPruned)
	}
	for height := int64(1); height <= blocks.Height(); height++ {
		kept := blocks.LoadBlock(height)
		if kept == nil {
			return fmt.Errorf("block %d: %w", height, ErrDamaged)
		}
		// The header has what the block before has led to.
		if app := s.AppHash(); hashOf(kept.AppHash) != app {
			return fmt.Errorf("block %d is made on %X, and the blocks before it make %X: %w", height, kept.AppHash, app, ErrReplay)
		}
		b := blockOf(s, height, kept.Time, kept.Txs.ToSliceOfBytes(), kept.Evidence.Evidence.ToABCI())
		if _, err := s.Apply(b); err != nil {
			return err
		}
		if err := f(b, s); err != nil {
			return err
		}
	}
	return nil
}

// Stored is what a node's folder has, without the node.
type Stored struct {
	State *state.State
	Size  uint64
	Root  tlog.Hash
	Tiles error // what is wrong with the log
}

// ReadStored reads the state of a folder. With whole, its log is read whole.
func ReadStored(ctx context.Context, dir string, whole bool) (_ *Stored, err error) {
	genesis, err := ReadGenesis(dir)
	if err != nil {
		return nil, err
	}
	a, err := openApp(ctx, dir, genesis, "")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, a.disk.close()) }()
	s := &Stored{State: a.state, Size: a.log.Size(), Root: a.log.Root()}
	if whole {
		s.Tiles = tiles.Check(a.log.FS(), s.Size, s.Root)
	}
	return s, nil
}
