package comet

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	dbm "github.com/cometbft/cometbft-db"
	cmtconfig "github.com/cometbft/cometbft/config"
	cmtstate "github.com/cometbft/cometbft/proto/tendermint/state"
	cmtproto "github.com/cometbft/cometbft/proto/tendermint/types"
	sm "github.com/cometbft/cometbft/state"
	"github.com/cometbft/cometbft/store"
	"github.com/cometbft/cometbft/types"
	"github.com/cometbft/cometbft/version"

	"ampoule/format"
	"ampoule/internal/keep"
	"ampoule/internal/tiles"
	"ampoule/ledger/state"
	"ampoule/ledger/tlog"
	"ampoule/party/notary"
)

// Why a node does not join by a snapshot.
const (
	ErrJoined        = format.Defect("has-a-ledger")
	ErrStale         = format.Defect("checkpoint-too-old")
	ErrOtherLog      = format.Defect("log-differs")
	ErrOtherSnapshot = format.Defect("snapshot-differs")
	ErrNoSnapshot    = format.Defect("no-snapshot-yet")
	ErrBlock         = format.Defect("bad-light-block")
	ErrTurns         = format.Defect("proposer-differs")
)

// Source is where a node that joins fetches. Nothing that it gives is believed.
type Source interface {
	// Checkpoint and Tile are of the log; a partial tile is cut from the full one, where
	// there is that already.
	Checkpoint(ctx context.Context) ([]byte, error)
	Tile(ctx context.Context, t tlog.Tile) ([]byte, error)

	// The others are those of [notary.Origin].
	Snapshots(ctx context.Context) ([]uint64, error)
	Snapshot(ctx context.Context, height uint64) ([]byte, error)
	Block(ctx context.Context, height uint64) ([]byte, error)
}

// Joining says by what a folder, which has the genesis and the keys of a node, becomes
// that of a node which stands where the ledger stood at the end of an epoch.
type Joining struct {
	Dir    string
	Policy *tlog.Policy // whose checkpoints count
	From   Source
	Now    time.Time
	MaxAge time.Duration // of the checkpoint
}

// Joined is where it stands.
type Joined struct {
	Height, Size uint64
	Checkpoint   *tlog.Checkpoint
}

// Join fetches and checks. What it rests on is the genesis and a checkpoint that the
// policy is satisfied with; all else follows:
//
//   - the whole log, whose first entry is the genesis, has the root of the checkpoint;
//   - the rows of the snapshot have the root that the last leaf of an epoch tells, and
//     the log up to that leaf is the one that they tell;
//   - the block two above is signed by the validators in these rows, whose turn it then
//     is; by its links the two below it, of which one has the application hash of the
//     rows, are those that were agreed on.
//
// The folder is as it was until all of it is there.
func Join(ctx context.Context, o Joining) (*Joined, error) {
	if _, err := os.Lstat(filepath.Join(o.Dir, stateFile)); err == nil {
		return nil, fmt.Errorf("%s has a %s: %w", o.Dir, stateFile, ErrJoined)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	genesis, err := ReadGenesis(o.Dir)
	if err != nil {
		return nil, err
	}
	// Step 1: a checkpoint, and a new one.
	note, err := o.From.Checkpoint(ctx)
	if err != nil {
		return nil, err
	}
	cosigned, err := o.Policy.Open(note)
	if err != nil {
		return nil, err
	}
	if at := notary.Median(cosigned); at.Before(o.Now.Add(-o.MaxAge)) {
		return nil, fmt.Errorf("checkpoint cosigned at %s: %w", at.Format(time.RFC3339), ErrStale)
	}
	checkpoint := cosigned.Checkpoint
	// Step 2: the newest snapshot that is under it, and the blocks that follow.
	s, blocks, err := o.choose(ctx, genesis, checkpoint.Size)
	if err != nil {
		return nil, err
	}
	// Step 3: the log, into a folder of its own.
	staging := filepath.Join(o.Dir, "joining")
	if err := os.RemoveAll(staging); err != nil {
		return nil, err
	}
	defer os.RemoveAll(staging)
	leaves, err := o.fetchLog(ctx, logFolder(staging), genesis, s, checkpoint)
	if err != nil {
		return nil, err
	}
	// Step 4: what the engine begins with.
	begin, err := beginning(genesis, s, blocks)
	if err != nil {
		return nil, err
	}
	if err := o.checkTurns(ctx, begin, blocks); err != nil {
		return nil, err
	}
	// Step 5: the state, and everything into its place; the state last, without which
	// a folder counts as empty.
	if err := saveRows(ctx, staging, s, leaves); err != nil {
		return nil, err
	}
	if err := install(o.Dir, staging, begin, blocks[0].Commit); err != nil {
		return nil, err
	}
	return &Joined{s.Height(), s.LogSize(), checkpoint}, nil
}

// following is how many blocks are needed from a snapshot's height on: its own, the
// one with its application hash, and the first that its validators sign.
const following = 3

// choose fetches snapshots, the newest first, until one is there with its blocks.
func (o *Joining) choose(ctx context.Context, genesis []byte, size uint64) (*state.State, []*types.LightBlock, error) {
	heights, err := o.From.Snapshots(ctx)
	if err != nil {
		return nil, nil, err
	}
	fresh, err := state.New(genesis)
	if err != nil {
		return nil, nil, err
	}
	slices.Sort(heights)
	slices.Reverse(heights)
next:
	for _, height := range heights[:min(len(heights), 8)] {
		var blocks []*types.LightBlock
		for h := height; h < height+following; h++ {
			block, err := o.block(ctx, ChainID(genesis), h)
			if errors.Is(err, fs.ErrNotExist) { // not yet
				continue next
			}
			if err != nil {
				return nil, nil, err
			}
			blocks = append(blocks, block)
		}
		data, err := o.From.Snapshot(ctx, height)
		if errors.Is(err, fs.ErrNotExist) { // no longer
			continue
		}
		if err != nil {
			return nil, nil, err
		}
		s, err := state.Restore(data)
		switch {
		case err != nil:
			return nil, nil, fmt.Errorf("%v: %w", err, ErrOtherSnapshot)
		case s.Chain() != fresh.Chain():
			return nil, nil, fmt.Errorf("snapshot of chain %x, and the genesis of %x: %w", s.Chain(), fresh.Chain(), ErrOtherChain)
		case s.Height() != height:
			return nil, nil, fmt.Errorf("snapshot of height %d instead of %d: %w", s.Height(), height, ErrOtherSnapshot)
		case s.LogSize() > size: // the checkpoint is about to follow
			continue
		}
		return s, blocks, nil
	}
	return nil, nil, fmt.Errorf("of %d snapshots none has a checkpoint over it, and %d blocks: %w", len(heights), following, ErrNoSnapshot)
}

// fetchLog fetches the log up to the checkpoint, keeps it up to where the snapshot
// ends, and returns the leaves of that part.
func (o *Joining) fetchLog(ctx context.Context, dir string, genesis []byte, s *state.State, c *tlog.Checkpoint) ([]tlog.Hash, error) {
	leaf, err := s.EpochLeaf()
	if err != nil {
		return nil, fmt.Errorf("%v: %w", err, ErrOtherSnapshot)
	}
	log, err := tiles.Open(dir, 0)
	if err != nil {
		return nil, err
	}
	end := s.LogSize()
	var all tlog.Range
	var leaves []tlog.Hash
	var last []byte
	for all.Size() < c.Size {
		entries, err := o.bundle(ctx, all.Size()/tlog.TileWidth, c.Size)
		if err != nil {
			return nil, err
		}
		if all.Size() == 0 && !bytes.Equal(entries[0], genesis) {
			return nil, fmt.Errorf("the first entry of the log is not the genesis: %w", ErrOtherChain)
		}
		if mine := entries[:min(uint64(len(entries)), end-min(end, all.Size()))]; len(mine) > 0 {
			if err := log.Append(mine); err != nil {
				return nil, err
			}
			for _, e := range mine {
				leaves = append(leaves, tlog.LeafHash(e))
			}
			last = mine[len(mine)-1]
		}
		for _, e := range entries {
			if err := all.Append(tlog.LeafHash(e)); err != nil {
				return nil, err
			}
		}
	}
	switch {
	case all.Root() != c.Root:
		return nil, fmt.Errorf("the entries make another root than the checkpoint of %d: %w", c.Size, ErrOtherLog)
	case !bytes.Equal(last, leaf):
		return nil, fmt.Errorf("entry %d is not the leaf of the snapshot of height %d: %w", end-1, s.Height(), ErrOtherSnapshot)
	case log.Root() != s.LogRoot():
		return nil, fmt.Errorf("the snapshot tells of another log of %d leaves: %w", end, ErrOtherSnapshot)
	}
	return leaves, nil
}

// bundle fetches the entries of a bundle, as a log of that size has them.
func (o *Joining) bundle(ctx context.Context, index, size uint64) ([][]byte, error) {
	width := int(min(tlog.TileWidth, size-index*tlog.TileWidth))
	data, err := o.From.Tile(ctx, tlog.Tile{Level: tlog.Entries, Index: index, Width: width})
	if err != nil {
		return nil, fmt.Errorf("bundle %d: %w", index, err)
	}
	entries, err := tlog.ParseEntries(data, width)
	if err != nil {
		return nil, fmt.Errorf("bundle %d: %v: %w", index, err, ErrOtherLog)
	}
	return entries, nil
}

// The bounds of what a validator may be, see ledger/state; its power is that of the
// engine.
const (
	maxValidators = 300
	maxPower      = 1000 * powerUnit
)

// block fetches a block's header with commit and validators, of which more than two
// thirds have signed. Whether they are those of the ledger is not known by that.
func (o *Joining) block(ctx context.Context, chain string, height uint64) (*types.LightBlock, error) {
	data, err := o.From.Block(ctx, height)
	if err != nil {
		return nil, err
	}
	return parseBlock(data, chain, height)
}

// parseBlock reads such a block, and checks it by itself.
func parseBlock(data []byte, chain string, height uint64) (*types.LightBlock, error) {
	refused := func(err error) (*types.LightBlock, error) {
		return nil, fmt.Errorf("block %d: %v: %w", height, err, ErrBlock)
	}
	var message cmtproto.LightBlock
	if err := message.Unmarshal(data); err != nil {
		return refused(err)
	}
	// The engine takes turns and powers as they are, and counts with them.
	if set := message.ValidatorSet; set == nil || len(set.Validators) > maxValidators {
		return refused(errors.New("no validators, or too many"))
	} else {
		const window = 4 * maxValidators * maxPower
		for _, v := range append(slices.Clone(set.Validators), set.Proposer) {
			if v == nil || v.VotingPower < 1 || v.VotingPower > maxPower || v.ProposerPriority < -window || v.ProposerPriority > window {
				return refused(errors.New("a validator out of bounds"))
			}
		}
	}
	block, err := types.LightBlockFromProto(&message)
	if err != nil {
		return refused(err)
	}
	if err := block.ValidateBasic(chain); err != nil {
		return refused(err)
	}
	if block.Height != int64(height) {
		return refused(fmt.Errorf("it is block %d", block.Height))
	}
	// Each signature must be good: the engine takes them as votes when it begins.
	if err := block.ValidatorSet.VerifyCommit(chain, block.Commit.BlockID, block.Height, block.Commit); err != nil {
		return refused(err)
	}
	return block, nil
}

// beginning is the engine's state after the last block of a snapshot.
func beginning(genesis []byte, s *state.State, blocks []*types.LightBlock) (*sm.State, error) {
	doc, err := engineGenesis(genesis)
	if err != nil {
		return nil, err
	}
	// The validators of the rows sign from the second next block on.
	var rows []*types.Validator
	for _, v := range s.Validators() {
		key, err := toEngine(v.Type, v.Key)
		if err != nil {
			return nil, err
		}
		rows = append(rows, types.NewValidator(key, enginePower(v.Power)))
	}
	params := *doc.ConsensusParams
	params.Block = types.BlockParams{MaxBytes: blockBytes(s.Params()), MaxGas: -1}
	last, this, next := blocks[0], blocks[1], blocks[2]
	app := s.AppHash()
	for _, c := range []struct {
		what       string
		have, want []byte
	}{
		{"its validators are not those of the snapshot", next.ValidatorsHash, types.NewValidatorSet(rows).Hash()},
		{"it does not follow on the block that was given", next.LastBlockID.Hash, this.Hash()},
		{"the block before does not follow on the block that was given", this.LastBlockID.Hash, last.Hash()},
		{"the block before has another application hash than the snapshot", this.AppHash, app[:]},
		{"the block before has other parameters than the snapshot", this.ConsensusHash, params.Hash()},
	} {
		if !bytes.Equal(c.have, c.want) {
			return nil, fmt.Errorf("block %d: %s: %w", next.Height, c.what, ErrBlock)
		}
	}
	after, err := follow(this.ValidatorSet, next.ValidatorSet)
	if err != nil {
		return nil, fmt.Errorf("block %d: %v: %w", next.Height, err, ErrBlock)
	}
	return &sm.State{
		Version: cmtstate.Version{Consensus: this.Version, Software: version.TMCoreSemVer},
		ChainID: doc.ChainID, InitialHeight: doc.InitialHeight,
		LastBlockHeight: last.Height, LastBlockID: this.LastBlockID, LastBlockTime: last.Time,
		LastValidators: last.ValidatorSet, Validators: this.ValidatorSet, NextValidators: after,
		LastHeightValidatorsChanged: next.Height, ConsensusParams: params, LastHeightConsensusParamsChanged: this.Height,
		LastResultsHash: this.LastResultsHash, AppHash: app[:],
	}, nil
}

// follow is the set of the block after one with the given set, as the engine makes it:
// the members of the next, with the turns that follow from the present one.
func follow(now, next *types.ValidatorSet) (*types.ValidatorSet, error) {
	var changes []*types.Validator
	for _, v := range next.Validators {
		if _, old := now.GetByAddress(v.Address); old == nil || old.VotingPower != v.VotingPower {
			changes = append(changes, types.NewValidator(v.PubKey, v.VotingPower))
		}
	}
	for _, v := range now.Validators {
		if !next.HasAddress(v.Address) {
			changes = append(changes, types.NewValidator(v.PubKey, 0))
		}
	}
	after := now.Copy()
	if err := after.UpdateWithChangeSet(changes); err != nil {
		return nil, err
	}
	after.IncrementProposerPriority(1)
	return after, nil
}

// checkTurns holds the proposers of blocks against the turns that the source has told.
// No hash covers the turns, and a node that has others takes part in nothing. So each
// block that there is, for two rounds of all, must be by one whose turn it was; or who
// had it in a round before, and whose block was proposed again.
func (o *Joining) checkTurns(ctx context.Context, begin *sm.State, blocks []*types.LightBlock) error {
	set, before := begin.Validators, blocks[0]
	for i := 1; i <= 2*set.Size()+1; i++ {
		var block *types.LightBlock
		if i < len(blocks) {
			block = blocks[i]
		} else {
			var err error
			switch block, err = o.block(ctx, begin.ChainID, uint64(begin.LastBlockHeight)+uint64(i)); {
			case errors.Is(err, fs.ErrNotExist):
				return nil
			case err != nil:
				return err
			}
		}
		if i > 1 {
			if !bytes.Equal(block.ValidatorsHash, before.NextValidatorsHash) {
				return fmt.Errorf("block %d: its validators are not those that the block before has named: %w", block.Height, ErrBlock)
			}
			var err error
			if set, err = follow(set, block.ValidatorSet); err != nil {
				return fmt.Errorf("block %d: %v: %w", block.Height, err, ErrBlock)
			}
		}
		found := false
		turn := set.Copy()
		for round := int32(0); round <= min(block.Commit.Round, 1000) && !found; round++ {
			if round > 0 {
				turn.IncrementProposerPriority(1)
			}
			found = bytes.Equal(turn.GetProposer().Address, block.ProposerAddress)
		}
		if !found {
			return fmt.Errorf("block %d is not by the validator whose turn it was: %w", block.Height, ErrTurns)
		}
		before = block
	}
	return nil
}

// saveRows writes the state into a folder.
func saveRows(ctx context.Context, dir string, s *state.State, leaves []tlog.Hash) (err error) {
	d, err := openDisk(ctx, dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.close()) }()
	var rows []state.Change
	for key, row := range s.Rows() {
		rows = append(rows, state.Change{Key: key, Row: row})
	}
	return d.save(ctx, rows, s.AppHash(), 0, leaves)
}

// install puts everything into its place. What lies there from a try before is taken
// away; what the key of the node has signed lies elsewhere, and stays.
func install(dir, staging string, begin *sm.State, commit *types.Commit) error {
	config := cmtconfig.DefaultConfig().SetRoot(filepath.Join(dir, cometFolder))
	for _, old := range []string{logFolder(dir), config.DBDir()} {
		if err := os.RemoveAll(old); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(config.DBDir(), 0o700); err != nil {
		return err
	}
	if err := saveEngine(config, begin, commit); err != nil {
		return err
	}
	if err := os.Rename(logFolder(staging), logFolder(dir)); err != nil {
		return err
	}
	if err := keep.SyncDir(dir); err != nil {
		return err
	}
	if err := os.Rename(filepath.Join(staging, stateFile), filepath.Join(dir, stateFile)); err != nil {
		return err
	}
	return keep.SyncDir(dir)
}

func saveEngine(config *cmtconfig.Config, begin *sm.State, commit *types.Commit) (err error) {
	open := func(id string) (dbm.DB, error) {
		return cmtconfig.DefaultDBProvider(&cmtconfig.DBContext{ID: id, Config: config})
	}
	states, err := open("state")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, states.Close()) }()
	if err := sm.NewStore(states, sm.StoreOptions{}).Bootstrap(*begin); err != nil {
		return err
	}
	db, err := open("blockstore")
	if err != nil {
		return err
	}
	blocks := store.NewBlockStore(db)
	defer func() { err = errors.Join(err, blocks.Close()) }()
	return blocks.SaveSeenCommit(commit.Height, commit)
}

// openStores opens the engine's databases. Where there is a state and no block yet, the
// engine has to be told at each start that this is as it should be.
func openStores() cmtconfig.DBProvider {
	var blocks int64
	return func(c *cmtconfig.DBContext) (dbm.DB, error) {
		db, err := cmtconfig.DefaultDBProvider(c)
		if err != nil {
			return nil, err
		}
		switch c.ID {
		case "blockstore":
			blocks = store.LoadBlockStoreState(db).Height
		case "state":
			states := sm.NewStore(db, sm.StoreOptions{})
			s, err := states.Load()
			if err == nil && blocks == 0 && s.LastBlockHeight > 0 {
				err = states.SetOfflineStateSyncHeight(s.LastBlockHeight)
			}
			if err != nil {
				return nil, errors.Join(err, db.Close())
			}
		}
		return db, nil
	}
}
