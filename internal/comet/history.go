package comet

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	cmtconfig "github.com/cometbft/cometbft/config"
	"github.com/cometbft/cometbft/store"

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
	config := cmtconfig.DefaultConfig().SetRoot(filepath.Join(dir, cometFolder))
	db, err := cmtconfig.DefaultDBProvider(&cmtconfig.DBContext{ID: "blockstore", Config: config})
	if err != nil {
		return fmt.Errorf("blocks, which a running node has to itself: %w", err)
	}
	blocks := store.NewBlockStore(db)
	defer blocks.Close()
	stored, err := Stored(context.Background(), dir)
	if err != nil {
		return err
	}
	base := blocks.Base()
	if blocks.Height() == 0 { // it has joined by a snapshot, and has no block since
		base = int64(stored.Height()) + 1
	}
	if base > 1 {
		return fmt.Errorf("the blocks before %d were not kept, so the history cannot be replayed from the genesis: %w", base, ErrPruned)
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

// Stored reads the state of a folder, whether its node runs or not. One that has
// never run is at its genesis.
func Stored(ctx context.Context, dir string) (_ *state.State, err error) {
	genesis, err := ReadGenesis(dir)
	if err != nil {
		return nil, err
	}
	fresh, err := state.New(genesis)
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(filepath.Join(dir, stateFile)); errors.Is(err, fs.ErrNotExist) {
		return fresh, nil
	}
	d, err := openDisk(ctx, dir)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, d.close()) }()
	s, err := d.load(ctx)
	if err != nil || s == nil {
		return fresh, err
	}
	if s.Chain() != fresh.Chain() {
		return nil, fmt.Errorf("%s is of chain %x, and the genesis of %x: %w", stateFile, s.Chain(), fresh.Chain(), ErrOtherChain)
	}
	return s, nil
}

// CheckIndex tells whether every leaf of a log that was checked is found in a folder
// under its hash, up to the size of the state. Whether the node runs does not matter.
func CheckIndex(ctx context.Context, dir string, size uint64) (err error) {
	d, err := openDisk(ctx, dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.close()) }()
	found, err := d.db.QueryContext(ctx, `SELECT hash, number FROM leaves WHERE number < ? ORDER BY number`, int64(size))
	if err != nil {
		return fmt.Errorf("state: %w", err)
	}
	defer found.Close()
	log := tlog.Files{FS: os.DirFS(logFolder(dir))}
	var leaves []tlog.Hash // of one tile
	for want := range size {
		if want%tlog.TileWidth == 0 {
			tile := tlog.Tile{Index: want / tlog.TileWidth, Width: int(min(size-want, tlog.TileWidth))}
			data, err := log.Tile(tile)
			if err == nil {
				leaves, err = tlog.ParseTile(data, tile.Width)
			}
			if err != nil {
				return err
			}
		}
		var hash []byte
		var number uint64
		if found.Next() {
			if err := found.Scan(&hash, &number); err != nil {
				return fmt.Errorf("state: %w", err)
			}
		}
		if number != want || !bytes.Equal(hash, leaves[want%tlog.TileWidth][:]) {
			return errors.Join(found.Err(), fmt.Errorf("state: leaf %d is not found under its hash: %w", want, ErrDamaged))
		}
	}
	return found.Err()
}
